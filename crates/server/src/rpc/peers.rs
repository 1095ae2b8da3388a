//! How replicas reach each other: over TLS in which both sides prove who they are, or in plain text on loopback.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use gust_core::{
    ids::ReplicaId,
    ports::{Hello, Link, LinkError, Member, Parting, Session},
    secret::Secret,
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};

use super::GrpcLink;
use crate::replica::Links;

/// By what replicas know each other; PEM texts.
#[derive(Clone)]
pub struct PeerTls {
    /// Certificate of this replica, with its chain.
    pub certificate: String,
    /// Its key.
    pub key: Secret,
    /// The authority that signs the replicas' certificates and nobody else's.
    pub authority: String,
}

impl PeerTls {
    fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, self.key.reveal())
    }

    /// For the side that listens: only who has a certificate of the authority is let in.
    pub fn server(&self) -> ServerTlsConfig {
        ServerTlsConfig::new()
            .identity(self.identity())
            .client_ca_root(Certificate::from_pem(&self.authority))
    }

    fn client(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .identity(self.identity())
            .ca_certificate(Certificate::from_pem(&self.authority))
    }
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerTls(…)")
    }
}

/// Ways to the workers of all replicas, this one included.
#[derive(Clone, Debug)]
pub struct PeerLinks {
    tls: Option<PeerTls>,
}

impl PeerLinks {
    /// With encryption, or without it for replicas on loopback.
    pub fn new(tls: Option<PeerTls>) -> Self {
        Self { tls }
    }

    /// Where a member is served.
    ///
    /// # Errors
    /// A text if its address makes no sense.
    pub(super) fn endpoint(&self, member: &Member) -> Result<Endpoint, String> {
        let wrong = |error: tonic::transport::Error| {
            format!(
                "its address `{}` makes no sense: {}",
                member.address,
                crate::error_chain(&error)
            )
        };
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let bare = member
            .address
            .split_once("://")
            .map_or(&*member.address, |(_, rest)| rest);
        let endpoint = Endpoint::from_shared(format!("{scheme}://{bare}")).map_err(wrong)?;
        match &self.tls {
            Some(tls) => endpoint.tls_config(tls.client()).map_err(wrong),
            None => Ok(endpoint),
        }
    }
}

impl Links for PeerLinks {
    fn to(&self, member: &Member) -> Arc<dyn Link> {
        let worker = member.replica.clone();
        match self.endpoint(member) {
            Ok(endpoint) => Arc::new(GrpcLink::new(worker, endpoint)),
            Err(message) => Arc::new(NoWay { worker, message }),
        }
    }
}

/// The way to a member that cannot be reached.
struct NoWay {
    worker: ReplicaId,
    message: String,
}

#[async_trait]
impl Link for NoWay {
    fn worker(&self) -> &ReplicaId {
        &self.worker
    }

    async fn open(&self, _hello: &Hello) -> Result<Session, LinkError> {
        Err(LinkError::Down {
            worker: self.worker.clone(),
            message: self.message.clone(),
        })
    }

    async fn attend(&self) -> Parting {
        Parting::Silent(self.message.clone())
    }
}

#[cfg(test)]
mod tests;
