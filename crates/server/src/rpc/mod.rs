//! The thin gRPC skin over leader and worker.

mod attend;
mod forward;
mod identity;
mod link;
mod machine;
mod peers;
mod worker;

pub use attend::PeerRpc;
pub use forward::Forward;
pub use identity::{IdentityError, Verifier};
pub use link::GrpcLink;
pub use machine::MachineRpc;
pub use peers::{PeerLinks, PeerTls};
pub use worker::WorkerRpc;
