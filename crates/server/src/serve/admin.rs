//! The address of operators: admin API, its reflection, and health.

use std::net::SocketAddr;

use gust_proto::v1::admin_service_server::{AdminServiceServer, SERVICE_NAME};
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{error, info};

use super::{ServeError, listeners, read_pem};
use crate::{
    config::Admin,
    leader::Handle,
    replica::Leadership,
    rpc::{AdminRpc, Callers, Forward, Me},
    task::Tasks,
};

/// What the admin service stands on.
pub(super) struct Standing {
    pub me: Me,
    pub handle: Handle,
    pub forward: Option<Forward>,
}

impl Standing {
    /// The service for these callers.
    pub fn service(&self, callers: Callers) -> AdminServiceServer<AdminRpc> {
        let (me, handle, forward) = (self.me.clone(), self.handle.clone(), self.forward.clone());
        AdminServiceServer::new(AdminRpc::new(me, handle, forward, callers))
    }
}

/// Serves operators at their own address.
pub(super) async fn serve(
    admin: &Admin,
    standing: &Standing,
    tasks: &Tasks,
) -> Result<SocketAddr, ServeError> {
    let listener = listeners::bind(admin.listen).await?;
    let bound = listeners::local(&listener)?;
    let mut server = Server::builder().concurrency_limit_per_connection(64);
    if let Some((certificate, key)) = &admin.identity {
        let identity = Identity::from_pem(
            read_pem("admin.certificate", certificate)?,
            read_pem("admin.key", key)?,
        );
        let mut tls = ServerTlsConfig::new().identity(identity);
        if let Some(authority) = &admin.authority {
            let authority = Certificate::from_pem(read_pem("admin.authority", authority)?);
            // Who has a token needs no certificate.
            tls = tls
                .client_ca_root(authority)
                .client_auth_optional(!admin.tokens.is_empty());
        }
        server = server.tls_config(tls).map_err(ServeError::Grpc)?;
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(gust_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name(SERVICE_NAME)
        .build_v1()
        .map_err(ServeError::Reflection)?;
    let (reporter, health) = tonic_health::server::health_reporter();
    tasks.spawn("health", report(reporter, standing.me.leadership.clone()));
    let server = server
        .add_service(health)
        .add_service(reflection)
        .add_service(standing.service(Callers::Operators(admin.tokens.clone())))
        .serve_with_incoming(TcpListenerStream::new(listener));
    info!(address = %bound, "the admin API is served");
    tasks.spawn("admin-rpc", async move {
        if let Err(error) = server.await {
            error!(error = crate::error_chain(&error), "the admin API's server ended");
        }
    });
    Ok(bound)
}

/// A replica that knows of no leader cannot answer for the whole.
async fn report(reporter: HealthReporter, mut leadership: watch::Receiver<Leadership>) {
    loop {
        let status = match *leadership.borrow_and_update() {
            Leadership::Unknown => ServingStatus::NotServing,
            Leadership::Following { .. } | Leadership::Leading { .. } => ServingStatus::Serving,
        };
        reporter.set_service_status("", status).await;
        reporter.set_service_status(SERVICE_NAME, status).await;
        if leadership.changed().await.is_err() {
            return;
        }
    }
}
