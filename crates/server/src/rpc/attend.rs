//! A connection on which nothing is said: its end tells that the process at the other end has ended.

use std::{error::Error, io, pin::Pin, time::Duration};

use gust_core::ports::Parting;
use gust_proto::v1::{
    AttendRequest, AttendResponse, HintRequest, HintResponse, peer_service_client::PeerServiceClient,
    peer_service_server::PeerService,
};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming, transport::Endpoint};

use super::hints::read_hint;
use crate::leader::Handle;

/// Longest wait for a connection and the first reply on it.
const CONNECT: Duration = Duration::from_secs(4);

/// The end that is attended, and that takes hints for its leader.
#[derive(Clone, Debug, Default)]
pub struct PeerRpc {
    leader: Handle,
}

impl PeerRpc {
    /// The service of a replica that leads through `leader`.
    pub fn new(leader: Handle) -> Self {
        Self { leader }
    }
}

#[tonic::async_trait]
impl PeerService for PeerRpc {
    type AttendStream = Pin<Box<dyn Stream<Item = Result<AttendResponse, Status>> + Send>>;

    async fn attend(&self, _: Request<AttendRequest>) -> Result<Response<Self::AttendStream>, Status> {
        let once = tokio_stream::once(Ok(AttendResponse {}));
        Ok(Response::new(Box::pin(once.chain(tokio_stream::pending()))))
    }

    async fn hint(&self, request: Request<HintRequest>) -> Result<Response<HintResponse>, Status> {
        let hint = read_hint(request.into_inner())
            .ok_or_else(|| Status::invalid_argument("the hint is empty, or its job no UUID"))?;
        let leads = self.leader.hint(hint);
        Ok(Response::new(HintResponse { leads }))
    }
}

/// The end that waits.
pub(super) async fn attend(endpoint: &Endpoint) -> Parting {
    let mut stream = match timeout(CONNECT, open(endpoint)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(parting)) => return parting,
        Err(_) => return Parting::Silent("no answer in time".to_owned()),
    };
    // There is no further reply. Should one come it does no harm.
    while let Ok(Some(_)) = stream.message().await {}
    Parting::Broke
}

/// A stream on which the first reply has come: only then is it sure that each side trusts the other.
async fn open(endpoint: &Endpoint) -> Result<Streaming<AttendResponse>, Parting> {
    let channel = endpoint.connect().await.map_err(|error| {
        if is_refused(&error) {
            Parting::Refused
        } else {
            Parting::Silent(crate::error_chain(&error))
        }
    })?;
    let silent = |status: Status| Parting::Silent(crate::error_chain(&status));
    let answer = PeerServiceClient::new(channel).attend(AttendRequest {}).await;
    let mut stream = answer.map_err(silent)?.into_inner();
    match stream.message().await.map_err(silent)? {
        Some(_) => Ok(stream),
        None => Err(Parting::Silent("the stream ended at once".to_owned())),
    }
}

/// Whether the host itself said that nobody listens there.
fn is_refused(error: &tonic::transport::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return error.kind() == io::ErrorKind::ConnectionRefused;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use gust_proto::v1::peer_service_server::PeerServiceServer;
    use tokio::net::TcpListener;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::Server;

    use super::*;
    use crate::task::Tasks;

    /// Longest wait for anything.
    const PATIENCE: Duration = Duration::from_secs(20);

    async fn listen() -> (TcpListener, Endpoint) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        (listener, endpoint)
    }

    #[tokio::test]
    async fn a_process_that_ends_breaks_the_connection_and_refuses_the_next() {
        let (listener, endpoint) = listen().await;
        // A runtime of its own ends as a process does: with all its connections.
        let process = tokio::runtime::Runtime::new().expect("a runtime");
        let serving = Server::builder()
            .add_service(PeerServiceServer::new(PeerRpc::default()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let server = Tasks::default();
        {
            let _inside = process.enter();
            server.spawn("server", async move { drop(serving.await) });
        }
        let stream = timeout(PATIENCE, open(&endpoint)).await.expect("in time");
        let mut stream = stream.expect("it is there");
        process.shutdown_background();
        let end = timeout(PATIENCE, stream.message()).await.expect("in time");
        assert!(!matches!(end, Ok(Some(_))), "{end:?}");
        let mut parting = attend(&endpoint).await;
        // What was in the listener's queue when it closed was connected, for a moment.
        for _ in 0..3 {
            if parting == Parting::Refused {
                break;
            }
            parting = attend(&endpoint).await;
        }
        assert_eq!(parting, Parting::Refused);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_says_nothing_is_silent_and_does_not_refuse() {
        // Connections are taken by the system, and nobody answers on them.
        let (_listener, endpoint) = listen().await;
        let parting = attend(&endpoint).await;
        assert!(matches!(parting, Parting::Silent(_)), "{parting:?}");
    }
}
