//! The suite every executor passes.
