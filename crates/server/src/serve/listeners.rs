//! The addresses at which a replica answers: machines on one, other replicas on another.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use gust_core::{ids::ProjectId, ports::Cloud, secret::Secret};
use gust_proto::v1::{
    admin_service_server::AdminServiceServer, machine_service_server::MachineServiceServer,
    peer_service_server::PeerServiceServer, worker_service_server::WorkerServiceServer,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tracing::error;

use super::{ServeError, read_pem};
use crate::{
    clock::Clock,
    config::Config,
    leader::Handle,
    rpc::{AdminRpc, Forward, MachineRpc, PeerLinks, PeerRpc, PeerTls, Verifier, WorkerRpc},
    task::Tasks,
    worker::Worker,
};

/// Largest message between replicas: a list of 10,000 machines is a few megabytes.
const LARGEST: usize = 64 << 20;
/// Between two signs of life on a connection between replicas, and how long one is waited for.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The service of machines; absent where no project is configured, so that no machine can be ours.
pub(super) type Machines = Option<MachineServiceServer<MachineRpc>>;

/// What other replicas pass on to the one that leads.
pub(super) struct PassedOn {
    pub machines: Machines,
    pub admin: AdminServiceServer<AdminRpc>,
    pub peers: PeerRpc,
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}

pub(super) fn local(listener: &TcpListener) -> Result<SocketAddr, ServeError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    listener.local_addr().map_err(|source| ServeError::Listen {
        address: unknown,
        source,
    })
}

/// Ways to the replicas of this configuration.
pub(super) fn peer_links(config: &Config) -> Result<PeerLinks, ServeError> {
    Ok(PeerLinks::new(peer_tls(config)?))
}

fn peer_tls(config: &Config) -> Result<Option<PeerTls>, ServeError> {
    let peer = config.cluster.as_ref().map(|cluster| &cluster.peer);
    let Some(tls) = peer.and_then(|peer| peer.tls.as_ref()) else {
        return Ok(None);
    };
    Ok(Some(PeerTls {
        certificate: read_pem("peer.certificate", &tls.certificate)?,
        key: Secret::new(read_pem("peer.key", &tls.key)?),
        authority: read_pem("peer.authority", &tls.authority)?,
    }))
}

pub(super) fn machine_rpc(
    config: &Config,
    clouds: &BTreeMap<ProjectId, Arc<dyn Cloud>>,
    clock: &Clock,
    handle: &Handle,
    forward: Option<Forward>,
) -> Machines {
    let cloud = clouds.values().next()?;
    let rpc = MachineRpc::new(
        config.stack.clone(),
        Verifier::new(Arc::clone(cloud)),
        clock.clone(),
        handle.clone(),
        forward,
    );
    Some(MachineServiceServer::new(rpc))
}

/// Serves the worker, and what other replicas pass on, and returns where: to the other replicas, or on loopback for
/// one that is alone, since machines have no business with it.
pub(super) async fn serve_workers(
    config: &Config,
    worker: Worker,
    passed_on: PassedOn,
    tasks: &Tasks,
) -> Result<String, ServeError> {
    let peer = config.cluster.as_ref().map(|cluster| &cluster.peer);
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = bind(peer.map_or(loopback, |peer| peer.listen)).await?;
    let bound = local(&listener)?.to_string();
    let service = WorkerServiceServer::new(WorkerRpc::new(worker, tasks)).max_decoding_message_size(LARGEST);
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE));
    if let Some(tls) = peer_tls(config)? {
        server = server.tls_config(tls.server()).map_err(ServeError::Grpc)?;
    }
    let server = server
        .add_service(service)
        .add_service(PeerServiceServer::new(passed_on.peers))
        .add_optional_service(passed_on.machines.filter(|_| peer.is_some()))
        .add_optional_service(peer.map(|_| passed_on.admin))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tasks.spawn("worker-rpc", async move {
        if let Err(error) = server.await {
            error!(error = crate::error_chain(&error), "the worker's server ended");
        }
    });
    Ok(peer.and_then(|peer| peer.address.clone()).unwrap_or(bound))
}

pub(super) fn serve_machines(
    config: &Config,
    listener: TcpListener,
    machines: Machines,
    tasks: &Tasks,
) -> Result<(), ServeError> {
    let mut server = Server::builder()
        .timeout(Duration::from_secs(60))
        .concurrency_limit_per_connection(16);
    if let Some(tls) = &config.listen.tls {
        let identity = Identity::from_pem(
            read_pem("tls.certificate", &tls.certificate)?,
            read_pem("tls.key", &tls.key)?,
        );
        server = server
            .tls_config(ServerTlsConfig::new().identity(identity))
            .map_err(ServeError::Grpc)?;
    }
    let server = server
        .add_optional_service(machines)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tasks.spawn("machine-rpc", async move {
        if let Err(error) = server.await {
            error!(error = crate::error_chain(&error), "the machines' server ended");
        }
    });
    Ok(())
}
