//! The `runtime` binary.
fn main() {}
