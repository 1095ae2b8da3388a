//! The connection to a replica's admin API.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use gust_proto::v1::admin_service_client::AdminServiceClient;
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::args::Connection;
use crate::{exit_codes, failure::Failure};

/// The variable that holds a token itself.
const TOKEN_VARIABLE: &str = "GUST_TOKEN";

/// Adds the token to every call.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<tonic::metadata::Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

pub(super) type Client = AdminServiceClient<InterceptedService<Channel, Bearer>>;

/// A client, connected.
pub(super) async fn connect(connection: &Connection) -> Result<Client, Failure> {
    let refused = |error: anyhow::Error| Failure::new(exit_codes::USAGE, error);
    let bearer = Bearer(token(connection).map_err(refused)?);
    let endpoint = endpoint(connection).map_err(refused)?;
    let channel = endpoint
        .connect_timeout(connection.deadline.min(Duration::from_secs(10)))
        .connect()
        .await
        .with_context(|| format!("cannot reach gust at {}", connection.address))
        .map_err(|error| {
            Failure::new(exit_codes::ADMIN, error)
                .hint("--address or GUST_ADDRESS names the admin address of any replica ([admin] listen)")
        })?;
    Ok(AdminServiceClient::with_interceptor(channel, bearer).max_decoding_message_size(64 << 20))
}

fn endpoint(connection: &Connection) -> anyhow::Result<Endpoint> {
    let address = &connection.address;
    let endpoint = Endpoint::from_shared(address.clone())
        .with_context(|| format!("`{address}` is no URL; for example https://gust.internal:7072"))?;
    let read = |what: &str, path: &std::path::Path| {
        std::fs::read(path).with_context(|| format!("cannot read {what} {}", path.display()))
    };
    if !address.starts_with("https://") {
        anyhow::ensure!(
            connection.authority.is_none() && connection.certificate.is_none(),
            "certificates are for https, and the address is {address}"
        );
        return Ok(endpoint);
    }
    let mut tls = ClientTlsConfig::new();
    tls = match &connection.authority {
        Some(path) => tls.ca_certificate(Certificate::from_pem(read("the authority", path)?)),
        None => {
            return Err(anyhow!(
                "--authority is missing: by it the replicas' certificates are trusted"
            ));
        }
    };
    if let (Some(certificate), Some(key)) = (&connection.certificate, &connection.key) {
        tls = tls.identity(Identity::from_pem(
            read("the certificate", certificate)?,
            read("the key", key)?,
        ));
    }
    endpoint
        .tls_config(tls)
        .context("the certificates cannot be used")
}

fn token(connection: &Connection) -> anyhow::Result<Option<MetadataValue<tonic::metadata::Ascii>>> {
    let token = match (&connection.token_file, std::env::var(TOKEN_VARIABLE)) {
        (Some(path), _) => std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the token in {}", path.display()))?,
        (None, Ok(token)) => token,
        (None, Err(_)) => return Ok(None),
    };
    let mut value: MetadataValue<_> = format!("Bearer {}", token.trim())
        .parse()
        .map_err(|_| anyhow!("the token contains characters that no token has"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// A request that is given up after the deadline, here and at the server.
pub(super) fn within<T>(connection: &Connection, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(connection.deadline);
    request
}

/// What the server refused, as a failure of the command.
pub(super) fn refused(status: Status) -> Failure {
    let hint = match status.code() {
        Code::Unauthenticated => Some("GUST_TOKEN, --token-file, or --certificate and --key say who you are"),
        Code::Unavailable => Some("this passes by itself when a replica leads; `gust status` tells more"),
        Code::DeadlineExceeded | Code::Cancelled => Some("--deadline gives it more time"),
        Code::Unimplemented => Some("the server is older than this command"),
        _ => None,
    };
    let message = match status.code() {
        Code::DeadlineExceeded | Code::Cancelled => "no answer in time".to_owned(),
        _ => status.message().to_owned(),
    };
    let failure = Failure::new(exit_codes::ADMIN, anyhow!(message));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
