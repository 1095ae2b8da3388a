//! Deleting machines until they are known to be gone.
//!
//! A deletion is confirmed by a list begun after it was accepted, not by one read per machine: a thousand
//! deletions cost a thousand calls and a few lists.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use gust_core::{
    ids::{MachineName, Shard, Zone},
    ports::{CloudError, Event, RefusalClass},
};
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};
use tracing::{debug, warn};

use super::{Session, lock};

// Times here are monotonic: what is compared may be minutes apart, and wall clocks are set right meanwhile.

#[derive(Clone, Debug)]
struct Deletion {
    zone: Option<Zone>,
    /// Lists begun before this say nothing about it.
    lists_from: Instant,
    /// How long lists may not show it once it exists.
    lag: Duration,
    wanted_at: Option<Instant>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// To be asked for, not before.
    Due(Instant),
    /// The call is under way.
    Calling,
    /// The cloud took it; a list begun after this shows the end.
    Accepted(Instant),
    /// A list begun after that lacked it, but had several pages, which are no snapshot: one more must lack it.
    Missed(Instant),
}

/// Machines of one shard that must go.
#[derive(Default)]
pub(super) struct Deletions {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Default)]
struct Inner {
    machines: BTreeMap<MachineName, Deletion>,
    /// Those that are to be asked for and whose zone is known: a burst has thousands that only wait for a list.
    due: BTreeSet<(Instant, MachineName)>,
    /// How many were asked for and are not known to be gone.
    busy: usize,
}

impl Inner {
    /// Changes a deletion, and keeps the order of what is due.
    fn change(&mut self, name: &MachineName, change: impl FnOnce(&mut Deletion)) {
        let Some(deletion) = self.machines.get_mut(name) else {
            return;
        };
        let (before, was_busy) = (deletion.due(), deletion.is_busy());
        change(deletion);
        let (after, is_busy) = (deletion.due(), deletion.is_busy());
        self.busy = self.busy + usize::from(is_busy) - usize::from(was_busy);
        if before != after {
            if let Some(at) = before {
                self.due.remove(&(at, name.clone()));
            }
            if let Some(at) = after {
                self.due.insert((at, name.clone()));
            }
        }
    }

    fn remove(&mut self, name: &MachineName) {
        let Some(deletion) = self.machines.remove(name) else {
            return;
        };
        self.busy -= usize::from(deletion.is_busy());
        if let Some(at) = deletion.due() {
            self.due.remove(&(at, name.clone()));
        }
    }
}

impl Deletion {
    /// When it may be asked for; none while it may not.
    fn due(&self) -> Option<Instant> {
        match (self.state, &self.zone) {
            (State::Due(at), Some(_)) => Some(at),
            _ => None,
        }
    }

    /// Whether an operation of it may be under way.
    fn is_busy(&self) -> bool {
        !matches!(self.state, State::Due(_))
    }
}

impl Deletions {
    /// Takes one more on; a repeat adds the zone where it was missing.
    pub fn want(&self, name: MachineName, zone: Option<Zone>, lists_after: Duration) {
        let lists_from = Instant::now() + lists_after;
        let mut inner = lock(&self.inner);
        let new = || Deletion {
            zone: None,
            lists_from,
            lag: lists_after,
            wanted_at: None,
            state: State::Due(Instant::now()),
        };
        inner.machines.entry(name.clone()).or_insert_with(new);
        inner.change(&name, |deletion| {
            deletion.zone = deletion.zone.take().or(zone);
            deletion.lists_from = deletion.lists_from.max(lists_from);
            deletion.lag = deletion.lag.max(lists_after);
        });
        self.wake.notify_one();
    }

    /// Machines that may have come to be just now.
    pub fn born(&self, names: &[MachineName]) {
        let mut inner = lock(&self.inner);
        for name in names {
            if let Some(deletion) = inner.machines.get_mut(name) {
                deletion.lists_from = deletion.lists_from.max(Instant::now() + deletion.lag);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        lock(&self.inner).machines.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.inner).machines.len()
    }

    /// Since when, at the longest, one has been on its way out; and the zones of all that are.
    pub fn accepted(&self) -> Option<(Instant, BTreeSet<Zone>)> {
        let inner = lock(&self.inner);
        let mut since: Option<Instant> = None;
        let mut zones = BTreeSet::new();
        for deletion in inner.machines.values() {
            if let State::Accepted(at) | State::Missed(at) = deletion.state {
                since = Some(since.map_or(at, |earlier| earlier.min(at)));
                zones.extend(deletion.zone.clone());
            }
        }
        since.map(|since| (since, zones))
    }

    /// Deletions that have ended by the cloud's own account: of these, which were ours and are not known to be gone.
    pub fn ended(&self, names: Vec<MachineName>) -> Vec<MachineName> {
        let mut inner = lock(&self.inner);
        let mut gone = names;
        gone.retain(|name| {
            let known = inner.machines.get(name).map(|deletion| deletion.state);
            matches!(known, Some(State::Accepted(_) | State::Missed(_)))
        });
        for name in &gone {
            inner.remove(name);
        }
        drop(inner);
        self.wake.notify_one();
        gone
    }

    // Machines whose zone is known and whose time has come, while fewer than `most` are on their way out: Google takes
    // only so many operations at a time.
    fn take_due(&self, now: Instant, most: usize) -> Vec<(MachineName, Zone)> {
        let mut inner = lock(&self.inner);
        let mut due = Vec::new();
        while inner.busy < most
            && let Some((at, name)) = inner.due.pop_first()
        {
            if at > now {
                inner.due.insert((at, name));
                break;
            }
            if let Some(deletion) = inner.machines.get_mut(&name)
                && let Some(zone) = &deletion.zone
            {
                deletion.state = State::Calling;
                due.push((name, zone.clone()));
                inner.busy += 1;
            }
        }
        due
    }

    // Nothing is due while there is no room: whatever makes room wakes.
    fn next_due(&self, most: usize) -> Option<Instant> {
        let inner = lock(&self.inner);
        let first = inner.due.first().filter(|_| inner.busy < most);
        first.map(|(at, _)| *at)
    }

    fn set(&self, name: &MachineName, state: State) {
        lock(&self.inner).change(name, |deletion| deletion.state = state);
        // Nothing but a new call is up to the task that waits for it.
        if let State::Due(_) = state {
            self.wake.notify_one();
        }
    }

    pub fn forget(&self, name: &MachineName) {
        lock(&self.inner).remove(name);
        self.wake.notify_one();
    }

    /// A whole list of the shard, begun at `begun_at`, in one page a zone or in several: tells zones that were
    /// missing, and returns the machines that it shows to be gone, and those that it lacks but is too early to
    /// speak of. Of the `unborn` it tells nothing: they may still appear.
    pub fn on_list(
        &self,
        begun_at: Instant,
        paged: bool,
        listed: &BTreeMap<MachineName, Zone>,
        unborn: &BTreeSet<MachineName>,
    ) -> (Vec<MachineName>, Vec<(MachineName, Zone)>) {
        let mut inner = lock(&self.inner);
        let Inner { machines, due, .. } = &mut *inner;
        let mut gone = Vec::new();
        let mut early = Vec::new();
        for (name, deletion) in machines.iter_mut() {
            if let Some(zone) = listed.get(name) {
                if deletion.zone.is_none() {
                    deletion.zone = Some(zone.clone());
                    due.extend(deletion.due().map(|at| (at, name.clone())));
                }
                if let State::Missed(_) = deletion.state {
                    deletion.state = State::Accepted(begun_at);
                }
                continue;
            }
            if unborn.contains(name) {
                continue;
            }
            if begun_at < deletion.lists_from {
                if let (State::Accepted(at), Some(zone)) = (deletion.state, &deletion.zone)
                    && begun_at > at
                {
                    early.push((name.clone(), zone.clone()));
                }
                continue;
            }
            match (deletion.state, &deletion.zone) {
                (State::Accepted(at), _) if begun_at > at && paged => {
                    deletion.state = State::Missed(begun_at);
                }
                (State::Accepted(at) | State::Missed(at), _) if begun_at > at => gone.push(name.clone()),
                // Nobody knows where it is: two lists in a row that lack it, with no creation under way, will do.
                (State::Due(_), None) => match deletion.wanted_at {
                    Some(at) if begun_at.duration_since(at) >= Duration::from_secs(5) => {
                        gone.push(name.clone())
                    }
                    Some(_) => {}
                    None => deletion.wanted_at = Some(begun_at),
                },
                _ => {}
            }
        }
        for name in &gone {
            inner.remove(name);
        }
        drop(inner);
        self.wake.notify_one();
        (gone, early)
    }
}

impl Session {
    pub(super) async fn delete_forever(self, shard: Shard) {
        let Some(hand) = self.hand.shards.get(&shard) else {
            return;
        };
        let limit = Arc::new(Semaphore::new(self.worker.pace.deletes));
        let most = self.worker.pace.operations;
        loop {
            for (name, zone) in hand.deletions.take_due(Instant::now(), most) {
                let Ok(permit) = Arc::clone(&limit).acquire_owned().await else {
                    return;
                };
                let (session, shard) = (self.clone(), shard.clone());
                self.tasks.spawn("delete-one", async move {
                    session.delete(&shard, &zone, &name).await;
                    drop(permit);
                });
            }
            let idle = Instant::now() + Duration::from_secs(60);
            tokio::select! {
                biased;
                () = hand.deletions.wake.notified() => {}
                () = tokio::time::sleep_until(hand.deletions.next_due(most).unwrap_or(idle)) => {}
            }
        }
    }

    async fn delete(&self, shard: &Shard, zone: &Zone, name: &MachineName) {
        let Some(hand) = self.hand.shards.get(shard) else {
            return;
        };
        let later = |seconds| State::Due(Instant::now() + Duration::from_secs(seconds));
        let is_unborn = || lock(&self.hand.unborn).contains(name);
        let early = is_unborn();
        match hand.cloud.delete(shard, zone, name).await {
            Ok(Some(_)) => {
                debug!(gust.machine = %name, "deletion accepted");
                hand.deletions.set(name, State::Accepted(Instant::now()));
                hand.look.notify_one();
            }
            // Not there: gone, unless its creation is still under way, or was when this was asked: answers can be late.
            Ok(None) if early || is_unborn() => hand.deletions.set(name, later(2)),
            Ok(None) => {
                debug!(gust.machine = %name, "nothing to delete");
                hand.deletions.forget(name);
                self.tell(Event::Gone { name: name.clone() }).await;
            }
            Err(error) => {
                let wait = match &error {
                    CloudError::Refused {
                        class: RefusalClass::Rate,
                        ..
                    } => 5,
                    CloudError::Refused { class, .. } if !class.is_transient() => 30,
                    CloudError::Refused { .. } => 5,
                    CloudError::Unclear { .. } => 1,
                };
                warn!(gust.machine = %name, error = crate::error_chain(&error), "deletion not accepted; repeated");
                hand.deletions.set(name, later(wait));
            }
        }
    }
}
