//! What a virtual cluster is at a moment, and what time does to it.

use std::{collections::BTreeMap, time::Duration};

use gust_fakes::etcd::Model;
use gust_store::etcd::{Keys, model};
use tokio::{sync::mpsc, time::Instant};

use super::world::{Cut, Seen, Tap};

/// How long until a client notices that its connection is dead: two keepalives.
const NOTICED: Duration = Duration::from_secs(2);
/// How long history is kept, as with `--auto-compaction-retention=5m`.
const RETENTION: Duration = Duration::from_secs(300);

pub(super) type Late = Box<dyn FnOnce(&mut Model, Duration) + Send>;

pub(super) struct Watcher {
    pub replica: usize,
    pub keys: Vec<Keys>,
    pub from: u64,
    pub to: mpsc::UnboundedSender<Seen>,
}

pub(super) struct State {
    pub model: Model,
    pub tap: Option<Tap>,
    pub outage: Option<(Cut, Instant)>,
    /// Writes in the raft log that no majority has, with their senders.
    pub late: Vec<(usize, Late)>,
    pub hung: u64,
    pub slow: Option<(Duration, Instant)>,
    pub cuts: BTreeMap<usize, Instant>,
    /// Counts how often all connections broke.
    pub connection: u64,
    pub watchers: Vec<Watcher>,
    /// Watches whose clients do not know yet that they are dead.
    severed: Vec<(Instant, mpsc::UnboundedSender<Seen>)>,
    /// What is compacted next, and when.
    compaction: (u64, Instant),
    /// When whoever ticks will look next.
    pub armed: Instant,
}

impl State {
    /// A new cluster.
    pub fn new(start: Instant) -> Self {
        Self {
            model: Model::default(),
            tap: None,
            outage: None,
            late: Vec::new(),
            hung: 0,
            slow: None,
            cuts: BTreeMap::new(),
            connection: 0,
            watchers: Vec::new(),
            severed: Vec::new(),
            compaction: (0, start + RETENTION),
            armed: start,
        }
    }

    /// Does what is due by now.
    pub fn settle(&mut self, start: Instant, now: Instant) {
        if let Some((_, until)) = self.outage
            && until <= now
        {
            self.outage = None;
            // Whoever is raft leader now has just become it.
            self.model.leader_moved(until - start);
            for (replica, late) in std::mem::take(&mut self.late) {
                late(&mut self.model, until - start);
                self.hand_on(Some(replica));
            }
        }
        self.cuts.retain(|_, until| *until > now);
        self.severed.retain(|(until, _)| *until > now);
        if self.outage.is_some() {
            return;
        }
        self.model.tick(now - start);
        self.hand_on(None);
        if self.compaction.1 <= now {
            let _ = self.model.compact(self.compaction.0);
            self.compaction = (self.model.revision(), now + RETENTION);
        }
    }

    /// Hands what was applied to the tap and to the watches.
    pub fn hand_on(&mut self, replica: Option<usize>) {
        for applied in self.model.take_applied() {
            if let Some(tap) = &mut self.tap {
                tap(replica, applied);
            }
        }
        let next = self.model.revision() + 1;
        let model = &self.model;
        self.watchers.retain_mut(|watcher| {
            if watcher.from >= next {
                return !watcher.to.is_closed();
            }
            match model::events(model, &watcher.keys, watcher.from) {
                Ok(events) => {
                    watcher.from = next;
                    events.is_empty() || watcher.to.send(Ok(events)).is_ok()
                }
                Err(error) => {
                    // Canceled; whoever does not listen any more need not know.
                    let _ = watcher.to.send(Err(error));
                    false
                }
            }
        });
    }

    /// Takes watches away; their clients notice later.
    pub fn sever(&mut self, now: Instant, which: impl Fn(&Watcher) -> bool) {
        let severed = self.watchers.extract_if(.., |watcher| which(watcher));
        self.severed
            .extend(severed.map(|watcher| (now + NOTICED, watcher.to)));
    }

    /// True while this replica cannot reach the cluster.
    pub fn is_cut(&self, replica: usize, now: Instant) -> bool {
        self.cuts.get(&replica).is_some_and(|until| *until > now)
    }

    /// When there is something to do next.
    pub fn next_due(&self, start: Instant) -> Instant {
        let severed = self.severed.iter().map(|(until, _)| *until);
        let due = match self.outage {
            Some((_, until)) => until,
            None => {
                let lease = self.model.next_due().map(|due| start + due);
                lease.map_or(self.compaction.1, |lease| lease.min(self.compaction.1))
            }
        };
        severed.fold(due, Instant::min)
    }
}
