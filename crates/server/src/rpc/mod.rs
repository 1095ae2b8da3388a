//! The thin gRPC skin over leader and worker.

mod identity;
mod link;
mod machine;
mod worker;

pub use identity::{IdentityError, Verifier};
pub use link::GrpcLink;
pub use machine::MachineRpc;
pub use worker::WorkerRpc;
