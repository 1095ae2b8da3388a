//! What a worker tells of a shard: its machines, its quotas, the machine types of its zones.

use std::{collections::BTreeSet, sync::Arc};

use gust_core::{
    evolve,
    ids::{JobRef, Shard, Zone},
    ports::{Capacity, Instance, Quota},
    quota::View,
    time::Timestamp,
};
use tracing::info;

use super::{derived::Promised, state::Leader};

impl Leader {
    pub(super) fn on_inventory(&mut self, shard: &Shard, begun_at: Timestamp, instances: Vec<Instance>) {
        if let Some(step) = evolve::seen_at(&self.book, &instances) {
            self.step(step);
        }
        if let Some(state) = self.shards.get_mut(shard) {
            let instances = instances
                .into_iter()
                .map(|instance| (instance.name.clone(), instance))
                .collect();
            state.inventory = Some((begun_at, instances));
            state.inventory_seen = true;
        }
    }

    /// A worker goes on with what it knew of a shard before this term. What was promised since those quotas were read
    /// is not in them: taking it off would hide what others use.
    pub(super) fn on_kept(&mut self, shard: &Shard, capacity: Capacity) {
        self.on_quotas(shard, capacity);
        if let Some(state) = self.shards.get_mut(shard) {
            state.inventory_seen = true;
        }
    }

    /// What zones have is known better now. Jobs that wait are planned anew; one whose machine is on its way keeps its plan,
    /// for the machine may well come.
    pub(super) fn on_types(&mut self, shard: &Shard, zones: &[(Zone, Vec<String>)]) {
        if !self.parts.planner.learn(zones) {
            return;
        }
        info!(gust.shard = %shard, "zones have other machine types than was known; jobs are planned anew");
        self.plan_anew();
    }

    /// Jobs that wait are planned anew; one whose machine is on its way keeps its plan.
    fn plan_anew(&mut self) {
        let coming: BTreeSet<&JobRef> = self
            .book
            .batches()
            .values()
            .flat_map(|batch| batch.members.iter().map(|member| &member.job))
            .chain(
                self.book
                    .machines()
                    .values()
                    .filter_map(|machine| machine.made_for.as_ref()),
            )
            .collect();
        for (job, known) in &mut self.known {
            let Some(record) = self.book.jobs().get(job).filter(|_| !coming.contains(job)) else {
                continue;
            };
            known.plan = self.parts.planner.plan(record);
        }
    }

    pub(super) fn on_capacity(&mut self, shard: &Shard, capacity: Capacity) {
        // What was promised while they were on their way is not in them.
        self.on_quotas(shard, capacity);
    }

    fn on_quotas(&mut self, shard: &Shard, capacity: Capacity) {
        if self.parts.planner.measured(shard, &capacity.quotas) {
            info!(gust.shard = %shard, "quotas for Spot machines were granted or withdrawn; jobs are planned anew");
            self.usages.clear();
            self.plan_anew();
        }
        let then = self.now().before(capacity.age);
        let promised = self.promised_by(then);
        self.take_capacity(shard, capacity, promised);
    }

    fn take_capacity(&mut self, shard: &Shard, mut capacity: Capacity, mut promised: Promised) {
        capacity.quotas.extend(self.parts.planner.prepaid(shard));
        let projects = promised.projects.remove(&shard.project).unwrap_or_default();
        let mut then = promised.shards.remove(shard).unwrap_or_default();
        then.extend(
            projects
                .into_iter()
                .filter(|(metric, _)| metric.is_project_wide()),
        );
        if let Some(state) = self.shards.get_mut(shard) {
            let wide: Vec<&Quota> = capacity
                .quotas
                .iter()
                .filter(|quota| quota.project_wide)
                .collect();
            state.wide_quotas = (!wide.is_empty()).then(|| Arc::new(View::new(wide, &then)));
            state.quotas = Arc::new(View::new(&capacity.quotas, &then));
            state.capacity_read = true;
        }
    }
}
