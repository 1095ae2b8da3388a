//! A worker on a real socket that talks nonsense.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use gust_core::{ids::Term, ports::Event, time::Timestamp};
use gust_proto::v1::{
    self,
    worker_service_server::{WorkerService, WorkerServiceServer},
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _, wrappers::TcpListenerStream};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Endpoint, Server},
};

use super::*;
use crate::{clock::Clock, rpc::GrpcLink, task::Tasks};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is said in each session, in turn; then the session stays open.
struct Babbler(Mutex<VecDeque<Vec<v1::Event>>>);

#[tonic::async_trait]
impl WorkerService for Babbler {
    type WorkStream = Pin<Box<dyn Stream<Item = Result<v1::Event, Status>> + Send>>;

    async fn work(&self, _: Request<Streaming<v1::Command>>) -> Result<Response<Self::WorkStream>, Status> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let said = tokio_stream::iter(next.unwrap_or_default().into_iter().map(Ok));
        Ok(Response::new(Box::pin(said.chain(tokio_stream::pending()))))
    }
}

fn event(event: v1::event::Event) -> v1::Event {
    v1::Event { event: Some(event) }
}

/// A refusal of no class, a batch's id that is none, and half a message.
fn nonsense() -> Vec<v1::Event> {
    use v1::event::Event::{Refused, Settled};
    let batch = "00000000-0000-0000-0000-000000000001".to_owned();
    let refusal = v1::Refusal {
        class: v1::RefusalClass::Unspecified.into(),
        message: "no".to_owned(),
        ..v1::Refusal::default()
    };
    vec![
        event(Refused(v1::Refused {
            batch: batch.clone(),
            refusal: Some(refusal),
        })),
        event(Settled(v1::Settled {
            batch: "\u{0}".repeat(1000),
            fates: Vec::new(),
        })),
        event(Settled(v1::Settled {
            batch,
            fates: vec![v1::Fate::default()],
        })),
    ]
}

#[tokio::test]
async fn a_worker_that_talks_nonsense_is_left_and_asked_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let ready = event(v1::event::Event::Ready(v1::Ready::default()));
    let sessions = nonsense()
        .into_iter()
        .map(|nonsense| vec![ready.clone(), nonsense]);
    let sessions: Vec<_> = sessions.chain([vec![ready.clone()]]).collect();
    let bad = sessions.len() - 1;
    // What only a later build knows how to say is no nonsense.
    let sessions = sessions
        .into_iter()
        .map(|said| [vec![v1::Event { event: None }], said].concat())
        .collect();
    let server = Server::builder()
        .add_service(WorkerServiceServer::new(Babbler(Mutex::new(sessions))))
        .serve_with_incoming(TcpListenerStream::new(listener));
    let tasks = Tasks::default();
    tasks.spawn("server", async move { drop(server.await) });
    let (inputs, mut received) = mpsc::channel(64);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    let worker = ReplicaId::new("b");
    let talking = Talk {
        worker: worker.clone(),
        session: 1,
        link: Arc::new(GrpcLink::new(worker, endpoint)),
        held: Held::always(&Clock::starting_at(Timestamp(0))),
        inputs,
        dice: Dice::seeded(1),
    };
    let hello = Hello {
        term: Term(1),
        session: 0,
        leader: ReplicaId::new("a"),
        shards: Vec::new(),
    };
    let (_commands, asked) = mpsc::unbounded_channel();
    tasks.spawn("talk", talk(talking, hello, asked));
    let (mut readies, mut downs) = (0, 0);
    while readies <= bad {
        let input = tokio::time::timeout(PATIENCE, received.recv())
            .await
            .expect("it asks again");
        match input.expect("it goes on") {
            Input::Worker {
                event: Event::Ready { .. },
                ..
            } => readies += 1,
            Input::WorkerDown { .. } => downs += 1,
            other => panic!("nothing of it is believed, but {other:?}"),
        }
    }
    assert_eq!((readies, downs), (bad + 1, bad));
    tasks.stop().await;
}
