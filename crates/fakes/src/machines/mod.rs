//! What runs on machines. The GCE model says what is to be done ([`crate::gce::Order`]); whoever runs the machines does
//! it and reports back how a guest ended.
//!
//! - Kind `exec`, [`Runner`]: the guest program as a process, with a metadata listener of its own. A machine is all
//!   processes that descend from its guest: when it is off, all of them are gone.
//! - Kind `sim`, [`Simulator`]: a task of this process that says what a guest and its agent would say.

mod family;
mod guest;
mod runner;
mod sim;
mod site;
mod watch;

pub use runner::{Runner, RunnerError};
pub use sim::{Simulator, ToolsError};
pub use site::MetadataSite;
