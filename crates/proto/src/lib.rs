//! The wire between leader, worker and machine, and the checked way between it and `gust-core`.
//!
//! [`v1`] is generated from `proto/gust/v1` and used as it is by whoever serves or calls. Nobody else reads a
//! generated message field by field: the conversions here either give a value of `gust-core` that is whole,
//! or a [`Malformed`] that names the field. This crate opens no connection.

mod check;
pub mod machine;
mod worker;

pub use check::{Malformed, Problem};
pub use worker::FromLeader;

/// Generated messages, clients and servers.
#[allow(
    missing_docs,
    unused_qualifications,
    clippy::all,
    clippy::large_futures,
    clippy::wildcard_imports,
    reason = "generated code; proto/gust/v1 is where it is documented"
)]
pub mod v1 {
    tonic::include_proto!("gust.v1");
}

/// The shape of all messages and services, for reflection.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("gust");
