//! Why a replica could not start, or go on. Every message names its subject and what to do about it.

use std::{net::SocketAddr, path::PathBuf};

use gust_core::{
    ids::{ProjectId, SourceName},
    ports::StoreError,
};

use crate::leader::End;

/// Why a replica could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken or not ours.
    #[error(
        "cannot listen on {address}; is another gust running, or is the address another machine's? `listen` in the configuration names it"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A directory or file cannot be used.
    #[error("cannot use {what} {path}; check that it exists and that gust may read and write it")]
    File {
        /// What it is for.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The journal cannot be written.
    #[error("cannot keep the commit journal")]
    Journal(#[source] gust_store::journal::JournalError),
    /// The store does not work.
    #[error("the store does not work")]
    Store(#[source] StoreError),
    /// The members of etcd make no sense.
    #[error("etcd cannot be used: {0}; check [etcd] in the configuration")]
    Etcd(String),
    /// A project names something that the catalog does not have.
    #[error("the configuration names something that does not exist")]
    Plan(#[source] crate::planner::PlannerError),
    /// The admin API's description of itself cannot be read: a fault of the build.
    #[error("the description of the admin API cannot be read")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// A source cannot be set up.
    #[error("source `{name}` cannot be set up")]
    Source {
        /// Which.
        name: SourceName,
        /// The cause.
        #[source]
        source: gust_buildkite::client::ConfigError,
    },
    /// A project cannot be set up.
    #[error("project `{project}` cannot be set up")]
    Project {
        /// Which.
        project: ProjectId,
        /// The cause.
        #[source]
        source: Box<gust_cloud::gce::ConfigError>,
    },
    /// The TLS files make no sense.
    #[error("gRPC cannot be set up; check certificate and key")]
    Grpc(#[source] tonic::transport::Error),
    /// Leading is impossible.
    #[error("this replica cannot lead")]
    Lead(#[source] End),
    /// The system refuses signal handlers.
    #[error("cannot listen for signals")]
    Signal(#[source] std::io::Error),
}
