//! Which machine types the zones of a shard have. Few calls: one or two pages a zone, once a day.

use std::time::Duration;

use gust_core::{
    ids::{Shard, Zone},
    ports::{Cloud, CloudError, Event},
};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Session, Worker, lock};

/// Zones with their machine types, and when they were read.
pub(super) type Listed = (Vec<(Zone, Vec<String>)>, Instant);

/// Before the first list: machines and quotas are read first.
const FIRST: Duration = Duration::from_secs(3);
/// After a list that failed. Until one succeeds the catalog alone says what there is.
const AGAIN: Duration = Duration::from_secs(600);

impl Session {
    pub(super) async fn learn_forever(self, shard: Shard) {
        let Some(hand) = self.hand.shards.get(&shard) else {
            return;
        };
        let mut gap = FIRST;
        // An earlier leader had it read already: types change once in months.
        if let Some((zones, at)) = self.worker.listed_types(&shard) {
            gap = self.worker.pace.types.saturating_sub(at.elapsed()).max(FIRST);
            self.tell_types(&shard, zones).await;
        }
        loop {
            tokio::time::sleep(gap).await;
            gap = match types(&*hand.cloud, &shard, &hand.zones).await {
                Ok(Some(zones)) => {
                    info!(gust.shard = %shard, zones = zones.len(), "machine types are listed");
                    lock(&self.worker.state)
                        .types
                        .insert(shard.clone(), (zones.clone(), Instant::now()));
                    self.tell_types(&shard, zones).await;
                    self.worker.pace.types
                }
                Ok(None) => return,
                Err(error) => {
                    warn!(
                        gust.shard = %shard,
                        error = crate::error_chain(&error),
                        "machine types cannot be listed; what the catalog says stays in force"
                    );
                    AGAIN
                }
            };
        }
    }

    async fn tell_types(&self, shard: &Shard, zones: Vec<(Zone, Vec<String>)>) {
        let shard = shard.clone();
        self.tell(Event::MachineTypes { shard, zones }).await;
    }
}

impl Worker {
    fn listed_types(&self, shard: &Shard) -> Option<Listed> {
        lock(&self.state).types.get(shard).cloned()
    }
}

/// All machine types of the zones; nothing if the cloud cannot say. A zone counts only if all its pages were read.
async fn types(
    cloud: &dyn Cloud,
    shard: &Shard,
    zones: &[Zone],
) -> Result<Option<Vec<(Zone, Vec<String>)>>, CloudError> {
    let mut all = Vec::new();
    for zone in zones {
        let (mut names, mut page) = (Vec::new(), None);
        loop {
            let Some(answer) = cloud.machine_types(&shard.project, zone, page.as_deref()).await? else {
                return Ok(None);
            };
            names.extend(answer.names);
            page = answer.next;
            if page.is_none() {
                break;
            }
        }
        all.push((zone.clone(), names));
    }
    Ok(Some(all))
}
