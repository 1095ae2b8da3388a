//! What was spent, by pipeline and day: the caps on dollars outlive leaders.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    cap::{Day, cost_today},
    records::{Book, MachinePhase, MachineRecord},
    time::Timestamp,
};

/// What machines of a pipeline that are gone have cost on a day. Key: `spend/<pipeline>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpendRecord {
    /// The pipeline's slug; empty for machines that never had a job of ours.
    pub pipeline: String,
    /// The day. Of earlier ones history tells.
    pub day: Day,
    /// Millionths of a dollar.
    pub micro_usd: u64,
}

impl SpendRecord {
    fn is_of(&self, day: Day) -> bool {
        self.day == day || self.day == day.next()
    }
}

/// All spend that is kept, by pipeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spend(BTreeMap<String, SpendRecord>);

impl Spend {
    pub(super) fn put(&mut self, record: &SpendRecord) {
        self.0.insert(record.pipeline.clone(), record.clone());
    }

    /// What was spent on a day, by pipeline, in millionths of a dollar. What a replica wrote whose clock is ahead of ours,
    /// and on the next day already, is of this day.
    pub fn on(&self, day: Day) -> impl Iterator<Item = (&str, u64)> {
        let records = self.0.values().filter(move |record| record.is_of(day));
        records.map(|record| (record.pipeline.as_str(), record.micro_usd))
    }
}

/// The spend of its pipeline with what a machine cost that is gone now.
pub fn spent_on(book: &Book, machine: &MachineRecord, now: Timestamp) -> SpendRecord {
    // vCPUs are paid for until the machine is off, which is about when it was wished gone.
    let end = match machine.phase {
        MachinePhase::Deleting { since, .. } => since.max(machine.created_at),
        MachinePhase::Booting | MachinePhase::Claimed(_) => now.max(machine.created_at),
    };
    let day = Day::of(now);
    let cost = if Day::of(end) == day {
        cost_today(machine.price, machine.created_at, end)
    } else {
        0
    };
    let pipeline = machine.pipeline.clone().unwrap_or_default();
    let known = book.spend().0.get(&pipeline).filter(|record| record.is_of(day));
    let before = known.map_or(0, |record| record.micro_usd);
    SpendRecord {
        pipeline,
        // A clock that is behind the last leader's must not begin the day before anew.
        day: known.map_or(day, |record| record.day.max(day)),
        micro_usd: before.saturating_add(cost),
    }
}
