//! Where waiting jobs go: the best choice with quota left, gathered by shape.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Decision,
    board::Board,
    call,
    caps::Caps,
    cover::{Coming, Cover},
    gates::{self, Closed, Probed, Zones, held, zones},
    triage::Waiting,
};
use crate::{
    ids::{Region, Shard},
    memory::Pool,
    plan::{Choice, Plan},
    reason::{HoldReason, Placement, Reason, Shortage},
    shape::{ProvisioningModel, Shape},
    snapshot::Snapshot,
};

/// Why a choice cannot be taken in this pass. Capacity only shrinks within a pass, so it stays so.
enum Obstacle {
    Quota {
        row: usize,
        needed: u64,
    },
    /// What is paid for already is used up; the same machine at full price is another choice.
    Prepaid,
    Held(Arc<HoldReason>),
    Unowned(Region),
    Cordoned,
}

impl From<Closed> for Obstacle {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Cordoned => Self::Cordoned,
            Closed::Held(hold) => Self::Held(hold),
        }
    }
}

/// A choice whose turn it is: what it needs, by row of the board, and where it may be asked for.
struct Turn {
    needs: Vec<(usize, u64)>,
    zones: Zones,
}

/// How far a pass has come with the choices of a plan.
struct Progress<'a> {
    plan: &'a Plan,
    /// The choice that is tried: those before it are out for this pass.
    at: usize,
    /// Looked up once it is its turn.
    turn: Option<Turn>,
    /// The group of its jobs.
    group: Option<usize>,
    /// Why jobs of this plan wait, once all choices are out.
    obstacle: Option<Obstacle>,
    /// The figures of that, where it is a quota.
    shortage: Option<Arc<Shortage>>,
    /// Jobs that wait for a held choice so far.
    line: u32,
}

impl Progress<'_> {
    // The best choice's obstacle is the one to name; being cordoned is named only if it is all there is.
    fn skip(&mut self, obstacle: Obstacle) {
        if matches!(self.obstacle, None | Some(Obstacle::Cordoned | Obstacle::Prepaid)) {
            self.obstacle = Some(obstacle);
        }
        self.at += 1;
        (self.turn, self.group) = (None, None);
    }
}

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
    caps: Caps<'a>,
    plans: Vec<Progress<'a>>,
    by_key: BTreeMap<&'a str, usize>,
    by_shape: BTreeMap<&'a Shape, usize>,
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
    if board.rows[row].metric.is_prepaid() {
        Obstacle::Prepaid
    } else {
        Obstacle::Quota { row, needed }
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
        *self.by_key.entry(&plan.key).or_insert_with(|| {
            self.plans.push(Progress {
                plan,
                at: 0,
                turn: None,
                group: None,
                obstacle: None,
                shortage: None,
                line: 0,
            });
            self.plans.len() - 1
        })
    }

    fn place_one(&mut self, job: &'a Waiting<'a>, plan: usize) -> Reason {
        let pipeline = &*job.view.record.facts.pipeline;
        while let Some(choice) = self.plans[plan].plan.choices.get(self.plans[plan].at) {
            if let Err(obstacle) = self.fits(choice, plan) {
                self.plans[plan].skip(obstacle);
                continue;
            }
            if let Some((cap, line)) = self.caps.refuses(pipeline, choice) {
                let cap = Arc::new(cap);
                return Reason::Capped { cap, line };
            }
            self.take(pipeline, choice, plan);
            self.join(job, plan, choice);
            return Reason::Creating(choice.placement.clone());
        }
        self.obstructed(plan)
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
            .find(|(row, needed)| self.board.rows[*row].left < *needed)
        {
            Some((row, needed)) => Err(lacking(&self.board, *row, *needed)),
            None => Ok(()),
        }
    }

    fn turn(&mut self, choice: &'a Choice) -> Result<Turn, Obstacle> {
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
            if board.rows[row].left < *needed {
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
                self.board.rows[*row].left -= amount;
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
        let group = *progress.group.get_or_insert_with(|| {
            *self.by_shape.entry(&choice.shape).or_insert_with(|| {
                self.groups.push(Group {
                    choice,
                    zones: turn.zones.clone(),
                    seats: Vec::new(),
                });
                self.groups.len() - 1
            })
        });
        self.groups[group].seats.push(seat);
        if turn.zones.is_probe() {
            let zones = turn.zones.half_open.iter();
            self.probed
                .extend(zones.map(|zone| Pool::of(&choice.shape, zone)));
            let why = turn.zones.why.as_str();
            progress.skip(Obstacle::Held(held(&choice.shape, why, 0)));
        }
    }

    fn obstructed(&mut self, plan: usize) -> Reason {
        let progress = &mut self.plans[plan];
        match &progress.obstacle {
            Some(Obstacle::Quota { row, needed }) => {
                let found = &mut self.board.rows[*row];
                found.queue(*needed);
                let shortage = progress
                    .shortage
                    .get_or_insert_with(|| Arc::new(found.shortage(*needed)));
                Reason::Quota {
                    shortage: shortage.clone(),
                    line: found.line,
                    about: found.minutes(self.snapshot),
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
            Some(Obstacle::Cordoned | Obstacle::Prepaid) | None => Reason::Cordoned,
        }
    }

    /// Gives back what one machine of a choice needs, and takes what one of another needs instead. False, with nothing
    /// changed, if there is not enough for that.
    pub fn swap(&mut self, from: &'a Choice, to: &'a Choice) -> bool {
        let gives = self.rows(from);
        for (row, amount) in &gives {
            self.board.rows[*row].left += amount;
        }
        let takes = self.rows(to);
        let rows = &self.board.rows;
        let done = takes.iter().all(|(row, amount)| rows[*row].left >= *amount);
        let changes = if done { takes } else { gives };
        for (row, amount) in &changes {
            self.board.rows[*row].left -= amount;
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

/// The shard in which a group's machines are made.
impl Group<'_> {
    pub fn shard(&self) -> &Shard {
        &self.choice.shard
    }
}
