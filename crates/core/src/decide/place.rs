//! Where waiting jobs go: the best choice with quota left, grouped into as few calls as possible.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{
    Action, Decision,
    cover::{Coming, Cover},
    triage::Waiting,
};
use crate::{
    ids::{BatchId, JobRef, MachineName, ProjectId, Shard, Zone},
    plan::{Choice, Plan},
    quota::Metric,
    reason::{HoldReason, Placement, Reason, Shortage},
    records::{BatchRecord, Call, Member},
    snapshot::{HoldKey, Snapshot},
};

/// Quota that is left, by number rather than by name: a burst asks for it tens of thousands of times.
#[derive(Default)]
struct Board<'a> {
    rows: Vec<BoardRow<'a>>,
    index: BTreeMap<(&'a ProjectId, Option<&'a Shard>, &'a Metric), usize>,
}

struct BoardRow<'a> {
    metric: &'a Metric,
    shard: Option<&'a Shard>,
    left: u64,
    used: u64,
    limit: u64,
    /// Jobs that wait for it so far.
    line: u32,
}

impl<'a> Board<'a> {
    // None where Google shows no such quota: it does not limit us here.
    fn row(&mut self, snapshot: &'a Snapshot<'a>, shard: &'a Shard, metric: &'a Metric) -> Option<usize> {
        let wide = metric.is_project_wide();
        let key = (&shard.project, (!wide).then_some(shard), metric);
        if let Some(at) = self.index.get(&key) {
            return Some(*at);
        }
        let ledger = if wide {
            snapshot.project_ledgers.get(&shard.project)
        } else {
            snapshot.shards.get(shard).map(|view| &view.ledger)
        };
        let row = ledger?.row(metric)?;
        self.rows.push(BoardRow {
            metric,
            shard: key.1,
            left: row.left(),
            used: row.used(),
            limit: row.limit,
            line: 0,
        });
        self.index.insert(key, self.rows.len() - 1);
        Some(self.rows.len() - 1)
    }
}

/// Why a choice cannot be taken in this pass. Capacity only shrinks within a pass, so it stays so.
#[derive(Clone)]
enum Obstacle {
    Quota { row: usize, shortage: Arc<Shortage> },
    Held(Arc<HoldReason>),
    Cordoned,
}

struct Prepared<'a> {
    plan: &'a Plan,
    choices: Vec<(usize, Vec<(usize, u64)>)>,
    obstacle: Option<Obstacle>,
    line: u32,
}

/// Jobs that share a shape in this pass.
struct Group<'a> {
    choice: &'a Choice,
    key: &'a Arc<str>,
    jobs: Vec<&'a Waiting<'a>>,
}

struct Placing<'a> {
    snapshot: &'a Snapshot<'a>,
    board: Board<'a>,
    prepared: Vec<Prepared<'a>>,
    by_key: BTreeMap<&'a str, usize>,
    groups: Vec<Group<'a>>,
    by_choice: BTreeMap<(usize, usize), usize>,
}

pub(super) fn place<'a>(
    snapshot: &'a Snapshot<'a>,
    waiting: &'a [Waiting<'a>],
    cover: &Cover<'_>,
    decision: &mut Decision,
) {
    let mut placing = Placing {
        snapshot,
        board: Board::default(),
        prepared: Vec::new(),
        by_key: BTreeMap::new(),
        groups: Vec::new(),
        by_choice: BTreeMap::new(),
    };
    decision.reasons.reserve(waiting.len());
    let mut last: Option<(&Plan, usize)> = None;
    for job in waiting {
        let reason = match cover.by_job[job.index] {
            Some(coming) => reason_of(coming),
            None => {
                let plan = match last {
                    Some((plan, at)) if std::ptr::eq(plan, job.plan) => at,
                    _ => placing.prepare(job.plan),
                };
                last = Some((job.plan, plan));
                placing.place_one(job, plan)
            }
        };
        decision.reasons.push((job.view.job().clone(), reason));
    }
    let first_reason = decision.reasons.len() - waiting.len();
    placing.call(waiting, first_reason, decision);
}

fn reason_of(coming: Coming<'_>) -> Reason {
    match coming {
        Coming::Creating(batch, _) => Reason::Creating(Arc::new(Placement {
            machine_type: batch.shape.machine_type.clone(),
            model: batch.shape.model,
            region: batch.shape.region.clone(),
            price: batch.price,
        })),
        Coming::Booting(machine) => {
            let (machine_type, model) = machine.footprint.as_ref().map_or_else(
                || ("unknown".into(), crate::shape::ProvisioningModel::Standard),
                |footprint| (footprint.machine_type.clone(), footprint.model),
            );
            let region = machine.shard.region.clone();
            Reason::Booting {
                machine: machine.name.clone(),
                placement: Arc::new(Placement {
                    machine_type,
                    model,
                    region,
                    price: machine.price,
                }),
            }
        }
    }
}

impl<'a> Placing<'a> {
    fn prepare(&mut self, plan: &'a Plan) -> usize {
        if let Some(at) = self.by_key.get(&*plan.key) {
            return *at;
        }
        let mut obstacle = None;
        let mut choices = Vec::new();
        for (at, choice) in plan.choices.iter().enumerate() {
            if let Some(found) = self.standing_obstacle(choice) {
                // The best choice's obstacle is the one to name; being cordoned is named only if it is all there is.
                match (&obstacle, &found) {
                    (None, _) | (Some(Obstacle::Cordoned), Obstacle::Held(_)) => obstacle = Some(found),
                    _ => {}
                }
                continue;
            }
            let mut needs = Vec::with_capacity(choice.usage.0.len());
            for (metric, amount) in &choice.usage.0 {
                if let Some(row) = self.board.row(self.snapshot, &choice.shard, metric) {
                    needs.push((row, *amount));
                }
            }
            choices.push((at, needs));
        }
        self.prepared.push(Prepared {
            plan,
            choices,
            obstacle,
            line: 0,
        });
        self.by_key.insert(&plan.key, self.prepared.len() - 1);
        self.prepared.len() - 1
    }

    fn standing_obstacle(&self, choice: &Choice) -> Option<Obstacle> {
        if self
            .snapshot
            .shards
            .get(&choice.shard)
            .is_none_or(|shard| shard.cordoned)
        {
            return Some(Obstacle::Cordoned);
        }
        let key = HoldKey {
            shard: choice.shard.clone(),
            machine_type: choice.shape.machine_type.clone(),
            model: choice.shape.model,
        };
        let hold = self
            .snapshot
            .holds
            .get(&key)
            .filter(|hold| hold.until > self.snapshot.now)?;
        Some(Obstacle::Held(Arc::new(HoldReason {
            machine_type: key.machine_type,
            region: key.shard.region,
            class: hold.class.as_str(),
            retry_seconds: hold.until.since(self.snapshot.now).as_secs() + 1,
        })))
    }

    fn place_one(&mut self, job: &'a Waiting<'a>, plan: usize) -> Reason {
        let prepared = &mut self.prepared[plan];
        while let Some((at, needs)) = prepared.choices.first() {
            let short = needs
                .iter()
                .find(|(row, amount)| self.board.rows[*row].left < *amount);
            let Some((row, amount)) = short else {
                for (row, amount) in needs {
                    self.board.rows[*row].left -= amount;
                }
                let choice = &prepared.plan.choices[*at];
                let group = *self.by_choice.entry((plan, *at)).or_insert_with(|| {
                    self.groups.push(Group {
                        choice,
                        key: &prepared.plan.key,
                        jobs: Vec::new(),
                    });
                    self.groups.len() - 1
                });
                self.groups[group].jobs.push(job);
                return Reason::Creating(choice.placement.clone());
            };
            if prepared.obstacle.is_none() || matches!(prepared.obstacle, Some(Obstacle::Cordoned)) {
                let found = &self.board.rows[*row];
                // What this pass gives out counts as used: the figure is true once its batches are recorded.
                let used = found.limit.saturating_sub(found.left).max(found.used);
                prepared.obstacle = Some(Obstacle::Quota {
                    row: *row,
                    shortage: Arc::new(Shortage {
                        metric: found.metric.clone(),
                        region: found.shard.map(|shard| shard.region.clone()),
                        used,
                        limit: found.limit,
                        needed: *amount,
                    }),
                });
            }
            prepared.choices.remove(0);
        }
        match &prepared.obstacle {
            Some(Obstacle::Quota { row, shortage }) => {
                let found = &mut self.board.rows[*row];
                found.line += 1;
                Reason::Quota {
                    shortage: shortage.clone(),
                    line: found.line,
                }
            }
            Some(Obstacle::Held(hold)) => {
                prepared.line += 1;
                Reason::Held {
                    hold: hold.clone(),
                    line: prepared.line,
                }
            }
            Some(Obstacle::Cordoned) | None => Reason::Cordoned,
        }
    }

    /// Turns groups into calls: the most urgent first, then the largest, while slots last.
    fn call(mut self, waiting: &[Waiting<'_>], first_reason: usize, decision: &mut Decision) {
        let mut slots = Slots::new(self.snapshot);
        self.groups.sort_by_key(|group| {
            let urgency = group.jobs.iter().map(|job| job.view.record.facts.priority).max();
            (Reverse(urgency), Reverse(group.jobs.len()), group.jobs[0].index)
        });
        let mut unslotted: BTreeMap<usize, ProjectId> = BTreeMap::new();
        for group in &self.groups {
            let project = &group.choice.shard.project;
            for chunk in group.jobs.chunks(BatchRecord::MAX_MEMBERS) {
                if chunk.len() > 1 && slots.take(project) {
                    decision.actions.push(self.batch(group, chunk, Call::Bulk));
                } else if chunk.len() <= self.snapshot.settings.singles.max(1) {
                    for job in chunk {
                        let zone = self.zone(group, job);
                        decision
                            .actions
                            .push(self.batch(group, &[job], Call::Insert { zone }));
                    }
                } else {
                    unslotted.extend(chunk.iter().map(|job| (job.index, project.clone())));
                }
            }
        }
        if !unslotted.is_empty() {
            for (at, job) in waiting.iter().enumerate() {
                if let Some(project) = unslotted.remove(&job.index) {
                    let slots = self.snapshot.settings.bulk_slots;
                    decision.reasons[first_reason + at].1 = Reason::Slot { project, slots };
                }
            }
        }
    }

    fn batch(&self, group: &Group<'_>, jobs: &[&Waiting<'_>], call: Call) -> Action {
        let members: Vec<Member> = jobs.iter().map(|job| self.member(job)).collect();
        Action::Create(Box::new(BatchRecord {
            id: BatchId::of(&members[0].name),
            term: self.snapshot.term,
            created_at: self.snapshot.now,
            call,
            shape: (*group.choice.shape).clone(),
            request_key: group.key.to_string(),
            price: group.choice.price,
            members,
        }))
    }

    // Spread over the zones by job, and another one at each attempt: the last zone may have had none.
    fn zone(&self, group: &Group<'_>, job: &Waiting<'_>) -> Zone {
        let zones = &group.choice.shape.zones;
        let turn = (job.view.job().id.0.as_u128() % zones.len() as u128) as usize;
        zones[(turn + self.attempt(job) as usize) % zones.len()].clone()
    }

    fn attempt(&self, job: &Waiting<'_>) -> u32 {
        self.snapshot.book.last_attempt(job.view.record) + 1
    }

    fn member(&self, job: &Waiting<'_>) -> Member {
        let record = job.view.record;
        let attempt = self.attempt(job);
        let job: JobRef = record.job.clone();
        Member {
            name: MachineName::for_attempt(self.snapshot.stack, job.id, attempt),
            job,
            attempt,
        }
    }
}

/// Bulk operations that may still be started in this pass.
struct Slots<'a> {
    /// By project: operations running, and calls made within the last second, both with this pass's own.
    counts: BTreeMap<&'a ProjectId, (u32, u32)>,
    running: u32,
    per_second: u32,
}

impl<'a> Slots<'a> {
    fn new(snapshot: &'a Snapshot<'a>) -> Self {
        let mut counts: BTreeMap<&ProjectId, (u32, u32)> = BTreeMap::new();
        for batch in snapshot
            .book
            .batches()
            .values()
            .filter(|batch| batch.call == Call::Bulk)
        {
            counts.entry(&batch.shape.project).or_default().0 += 1;
        }
        for (project, recent) in snapshot.recent_bulk {
            counts.entry(project).or_default().1 += recent;
        }
        Self {
            counts,
            running: snapshot.settings.bulk_slots,
            per_second: snapshot.settings.bulk_per_second,
        }
    }

    fn take(&mut self, project: &'a ProjectId) -> bool {
        let (running, recent) = self.counts.entry(project).or_default();
        let free = *running < self.running && *recent < self.per_second;
        if free {
            *running += 1;
            *recent += 1;
        }
        free
    }
}
