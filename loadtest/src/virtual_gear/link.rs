//! A link to a worker of the same thread: channels in place of a stream.

use async_trait::async_trait;
use gust_core::{
    ids::ReplicaId,
    ports::{Command, CommandSink, Event, EventStream, Hello, Link, LinkError, Session},
};
use gust_server::worker::Worker;
use tokio::sync::mpsc;

/// The way to a worker without a wire.
pub(super) struct VirtualLink {
    pub name: ReplicaId,
    pub worker: Worker,
}

#[async_trait]
impl Link for VirtualLink {
    fn worker(&self) -> &ReplicaId {
        &self.name
    }

    async fn open(&self, hello: &Hello) -> Result<Session, LinkError> {
        let (sender, commands) = mpsc::channel(64);
        let events = self.worker.session(hello.clone(), commands).await?;
        Ok(Session {
            commands: Box::new(Commands(self.name.clone(), sender)),
            events: Box::new(Events(self.name.clone(), events)),
        })
    }
}

struct Commands(ReplicaId, mpsc::Sender<Command>);
struct Events(ReplicaId, mpsc::Receiver<Event>);

fn down(worker: &ReplicaId) -> LinkError {
    LinkError::Down {
        worker: worker.clone(),
        message: "the session is over".to_owned(),
    }
}

#[async_trait]
impl CommandSink for Commands {
    async fn send(&mut self, command: Command) -> Result<(), LinkError> {
        self.1.send(command).await.map_err(|_| down(&self.0))
    }
}

#[async_trait]
impl EventStream for Events {
    async fn next(&mut self) -> Result<Event, LinkError> {
        self.1.recv().await.ok_or_else(|| down(&self.0))
    }
}
