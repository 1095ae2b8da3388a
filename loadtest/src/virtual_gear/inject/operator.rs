//! What operators of gust order. They ask one replica after the other until one takes the order, and take it back
//! after a while: a run does not end before.
//!
//! They reach replicas without the network between: what may happen to messages is told by others.

use std::time::Duration;

use gust_core::{
    ids::{JobId, Zone},
    records::Place,
};
use gust_server::leader::{Handle, Ordered};
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    super::{
        machine::{Attackers, Doors},
        scenario::Act,
    },
    Injector,
};

/// Between two tries to find somebody who takes an order.
const AGAIN: Duration = Duration::from_millis(500);

fn ordered() -> Ordered {
    Ordered {
        by: "operator".to_owned(),
        note: "a note".to_owned(),
    }
}

/// Whoever leads.
async fn leader(doors: &Doors) -> Handle {
    loop {
        let mut open = (0..doors.count()).filter_map(|replica| doors.get(replica));
        if let Some(handle) = open.find(Handle::is_open) {
            return handle;
        }
        sleep(AGAIN).await;
    }
}

impl Injector {
    /// Begins an order of an operator; `job` is the one that it is about.
    pub(super) fn operate(&self, act: &Act, job: Option<Uuid>, attackers: &Attackers) {
        self.state().errands_left += 1;
        let (injector, act, doors) = (self.clone(), act.clone(), attackers.doors.clone());
        attackers.net.tasks.spawn("operator", async move {
            match (act, job) {
                (Act::OperatorPause { lasting_ms }, _) => pause(&doors, lasting_ms).await,
                (
                    Act::OperatorCordon {
                        region,
                        zone,
                        drain,
                        lasting_ms,
                    },
                    _,
                ) => cordon(&doors, (region, zone), drain, lasting_ms).await,
                (
                    Act::OperatorCordonFamily {
                        family,
                        zone,
                        lasting_ms,
                    },
                    _,
                ) => {
                    let zone = zone.as_deref().map(Zone::new);
                    close(&doors, Place::Family { family, zone }, false, lasting_ms).await;
                }
                (Act::OperatorCancel { .. }, Some(job)) => cancel(&doors, JobId(job)).await,
                _ => {}
            }
            injector.state().errands_left -= 1;
        });
    }
}

async fn pause(doors: &Doors, lasting_ms: u64) {
    while leader(doors).await.pause(ordered()).await.is_err() {
        sleep(AGAIN).await;
    }
    sleep(Duration::from_millis(lasting_ms)).await;
    while leader(doors).await.resume(ordered().by).await.is_err() {
        sleep(AGAIN).await;
    }
}

async fn cordon(doors: &Doors, (region, zone): (usize, Option<usize>), drain: bool, lasting_ms: u64) {
    let place = loop {
        if let Ok(places) = leader(doors).await.places().await {
            let Some((shard, zones)) = places.get(region % places.len().max(1)) else {
                return;
            };
            let zone = zone.and_then(|zone| zones.get(zone % zones.len().max(1)));
            break zone.map_or_else(|| Place::Shard(shard.clone()), |zone| Place::Zone(zone.clone()));
        }
        sleep(AGAIN).await;
    };
    close(doors, place, drain, lasting_ms).await;
}

async fn close(doors: &Doors, place: Place, drain: bool, lasting_ms: u64) {
    while leader(doors)
        .await
        .cordon(place.clone(), drain, ordered())
        .await
        .is_err()
    {
        sleep(AGAIN).await;
    }
    sleep(Duration::from_millis(lasting_ms)).await;
    while leader(doors)
        .await
        .uncordon(place.clone(), ordered().by)
        .await
        .is_err()
    {
        sleep(AGAIN).await;
    }
}

async fn cancel(doors: &Doors, job: JobId) {
    // A refusal is an answer: the job runs, or is none of ours.
    while leader(doors).await.cancel(job, ordered()).await.is_err() {
        sleep(AGAIN).await;
    }
}
