//! Every change below the stack's prefix, with the time at which it was seen.
//!
//! etcd keeps no times. Whoever watches from the start knows of each change a moment later that it had happened by
//! then, also of commits whose replica died before it could write a line.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use gust_store::etcd::{Etcd as _, Event, Keys, client::Cluster};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{STACK, key};
use crate::wire::processes::wall_ns;

/// A change, and when it was seen: nanoseconds since the Unix epoch.
pub(in crate::wire) type SeenAt = (u64, Event);

/// Between two looks, and before a watch that broke is opened again.
const LOOK: Duration = Duration::from_millis(20);

/// By revision.
type Seen = BTreeMap<u64, (u64, Vec<Event>)>;

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watched {
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Watched {
    /// Begins with etcd's first revision, at each member: one that is cut off from the others says nothing of it.
    #[expect(
        clippy::disallowed_methods,
        reason = "the harness has no task helper; these end with their fleet"
    )]
    pub fn begin(members: impl Iterator<Item = Cluster>) -> Self {
        let seen = Arc::default();
        let tasks = members
            .map(|member| tokio::spawn(watch(member, Arc::clone(&seen))))
            .collect();
        Self { seen, tasks }
    }

    /// All changes up to this revision, once they were seen.
    ///
    /// # Errors
    /// They were not by the deadline.
    pub async fn up_to(&self, revision: u64, deadline: Instant) -> Result<Vec<SeenAt>> {
        loop {
            // Before the first change the revision is 1.
            if lock(&self.seen).keys().next_back().unwrap_or(&1) >= &revision {
                let seen = lock(&self.seen);
                let each = |(at, events): &(u64, Vec<Event>)| {
                    let at = *at;
                    events.clone().into_iter().map(move |event| (at, event))
                };
                return Ok(seen.values().flat_map(each).collect());
            }
            anyhow::ensure!(Instant::now() < deadline, "etcd's history breaks off");
            sleep(LOOK).await;
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn watch(member: Cluster, seen: Arc<Mutex<Seen>>) {
    let keys = || vec![Keys::interval(key(""), format!("/gust/v1/{STACK}0"))];
    let mut next = 1;
    loop {
        if let Ok(mut watch) = member.watch(keys(), next).await {
            while let Ok(events) = watch.next().await {
                next = events.last().map_or(next, |event| event.revision + 1);
                note(&mut lock(&seen), wall_ns(), events);
            }
        }
        sleep(LOOK).await;
    }
}

/// Whoever tells first of a revision tells all of it.
fn note(seen: &mut Seen, now: u64, events: Vec<Event>) {
    for same in events.chunk_by(|one, next| one.revision == next.revision) {
        seen.entry(same[0].revision)
            .or_insert_with(|| (now, same.to_vec()));
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
