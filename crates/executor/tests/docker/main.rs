//! The Docker executor against a real daemon.
//!
//! Skipped where no Docker answers, unless `THE0_TEST_DOCKER=required`.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod contract;
mod daemon;
mod faults;
mod hardening;
mod life;
mod proxy;
mod rig;
