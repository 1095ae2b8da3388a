//! Machines of kind `exec`: the guest program as a process, with a metadata listener of its own.
//!
//! The GCE model says what is to be done ([`crate::gce::Order`]); [`Runner`] does it and reports back how a guest
//! ended. A machine is all processes that descend from its guest: when it is off, all of them are gone.

mod family;
mod guest;
mod runner;
mod site;
mod watch;

pub use runner::{Runner, RunnerError};
pub use site::MetadataSite;
