//! Caps: no machine is asked for beyond one, and what a pipeline spent is never forgotten, whoever leads.

use std::time::Duration;

use gust_core::{
    cap::Cap,
    records::{Change, SpendRecord},
};

use super::{Checker, Invariant};

impl Checker {
    /// What a pipeline spent on a day only grows. Looked at before a transaction is applied.
    pub(super) fn spend_kept(&mut self, at: Duration, changes: &[Change]) {
        let records = changes.iter().filter_map(|change| match change {
            Change::PutSpend(record) => Some(record),
            _ => None,
        });
        for new in records {
            let known = self.store.spend.insert(new.pipeline.clone(), new.clone());
            let less = |old: &SpendRecord| {
                old.day > new.day || (old.day == new.day && old.micro_usd > new.micro_usd)
            };
            if let Some(old) = known.filter(less) {
                let what = format!(
                    "pipeline {} had spent {} millionths of a dollar on day {}, and now {} on day {}",
                    new.pipeline, old.micro_usd, old.day.0, new.micro_usd, new.day.0
                );
                self.violate(at, Invariant::Caps, what, &[], &[]);
            }
        }
    }

    /// A batch in this transaction leaves every cap at or below its vCPUs. Looked at after it is applied. A machine that
    /// was made for another pipeline may be bound to one at its cap: nothing is made for that.
    pub(super) fn caps_after(&mut self, at: Duration, changes: &[Change]) {
        if self.expect.caps.is_empty() {
            return;
        }
        for cap in self.expect.caps.clone() {
            let Some(limit) = cap.vcpus else { continue };
            let new = changes.iter().filter_map(|change| match change {
                Change::PutBatch(batch) => Some(batch),
                _ => None,
            });
            let mut members = new.flat_map(|batch| &batch.members);
            if !members.any(|member| self.is_covered(&cap, &member.job)) {
                continue;
            }
            let used = self.vcpus(&cap);
            if used > limit {
                let what = format!("cap {} is {limit} vCPUs, and records ask for {used}", cap.name);
                self.violate(at, Invariant::Caps, what, &[], &[]);
            }
        }
    }

    /// A cap leaves no room for a machine of so many vCPUs for this job.
    pub(super) fn is_capped(&self, job: uuid::Uuid, cpus: u32) -> bool {
        let caps = self.expect.caps.iter();
        let jobs = self.store.book.jobs();
        let is_full = |cap: &Cap| {
            let full = |limit| self.vcpus(cap) + u64::from(cpus) > limit;
            cap.vcpus.is_some_and(full) && jobs.keys().any(|it| it.id.0 == job && self.is_covered(cap, it))
        };
        caps.into_iter().any(is_full)
    }

    fn is_covered(&self, cap: &Cap, job: &gust_core::ids::JobRef) -> bool {
        let record = self.store.book.jobs().get(job);
        record.is_some_and(|record| cap.covers(&record.facts.pipeline))
    }

    fn vcpus(&self, cap: &Cap) -> u64 {
        let book = &self.store.book;
        let mut sum = 0;
        for machine in book.machines().values() {
            let pipeline = machine.pipeline.as_deref().unwrap_or_default();
            if let Some(footprint) = machine.footprint.as_ref().filter(|_| cap.covers(pipeline)) {
                sum += u64::from(footprint.cpus);
            }
        }
        for batch in book.batches().values() {
            for member in &batch.members {
                if !book.machines().contains_key(&member.name) && self.is_covered(cap, &member.job) {
                    sum += u64::from(batch.shape.cpus);
                }
            }
        }
        sum
    }
}
