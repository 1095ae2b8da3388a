//! What holds in every world, whatever happens in whatever order.

use std::collections::BTreeSet;

use proptest::{
    prelude::{ProptestConfig, prop, proptest},
    sample::Index,
};

use super::{
    chance::{Event, REGIONS, event, setup},
    events::{STOCKOUT, created as exists, refused},
    model, say,
    world::{World, job, shard},
};
use crate::{
    decide::{Action, Decision, decide},
    evolve,
    ids::{JobRef, MachineName, Region},
    ports::{InstanceStatus, JobState, MemberFate, RefusalClass},
    reason::{Kind, Reason},
    records::{Book, Call, Format, JobPhase, MachinePhase, Place},
};

/// A world, and what must never be undone in it.
struct Run {
    world: World,
    next: u128,
    /// Machines whose right to claim has ended.
    revoked: BTreeSet<MachineName>,
}

impl Run {
    fn on(&mut self, event: Event) {
        match event {
            Event::Book {
                plan,
                priority,
                queue,
                listed,
            } => self.book(plan, priority, queue, listed),
            Event::Pass => self.passes(),
            Event::Settle { batch, fates, class } => self.settle(batch, fates, &class),
            Event::Claim { machine, thief } => self.claim(machine, thief),
            Event::Done(at) => {
                if let Some(name) = self.machine(at) {
                    self.world.done(&name, &name.clone());
                }
            }
            Event::Gone(at) => {
                if let Some(name) = self.machine(at) {
                    self.world.gone(&name);
                }
            }
            Event::State(at, state) => {
                if let Some(n) = self.job(at) {
                    self.world.state(n, state);
                }
            }
            Event::Missing(at) => {
                if let Some(n) = self.job(at) {
                    self.world.seen(n).missing += 1;
                }
            }
            Event::Lost(at, lost) => {
                if let Some(n) = self.job(at) {
                    self.world.seen(n).reservation_lost = lost;
                }
            }
            Event::List {
                region,
                shown,
                stopped,
                stranger,
            } => self.list(region, shown, stopped, stranger),
            Event::Wait(seconds) => self.world.wait(seconds),
            Event::Pause(on) => switch(&mut self.world.paused, ("bk".into(), "main".into()), on),
            Event::Cordon {
                region,
                zone,
                on,
                drain,
            } => {
                let place = match zone {
                    None => Place::Shard(shard(REGIONS[region])),
                    Some(zone) => Place::Zone(format!("{}-{zone}", REGIONS[region]).as_str().into()),
                };
                self.world.cordon(place, on, drain);
            }
            Event::Stop(on) => self
                .world
                .order(|orders, order| orders.paused = on.then_some(order)),
            Event::NewLeader => self.new_leader(),
        }
        self.check();
    }

    fn job(&self, at: Index) -> Option<u128> {
        let jobs: Vec<_> = self.world.book.jobs().keys().collect();
        (!jobs.is_empty()).then(|| say::number(jobs[at.index(jobs.len())]))
    }

    fn machine(&self, at: Index) -> Option<String> {
        let mut names: Vec<&MachineName> = self.world.named.iter().collect();
        names.extend(
            self.world
                .book
                .machines()
                .keys()
                .filter(|name| !self.world.named.contains(*name)),
        );
        (!names.is_empty()).then(|| say::name(names[at.index(names.len())]))
    }

    fn book(&mut self, plan: usize, priority: i64, queue: bool, listed: bool) {
        self.next += 1;
        let n = self.next;
        let change = |facts: &mut crate::records::JobFacts| {
            facts.priority = priority;
            facts.queue = if queue { "other".into() } else { "main".into() };
            facts.pipeline = ["one", "two", "two", "three"][n as usize % 4].to_owned();
        };
        let plan = format!("p{plan}"); // The last one does not exist: its jobs are refused.
        if listed {
            let mut facts = super::world::facts(&plan, self.world.now);
            change(&mut facts);
            let backlog = self.world.backlog.entry("bk".into()).or_default();
            backlog
                .jobs
                .push(crate::ports::ListedJob { id: job(n).id, facts });
        } else {
            self.world.job_with(n, &plan, change);
        }
    }

    fn settle(&mut self, batch: Index, fates: u64, class: &RefusalClass) {
        let open: Vec<_> = self.world.book.batches().values().cloned().collect();
        if open.is_empty() {
            return;
        }
        let batch = batch.get(&open);
        let zone = match &batch.call {
            Call::Insert { zone } => zone.clone(),
            Call::Bulk => batch.shape.zones[0].clone(),
        };
        let fate = |name: &str| -> MemberFate {
            let at = batch
                .members
                .iter()
                .position(|member| say::name(&member.name) == name);
            match (fates >> (at.expect("a member") % 32 * 2)) & 3 {
                0 | 1 => exists(zone.as_str()),
                2 => refused(STOCKOUT),
                _ => refused(class.clone()),
            }
        };
        self.world.settle(batch.id, fate);
    }

    fn claim(&mut self, at: Index, thief: bool) {
        let Some(name) = self.machine(at) else { return };
        let key = if thief { "thief".to_owned() } else { name.clone() };
        let claimable = self.claimable(&name);
        let mut line = model::ranked(&self.world, self.waiting());
        line.retain(|job| claimable.contains(job));
        let before = self.world.book.clone();
        let answer = self.world.claim(&name, &key);
        let full = self.world.name(&name);
        let known = before.machines().get(&full);
        let Some(given) = answer.strip_prefix("job ") else {
            assert!(
                !answer.starts_with("refused") || before == self.world.book,
                "a refusal changes nothing"
            );
            return;
        };
        let given = job(given.parse().expect("a number"));
        assert!(
            !self.revoked.contains(&full),
            "{name} claims after its right has ended"
        );
        match known.map(|machine| &machine.phase) {
            Some(MachinePhase::Claimed(claim)) => assert_eq!((&claim.job, &claim.key.0), (&given, &key)),
            Some(MachinePhase::Deleting { .. }) => panic!("{name} is being deleted"),
            Some(MachinePhase::Booting) | None => {
                let first = line.first().cloned();
                assert_eq!(first, Some(given), "the most urgent one");
            }
        }
    }

    // Booked jobs that the request of a machine satisfies and that may be given out.
    fn claimable(&self, machine: &str) -> Vec<JobRef> {
        let world = &self.world;
        let name = world.name(machine);
        let machine = evolve::from_batch(&world.book, &name, world.now);
        let Some(machine) = world.book.machines().get(&name).cloned().or(machine) else {
            return Vec::new();
        };
        let key = machine.request_key;
        let asks = |job: &JobRef| world.known[job].0.as_ref().is_ok_and(|plan| *plan.key == *key);
        let mut jobs = self.waiting();
        jobs.retain(asks);
        jobs
    }

    // Booked jobs that may be given out.
    fn waiting(&self) -> Vec<JobRef> {
        let world = &self.world;
        let jobs = world.book.jobs().values().filter(|record| {
            let (plan, seen) = &world.known[&record.job];
            let state = seen.state.as_ref().map(|(state, _)| state);
            let theirs = state == Some(&JobState::Reserved) && seen.reservation_lost;
            let open = matches!(state, None | Some(JobState::Scheduled | JobState::Reserved));
            matches!(record.phase, JobPhase::Booked)
                && plan.is_ok()
                && !world
                    .paused
                    .contains(&(record.job.source.clone(), record.facts.queue.clone()))
                && open
                && !theirs
                && seen.missing < 2
        });
        jobs.map(|record| record.job.clone()).collect()
    }

    fn list(&mut self, region: usize, shown: u64, stopped: u64, stranger: bool) {
        let here = Region::from(REGIONS[region]);
        let machines = self
            .world
            .book
            .machines()
            .values()
            .filter(|machine| machine.shard.region == here);
        let mut all: Vec<String> = machines.map(|machine| say::name(&machine.name)).collect();
        let unknown = format!("m99999.{region}");
        if stranger && !all.contains(&unknown) {
            all.push(unknown);
        }
        let bit = |bits: u64, at: usize| (bits >> (at % 64)) & 1 == 1;
        let listed: Vec<(&str, InstanceStatus)> = all
            .iter()
            .enumerate()
            .filter(|(at, _)| bit(shown, *at))
            .map(|(at, name)| {
                let off = bit(stopped, at) && bit(stopped >> 7, at);
                (
                    name.as_str(),
                    if off {
                        InstanceStatus::Stopped
                    } else {
                        InstanceStatus::Running
                    },
                )
            })
            .collect();
        self.world.list(REGIONS[region], &listed);
    }

    // Everything that was not recorded is forgotten; the records come from the store.
    fn new_leader(&mut self) {
        let world = &mut self.world;
        world.reload();
        world.backlog.clear();
        let now = world.now;
        for (_, seen) in world.known.values_mut() {
            let state = seen.state.take().map(|(state, _)| (state, now));
            *seen = crate::snapshot::Seen {
                missing: u32::from(state.is_none()),
                state,
                ..Default::default()
            };
        }
    }

    /// Passes at one moment, until nothing more is asked for.
    fn passes(&mut self) {
        let mut asked = BTreeSet::new();
        for round in 0.. {
            let decision = self.world.decide();
            assert_eq!(
                decision,
                self.world.with_snapshot(decide),
                "the same snapshot, the same decision"
            );
            self.check_decision(&decision);
            for action in &decision.actions {
                let fresh = once(action).is_none_or(|what| asked.insert(what));
                assert!(fresh, "asked for twice: {action:?}");
            }
            let quiet = decision.actions.is_empty();
            let before = self.world.book.clone();
            self.world.take(decision.clone());
            self.check();
            self.check_after(&before, &decision);
            if quiet {
                break;
            }
            assert!(round < 4, "never content: {:?}", say::decision(&decision));
        }
    }

    fn check_decision(&self, decision: &Decision) {
        let world = &self.world;
        // A reason or an end for every job that waits, and for nobody twice.
        let reasons: Vec<&JobRef> = decision.reasons.iter().map(|(job, _)| job).collect();
        let distinct: BTreeSet<&JobRef> = reasons.iter().copied().collect();
        assert_eq!(distinct.len(), reasons.len());
        let ended: BTreeSet<&JobRef> = decision.actions.iter().filter_map(ends).collect();
        for record in world
            .book
            .jobs()
            .values()
            .filter(|record| record.phase == JobPhase::Booked)
        {
            assert!(
                distinct.contains(&record.job) != ended.contains(&record.job),
                "{} has a reason or an end",
                say::number(&record.job)
            );
        }
        self.check_placing(decision);
    }

    fn check_placing(&self, decision: &Decision) {
        let world = &self.world;
        let made = model::created(decision);
        if world.book.orders().paused.is_some() {
            assert!(made.is_empty(), "the operator paused gust: {made:?}");
            return;
        }
        self.check_zones(decision);
        let slot = model::with_kind(decision, &[Kind::Slot]);
        let capped = model::with_kind(decision, &[Kind::Capped]);
        // Who waits for a slot has taken what it needs besides.
        self.check_caps(&made.keys().chain(&slot).cloned().collect(), &capped);
        let blocked = model::with_kind(decision, &[Kind::Quota, Kind::Held, Kind::Cordoned]);
        let all = made.keys().chain(&slot).chain(&blocked).cloned();
        let expected = model::placed(world, &model::in_line(world, decision, &all.collect()));
        for (job, spot) in expected {
            match spot {
                None => assert!(blocked.contains(&job), "{} does not fit", say::number(&job)),
                Some(_) if slot.contains(&job) => {}
                Some(spot) => assert_eq!(made.get(&job), Some(&spot), "{}", say::number(&job)),
            }
        }
        if slot.is_empty() {
            assert_eq!(model::inversion(world, decision), None);
        }
        for (_, reason) in &decision.reasons {
            if let Reason::Quota { shortage, line, .. } = reason {
                assert!(
                    shortage.refused || shortage.used + shortage.kept + shortage.needed > shortage.limit,
                    "{reason}"
                );
                assert!(*line > 0, "{reason}");
            }
        }
    }

    // No machine more than a cap allows, and nobody waits for one that has room.
    fn check_caps(&self, made: &BTreeSet<JobRef>, capped: &BTreeSet<JobRef>) {
        let world = &self.world;
        for cap in &world.settings.caps {
            let covers = |job: &&JobRef| {
                let record = world.book.jobs().get(*job);
                record.is_some_and(|record| cap.covers(&record.facts.pipeline))
            };
            let limit = cap.vcpus.expect("these worlds cap vCPUs");
            let used = model::vcpus(&world.book, cap) + made.iter().filter(covers).count() as u64;
            let new = made.iter().any(|job| covers(&job));
            assert!(!new || used <= limit, "{} of {limit} vCPUs", used);
            let waits = capped.iter().any(|job| covers(&job));
            assert!(
                !waits || used >= limit,
                "{} of {limit} vCPUs, and jobs wait",
                used
            );
        }
        if world.settings.caps.is_empty() {
            assert!(capped.is_empty());
        }
    }

    fn check_zones(&self, decision: &Decision) {
        let orders = self.world.book.orders();
        for action in &decision.actions {
            let Action::Create(batch) = action else { continue };
            assert!(!batch.shape.zones.is_empty());
            let single = match &batch.call {
                Call::Insert { zone } => Some(zone),
                Call::Bulk => None,
            };
            let closed = batch
                .shape
                .zones
                .iter()
                .chain(single)
                .find(|zone| orders.closes_zone(zone));
            assert_eq!(closed, None, "a machine is asked for in a closed zone");
        }
    }

    fn check_after(&self, before: &Book, decision: &Decision) {
        let world = &self.world;
        // No machine that no job waits for: one each at most.
        for (key, machines) in model::coming(&world.book) {
            let waiting = before.jobs().values().filter(|record| {
                record.phase == JobPhase::Booked
                    && world
                        .known
                        .get(&record.job)
                        .is_some_and(|(plan, _)| plan.as_ref().is_ok_and(|p| *p.key == *key))
            });
            assert!(machines <= waiting.count(), "machines of {key} without a job");
        }
        let bulk = world
            .book
            .batches()
            .values()
            .filter(|batch| batch.call == Call::Bulk)
            .count() as u32;
        let recent = world.recent_bulk.values().copied().max().unwrap_or(0);
        assert!(bulk <= world.settings.bulk_slots && recent <= world.settings.bulk_per_second);
        if !model::with_kind(decision, &[Kind::Slot]).is_empty() {
            let free = bulk < world.settings.bulk_slots && recent < world.settings.bulk_per_second;
            assert!(!free, "a slot is free and jobs wait for it");
        }
    }

    fn check(&mut self) {
        let world = &self.world;
        for ((region, metric), (limit, foreign)) in &world.quotas {
            let promised = world.promised(region.as_ref()).get(metric).copied().unwrap_or(0);
            assert!(
                promised <= limit.saturating_sub(*foreign),
                "{metric} in {region:?}: {promised} of {limit}"
            );
        }
        assert_eq!(model::claimed_twice(&world.book), None);
        let (footprints, made_for, members) = model::recount(&world.book);
        assert_eq!(*world.book.footprints(), footprints);
        for job in world.book.jobs().keys().chain(made_for.keys()) {
            let names: BTreeSet<_> = world.book.made_for(job).cloned().collect();
            assert_eq!(made_for.get(job).cloned().unwrap_or_default(), names);
        }
        for name in world.named.iter().chain(members.keys()) {
            assert_eq!(
                world.book.batch_of(name).map(|batch| batch.id),
                members.get(name).copied()
            );
        }
        let deleting = world
            .book
            .machines()
            .values()
            .filter(|machine| machine.is_deleting());
        self.revoked.extend(deleting.map(|machine| machine.name.clone()));
        for machine in world
            .book
            .machines()
            .values()
            .filter(|machine| self.revoked.contains(&machine.name))
        {
            assert!(machine.is_deleting(), "{} came back", say::name(&machine.name));
        }
    }

    fn check_store(&self) {
        let records = self
            .world
            .store
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        let backwards = records.clone().rev();
        assert_eq!(
            Book::load(records, Format::OURS).expect("readable"),
            self.world.book
        );
        assert_eq!(
            Book::load(backwards, Format::OURS).expect("readable"),
            self.world.book,
            "in any order"
        );
    }
}

fn switch<T: Ord>(set: &mut BTreeSet<T>, item: T, on: bool) {
    if on {
        set.insert(item);
    } else {
        set.remove(&item);
    }
}

// What an action does that must not be asked for again at the same moment.
fn once(action: &Action) -> Option<String> {
    match action {
        Action::Refuse { job, .. } => Some(format!("refuse {job}")),
        Action::Close { job, .. } => Some(format!("close {job}")),
        Action::Rebook { job } => Some(format!("rebook {job}")),
        Action::Preempted { job } => Some(format!("preempted {job}")),
        Action::Finish { job, .. } => Some(format!("finish {job}")),
        Action::Create(batch) => Some(format!("create {}", batch.id)),
        Action::Delete { machine, .. } => Some(format!("delete {machine}")),
        Action::Check { machine, .. } => Some(format!("check {machine}")),
        Action::Reserve { .. } | Action::Renew { .. } => None,
    }
}

fn ends(action: &Action) -> Option<&JobRef> {
    match action {
        Action::Refuse { job, .. } | Action::Close { job, .. } => Some(job),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_promises_of_the_core_hold(
        setup in setup(),
        events in prop::collection::vec(event(), 1..70),
    ) {
        let mut run = Run { world: setup.world(), next: 0, revoked: BTreeSet::new() };
        for event in events {
            run.on(event);
        }
        run.on(Event::Pass);
        run.check_store();
    }

    #[test]
    fn a_burst_is_placed_in_order_of_rank(
        setup in setup(),
        jobs in prop::collection::vec((0..3_usize, -2..3_i64), 1..40),
    ) {
        let mut run = Run { world: setup.world(), next: 0, revoked: BTreeSet::new() };
        for (plan, priority) in jobs {
            run.book(plan, priority, false, false);
        }
        run.on(Event::Pass);
        run.check_store();
    }
}
