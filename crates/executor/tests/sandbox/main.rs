//! The sandbox, on this machine: the contract every executor passes, and what is particular to it.
#![allow(clippy::unwrap_used, reason = "a suite of tests")]

mod crashes;
mod rig;

the0_executor::executor_contract!(rig::subject);
