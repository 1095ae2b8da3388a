//! What a pass must have done, worked out the slow and obvious way.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::world::World;
use crate::{
    cap::Cap,
    decide::{Action, Decision},
    ids::{BatchId, JobRef, MachineName, MachineTypeName, Region},
    memory::{Gate, HoldKey, Pool},
    plan::{Choice, Plan},
    ports::RefusalClass,
    quota::{Footprint, Metric},
    reason::{Kind, Reason},
    records::{BatchRecord, Book, JobPhase, MachinePhase},
};

/// What is left of each quota, by region or, without one, for the project.
type Left = BTreeMap<(Option<Region>, Metric), Room>;

/// What is left of one quota.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    left: u64,
    limit: u64,
    /// One machine may be asked for whatever is left.
    doubted: bool,
}

impl Room {
    fn has(self, amount: u64) -> bool {
        self.doubted || self.left >= amount
    }

    fn take(&mut self, amount: u64) {
        self.doubted = self.doubted && self.left >= amount;
        self.left = self.left.saturating_sub(amount);
    }
}

/// Machine type and region.
pub(super) type Spot = (MachineTypeName, Region);

/// What is left before a pass.
pub(super) fn left(world: &World) -> Left {
    let mut left = Left::new();
    for region in [None, Some("r1"), Some("r2")].map(|name| name.map(Region::new)) {
        let shard = super::world::shard(region.as_ref().map_or("r1", Region::as_str));
        let lessons: BTreeMap<_, _> = world.memory.exhausted.of(&shard, region.is_none()).collect();
        let shown = world.quotas.keys().filter(|(at, _)| *at == region);
        let all: BTreeSet<&Metric> = shown
            .map(|(_, metric)| metric)
            .chain(lessons.keys().copied())
            .collect();
        for metric in all {
            let key = (region.clone(), metric.clone());
            let promised = world.promised(region.as_ref()).get(metric).copied().unwrap_or(0);
            let (shown, foreign) = match world.quotas.get(&key) {
                Some((limit, foreign)) => (Some(*limit), *foreign),
                None => (None, 0),
            };
            let lesson = lessons.get(metric);
            let told = lesson.and_then(|lesson| lesson.limit);
            let Some(limit) = shown.into_iter().chain(told).min() else {
                continue;
            };
            let heeded = lesson.filter(|lesson| lesson.until > world.now);
            let most = heeded.map_or(u64::MAX, |lesson| lesson.ceiling.saturating_sub(promised));
            let binds = told.is_some_and(|told| shown.is_none_or(|shown| told < shown));
            let room = Room {
                left: limit.saturating_sub(foreign).saturating_sub(promised).min(most),
                limit,
                doubted: binds && heeded.is_none() && foreign + promised <= limit,
            };
            left.insert(key, room);
        }
    }
    left
}

fn keys(choice: &Choice) -> impl Iterator<Item = ((Option<Region>, Metric), u64)> {
    choice.usage.0.iter().map(|(metric, amount)| {
        let region = (!metric.is_project_wide()).then(|| choice.shard.region.clone());
        ((region, metric.clone()), *amount)
    })
}

pub(super) fn fits(left: &Left, choice: &Choice) -> bool {
    keys(choice).all(|(key, amount)| left.get(&key).is_none_or(|left| left.has(amount)))
}

/// How a choice may be asked for: as often as one likes, or once, as it is being found out whether these pools have
/// machines again.
enum Way {
    Open,
    Once(Vec<Pool>),
}

fn way(world: &World, choice: &Choice, probed: &BTreeSet<Pool>) -> Option<Way> {
    let (orders, memory, shape) = (world.book.orders(), &world.memory, &choice.shape);
    let held = HoldKey::of(shape);
    let held = held.iter().filter_map(|key| memory.holds.get(key));
    if orders.closes(&choice.shard) || held.into_iter().any(|hold| hold.until > world.now) {
        return None;
    }
    // After a hold one machine is tried.
    let mut lapsed = HoldKey::of(shape).into_iter().filter_map(|key| {
        let hold = memory.holds.get(&key)?;
        (hold.class != RefusalClass::Rate).then_some((key, hold.until))
    });
    let lapsed = lapsed.next();
    let is_tried = |(key, since): &(HoldKey, _)| {
        let asks =
            |batch: &BatchRecord| batch.created_at >= *since && HoldKey::of(&batch.shape).contains(key);
        world.book.batches().values().any(asks)
    };
    if lapsed.as_ref().is_some_and(is_tried) {
        return None;
    }
    let (mut pools, mut open) = (Vec::new(), Vec::new());
    for zone in shape.zones.iter().filter(|zone| !orders.closes_zone(zone)) {
        let pool = Pool::of(shape, zone);
        match memory.stockouts.gate(&pool, shape.cpus, world.now) {
            Gate::Open => open.push(pool),
            Gate::Shut { .. } => {}
            Gate::HalfOpen { since, .. } => {
                let tries = |batch: &BatchRecord| {
                    let theirs = &batch.shape;
                    batch.created_at >= since && theirs.family == shape.family && batch.zones().contains(zone)
                };
                if !probed.contains(&pool) && !world.book.batches().values().any(tries) {
                    pools.push(pool);
                }
            }
        }
    }
    if lapsed.is_some() {
        pools.extend(open);
        return match pools.iter().any(|pool| probed.contains(pool)) {
            true => None,
            false => (!pools.is_empty()).then_some(Way::Once(pools)),
        };
    }
    if !open.is_empty() {
        return Some(Way::Open);
    }
    (!pools.is_empty()).then_some(Way::Once(pools))
}

fn is_open(world: &World, choice: &Choice) -> bool {
    matches!(way(world, choice, &BTreeSet::new()), Some(Way::Open))
}

fn plan<'a>(world: &'a World, job: &JobRef) -> &'a Plan {
    world.known[job].0.as_ref().expect("only planned jobs are placed")
}

fn choice<'a>(world: &'a World, job: &JobRef, spot: &Spot) -> &'a Choice {
    let is_it = |choice: &&Choice| choice.shape.machine_type == spot.0 && choice.shard.region == spot.1;
    plan(world, job)
        .choices
        .iter()
        .find(is_it)
        .expect("placed where its plan says")
}

/// Jobs from the most urgent on: one after the other is picked, of those that wait too long first, then of the pipeline
/// that has least.
pub(super) fn ranked(world: &World, jobs: impl IntoIterator<Item = JobRef>) -> Vec<JobRef> {
    let facts = |job: &JobRef| &world.book.jobs()[job].facts;
    let mut shares: BTreeMap<&str, u64> = BTreeMap::new();
    for record in world.book.jobs().values() {
        if matches!(record.phase, JobPhase::Claimed { .. }) {
            *shares.entry(&record.facts.pipeline).or_default() += 1; // Machines of these worlds have a vCPU each.
        }
    }
    let mut jobs: Vec<JobRef> = jobs.into_iter().collect();
    let mut ranked = Vec::new();
    while !jobs.is_empty() {
        let next = jobs.iter().enumerate().min_by_key(|(_, job)| {
            let facts = facts(job);
            let patient = world.now.since(facts.runnable_at) < world.settings.aging;
            let share = shares.get(&*facts.pipeline).copied().unwrap_or(0);
            let turn = if patient { share } else { 0 };
            (
                Reverse(facts.priority),
                patient,
                turn,
                facts.runnable_at,
                (*job).clone(),
            )
        });
        let at = next.expect("not empty").0;
        *shares.entry(&facts(&jobs[at]).pipeline).or_default() += 1;
        ranked.push(jobs.remove(at));
    }
    ranked
}

/// What a decision says of jobs that stand in line.
const IN_LINE: [Kind; 9] = [
    Kind::Creating,
    Kind::Booting,
    Kind::Quota,
    Kind::Capped,
    Kind::Held,
    Kind::Slot,
    Kind::Cordoned,
    Kind::Stopped,
    Kind::Unowned,
];

/// Those of the jobs a decision speaks of that are chosen, from the most urgent on. Who has a machine coming stands in
/// line, too.
pub(super) fn in_line(world: &World, decision: &Decision, chosen: &BTreeSet<JobRef>) -> Vec<JobRef> {
    let mut line = ranked(world, with_kind(decision, &IN_LINE));
    line.retain(|job| chosen.contains(job));
    line
}

/// Where a decision creates machines, by the job they are made for.
pub(super) fn created(decision: &Decision) -> BTreeMap<JobRef, Spot> {
    let batches = decision.actions.iter().filter_map(|action| match action {
        Action::Create(batch) => Some(batch),
        _ => None,
    });
    let spots = |batch: &BatchRecord| {
        let spot = (batch.shape.machine_type.clone(), batch.shape.region.clone());
        batch
            .members
            .iter()
            .map(|member| (member.job.clone(), spot.clone()))
            .collect::<Vec<_>>()
    };
    batches.flat_map(|batch| spots(batch)).collect()
}

/// The jobs to which a decision gives a reason of one of these kinds.
pub(super) fn with_kind(decision: &Decision, kinds: &[Kind]) -> BTreeSet<JobRef> {
    let found = decision
        .reasons
        .iter()
        .filter(|(_, reason)| kinds.contains(&reason.kind()));
    found.map(|(job, _)| job.clone()).collect()
}

/// Why a choice is out, as far as it matters for others: how much it says, and the quota that one machine may wait for.
type Obstacle = (u8, Option<(Option<Region>, Metric)>);

fn obstacle(world: &World, left: &Left, choice: &Choice, probed: &BTreeSet<Pool>) -> Obstacle {
    let zones = &choice.shape.zones;
    let orders = world.book.orders();
    if orders.closes(&choice.shard) || zones.iter().all(|zone| orders.closes_zone(zone)) {
        return (0, None);
    }
    if way(world, choice, probed).is_none() {
        return (2, None);
    }
    let mut lacking =
        keys(choice).filter(|(key, amount)| left.get(key).is_some_and(|left| !left.has(*amount)));
    let (key, amount) = lacking.next().expect("it does not fit");
    match left[&key] {
        _ if key.1.is_prepaid() => (0, None),
        room if amount > room.limit => (1, None),
        _ => (2, Some(key)),
    }
}

/// Places jobs one after the other, each at its first choice that is open and fits. Those it cannot place map to
/// nothing. What is left of a quota for which a job has waited long stays for it.
pub(super) fn placed(world: &World, jobs: &[JobRef]) -> BTreeMap<JobRef, Option<Spot>> {
    let mut left = left(world);
    let mut probed = BTreeSet::new();
    // What stood in the way first of each choice that is out, by request.
    let mut out: BTreeMap<&str, Vec<Obstacle>> = BTreeMap::new();
    let place = |job: &JobRef| {
        let plan = plan(world, job);
        let out = out.entry(&plan.key).or_default();
        for choice in &plan.choices[out.len()..] {
            let way = way(world, choice, &probed).filter(|_| fits(&left, choice));
            let Some(way) = way else {
                out.push(obstacle(world, &left, choice, &probed));
                continue;
            };
            if let Way::Once(pools) = way {
                probed.extend(pools);
                out.push((2, None));
            }
            for (key, amount) in keys(choice) {
                if let Some(left) = left.get_mut(&key) {
                    left.take(amount);
                }
            }
            return Some((choice.shape.machine_type.clone(), choice.shard.region.clone()));
        }
        let heaviest = out.iter().map(|(weight, _)| *weight).max();
        let named = out.iter().find(|(weight, _)| Some(*weight) == heaviest);
        let waited = world.now.since(world.book.jobs()[job].facts.runnable_at);
        if let Some((_, Some(key))) = named
            && waited >= world.settings.aging / 6
            && let Some(room) = left.get_mut(key)
        {
            (room.left, room.doubted) = (0, false);
        }
        None
    };
    let spots: Vec<_> = jobs.iter().map(place).collect();
    jobs.iter().cloned().zip(spots).collect()
}

/// A job without a machine and one of lower rank that was given capacity in its stead, if there are such.
pub(super) fn inversion(world: &World, decision: &Decision) -> Option<(JobRef, JobRef)> {
    let made = created(decision);
    let chosen = made.keys().cloned().chain(with_kind(decision, &[Kind::Quota]));
    let order = in_line(world, decision, &chosen.collect());
    for (place, job) in order.iter().enumerate() {
        if made.contains_key(job) || makes_way(decision, job) {
            continue;
        }
        // As if nobody of lower rank had got anything.
        let mut left = left(world);
        for (other, spot) in order[..place]
            .iter()
            .filter_map(|other| Some((other, made.get(other)?)))
        {
            for (key, amount) in keys(choice(world, other, spot)) {
                if let Some(left) = left.get_mut(&key) {
                    left.take(amount);
                }
            }
        }
        let open: Vec<_> = plan(world, job)
            .choices
            .iter()
            .filter(|c| is_open(world, c) && fits(&left, c))
            .collect();
        let lower = order[place..].iter().find(|lower| {
            made.get(*lower)
                .is_some_and(|(_, region)| open.iter().any(|choice| choice.shard.region == *region))
        });
        if let Some(lower) = lower {
            return Some((job.clone(), lower.clone()));
        }
    }
    None
}

/// What it could have is kept for one that has waited long.
fn makes_way(decision: &Decision, job: &JobRef) -> bool {
    let reasons = decision.reasons.iter().filter(|(of, _)| of == job);
    reasons
        .map(|(_, reason)| reason)
        .any(|reason| matches!(reason, Reason::Quota { shortage, .. } if shortage.kept > 0))
}

/// Machines that may still claim, by request: asked for or booting, and not on their way out.
pub(super) fn coming(book: &Book) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for machine in book
        .machines()
        .values()
        .filter(|machine| machine.phase == MachinePhase::Booting)
    {
        *count.entry(machine.request_key.clone()).or_default() += 1;
    }
    for batch in book.batches().values() {
        let members = batch
            .members
            .iter()
            .filter(|member| !book.machines().contains_key(&member.name));
        for member in members {
            *count.entry(batch.key_of(member).to_owned()).or_default() += 1;
        }
    }
    count
}

/// vCPUs of all machines that are there or asked for, of pipelines that a cap covers.
pub(super) fn vcpus(book: &Book, cap: &Cap) -> u64 {
    let theirs = |pipeline: Option<&String>| cap.covers(pipeline.map_or("", String::as_str));
    let machines = book.machines().values();
    let there = machines.filter(|machine| theirs(machine.pipeline.as_ref()) && machine.footprint.is_some());
    let members = book.batches().values().flat_map(|batch| &batch.members);
    let asked = members.filter(|member| {
        let job = book.jobs().get(&member.job);
        !book.machines().contains_key(&member.name) && theirs(job.map(|job| &job.facts.pipeline))
    });
    (there.count() + asked.count()) as u64
}

/// Two machines that hold the claim of one job, if there are such.
pub(super) fn claimed_twice(book: &Book) -> Option<JobRef> {
    let mut jobs = BTreeSet::new();
    let claims = book
        .machines()
        .values()
        .filter_map(|machine| match &machine.phase {
            MachinePhase::Claimed(claim) => Some((&machine.name, &claim.job)),
            _ => None,
        });
    for (name, job) in claims {
        let theirs = book.jobs().get(job).map(|record| &record.phase);
        let agree =
            theirs.is_none_or(|phase| matches!(phase, JobPhase::Claimed { machine, .. } if machine == name));
        if !jobs.insert(job) || !agree {
            return Some(job.clone());
        }
    }
    None
}

/// The indexes of a book, counted from its records alone: footprints, names by job, batches by member.
pub(crate) type Indexes = (
    BTreeMap<Footprint, u64>,
    BTreeMap<JobRef, BTreeSet<MachineName>>,
    BTreeMap<MachineName, BatchId>,
);

pub(crate) fn recount(book: &Book) -> Indexes {
    let (mut counted, mut made_for, mut members) = Indexes::default();
    let mut names: BTreeMap<&MachineName, Option<Footprint>> = BTreeMap::new();
    for batch in book.batches().values() {
        for member in &batch.members {
            names.insert(&member.name, Some(Footprint::from(&batch.shape)));
            made_for
                .entry(member.job.clone())
                .or_default()
                .insert(member.name.clone());
            members.insert(member.name.clone(), batch.id);
        }
    }
    for machine in book.machines().values() {
        names
            .entry(&machine.name)
            .or_insert_with(|| machine.footprint.clone());
        if let Some(job) = &machine.made_for {
            made_for
                .entry(job.clone())
                .or_default()
                .insert(machine.name.clone());
        }
    }
    for footprint in names.into_values().flatten() {
        *counted.entry(footprint).or_default() += 1;
    }
    (counted, made_for, members)
}
