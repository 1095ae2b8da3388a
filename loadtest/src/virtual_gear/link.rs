//! Links between replicas: streams that keep their order, take time, are cut, and break.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use gust_core::{
    ids::ReplicaId,
    ports::{Command, CommandSink, Event, EventStream, Hello, Link, LinkError, Member, Session},
};
use gust_server::{replica::Links, worker::Worker};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    hosts::Hosts,
    net::{Fate, Net, Point},
};

/// A stream that hears nothing for so long is given up by both ends: HTTP/2 keepalive.
const KEEPALIVE: Duration = Duration::from_secs(4);

/// The replicas' workers, as far as they run.
pub type Workers = Arc<std::sync::Mutex<Vec<Option<Worker>>>>;

/// Ways from one replica to all workers.
#[derive(Clone)]
pub struct VirtualLinks {
    pub from: usize,
    pub net: Net,
    pub hosts: Hosts,
    pub workers: Workers,
    pub names: Arc<Vec<ReplicaId>>,
    /// Is told which term a worker follows.
    pub followed: Followed,
}

/// Is told that a worker is asked to follow, and that it does; answers the first with a number.
pub type Followed = Arc<dyn Fn(usize, Follow) -> u64 + Send + Sync>;

/// What a worker does with a leader's greeting.
#[derive(Clone, Copy, Debug)]
pub enum Follow {
    /// It reads it.
    Asked,
    /// It follows.
    Accepted {
        /// The number of the question.
        asked: u64,
        /// The leader's term.
        term: u64,
    },
}

impl Links for VirtualLinks {
    fn to(&self, member: &Member) -> Arc<dyn Link> {
        let to = self.names.iter().position(|name| *name == member.replica);
        Arc::new(VirtualLink {
            name: member.replica.clone(),
            to: to.unwrap_or(usize::MAX),
            way: self.clone(),
        })
    }
}

struct VirtualLink {
    name: ReplicaId,
    to: usize,
    way: VirtualLinks,
}

impl VirtualLink {
    fn down(&self, message: &str) -> LinkError {
        LinkError::Down {
            worker: self.name.clone(),
            message: message.to_owned(),
        }
    }
}

#[async_trait]
impl Link for VirtualLink {
    fn worker(&self) -> &ReplicaId {
        &self.name
    }

    async fn open(&self, hello: &Hello) -> Result<Session, LinkError> {
        let VirtualLinks {
            from,
            net,
            hosts,
            workers,
            ..
        } = &self.way;
        let passage = net.weather.passage(*from, Point::LinkOpen);
        tokio::time::sleep(passage.there).await;
        let cut = hosts
            .cut_until(*from, self.to)
            .or(hosts.cut_until(self.to, *from));
        if cut.is_some() || !matches!(passage.fate, Fate::Served | Fate::Doubled(_)) {
            tokio::time::sleep(Duration::from_secs(2)).await;
            return Err(self.down("no connection within 2 s"));
        }
        let worker = workers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(self.to)
            .cloned()
            .flatten();
        let (Some(worker), Some(executor)) = (worker, hosts.executor(self.to)) else {
            return Err(self.down("connection refused"));
        };
        let (command_sender, commands) = self.way.wire(*from, self.to, Point::LinkCommand);
        let (reply, answer) = oneshot::channel();
        let (hello, followed, to) = (hello.clone(), Arc::clone(&self.way.followed), self.to);
        executor.run(
            "session",
            Box::pin(async move {
                let asked = followed(to, Follow::Asked);
                let term = hello.term.0;
                let answer = worker.session(hello, commands).await;
                if answer.is_ok() {
                    followed(to, Follow::Accepted { asked, term });
                }
                // The other end may have given up meanwhile.
                let _ = reply.send(answer);
            }),
        );
        let answered = tokio::time::timeout(KEEPALIVE, answer).await;
        let events = match answered {
            Ok(Ok(answer)) => answer?,
            Ok(Err(_)) => return Err(self.down("the worker went away")),
            Err(_) => return Err(self.down("no answer")),
        };
        net.weather.served(*from, Point::LinkOpen);
        tokio::time::sleep(passage.back).await;
        let (event_sender, event_receiver) = self.way.wire(self.to, *from, Point::LinkEvent);
        net.tasks.spawn("events", pour(events, event_sender));
        Ok(Session {
            commands: Box::new(Commands(self.name.clone(), command_sender)),
            events: Box::new(Events(self.name.clone(), event_receiver)),
        })
    }
}

async fn pour(mut events: mpsc::Receiver<Event>, wire: Wire<Event>) {
    while let Some(event) = events.recv().await {
        if !wire.send(event) {
            return;
        }
    }
}

impl VirtualLinks {
    /// One direction of a stream.
    fn wire<T: Send + 'static>(&self, from: usize, to: usize, point: Point) -> (Wire<T>, mpsc::Receiver<T>) {
        let (sender, mut sent) = mpsc::unbounded_channel::<(Instant, bool, T)>();
        let (deliver, delivered) = mpsc::channel(1024);
        let hosts = self.hosts.clone();
        self.net.tasks.spawn("wire", async move {
            while let Some((at, breaks, message)) = sent.recv().await {
                tokio::time::sleep_until(at).await;
                if let Some(until) = hosts.cut_until(from, to) {
                    if until > Instant::now() + KEEPALIVE {
                        tokio::time::sleep(KEEPALIVE).await;
                        return;
                    }
                    tokio::time::sleep_until(until).await;
                }
                if breaks || deliver.send(message).await.is_err() {
                    return;
                }
            }
        });
        let wire = Wire {
            from,
            point,
            net: self.net.clone(),
            sender,
        };
        (wire, delivered)
    }
}

/// The sending end of one direction.
struct Wire<T> {
    from: usize,
    point: Point,
    net: Net,
    sender: mpsc::UnboundedSender<(Instant, bool, T)>,
}

impl<T> Wire<T> {
    /// False if the stream is broken.
    fn send(&self, message: T) -> bool {
        let passage = self.net.weather.passage(self.from, self.point);
        // A stream loses nothing but its end: a lost message is a broken connection.
        let breaks = matches!(
            passage.fate,
            Fate::LostBefore | Fate::LostAfter | Fate::Refused { .. }
        );
        let sent = self
            .sender
            .send((Instant::now() + passage.there, breaks, message))
            .is_ok();
        self.net.weather.served(self.from, self.point);
        sent
    }
}

struct Commands(ReplicaId, Wire<Command>);

#[async_trait]
impl CommandSink for Commands {
    async fn send(&mut self, command: Command) -> Result<(), LinkError> {
        // Every await is a place to crash at.
        tokio::task::yield_now().await;
        if self.1.send(command) {
            return Ok(());
        }
        Err(LinkError::Down {
            worker: self.0.clone(),
            message: "the worker hung up".to_owned(),
        })
    }
}

struct Events(ReplicaId, mpsc::Receiver<Event>);

#[async_trait]
impl EventStream for Events {
    async fn next(&mut self) -> Result<Event, LinkError> {
        self.1.recv().await.ok_or_else(|| LinkError::Down {
            worker: self.0.clone(),
            message: "the worker hung up".to_owned(),
        })
    }
}
