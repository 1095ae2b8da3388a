//! The thin gRPC skin over leader and worker.

mod admin;
mod attend;
mod forward;
mod hints;
mod identity;
mod link;
mod machine;
mod peers;
mod worker;

pub use admin::{AdminRpc, Callers, Me};
pub use attend::PeerRpc;
pub use forward::Forward;
pub use hints::Hints;
pub use identity::{IdentityError, Verifier};
pub use link::GrpcLink;
pub use machine::MachineRpc;
pub use peers::{PeerLinks, PeerTls};
pub use worker::WorkerRpc;
