//! Looking at the cloud: our machines, and what quota is left.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gust_core::{
    ids::{MachineName, Shard, Zone},
    ports::{Capacity, Cloud, CloudError, Event, Instance},
};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::{Session, ShardHand, lock};

/// Most single reads after one list: the others are old enough at one of the next.
const READS: usize = 20;

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
            // While machines vanish they are looked for often; while nothing moves, ever less so.
            gap = match (hand.deletions.is_empty(), progress) {
                (true, _) => pace.list_idle,
                (false, true) => pace.list_busy,
                (false, false) => (gap * 3 / 2).clamp(pace.list_busy, pace.list_idle),
            };
            tokio::select! {
                biased;
                () = hand.look.notified() => {
                    // What was just deleted takes a moment to vanish; more of its kind will follow.
                    tokio::time::sleep(pace.list_busy).await;
                    gap = pace.list_busy;
                }
                () = tokio::time::sleep(gap) => {}
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
                        age: Duration::ZERO,
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
