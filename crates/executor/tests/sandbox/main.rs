//! The sandbox, on this machine: the contract every executor passes, and what is particular to it.

mod crashes;
mod rig;

the0_executor::executor_contract!(rig::subject);
