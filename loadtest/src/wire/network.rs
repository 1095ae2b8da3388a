//! A network between the processes of a run that can be cut, halved and slowed: whatever one dials of another leads
//! through a relay here.
//!
//! The relay knows who dials by the process that holds the other end of the connection, so one address serves all
//! callers. While nobody listens where it leads to, a relay refuses connections, once one was in vain. Bytes that are held are not lost: as over a real network they arrive once the way is open again, on the
//! same connection, if both ends still want it.

mod way;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use gust_server::task::Tasks;
use gust_store::conformance::etcd::loopback;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc, watch},
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::callers::{self, Connections};
use way::{Way, deliver, take};

/// One that others dial, or that dials others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// A replica of gust with its supervisor.
    Replica(usize),
    /// A member of etcd.
    Member(usize),
}

/// What happens to bytes on their way from one party to another.
#[derive(Clone, Debug, Default)]
struct Rules {
    held: BTreeSet<(Party, Party)>,
    late: BTreeMap<(Party, Party), Duration>,
}

/// Where a connection begins and ends.
type Ends = (SocketAddr, SocketAddr);

/// Bytes with the moment at which they may arrive.
type Parcel = (Instant, Vec<u8>);

/// Most parcels under way on one connection, in one direction, and the size of each.
const PARCELS: usize = 256;
const PARCEL: usize = 16 << 10;
/// How long who dialled may be unknown.
const KNOWN_SOON: Duration = Duration::from_secs(1);
/// From one reading of what the kernel tells to the next, at least.
const READS: Duration = Duration::from_millis(100);
/// Between two looks whether somebody listens again where nobody did.
const LOOK: Duration = Duration::from_millis(10);

/// The network. Its relays end with it.
pub struct Network {
    rules: watch::Sender<Rules>,
    directory: Arc<Directory>,
    tasks: Tasks,
}

/// Who is who. What the kernel tells is read for all who ask at once, and not too often: many dial again at the very
/// moment at which a way is open again.
#[derive(Default)]
struct Directory {
    /// Processes by their ids.
    parties: Mutex<BTreeMap<u32, Party>>,
    read: tokio::sync::Mutex<Option<(Instant, Connections)>>,
}

impl Drop for Network {
    fn drop(&mut self) {
        self.tasks.cancelled().cancel();
    }
}

impl Network {
    /// A network in which all ways are open.
    pub fn open() -> Self {
        Self {
            rules: watch::Sender::default(),
            directory: Arc::default(),
            tasks: Tasks::default(),
        }
    }

    /// The process of a party, with its children. An earlier one is forgotten.
    pub fn is(&self, party: Party, process: u32) {
        let parties = &self.directory.parties;
        let mut parties = parties.lock().unwrap_or_else(PoisonError::into_inner);
        parties.retain(|_, known| *known != party);
        parties.insert(process, party);
    }

    /// An address that leads to where `to` listens.
    ///
    /// # Errors
    /// No address can be had.
    pub fn relay(&self, to: Party, target: SocketAddr) -> Result<SocketAddr> {
        let listener = std::net::TcpListener::bind((loopback(), 0)).context("no address for a relay")?;
        listener.set_nonblocking(true).context("a relay cannot listen")?;
        let address = listener.local_addr().context("a relay cannot listen")?;
        let listener = TcpListener::from_std(listener).context("a relay cannot listen")?;
        let relay = Relay {
            to,
            target,
            in_vain: Arc::default(),
            rules: self.rules.subscribe(),
            directory: Arc::clone(&self.directory),
            tasks: self.tasks.clone(),
        };
        self.tasks.spawn("relay", relay.accept(listener));
        Ok(address)
    }

    /// From now on nothing arrives from one at the other; the way back stays as it is.
    pub fn hold(&self, from: Party, to: Party) {
        self.rules.send_modify(|rules| {
            rules.held.insert((from, to));
        });
    }

    /// Nothing passes between these and all the others, in neither direction.
    pub fn cut_off(&self, these: &[Party], all: &[Party]) {
        for &one in these {
            for &other in all.iter().filter(|other| !these.contains(other)) {
                self.hold(one, other);
                self.hold(other, one);
            }
        }
    }

    /// From now on what one sends arrives so much later at the other.
    pub fn slow(&self, from: Party, to: Party, by: Duration) {
        self.rules.send_modify(|rules| {
            rules.late.insert((from, to), by);
        });
    }

    /// All ways are open again.
    pub fn heal(&self) {
        self.rules.send_replace(Rules::default());
    }
}

#[derive(Clone)]
struct Relay {
    to: Party,
    target: SocketAddr,
    /// Somebody was connected to nobody.
    in_vain: Arc<Notify>,
    rules: watch::Receiver<Rules>,
    directory: Arc<Directory>,
    tasks: Tasks,
}

impl Directory {
    /// Who holds the other end of a connection at this moment, or a little later.
    async fn holder(&self, ends: Ends) -> Option<Party> {
        let asked = Instant::now();
        let mut read = self.read.lock().await;
        if let Some((at, connections)) = &*read
            && *at >= asked
        {
            return connections.get(&ends).copied();
        }
        if let Some((at, _)) = &*read {
            sleep_until(*at + READS).await;
        }
        let parties = self
            .parties
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let begun = Instant::now();
        let connections = spawn_blocking(move || callers::read(&parties)).await.ok()?;
        let found = connections.get(&ends).copied();
        *read = Some((begun, connections));
        found
    }
}

impl Relay {
    async fn accept(self, mut listener: TcpListener) {
        let Ok(address) = listener.local_addr() else {
            return;
        };
        loop {
            tokio::select! {
                biased;
                () = self.in_vain.notified() => {
                    drop(listener);
                    listener = self.listen_again(address).await;
                }
                // One that cannot be accepted is as if it had not reached us.
                Ok((caller, _)) = listener.accept() => {
                    self.tasks.spawn("connection", self.clone().connect(caller));
                }
            }
        }
    }

    /// Listens as soon as somebody does where this leads to.
    async fn listen_again(&self, address: SocketAddr) -> TcpListener {
        loop {
            if TcpStream::connect(self.target).await.is_ok()
                && let Ok(listener) = TcpListener::bind(address).await
            {
                return listener;
            }
            sleep(LOOK).await;
        }
    }

    /// A connection to where this leads to. If nobody listens there the next who dial are refused.
    async fn callee(&self) -> Option<TcpStream> {
        let callee = TcpStream::connect(self.target).await;
        if callee.is_err() {
            self.in_vain.notify_one();
        }
        callee.ok()
    }

    /// Who dialled. A process that was just started may do so before it is said whose it is.
    async fn caller(&self, ends: Ends) -> Option<Party> {
        let deadline = Instant::now() + KNOWN_SOON;
        while Instant::now() < deadline {
            if let Some(party) = self.directory.holder(ends).await {
                return Some(party);
            }
        }
        None
    }

    async fn connect(self, caller: TcpStream) {
        let (Ok(theirs), Ok(ours)) = (caller.peer_addr(), caller.local_addr()) else {
            return;
        };
        let ends = (theirs, ours);
        // Telling who dials takes time, and while all ways are open it does not matter.
        let at_once = self.rules.borrow().held.is_empty();
        if !at_once && !self.may_dial(ends).await {
            return;
        }
        let Some(callee) = self.callee().await else { return };
        for stream in [&caller, &callee] {
            let _ = stream.set_nodelay(true);
        }
        let (tell, who) = watch::channel(None);
        let relay = self.clone();
        self.tasks.spawn("caller", async move {
            tell.send_replace(relay.caller(ends).await);
        });
        let (their_reader, their_writer) = caller.into_split();
        let (our_reader, our_writer) = callee.into_split();
        let way = |back| Way {
            rules: self.rules.clone(),
            who: who.clone(),
            to: self.to,
            back,
        };
        for (reader, writer, way) in [
            (their_reader, our_writer, way(false)),
            (our_reader, their_writer, way(true)),
        ] {
            let (parcels, arriving) = mpsc::channel(PARCELS);
            self.tasks.spawn("take", take(reader, parcels, way.clone()));
            self.tasks.spawn("deliver", deliver(writer, arriving, way));
        }
    }

    /// Whether who dials while ways are cut may, once its own is open. Who hung up before it could be told apart wants
    /// nothing any more.
    async fn may_dial(&self, ends: Ends) -> bool {
        let Some(from) = self.caller(ends).await else {
            return false;
        };
        let mut rules = self.rules.clone();
        if !rules.borrow().held.contains(&(from, self.to)) {
            return true;
        }
        let open = rules.wait_for(|rules| !rules.held.contains(&(from, self.to)));
        if open.await.is_err() {
            return false;
        }
        // Over a real network nothing at all would arrive of what was given up meanwhile.
        self.directory.holder(ends).await.is_some()
    }
}

#[cfg(test)]
mod tests;
