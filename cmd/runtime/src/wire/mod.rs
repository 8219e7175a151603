//! The only place where a concrete backend meets a service.

pub(crate) mod agent;
mod code;
pub(crate) mod dev;
mod executor;
mod gate;
mod pulls;
mod serve;
