//! The metadata server: who this machine is, its identity token, and whether it is being taken away.
//!
//! Protocol after Google's metadata server: every request carries `Metadata-Flavor: Google`, every true
//! answer carries it back, so that a captive proxy is not believed.

use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1,
    header::{ETAG, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

const FLAVOR: &str = "metadata-flavor";
/// Identity tokens have some 1.5 KB, attributes at most 256 KB.
const MOST_BYTES: usize = 1 << 20;

/// A question that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// No answer in time.
    #[error("the metadata server {server} did not answer {path} within {} s", patience.as_secs())]
    Late {
        /// Which server.
        server: String,
        /// What was asked.
        path: String,
        /// How long was waited.
        patience: Duration,
    },
    /// No connection, or it broke.
    #[error("the metadata server {server} cannot be asked for {path}")]
    Unreachable {
        /// Which server.
        server: String,
        /// What was asked.
        path: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It said something else than the value.
    #[error("the metadata server answered {path} with {answer}")]
    Unexpected {
        /// What was asked.
        path: String,
        /// What is wrong with the answer.
        answer: String,
    },
}

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The text.
    pub text: String,
    /// Its version, for the next long poll.
    pub etag: Option<String>,
}

/// A client of the metadata server.
#[derive(Clone, Debug)]
pub struct Metadata {
    server: String,
}

impl Metadata {
    /// A client of the server at `host:port`.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
        }
    }

    /// The value at a path below `/computeMetadata/v1/`, or nothing where there is none.
    ///
    /// # Errors
    /// [`MetadataError`] for all but a value and a clear "not found".
    pub async fn get(&self, path: &str, patience: Duration) -> Result<Option<Value>, MetadataError> {
        timeout(patience, self.ask(path)).await.unwrap_or_else(|_| {
            Err(MetadataError::Late {
                server: self.server.clone(),
                path: bare(path),
                patience,
            })
        })
    }

    /// The text of an attribute that somebody set on the instance.
    ///
    /// # Errors
    /// As [`Metadata::get`].
    pub async fn attribute(&self, name: &str) -> Result<Option<String>, MetadataError> {
        let path = format!("instance/attributes/{name}");
        let value = self.get(&path, Duration::from_secs(5)).await?;
        Ok(value.map(|value| value.text))
    }

    /// A token, signed by Google, that says which instance this is.
    ///
    /// # Errors
    /// As [`Metadata::get`]; no token at all means that the machine has no service account.
    pub async fn identity(&self, audience: &str) -> Result<String, MetadataError> {
        let path = format!("instance/service-accounts/default/identity?audience={audience}&format=full");
        match self.get(&path, Duration::from_secs(10)).await? {
            Some(value) if !value.text.trim().is_empty() => Ok(value.text.trim().to_owned()),
            _ => Err(MetadataError::Unexpected {
                path: bare(&path),
                answer: "no token; the machine needs a service account".to_owned(),
            }),
        }
    }

    async fn ask(&self, path: &str) -> Result<Option<Value>, MetadataError> {
        let (status, flavored, etag, body) =
            self.exchange(path)
                .await
                .map_err(|source| MetadataError::Unreachable {
                    server: self.server.clone(),
                    path: bare(path),
                    source,
                })?;
        let unexpected = |answer| MetadataError::Unexpected {
            path: bare(path),
            answer,
        };
        match status {
            _ if !flavored => Err(unexpected(format!(
                "status {status} and without the header Metadata-Flavor: it is no metadata server"
            ))),
            StatusCode::OK => String::from_utf8(body.to_vec())
                .map(|text| Some(Value { text, etag }))
                .map_err(|_| unexpected("bytes that are no UTF-8".to_owned())),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(unexpected(format!("status {status}"))),
        }
    }

    async fn exchange(
        &self,
        path: &str,
    ) -> Result<(StatusCode, bool, Option<String>, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(&self.server).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(format!("/computeMetadata/v1/{path}"))
            .header(HOST, &self.server)
            .header(FLAVOR, "Google")
            .body(Empty::<Bytes>::new())?;
        let answer = async {
            let reply = sender.send_request(request).await?;
            let status = reply.status();
            let header = |name: &str| {
                reply
                    .headers()
                    .get(name)
                    .and_then(|v| v.to_str().ok())
                    .map(str::to_owned)
            };
            let (flavored, etag) = (header(FLAVOR).is_some(), header(ETAG.as_str()));
            let body = Limited::new(reply.into_body(), MOST_BYTES)
                .collect()
                .await?
                .to_bytes();
            Ok((status, flavored, etag, body))
        };
        // The connection moves only while it is polled, too; it ends when the answer is whole.
        let mut answer = std::pin::pin!(answer);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            biased;
            answered = &mut answer => answered,
            closed = &mut connection => {
                closed?;
                answer.await
            }
        }
    }
}

/// The path without its query: an audience is no secret, but long.
fn bare(path: &str) -> String {
    path.split('?').next().unwrap_or(path).to_owned()
}
