//! Looking at the cloud: our machines, and what quota is left.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gust_core::{
    ids::{MachineName, Shard, Zone},
    ports::{Capacity, Cloud, CloudError, Event, Instance},
    time::Timestamp,
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Session, ShardHand, lock};

/// Most single reads after one list: the others are old enough at one of the next.
const READS: usize = 20;
/// A list of many machines takes many calls, and so does one a moment: with so many machines to be deleted for each
/// [`Pace::list_busy`](super::Pace::list_busy) lists are further apart, up to so many times as far.
const CROWD: usize = 25;
const FURTHEST: u32 = 15;
/// How far the cloud's clock may be from ours.
const CLOCKS: Duration = Duration::from_secs(60);

impl Session {
    pub(super) async fn list_forever(self, shard: Shard) {
        let Some(hand) = self.hand.shards.get(&shard) else {
            return;
        };
        let pace = self.worker.pace;
        let mut gap = pace.list_busy;
        let mut backoff = self.backoff();
        loop {
            let progress;
            let (begun, begun_at) = (Instant::now(), self.worker.clock.now());
            match list(&*hand.cloud, &shard, &hand.zones).await {
                Ok((instances, paged)) => {
                    backoff = self.backoff();
                    let listed: BTreeMap<MachineName, Zone> = instances
                        .iter()
                        .map(|i| (i.name.clone(), i.zone.clone()))
                        .collect();
                    self.worker.listed(&shard);
                    let unborn = lock(&self.hand.unborn).clone();
                    let (mut gone, early) = hand.deletions.on_list(begun, paged, &listed, &unborn);
                    gone.extend(self.read_early(hand, &shard, early).await);
                    progress = !gone.is_empty();
                    self.tell(Event::Inventory {
                        shard: shard.clone(),
                        begun_at,
                        instances,
                    })
                    .await;
                    for name in gone {
                        debug!(gust.machine = %name, "no longer listed");
                        self.tell(Event::Gone { name }).await;
                    }
                }
                Err(error) => {
                    warn!(gust.shard = %shard, error = crate::error_chain(&error), "machines cannot be listed");
                    tokio::time::sleep(backoff.step()).await;
                    continue;
                }
            }
            let busy = apart(pace.list_busy, hand.deletions.count());
            // While machines vanish they are looked for often; while nothing moves, ever less so.
            gap = match (hand.deletions.is_empty(), progress) {
                (true, _) => pace.list_idle,
                (false, true) => busy,
                (false, false) => (gap * 3 / 2).clamp(busy, pace.list_idle.max(busy)),
            };
            tokio::select! {
                biased;
                () = hand.look.notified() => {
                    // What was just deleted takes a moment to vanish; more of its kind will follow.
                    tokio::time::sleep(apart(pace.list_busy, hand.deletions.count())).await;
                    gap = pace.list_busy;
                }
                () = tokio::time::sleep(gap) => {}
            }
        }
    }

    /// Asks which deletions have ended, while there are so many that lists are far apart. Lists show the ends of all others.
    pub(super) async fn ends_forever(self, shard: Shard) {
        let Some(hand) = self.hand.shards.get(&shard) else {
            return;
        };
        loop {
            tokio::time::sleep(self.worker.pace.ends).await;
            if hand.deletions.count() <= CROWD {
                continue;
            }
            let Some((since, zones)) = hand.deletions.accepted() else {
                continue;
            };
            let age = since.elapsed() + CLOCKS;
            let now = self.worker.clock.now();
            let since = Timestamp(
                now.0
                    .saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)),
            );
            for zone in zones {
                match hand.cloud.deleted(&shard.project, &zone, since).await {
                    Ok(names) => {
                        for name in hand.deletions.ended(names) {
                            debug!(gust.machine = %name, "deletion ended");
                            self.tell(Event::Gone { name }).await;
                        }
                    }
                    // Asked again in a moment.
                    Err(error) => {
                        warn!(gust.shard = %shard, error = crate::error_chain(&error), "ends of deletions cannot be read");
                    }
                }
            }
        }
    }

    /// Machines so young that a lagging list may not show them yet: a read of the very name does not lag.
    async fn read_early(
        &self,
        hand: &ShardHand,
        shard: &Shard,
        mut early: Vec<(MachineName, Zone)>,
    ) -> Vec<MachineName> {
        early.truncate(READS);
        let mut gone = Vec::new();
        for (name, zone) in early {
            if let Ok(None) = hand.cloud.get(&shard.project, &zone, &name).await {
                hand.deletions.forget(&name);
                gone.push(name);
            }
        }
        gone
    }

    pub(super) async fn measure_forever(self, shard: Shard) {
        let Some(hand) = self.hand.shards.get(&shard) else {
            return;
        };
        let mut backoff = self.backoff();
        loop {
            let (begun, read_at) = (Instant::now(), self.worker.clock.now());
            match hand.cloud.quotas(&shard).await {
                Ok(quotas) => {
                    backoff = self.backoff();
                    self.worker.measured(&shard, &quotas, read_at, begun);
                    let capacity = Capacity {
                        quotas,
                        read_at,
                        age: begun.elapsed(),
                    };
                    self.tell(Event::Capacity {
                        shard: shard.clone(),
                        capacity,
                    })
                    .await;
                }
                Err(error) => {
                    warn!(gust.shard = %shard, error = crate::error_chain(&error), "quotas cannot be read");
                    tokio::time::sleep(backoff.step()).await;
                    continue;
                }
            }
            tokio::select! {
                biased;
                () = hand.measure.notified() => tokio::time::sleep(Duration::from_secs(2)).await,
                () = tokio::time::sleep(self.worker.pace.quotas) => {}
            }
        }
    }

    /// Reads one machine that a list lacked.
    pub(super) async fn check(self, cloud: Arc<dyn Cloud>, shard: Shard, zone: Zone, name: MachineName) {
        self.owned(&shard).await;
        match cloud.get(&shard.project, &zone, &name).await {
            Ok(None) => self.tell(Event::Gone { name }).await,
            Ok(Some(_)) => {}
            // The next list asks again.
            Err(error) => {
                warn!(gust.machine = %name, error = crate::error_chain(&error), "machine cannot be read");
            }
        }
    }
}

/// How far apart lists are while so many machines are to be deleted.
fn apart(busy: Duration, deletions: usize) -> Duration {
    let times = u32::try_from(deletions / CROWD).unwrap_or(u32::MAX);
    busy * times.clamp(1, FURTHEST)
}

/// All our machines in a shard, and whether a zone's list had several pages.
async fn list(cloud: &dyn Cloud, shard: &Shard, zones: &[Zone]) -> Result<(Vec<Instance>, bool), CloudError> {
    let mut instances = Vec::new();
    let mut paged = false;
    for zone in zones {
        let mut page = None;
        loop {
            let answer = cloud.list(&shard.project, zone, page.as_deref()).await?;
            instances.extend(answer.instances);
            page = answer.next.filter(|_| !gust_core::mutant!("page-end-trusted"));
            if page.is_none() {
                break;
            }
            paged = true;
        }
    }
    Ok((instances, paged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_machines_go_the_further_apart_lists_are() {
        let busy = Duration::from_secs(2);
        let apart = [0, 1, 49, 50, 100, 10_000].map(|deletions| apart(busy, deletions).as_secs());
        assert_eq!(apart, [2, 2, 2, 4, 8, 30]);
    }
}
