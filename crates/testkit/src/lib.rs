//! What tests of several crates share. For `tests/` folders only: `core`'s own fakes live in `core`, because a crate under
//! test and the same crate linked through here are two crates.
