//! The worker's end of the stream.

use std::pin::Pin;

use gust_core::ports::LinkError;
use gust_proto::{FromLeader, v1};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use crate::{task::Tasks, worker::Worker};

/// Serves a [`Worker`] over gRPC.
pub struct WorkerRpc {
    worker: Worker,
    tasks: Tasks,
}

impl WorkerRpc {
    /// The service; its tasks end with `tasks`.
    pub fn new(worker: Worker, tasks: &Tasks) -> Self {
        Self {
            worker,
            tasks: tasks.child(),
        }
    }
}

#[tonic::async_trait]
impl v1::worker_service_server::WorkerService for WorkerRpc {
    type WorkStream = Pin<Box<dyn Stream<Item = Result<v1::Event, Status>> + Send>>;

    async fn work(
        &self,
        request: Request<Streaming<v1::Command>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let mut stream = request.into_inner();
        let first = stream
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("the stream is empty"))?;
        let FromLeader::Hello(hello) = read(first)? else {
            return Err(Status::invalid_argument("the first message must be hello"));
        };
        let (sender, commands) = mpsc::channel(1024);
        let events = self.worker.session(hello, commands).await.map_err(refuse)?;
        self.tasks.spawn("commands", async move {
            while let Ok(Some(message)) = stream.message().await {
                if message.command.is_none() {
                    tracing::debug!("a command of a kind that only a later build knows; passed over");
                    continue;
                }
                match read(message) {
                    Ok(FromLeader::Command(command)) => {
                        if sender.send(command).await.is_err() {
                            return;
                        }
                    }
                    Ok(FromLeader::Hello(_)) => tracing::warn!("the leader greets a second time; ignored"),
                    Err(status) => {
                        // Dropping the sender ends the session: the leader reopens it and says everything again.
                        tracing::warn!(error = status.message(), "a command cannot be read; session ends");
                        return;
                    }
                }
            }
        });
        let events = ReceiverStream::new(events).map(|event| Ok(v1::Event::from(&event)));
        Ok(Response::new(Box::pin(events)))
    }
}

fn read(message: v1::Command) -> Result<FromLeader, Status> {
    FromLeader::try_from(message).map_err(|malformed| Status::invalid_argument(malformed.to_string()))
}

fn refuse(error: LinkError) -> Status {
    match &error {
        LinkError::Deposed { theirs, .. } => Status::failed_precondition(format!("term={theirs}")),
        LinkError::Late { .. } => Status::aborted(error.to_string()),
        LinkError::Down { .. } | LinkError::Nonsense { .. } => Status::invalid_argument(error.to_string()),
    }
}
