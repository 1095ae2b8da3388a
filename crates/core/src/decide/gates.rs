//! In which zones a machine may be asked for now.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    ids::Zone,
    memory::{Gate, HoldKey, Pool, Why},
    plan::Choice,
    reason::HoldReason,
    records::BatchRecord,
    shape::Shape,
    snapshot::Snapshot,
    time::Timestamp,
};

/// The zones of a choice that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Zones {
    /// Nothing stands against them.
    pub open: Vec<Zone>,
    /// They had none of these machines a while ago. Asked along with others, since Google passes over what has none;
    /// alone they are tried with one machine.
    pub half_open: Vec<Zone>,
    /// Why those were left alone.
    pub why: &'static str,
}

impl Zones {
    /// Where one machine is asked for.
    pub fn single(&self) -> &[Zone] {
        if self.open.is_empty() {
            &self.half_open
        } else {
            &self.open
        }
    }

    /// All that may be asked at once, in order.
    pub fn all(&self) -> Vec<Zone> {
        let mut all: Vec<Zone> = self.open.iter().chain(&self.half_open).cloned().collect();
        all.sort();
        all
    }

    /// Only one machine may be asked for.
    pub fn is_probe(&self) -> bool {
        self.open.is_empty()
    }
}

/// Why no zone may be asked.
pub(super) enum Closed {
    /// The operator took them all out of service.
    Cordoned,
    /// Google had none, or is being tried.
    Held(Arc<HoldReason>),
}

/// Pools that this pass tries with one machine.
pub(super) type Probed = BTreeSet<Pool>;

/// No place is out of service, and nothing that Google refused is remembered: [`zones`] has all of every choice.
pub(super) fn all_open(snapshot: &Snapshot<'_>) -> bool {
    let memory = snapshot.memory;
    snapshot.book.orders().cordons.is_empty() && memory.holds.is_empty() && memory.stockouts.is_empty()
}

/// The zones of a choice, or why there are none.
pub(super) fn zones(snapshot: &Snapshot<'_>, choice: &Choice, probed: &Probed) -> Result<Zones, Closed> {
    let shape = &*choice.shape;
    let orders = snapshot.book.orders();
    let ignored = crate::mutant!("orders-ignored");
    if !ignored && orders.closes(&choice.shard) {
        return Err(Closed::Cordoned);
    }
    let in_service = shape.zones.iter();
    let in_service: Vec<&Zone> = in_service
        .filter(|zone| ignored || !(orders.closes_zone(zone) || orders.closes_family(&shape.family, zone)))
        .collect();
    if in_service.is_empty() {
        return Err(Closed::Cordoned);
    }
    if let Some(hold) = snapshot.memory.hold_of(shape, snapshot.now) {
        let seconds = hold.until.since(snapshot.now).as_secs() + 1;
        return Err(Closed::Held(held(shape, hold.class.as_str(), seconds)));
    }
    let found = if snapshot.memory.stockouts.is_empty() {
        Zones {
            open: in_service.into_iter().cloned().collect(),
            half_open: Vec::new(),
            why: Why::Stockout.as_str(),
        }
    } else {
        past_stockouts(snapshot, shape, in_service, probed)?
    };
    past_holds(snapshot, shape, found, probed)
}

/// After a hold one machine is tried, wherever that is.
fn past_holds(
    snapshot: &Snapshot<'_>,
    shape: &Shape,
    found: Zones,
    probed: &Probed,
) -> Result<Zones, Closed> {
    let Some((key, hold)) = snapshot.memory.lapsed(shape, snapshot.now) else {
        return Ok(found);
    };
    let why = hold.class.as_str();
    let asks =
        |batch: &BatchRecord| batch.created_at >= hold.until && HoldKey::of(&batch.shape).contains(&key);
    let zones = found.all();
    let in_this_pass = zones.iter().any(|zone| probed.contains(&Pool::of(shape, zone)));
    if in_this_pass || snapshot.book.batches().values().any(asks) {
        return Err(Closed::Held(held(shape, why, 0)));
    }
    Ok(Zones {
        open: Vec::new(),
        half_open: zones,
        why,
    })
}

fn past_stockouts(
    snapshot: &Snapshot<'_>,
    shape: &Shape,
    zones: Vec<&Zone>,
    probed: &Probed,
) -> Result<Zones, Closed> {
    let mut found = Zones {
        open: Vec::new(),
        half_open: Vec::new(),
        why: Why::Stockout.as_str(),
    };
    let mut soonest: Option<(Timestamp, Why)> = None;
    let mut trying: Option<Why> = None;
    for zone in zones {
        let pool = Pool::of(shape, zone);
        match snapshot.memory.stockouts.gate(&pool, shape.cpus, snapshot.now) {
            Gate::Open => found.open.push(zone.clone()),
            Gate::HalfOpen { since, why } if probed.contains(&pool) || is_probing(snapshot, &pool, since) => {
                trying = Some(why);
            }
            Gate::HalfOpen { why, .. } => {
                found.why = why.as_str();
                found.half_open.push(zone.clone());
            }
            Gate::Shut { until, why } => {
                if soonest.is_none_or(|(known, _)| until < known) {
                    soonest = Some((until, why));
                }
            }
        }
    }
    if !found.open.is_empty() || !found.half_open.is_empty() {
        return Ok(found);
    }
    let (seconds, why) = match (trying, soonest) {
        (Some(why), _) => (0, why),
        (None, Some((until, why))) => (until.since(snapshot.now).as_secs() + 1, why),
        (None, None) => (0, Why::Stockout),
    };
    Err(Closed::Held(held(shape, why.as_str(), seconds)))
}

/// Somebody is finding out: a machine of the pool was asked for since it may be tried again. That the records say so
/// means that nobody has to remember it.
fn is_probing(snapshot: &Snapshot<'_>, pool: &Pool, since: Timestamp) -> bool {
    let asks = |batch: &BatchRecord| {
        let shape = &batch.shape;
        batch.created_at >= since
            && shape.model == pool.model
            && shape.family == pool.family
            && shape.project == pool.project
            && batch.zones().contains(&pool.zone)
    };
    snapshot.book.batches().values().any(asks)
}

/// The reason of who waits for this.
pub(super) fn held(shape: &Shape, class: &'static str, retry_seconds: u64) -> Arc<HoldReason> {
    Arc::new(HoldReason {
        machine_type: shape.machine_type.clone(),
        region: shape.region.clone(),
        class,
        retry_seconds,
    })
}
