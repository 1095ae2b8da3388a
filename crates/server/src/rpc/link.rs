//! The leader's end of the stream.

use std::{error::Error as _, time::Duration};

use async_trait::async_trait;
use gust_core::{
    ids::{ReplicaId, Term},
    ports::{Command, CommandSink, Event, EventStream, Hello, Link, LinkError, Parting, Session},
};
use gust_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Endpoint};

use super::attend;

/// The way to one worker over gRPC.
pub struct GrpcLink {
    worker: ReplicaId,
    endpoint: Endpoint,
}

impl GrpcLink {
    /// A link to the worker at `endpoint`.
    pub fn new(worker: ReplicaId, endpoint: Endpoint) -> Self {
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(2))
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(2))
            .keep_alive_while_idle(true);
        Self { worker, endpoint }
    }

    fn down(&self, message: impl Into<String>) -> LinkError {
        LinkError::Down {
            worker: self.worker.clone(),
            message: message.into(),
        }
    }
}

#[async_trait]
impl Link for GrpcLink {
    fn worker(&self) -> &ReplicaId {
        &self.worker
    }

    async fn attend(&self) -> Parting {
        attend::attend(&self.endpoint).await
    }

    async fn open(&self, hello: &Hello) -> Result<Session, LinkError> {
        let channel = self
            .endpoint
            .connect()
            .await
            .map_err(|error| self.down(crate::error_chain(&error)))?;
        let mut client = v1::worker_service_client::WorkerServiceClient::new(channel)
            // A list of 10,000 machines is a few megabytes.
            .max_decoding_message_size(64 << 20);
        let (sender, receiver) = mpsc::channel(64);
        sender
            .send(v1::Command::from(hello))
            .await
            .map_err(|_| self.down("the stream closed at once"))?;
        let stream = client
            .work(ReceiverStream::new(receiver))
            .await
            .map_err(|status| refused(&self.worker, hello.term, &status))?
            .into_inner();
        let worker = self.worker.clone();
        Ok(Session {
            commands: Box::new(Commands {
                worker: worker.clone(),
                sender,
            }),
            events: Box::new(Events {
                worker,
                term: hello.term,
                stream,
            }),
        })
    }
}

fn refused(worker: &ReplicaId, ours: Term, status: &Status) -> LinkError {
    let theirs = status
        .message()
        .strip_prefix("term=")
        .and_then(|term| term.parse().ok())
        .map(Term);
    match (status.code(), theirs) {
        (Code::FailedPrecondition, Some(theirs)) => LinkError::Deposed { ours, theirs },
        (Code::Aborted, _) => LinkError::Late {
            worker: worker.clone(),
        },
        (code, _) => {
            // Of a broken connection only the cause tells what was wrong, such as a certificate.
            let cause = status.source();
            let cause = cause.map_or_else(String::new, |cause| format!(": {}", crate::error_chain(cause)));
            LinkError::Down {
                worker: worker.clone(),
                message: format!("{code:?}: {}{cause}", status.message()),
            }
        }
    }
}

struct Commands {
    worker: ReplicaId,
    sender: mpsc::Sender<v1::Command>,
}

#[async_trait]
impl CommandSink for Commands {
    async fn send(&mut self, command: Command) -> Result<(), LinkError> {
        let gone = |_| LinkError::Down {
            worker: self.worker.clone(),
            message: "the stream is closed".to_owned(),
        };
        self.sender.send(v1::Command::from(&command)).await.map_err(gone)
    }
}

struct Events {
    worker: ReplicaId,
    term: Term,
    stream: Streaming<v1::Event>,
}

#[async_trait]
impl EventStream for Events {
    async fn next(&mut self) -> Result<Event, LinkError> {
        let message = loop {
            match self.stream.message().await {
                // Of a kind that only a later build knows.
                Ok(Some(v1::Event { event: None })) => {}
                answer => break answer,
            }
        };
        match message {
            Ok(Some(message)) => Event::try_from(message).map_err(|malformed| LinkError::Nonsense {
                worker: self.worker.clone(),
                message: malformed.to_string(),
            }),
            Ok(None) => Err(LinkError::Down {
                worker: self.worker.clone(),
                message: "the worker ended the session".to_owned(),
            }),
            Err(status) => Err(refused(&self.worker, self.term, &status)),
        }
    }
}
