//! The real binary with real bots, on every executor this machine has.
//!
//! An executor that is not here is skipped, unless `THE0_TEST_SANDBOX=required` or `THE0_TEST_DOCKER=required` say that it
//! must be.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "the helpers of tests are tests too")]

mod bad_bundles;
mod bad_input;
mod chaos;
mod files;
mod hostile;
mod life;
mod rig;
mod service;
mod stock_client;
