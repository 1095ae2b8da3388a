//! Where waiting jobs go: the best choice with quota left, grouped into as few calls as possible.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{
    Action, Decision,
    board::Board,
    cover::{Coming, Cover},
    slots::Slots,
    triage::Waiting,
};
use crate::{
    ids::{BatchId, JobRef, MachineName, MachineTypeName, ProjectId, Region, Shard, Zone},
    plan::{Choice, Plan},
    reason::{HoldReason, Placement, Reason, Shortage},
    records::{BatchRecord, Call, Member},
    shape::{BATCH_LABEL, ProvisioningModel, Shape},
    snapshot::{Hold, Snapshot},
};

/// Why a choice cannot be taken in this pass. Capacity only shrinks within a pass, so it stays so.
enum Obstacle {
    Quota { row: usize, needed: u64 },
    Held(Arc<HoldReason>),
    Unowned(Region),
    Cordoned,
}

/// How far a pass has come with the choices of a plan.
struct Progress<'a> {
    plan: &'a Plan,
    /// The choice that is tried: those before it are out for this pass.
    at: usize,
    /// What it needs, by row of the board; looked up once it is its turn.
    needs: Option<Vec<(usize, u64)>>,
    /// Why jobs of this plan wait, once all choices are out.
    obstacle: Option<Obstacle>,
    /// The figures of that, where it is a quota.
    shortage: Option<Arc<Shortage>>,
    /// Jobs that wait for a held choice so far.
    line: u32,
}

impl<'a> Progress<'a> {
    // The best choice's obstacle is the one to name; being cordoned is named only if it is all there is.
    fn skip(&mut self, obstacle: Obstacle) {
        if matches!(self.obstacle, None | Some(Obstacle::Cordoned)) {
            self.obstacle = Some(obstacle);
        }
        self.at += 1;
        self.needs = None;
    }
}

/// Jobs that share a shape in this pass.
struct Group<'a> {
    choice: &'a Choice,
    key: &'a Arc<str>,
    jobs: Vec<&'a Waiting<'a>>,
}

/// What is left alone at present.
type Holds<'a> = BTreeMap<(&'a Shard, &'a MachineTypeName, ProvisioningModel), &'a Hold>;

struct Placing<'a> {
    snapshot: &'a Snapshot<'a>,
    board: Board<'a>,
    holds: Holds<'a>,
    plans: Vec<Progress<'a>>,
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
        holds: holds(snapshot),
        plans: Vec::new(),
        by_key: BTreeMap::new(),
        groups: Vec::new(),
        by_choice: BTreeMap::new(),
    };
    decision.reasons.reserve(waiting.len());
    let mut last: Option<(&Plan, usize)> = None;
    for job in waiting {
        let reason = match cover.by_job[job.index] {
            Some(coming) => reason_of(coming),
            None if snapshot.book.orders().paused.is_some() => Reason::Stopped {
                note: paused_note(snapshot),
            },
            None => {
                let plan = match last {
                    Some((plan, at)) if std::ptr::eq(plan, job.plan) => at,
                    _ => placing.plan(job.plan),
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

fn paused_note(snapshot: &Snapshot<'_>) -> String {
    let paused = snapshot.book.orders().paused.as_ref();
    paused.map(|order| order.note.clone()).unwrap_or_default()
}

fn holds<'a>(snapshot: &Snapshot<'a>) -> Holds<'a> {
    let standing = snapshot
        .holds
        .iter()
        .filter(|(_, hold)| hold.until > snapshot.now);
    standing
        .map(|(key, hold)| ((&key.shard, &key.machine_type, key.model), hold))
        .collect()
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
                || ("unknown".into(), ProvisioningModel::Standard),
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
    fn plan(&mut self, plan: &'a Plan) -> usize {
        *self.by_key.entry(&plan.key).or_insert_with(|| {
            self.plans.push(Progress {
                plan,
                at: 0,
                needs: None,
                obstacle: None,
                shortage: None,
                line: 0,
            });
            self.plans.len() - 1
        })
    }

    fn standing_obstacle(&self, choice: &Choice) -> Option<Obstacle> {
        match self.snapshot.shards.get(&choice.shard) {
            None => return Some(Obstacle::Unowned(choice.shard.region.clone())),
            Some(_) if self.is_closed(choice) => return Some(Obstacle::Cordoned),
            Some(_) => {}
        }
        let shape = &choice.shape;
        let hold = self
            .holds
            .get(&(&choice.shard, &shape.machine_type, shape.model))?;
        Some(Obstacle::Held(Arc::new(HoldReason {
            machine_type: shape.machine_type.clone(),
            region: choice.shard.region.clone(),
            class: hold.class.as_str(),
            retry_seconds: hold.until.since(self.snapshot.now).as_secs() + 1,
        })))
    }

    fn is_closed(&self, choice: &Choice) -> bool {
        if crate::mutant!("orders-ignored") {
            return false;
        }
        let orders = self.snapshot.book.orders();
        orders.closes(&choice.shard) || choice.shape.zones.iter().all(|zone| orders.closes_zone(zone))
    }

    fn place_one(&mut self, job: &'a Waiting<'a>, plan: usize) -> Reason {
        while let Some(choice) = self.plans[plan].plan.choices.get(self.plans[plan].at) {
            match self.take(choice, plan) {
                Ok(()) => {
                    self.join(job, plan, choice);
                    return Reason::Creating(choice.placement.clone());
                }
                Err(obstacle) => self.plans[plan].skip(obstacle),
            }
        }
        self.obstructed(plan)
    }

    /// Takes what one machine of the choice needs off the board, or says what stands in the way.
    fn take(&mut self, choice: &'a Choice, plan: usize) -> Result<(), Obstacle> {
        if self.plans[plan].needs.is_none() {
            self.plans[plan].needs = Some(self.needs(choice)?);
        }
        let needs = self.plans[plan].needs.as_deref().unwrap_or_default();
        let rows = &mut self.board.rows;
        if let Some((row, needed)) = needs.iter().find(|(row, needed)| rows[*row].left < *needed) {
            return Err(Obstacle::Quota {
                row: *row,
                needed: *needed,
            });
        }
        for (row, amount) in needs {
            rows[*row].left -= amount;
        }
        Ok(())
    }

    // What one machine needs, by row of the board. Many choices fail at their first row: the others are not
    // looked up then.
    fn needs(&mut self, choice: &'a Choice) -> Result<Vec<(usize, u64)>, Obstacle> {
        if let Some(obstacle) = self.standing_obstacle(choice) {
            return Err(obstacle);
        }
        let mut needs = Vec::with_capacity(choice.usage.0.len());
        for (metric, needed) in &choice.usage.0 {
            let Some(row) = self.board.row(self.snapshot, &choice.shard, metric) else {
                continue;
            };
            if self.board.rows[row].left < *needed {
                return Err(Obstacle::Quota { row, needed: *needed });
            }
            needs.push((row, *needed));
        }
        Ok(needs)
    }

    fn join(&mut self, job: &'a Waiting<'a>, plan: usize, choice: &'a Choice) {
        let Progress {
            plan: Plan { key, .. },
            at,
            ..
        } = &self.plans[plan];
        let group = *self.by_choice.entry((plan, *at)).or_insert_with(|| {
            self.groups.push(Group {
                choice,
                key,
                jobs: Vec::new(),
            });
            self.groups.len() - 1
        });
        self.groups[group].jobs.push(job);
    }

    fn obstructed(&mut self, plan: usize) -> Reason {
        let progress = &mut self.plans[plan];
        match &progress.obstacle {
            Some(Obstacle::Quota { row, needed }) => {
                let found = &mut self.board.rows[*row];
                found.line += 1;
                let shortage = progress
                    .shortage
                    .get_or_insert_with(|| Arc::new(found.shortage(*needed)));
                Reason::Quota {
                    shortage: shortage.clone(),
                    line: found.line,
                }
            }
            Some(Obstacle::Held(hold)) => {
                progress.line += 1;
                Reason::Held {
                    hold: hold.clone(),
                    line: progress.line,
                }
            }
            Some(Obstacle::Unowned(region)) => Reason::Unowned(region.clone()),
            Some(Obstacle::Cordoned) | None => Reason::Cordoned,
        }
    }

    /// Turns groups into calls: the most urgent first, then the largest, while slots last.
    fn call(mut self, waiting: &[Waiting<'_>], first_reason: usize, decision: &mut Decision) {
        let mut slots = Slots::new(self.snapshot);
        // A group's first job is its most urgent one.
        self.groups.sort_by_key(|group| {
            let first = group.jobs[0];
            (first.rank.0, Reverse(group.jobs.len()), first.index)
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
        let id = BatchId::of(&members[0].name);
        let mut shape = self.shape(group);
        if call == Call::Bulk {
            // Recorded with the shape: whoever repeats the call must ask for the very same.
            shape.labels.insert(BATCH_LABEL.to_owned(), id.to_string());
        }
        Action::Create(Box::new(BatchRecord {
            id,
            term: self.snapshot.term,
            created_at: self.snapshot.now,
            call,
            shape,
            request_key: group.key.to_string(),
            price: group.choice.price,
            members,
        }))
    }

    // What is asked for leaves out zones that the operator closed; it serves the same requests.
    fn shape(&self, group: &Group<'_>) -> Shape {
        let mut shape = (*group.choice.shape).clone();
        let orders = self.snapshot.book.orders();
        shape.zones.retain(|zone| !orders.closes_zone(zone));
        shape
    }

    // Spread over the zones by job, and another one at each attempt: the last zone may have had none.
    fn zone(&self, group: &Group<'_>, job: &Waiting<'_>) -> Zone {
        let orders = self.snapshot.book.orders();
        let open = group.choice.shape.zones.iter();
        let zones: Vec<&Zone> = open.filter(|zone| !orders.closes_zone(zone)).collect();
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
