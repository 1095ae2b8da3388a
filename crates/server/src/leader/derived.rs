//! What a pass looks at besides the records: it is derived anew each time.

use std::collections::BTreeMap;

use gust_core::{
    ids::{ProjectId, Shard},
    quota::{Footprint, Ledger, Metric, Usage},
    snapshot::{ShardView, Snapshot},
    time::Timestamp,
};

use super::{Planner, state::Leader};

/// What is promised, see [`Leader::promised`].
#[derive(Debug, Default)]
pub(super) struct Promised {
    pub shards: BTreeMap<Shard, BTreeMap<Metric, u64>>,
    pub projects: BTreeMap<ProjectId, BTreeMap<Metric, u64>>,
}

/// What so many machines of each footprint use. Usages are looked up once.
fn sum(
    footprints: &BTreeMap<Footprint, u64>,
    usages: &mut BTreeMap<Footprint, Usage>,
    planner: &dyn Planner,
) -> Promised {
    let mut promised = Promised::default();
    for (footprint, count) in footprints {
        let usage = usages
            .entry(footprint.clone())
            .or_insert_with(|| planner.usage(footprint));
        let shard = promised.shards.entry(footprint.shard.clone()).or_default();
        usage.add_to(shard, *count);
        let project = footprint.shard.project.clone();
        usage.add_to(promised.projects.entry(project).or_default(), *count);
    }
    promised
}

/// The parts of a snapshot that are derived for one pass.
pub(super) struct Derived {
    pub shards: BTreeMap<Shard, ShardView>,
    pub projects: BTreeMap<ProjectId, Ledger>,
    pub recent_bulk: BTreeMap<ProjectId, u32>,
}

impl Leader {
    /// What gust's records promise of each metric: by shard, and project-wide by project.
    pub fn promised(&mut self) -> Promised {
        if gust_core::mutant!("promise-not-counted") {
            return Promised::default();
        }
        sum(self.book.footprints(), &mut self.usages, &*self.parts.planner)
    }

    /// What they had promised by then, of what they still promise.
    pub fn promised_by(&mut self, then: Timestamp) -> Promised {
        sum(
            &self.book.footprints_by(then),
            &mut self.usages,
            &*self.parts.planner,
        )
    }

    /// Builds what one pass needs besides the records.
    pub fn derive(&mut self) -> Derived {
        let mut promised = self.promised();
        let now = self.now();
        while self
            .bulk_calls
            .front()
            .is_some_and(|(at, _)| now.since(*at).as_millis() >= 1000)
        {
            self.bulk_calls.pop_front();
        }
        let mut recent_bulk = BTreeMap::new();
        for (_, project) in &self.bulk_calls {
            *recent_bulk.entry(project.clone()).or_default() += 1;
        }
        let mut shards = BTreeMap::new();
        let mut projects = BTreeMap::new();
        for (name, state) in &mut self.shards {
            let worker = state.worker.as_ref().and_then(|worker| self.workers.get(worker));
            if !(worker.is_some_and(|worker| worker.ready) && state.inventory_seen && state.capacity_read) {
                continue;
            }
            let ours = promised.shards.remove(name).unwrap_or_default();
            let view = ShardView {
                ledger: Ledger::over(&state.quotas, ours).taught(self.memory.exhausted.of(name, false), now),
                // Each list is looked at once: what it says is acted upon or not.
                inventory: state.inventory.take(),
            };
            if let Some(wide) = &state.wide_quotas {
                let ours = promised.projects.get(&name.project).cloned().unwrap_or_default();
                let lessons = self.memory.exhausted.of(name, true);
                projects.insert(
                    name.project.clone(),
                    Ledger::over(wide, ours).taught(lessons, now),
                );
            }
            shards.insert(name.clone(), view);
        }
        Derived {
            shards,
            projects,
            recent_bulk,
        }
    }

    /// The snapshot of this moment.
    pub fn snapshot<'a>(&'a self, derived: &'a Derived) -> Snapshot<'a> {
        Snapshot {
            now: self.now(),
            term: self.term,
            began: self.began,
            stack: &self.parts.stack,
            settings: &self.parts.settings,
            book: &self.book,
            jobs: self.views(),
            backlog: &self.backlog,
            paused: &self.paused,
            shards: &derived.shards,
            project_ledgers: &derived.projects,
            memory: &self.memory,
            flow: &self.flow,
            recent_bulk: &derived.recent_bulk,
        }
    }
}
