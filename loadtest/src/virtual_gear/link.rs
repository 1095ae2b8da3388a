//! Links between replicas: streams that keep their order, take time, are cut, and break.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use gust_core::{
    ids::ReplicaId,
    ports::{Command, CommandSink, Event, EventStream, Hello, Link, LinkError, Member, Parting, Session},
};
use gust_server::{replica::Links, worker::Worker};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    hosts::{Answer, Hosts},
    net::{Fate, Net, Passage, Point},
    witness::Witness,
    world::Shared,
};

/// A stream that hears nothing for so long is given up by both ends: HTTP/2 keepalive.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(4);

/// A connection that is not made in that time is given up.
pub(super) const CONNECT: Duration = Duration::from_secs(2);

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
    pub world: Shared,
    pub witness: Witness,
    /// Counts hellos in the order in which they reach their workers.
    pub hellos: Arc<AtomicU64>,
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

    async fn attend(&self) -> Parting {
        self.way.hosts.attend(self.way.from, self.to).await
    }

    async fn open(&self, hello: &Hello) -> Result<Session, LinkError> {
        let VirtualLinks { from, net, hosts, .. } = &self.way;
        let passage = net.weather.passage(*from, Point::LinkOpen);
        if !matches!(passage.fate, Fate::Served | Fate::Doubled(_)) {
            tokio::time::sleep(CONNECT).await;
            return Err(self.down("no connection within 2 s"));
        }
        match hosts.answer(*from, self.to) {
            Answer::Mute => {
                tokio::time::sleep(CONNECT).await;
                return Err(self.down("no connection within 2 s"));
            }
            Answer::Refused => return Err(self.down("connection refused")),
            Answer::Frozen | Answer::There => {}
        }
        // Once it has left, a hello is out of the leader's hands: it arrives even if nobody waits for the answer.
        let (reply, answer) = oneshot::channel();
        let arrival = arrive(self.way.clone(), self.to, hello.clone(), passage, reply);
        net.tasks.spawn("hello", arrival);
        let (events, commands) = match tokio::time::timeout(KEEPALIVE, answer).await {
            Ok(Ok(answer)) => answer.map_err(|problem| match problem {
                Closed::Down(message) => self.down(message),
                Closed::Said(error) => error,
            })?,
            Ok(Err(_)) => return Err(self.down("the worker went away")),
            Err(_) => return Err(self.down("no answer")),
        };
        let (event_sender, event_receiver) = self.way.wire(self.to, *from, Point::LinkEvent);
        net.tasks.spawn("events", pour(events, event_sender));
        Ok(Session {
            commands: Box::new(Commands(self.name.clone(), commands)),
            events: Box::new(Events(self.name.clone(), event_receiver)),
        })
    }
}

/// Why a session was not opened.
enum Closed {
    /// Nobody answered there.
    Down(&'static str),
    /// The worker's own words.
    Said(LinkError),
}

type Opened = Result<(mpsc::Receiver<Event>, Wire<Command>), Closed>;

/// A hello on its way, at the worker, and the worker's answer on its way back.
async fn arrive(
    way: VirtualLinks,
    to: usize,
    hello: Hello,
    passage: Passage,
    reply: oneshot::Sender<Opened>,
) {
    tokio::time::sleep(passage.there).await;
    let worker = way
        .workers
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .get(to)
        .cloned()
        .flatten();
    let (Some(worker), Some(executor)) = (worker, way.hosts.executor(to)) else {
        let _ = reply.send(Err(Closed::Down("connection refused")));
        return;
    };
    let (command_sender, commands) = way.wire(way.from, to, Point::LinkCommand);
    let (opened, answer) = oneshot::channel();
    let following = way.clone();
    executor.run(
        "session",
        Box::pin(async move {
            let order = following.hellos.fetch_add(1, Ordering::Relaxed);
            let term = hello.term.0;
            let answer = worker.session(hello, commands).await;
            if answer.is_ok() {
                let at = following.world.elapsed();
                following
                    .witness
                    .tell(|checker| checker.followed(at, to, order, term));
            }
            // The other end may have given up meanwhile.
            let _ = opened.send(answer);
        }),
    );
    let answer = match answer.await {
        Ok(Ok(events)) => Ok((events, command_sender)),
        Ok(Err(error)) => Err(Closed::Said(error)),
        Err(_) => Err(Closed::Down("the worker went away")),
    };
    way.net.weather.served(way.from, Point::LinkOpen);
    tokio::time::sleep(passage.back).await;
    // Where nobody waits any more the session ends: its commands have no sender.
    let _ = reply.send(answer);
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
                if let Some(until) = hosts.hindered(from, to) {
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
