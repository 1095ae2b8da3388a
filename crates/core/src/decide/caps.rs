//! What caps leave to pipelines within a pass.

use std::collections::BTreeMap;

use crate::{
    cap::{Cap, Day, cost_today, expected_cost},
    plan::Choice,
    reason::{CapReason, Capped},
    records::{BatchRecord, MachineRecord},
    snapshot::Snapshot,
};

/// The operator's caps with what is used of each.
pub(super) struct Caps<'a> {
    rows: Vec<CapRow<'a>>,
    /// Which caps cover a pipeline, each asked once.
    covering: BTreeMap<&'a str, Vec<usize>>,
}

struct CapRow<'a> {
    cap: &'a Cap,
    vcpus: u64,
    micro_usd: u64,
    /// Jobs that wait for it so far.
    line: u32,
}

impl<'a> CapRow<'a> {
    /// What leaves no room for one machine more.
    fn full(&self, vcpus: u64, micro_usd: u64) -> Option<Capped> {
        let over = |used: u64, limit: &u64, needed: u64| used.saturating_add(needed) > *limit;
        let by_vcpus = self.cap.vcpus.filter(|limit| over(self.vcpus, limit, vcpus));
        let by_dollars = self.cap.micro_usd_per_day;
        let by_dollars = by_dollars.filter(|limit| over(self.micro_usd, limit, micro_usd));
        let vcpus = by_vcpus.map(|limit| Capped::Vcpus {
            used: self.vcpus,
            limit,
            needed: vcpus,
        });
        vcpus.or_else(|| {
            Some(Capped::Dollars {
                used: self.micro_usd,
                limit: by_dollars?,
                needed: micro_usd,
            })
        })
    }
}

impl<'a> Caps<'a> {
    pub fn new(snapshot: &'a Snapshot<'a>) -> Self {
        let caps = &snapshot.settings.caps;
        let none = crate::mutant!("caps-ignored");
        let rows = caps.iter().filter(|_| !none).map(|cap| CapRow {
            cap,
            vcpus: 0,
            micro_usd: 0,
            line: 0,
        });
        let mut caps = Self {
            rows: rows.collect(),
            covering: BTreeMap::new(),
        };
        if !caps.rows.is_empty() {
            caps.count(snapshot);
        }
        caps
    }

    fn count(&mut self, snapshot: &'a Snapshot<'a>) {
        let book = snapshot.book;
        for machine in book.machines().values() {
            let pipeline = machine.pipeline.as_deref().unwrap_or_default();
            let vcpus = machine.footprint.as_ref().map_or(0, |footprint| footprint.cpus);
            let cost = so_far(machine, snapshot);
            self.add(pipeline, u64::from(vcpus), cost);
        }
        for batch in book.batches().values() {
            let unborn = batch
                .members
                .iter()
                .filter(|member| !book.machines().contains_key(&member.name));
            for member in unborn {
                let job = book.jobs().get(&member.job);
                let pipeline = job.map_or("", |job| &job.facts.pipeline);
                self.add(pipeline, u64::from(batch.shape.cpus), promised(batch));
            }
        }
        for (pipeline, micro_usd) in book.spend().on(Day::of(snapshot.now)) {
            self.add(pipeline, 0, micro_usd);
        }
    }

    fn covering(&mut self, pipeline: &'a str) -> &[usize] {
        let rows = &self.rows;
        self.covering.entry(pipeline).or_insert_with(|| {
            let all = rows.iter().enumerate();
            all.filter(|(_, row)| row.cap.covers(pipeline))
                .map(|(at, _)| at)
                .collect()
        })
    }

    fn add(&mut self, pipeline: &'a str, vcpus: u64, micro_usd: u64) {
        for at in self.covering(pipeline).to_vec() {
            let row = &mut self.rows[at];
            row.vcpus += vcpus;
            row.micro_usd = row.micro_usd.saturating_add(micro_usd);
        }
    }

    /// The cap that leaves a job of a pipeline no room for a machine of this choice, and how far it is used.
    pub fn full(&mut self, pipeline: &'a str, choice: &Choice) -> Option<(usize, Capped)> {
        if self.rows.is_empty() {
            return None;
        }
        let (vcpus, micro_usd) = (u64::from(choice.shape.cpus), expected_cost(choice.price));
        self.covering(pipeline)
            .to_vec()
            .into_iter()
            .find_map(|at| Some((at, self.rows[at].full(vcpus, micro_usd)?)))
    }

    /// The cap that keeps a job of a pipeline from a machine of this choice, and the job's place in its line.
    pub fn refuses(&mut self, pipeline: &'a str, choice: &Choice) -> Option<(CapReason, u32)> {
        let (at, what) = self.full(pipeline, choice)?;
        let row = &mut self.rows[at];
        row.line += 1;
        let name = row.cap.name.clone();
        Some((CapReason { name, what }, row.line))
    }

    /// A job of a pipeline gets a machine of this choice.
    pub fn take(&mut self, pipeline: &'a str, choice: &Choice) {
        if !self.rows.is_empty() {
            self.add(
                pipeline,
                u64::from(choice.shape.cpus),
                expected_cost(choice.price),
            );
        }
    }
}

// What a machine that is there has cost today, at least what a job is expected to.
fn so_far(machine: &MachineRecord, snapshot: &Snapshot<'_>) -> u64 {
    let cost = cost_today(machine.price, machine.created_at, snapshot.now);
    if machine.is_deleting() {
        cost
    } else {
        cost.max(expected_cost(machine.price))
    }
}

fn promised(batch: &BatchRecord) -> u64 {
    expected_cost(batch.price)
}
