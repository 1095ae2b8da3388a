//! What a worker's events change.

use std::time::Duration;

use gust_core::{
    evolve::{self, Settlement},
    ids::{BatchId, MachineName, ReplicaId, Shard, Zone},
    memory::{Outcomes, Pool},
    ports::{Command, Event, MemberFate, RefusalClass},
    quota::{Footprint, Metric},
    records::{BatchRecord, DeleteCause, MachinePhase, MachineRecord},
    shape::ProvisioningModel,
    time::Timestamp,
};
use tracing::{info, warn};

use super::{derived::Promised, effect::Effect, state::Leader};

impl Leader {
    pub(super) fn on_worker(&mut self, worker: &ReplicaId, session: u64, event: Event) {
        // What an earlier session said may speak of shards that have moved since.
        if self
            .workers
            .get(worker)
            .is_none_or(|known| known.session != session && !gust_core::mutant!("stale-events-believed"))
        {
            return;
        }
        match event {
            Event::Ready { .. } => self.on_ready(worker),
            Event::Accepted { .. } => {}
            Event::Settled { batch, fates } => self.on_settled(batch, &fates),
            Event::Refused {
                batch,
                class,
                message,
            } => self.on_refused(batch, &class, &message),
            Event::Gone { name } => self.on_gone(&name),
            Event::Inventory {
                shard,
                begun_at,
                instances,
            } if self.looks_after(worker, &shard) => self.on_inventory(&shard, begun_at, instances),
            Event::Capacity { shard, capacity } if self.looks_after(worker, &shard) => {
                self.on_capacity(&shard, capacity);
            }
            Event::Kept { shard, capacity } if self.looks_after(worker, &shard) => {
                self.on_kept(&shard, capacity);
            }
            Event::MachineTypes { shard, zones } if self.looks_after(worker, &shard) => {
                self.on_types(&shard, &zones);
            }
            Event::Inventory { shard, .. }
            | Event::Capacity { shard, .. }
            | Event::Kept { shard, .. }
            | Event::MachineTypes { shard, .. } => {
                warn!(gust.worker = %worker, gust.shard = %shard, "a worker speaks of a shard that it was not given");
            }
        }
    }

    fn looks_after(&self, worker: &ReplicaId, shard: &Shard) -> bool {
        let state = self.shards.get(shard);
        state.is_some_and(|state| state.worker.as_ref() == Some(worker))
    }

    fn on_settled(&mut self, batch: BatchId, fates: &[(MachineName, MemberFate)]) {
        self.note_members(batch);
        let now = self.now();
        let settlement = evolve::settled(&self.book, batch, fates, now);
        for (name, fate) in fates {
            if let MemberFate::Refused { class, message } = fate {
                warn!(gust.machine = %name, class = class.as_str(), message, "Google did not create a machine");
            }
        }
        self.settle(batch, settlement, now);
    }

    fn on_refused(&mut self, batch: BatchId, class: &RefusalClass, message: &str) {
        let Some(record) = self.book.batches().get(&batch) else {
            return;
        };
        warn!(
            gust.batch = %batch,
            machines = record.members.len(),
            class = class.as_str(),
            message,
            "Google refused a batch"
        );
        let now = self.now();
        let settlement = evolve::refused(&self.book, batch, class, message, now);
        self.settle(batch, settlement, now);
    }

    fn settle(&mut self, batch: BatchId, settlement: Option<Settlement>, now: Timestamp) {
        let Some(settlement) = settlement else { return };
        let record = self.book.batches().get(&batch).cloned();
        self.step(settlement.step);
        if let Some(record) = record {
            self.learn(&record, &settlement.outcomes, now);
        }
        for name in settlement.delete {
            self.command_delete(&name);
        }
    }

    /// Remembers what became of a batch. Its records are off the promises by now.
    fn learn(&mut self, batch: &BatchRecord, outcomes: &Outcomes, now: Timestamp) {
        let shard = batch.shard();
        let is_quota = |class: &RefusalClass| matches!(class, RefusalClass::Quota { .. });
        let mut promised = Promised::default();
        if outcomes.refusals.iter().any(is_quota) {
            promised = self.promised();
            self.command(&shard, Command::Look { shard: shard.clone() });
        }
        let sum = |metric: &Metric| {
            let sums = if metric.is_project_wide() {
                promised.projects.get(&shard.project)
            } else {
                promised.shards.get(&shard)
            };
            sums.and_then(|sums| sums.get(metric)).copied().unwrap_or(0)
        };
        let usage = self.usage(&Footprint::from(&batch.shape));
        let times = (now, self.parts.settings.hold);
        self.memory.learn(batch, outcomes, &usage, sum, times);
        if outcomes.refusals.contains(&RefusalClass::Preempted) {
            for zone in batch.zones() {
                let pool = Pool::of(&batch.shape, zone);
                let alive = self.alive(&pool);
                self.memory.reclaimed(pool, alive, now, self.parts.settings.hold);
            }
        }
    }

    /// A Spot machine is gone that nobody sent away: Google took it back.
    fn note_reclaim(&mut self, machine: &MachineRecord, now: Timestamp) {
        let (Some(footprint), Some(zone)) = (&machine.footprint, &machine.zone) else {
            return;
        };
        let unasked = match &machine.phase {
            MachinePhase::Booting | MachinePhase::Claimed(_) => true,
            MachinePhase::Deleting { cause, .. } => *cause == DeleteCause::Stopped,
        };
        if footprint.model != ProvisioningModel::Spot || !unasked {
            return;
        }
        let pool = Pool {
            project: footprint.shard.project.clone(),
            zone: zone.clone(),
            family: footprint.family.clone(),
            model: footprint.model,
        };
        let alive = self
            .alive(&pool)
            .saturating_sub(usize::from(!machine.is_deleting()));
        self.memory.reclaimed(pool, alive, now, self.parts.settings.hold);
    }

    /// Machines of a pool that are to live on.
    fn alive(&self, pool: &Pool) -> usize {
        let same = |machine: &&MachineRecord| {
            let theirs = machine.footprint.as_ref();
            machine.zone.as_ref() == Some(&pool.zone)
                && theirs.is_some_and(|it| it.model == pool.model && it.family == pool.family)
                && machine.shard.project == pool.project
                && !machine.is_deleting()
        };
        self.book.machines().values().filter(same).count()
    }

    fn command(&mut self, shard: &Shard, command: Command) {
        // A shard that nobody has is told everything when it has found its worker.
        if let Some(worker) = self.shards.get(shard).and_then(|state| state.worker.clone()) {
            self.effects.push(Effect::Command { worker, command });
        }
    }

    pub(super) fn command_delete(&mut self, name: &MachineName) {
        let Some(machine) = self.book.machines().get(name) else {
            return;
        };
        let (shard, command) = (machine.shard.clone(), self.deletion(machine));
        self.command(&shard, command);
    }

    /// The command that deletes a machine.
    pub(super) fn deletion(&self, machine: &MachineRecord) -> Command {
        Command::Delete {
            shard: machine.shard.clone(),
            zone: machine.zone.clone(),
            name: machine.name.clone(),
            lists_after: self.too_young(machine),
        }
    }

    /// How long lists may still not show a machine. Counted from when this leader first knew that it exists, by its
    /// own monotonic time: the record's times may be of another replica, whose clock is another. One whose creation
    /// is not settled may come to exist at any moment.
    fn too_young(&self, machine: &MachineRecord) -> Duration {
        let batch = machine.batch.as_ref();
        if batch.is_some_and(|batch| self.book.batches().contains_key(batch)) {
            return self.parts.settings.list_lag;
        }
        let since = self.since.get(&machine.name).copied().unwrap_or(self.begun);
        self.parts.settings.list_lag.saturating_sub(since.elapsed())
    }

    pub(super) fn command_create(&mut self, batch: &BatchRecord) {
        self.command(&batch.shard(), Command::Create(Box::new(batch.clone())));
    }

    pub(super) fn command_check(&mut self, shard: Shard, zone: Zone, name: MachineName) {
        self.command(&shard.clone(), Command::Check { shard, zone, name });
    }

    fn on_gone(&mut self, name: &MachineName) {
        let Some(machine) = self.book.machines().get(name) else {
            return;
        };
        if machine.is_deleting() {
            info!(gust.machine = %name, "machine is gone");
        } else {
            warn!(gust.machine = %name, phase = phase_word(&machine.phase), "machine vanished");
        }
        let (machine, now) = (machine.clone(), self.now());
        self.look_again(name);
        if let Some(step) = evolve::gone(&self.book, name, now) {
            self.step(step);
            self.note_reclaim(&machine, now);
        }
    }

    /// What was seen of a machine's job may be older than the machine's end: only what is read from now on
    /// counts, so that a job that ran is never placed anew.
    pub(super) fn look_again(&mut self, machine: &MachineName) {
        let claim = self
            .book
            .machines()
            .get(machine)
            .and_then(|machine| machine.claim());
        let Some(job) = claim.map(|claim| claim.job.clone()) else {
            return;
        };
        let now = self.now();
        if let Some(known) = self.known.get_mut(&job)
            && known.seen.over_since.is_none()
        {
            known.seen.state = None;
            known.not_before = now;
            self.asked_for = true;
        }
    }
}

fn phase_word(phase: &MachinePhase) -> &'static str {
    match phase {
        MachinePhase::Booting => "booting",
        MachinePhase::Claimed(_) => "claimed",
        MachinePhase::Deleting { .. } => "deleting",
    }
}
