//! Where waiting jobs go: the best choice with quota left, gathered by shape.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Decision,
    board::Board,
    call,
    caps::Caps,
    cover::{Coming, Cover},
    gates::{self, Probed, Zones, held, zones},
    progress::{Obstacle, Progress, Turn},
    triage::Waiting,
};
use crate::{
    ids::Shard,
    memory::Pool,
    plan::{Choice, Plan},
    reason::{Placement, Reason},
    shape::{ProvisioningModel, Shape},
    snapshot::Snapshot,
};

/// What is freed is set aside for a job that has waited for this part of `aging`: by default five minutes of thirty.
const SET_ASIDE: u32 = 6;

/// A job with the request that its machine is for.
#[derive(Clone, Copy)]
pub(super) struct Seat<'a> {
    pub job: &'a Waiting<'a>,
    pub plan: &'a Plan,
}

/// Jobs that share a shape in this pass, whatever they asked for.
pub(super) struct Group<'a> {
    pub choice: &'a Choice,
    pub zones: Zones,
    pub seats: Vec<Seat<'a>>,
}

pub(super) struct Placing<'a> {
    pub snapshot: &'a Snapshot<'a>,
    pub board: Board<'a>,
    pub groups: Vec<Group<'a>>,
    pub caps: Caps<'a>,
    pub plans: Vec<Progress<'a>>,
    by_key: BTreeMap<&'a str, usize>,
    /// The same by where a plan lies: jobs of one request share it, and a long line asks for it job by job.
    by_address: BTreeMap<usize, usize>,
    pub by_shape: BTreeMap<&'a Shape, usize>,
    pub probed: Probed,
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
        groups: Vec::new(),
        caps: Caps::new(snapshot),
        plans: Vec::new(),
        by_key: BTreeMap::new(),
        by_address: BTreeMap::new(),
        by_shape: BTreeMap::new(),
        probed: Probed::new(),
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
    call::call(placing, waiting, first_reason, decision);
}

fn lacking(board: &Board<'_>, row: usize, needed: u64) -> Obstacle {
    let found = &board.rows[row];
    if found.metric.is_prepaid() {
        return Obstacle::Prepaid;
    }
    let hopeless = found.is_hopeless(needed);
    Obstacle::Quota {
        row,
        needed,
        hopeless,
    }
}

fn paused_note(snapshot: &Snapshot<'_>) -> String {
    let paused = snapshot.book.orders().paused.as_ref();
    paused.map(|order| order.note.clone()).unwrap_or_default()
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
        let (plans, by_key) = (&mut self.plans, &mut self.by_key);
        let by_address = self.by_address.entry(std::ptr::from_ref(plan).addr());
        *by_address.or_insert_with(|| {
            *by_key.entry(&plan.key).or_insert_with(|| {
                plans.push(Progress::new(plan));
                plans.len() - 1
            })
        })
    }

    fn place_one(&mut self, job: &'a Waiting<'a>, plan: usize) -> Reason {
        let facts = &job.view.record.facts;
        let pipeline = &*facts.pipeline;
        let overdue = self.snapshot.now.since(facts.runnable_at) >= self.snapshot.settings.aging / SET_ASIDE;
        while let Some(choice) = self.plans[plan].plan.choices.get(self.plans[plan].at) {
            if let Err(obstacle) = self.fits(choice, plan) {
                self.plans[plan].skip(obstacle);
                continue;
            }
            if self.caps.full(pipeline, choice).is_some() {
                let smaller = self.within_caps(job, plan, pipeline);
                return smaller.unwrap_or_else(|| self.capped(pipeline, choice, plan, overdue));
            }
            self.take(pipeline, choice, plan);
            self.join(job, plan, choice);
            return Reason::Creating(choice.placement.clone());
        }
        self.obstructed(plan, overdue)
    }

    /// Whether one machine of the choice can be asked for, or what stands in the way.
    fn fits(&mut self, choice: &'a Choice, plan: usize) -> Result<(), Obstacle> {
        if self.plans[plan].turn.is_none() {
            self.plans[plan].turn = Some(self.turn(choice)?);
        }
        let turn = self.plans[plan].turn.as_ref();
        let needs = turn.map_or(&[][..], |turn| &turn.needs);
        match needs
            .iter()
            .find(|(row, needed)| !self.board.rows[*row].has(*needed))
        {
            Some((row, needed)) => Err(lacking(&self.board, *row, *needed)),
            None => Ok(()),
        }
    }

    pub fn turn(&mut self, choice: &'a Choice) -> Result<Turn, Obstacle> {
        if !self.snapshot.shards.contains_key(&choice.shard) {
            return Err(Obstacle::Unowned(choice.shard.region.clone()));
        }
        // Where nothing is closed zones cannot refuse. Most choices of a long line fail for quota: looked at first, that
        // spares the lists of their zones.
        if gates::all_open(self.snapshot) {
            let needs = self.needs(choice)?;
            let zones = zones(self.snapshot, choice, &self.probed)?;
            return Ok(Turn { needs, zones });
        }
        let zones = zones(self.snapshot, choice, &self.probed)?;
        let needs = self.needs(choice)?;
        Ok(Turn { needs, zones })
    }

    // What one machine needs, by row of the board. Many choices fail at their first row: the others are not
    // looked up then.
    fn needs(&mut self, choice: &'a Choice) -> Result<Vec<(usize, u64)>, Obstacle> {
        let mut needs = Vec::with_capacity(choice.usage.0.len());
        let mut board = self.board.of(self.snapshot, &choice.shard);
        for (metric, needed) in &choice.usage.0 {
            let Some(row) = board.row(metric) else {
                continue;
            };
            if !board.rows[row].has(*needed) {
                return Err(lacking(&self.board, row, *needed));
            }
            needs.push((row, *needed));
        }
        Ok(needs)
    }

    /// Takes what one machine of the choice needs off the board.
    fn take(&mut self, pipeline: &'a str, choice: &'a Choice, plan: usize) {
        if let Some(turn) = &self.plans[plan].turn {
            for (row, amount) in &turn.needs {
                self.board.rows[*row].take(*amount);
            }
        }
        self.caps.take(pipeline, choice);
    }

    fn join(&mut self, job: &'a Waiting<'a>, plan: usize, choice: &'a Choice) {
        let progress = &mut self.plans[plan];
        let Some(turn) = &progress.turn else { return };
        let seat = Seat {
            job,
            plan: progress.plan,
        };
        let (groups, by_shape) = (&mut self.groups, &mut self.by_shape);
        let find = || group_of(groups, by_shape, choice, &turn.zones);
        let group = *progress.group.get_or_insert_with(find);
        self.groups[group].seats.push(seat);
        if turn.zones.is_probe() {
            let zones = turn.zones.half_open.iter();
            self.probed
                .extend(zones.map(|zone| Pool::of(&choice.shape, zone)));
            let why = turn.zones.why;
            progress.skip(Obstacle::Held(held(&choice.shape, why, 0)));
        }
    }

    /// Why a job of the plan waits. One that is overdue keeps others from what it waits for: smaller ones would take it
    /// bit by bit, for ever.
    pub fn obstructed(&mut self, plan: usize, overdue: bool) -> Reason {
        let progress = &mut self.plans[plan];
        match &progress.obstacle {
            Some(Obstacle::Quota {
                row,
                needed,
                hopeless,
            }) => {
                let found = &mut self.board.rows[*row];
                found.queue(*needed);

                let shortage = progress
                    .shortage
                    .get_or_insert_with(|| Arc::new(found.shortage(*needed)));
                let reason = Reason::Quota {
                    shortage: shortage.clone(),
                    line: found.line,
                    about: found.minutes(self.snapshot),
                };
                if overdue && !*hopeless {
                    found.keep();
                }
                reason
            }
            Some(Obstacle::Held(hold)) => {
                progress.line += 1;
                Reason::Held {
                    hold: hold.clone(),
                    line: progress.line,
                }
            }
            Some(Obstacle::Unowned(region)) => Reason::Unowned(region.clone()),
            Some(Obstacle::Cordoned | Obstacle::Prepaid) | None => Reason::Cordoned,
        }
    }

    /// Gives back what one machine of a choice needs, and takes what one of another needs instead. False, with nothing
    /// changed, if there is not enough for that.
    pub fn swap(&mut self, from: &'a Choice, to: &'a Choice) -> bool {
        let gives = self.rows(from);
        for (row, amount) in &gives {
            self.board.rows[*row].give(*amount);
        }
        let takes = self.rows(to);
        let rows = &self.board.rows;
        let done = takes.iter().all(|(row, amount)| rows[*row].has(*amount));
        let changes = if done { takes } else { gives };
        for (row, amount) in &changes {
            self.board.rows[*row].take(*amount);
        }
        done
    }

    fn rows(&mut self, choice: &'a Choice) -> Vec<(usize, u64)> {
        let mut rows = Vec::with_capacity(choice.usage.0.len());
        let mut board = self.board.of(self.snapshot, &choice.shard);
        for (metric, amount) in &choice.usage.0 {
            if let Some(row) = board.row(metric) {
                rows.push((row, *amount));
            }
        }
        rows
    }
}

/// The group of a choice's shape in this pass.
pub(super) fn group_of<'a>(
    groups: &mut Vec<Group<'a>>,
    by_shape: &mut BTreeMap<&'a Shape, usize>,
    choice: &'a Choice,
    zones: &Zones,
) -> usize {
    *by_shape.entry(&choice.shape).or_insert_with(|| {
        groups.push(Group {
            choice,
            zones: zones.clone(),
            seats: Vec::new(),
        });
        groups.len() - 1
    })
}

/// The shard in which a group's machines are made.
impl Group<'_> {
    pub fn shard(&self) -> &Shard {
        &self.choice.shard
    }
}
