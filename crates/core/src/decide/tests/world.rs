//! A world in a few lines: jobs, plans, quotas and what was seen of them, with a whole decision taken into the
//! records as the leader does it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::say;
use crate::{
    decide::{Action, Decision, decide},
    evolve::{self, Step},
    flow::Flow,
    ids::{
        JobId, JobRef, MachineName, MachineTypeName, ProjectId, QueueKey, Region, Shard, SourceName,
        StackName, Term,
    },
    memory::Memory,
    plan::{Choice, Plan},
    ports::{CommitPhase, Instance, InstanceStatus, JobState, ListedJob, Quota},
    quota::{Footprint, Ledger, Metric, Usage},
    reason::Placement,
    records::{Book, Call, Change, Cordon, Format, JobFacts, JobPhase, Order, Orders, Place},
    settings::Settings,
    shape::{Arch, BootDisk, Network, Price, ProvisioningModel, Shape},
    snapshot::{Backlog, JobView, Planned, Seen, ShardView, Snapshot},
    time::Timestamp,
};

/// When every world begins.
pub(crate) const START: Timestamp = Timestamp(1_800_000_000_000);

/// What a leader holds, built by hand.
pub(crate) struct World {
    pub stack: StackName,
    pub now: Timestamp,
    pub settings: Settings,
    pub book: Book,
    /// What the store holds: every value that was ever put and not removed.
    pub store: BTreeMap<String, Vec<u8>>,
    pub known: BTreeMap<JobRef, (Planned, Seen)>,
    pub backlog: BTreeMap<SourceName, Backlog>,
    pub paused: BTreeSet<(SourceName, QueueKey)>,
    /// When the leader that decides began.
    pub began: Timestamp,
    pub memory: Memory,
    pub flow: Flow,
    pub lists: BTreeMap<Shard, (Timestamp, BTreeMap<MachineName, Instance>)>,
    pub recent_bulk: BTreeMap<ProjectId, u32>,
    /// Names ever recorded in a batch.
    pub named: BTreeSet<MachineName>,
    plans: BTreeMap<String, Planned>,
    usages: BTreeMap<MachineTypeName, Usage>,
    /// Limit and what others use, by region or, without one, for the project.
    pub quotas: BTreeMap<(Option<Region>, Metric), (u64, u64)>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            stack: StackName::new("gust").expect("a good name"),
            now: START,
            settings: Settings::default(),
            book: Book::default(),
            store: BTreeMap::new(),
            known: BTreeMap::new(),
            backlog: BTreeMap::new(),
            paused: BTreeSet::new(),
            began: Timestamp::default(),
            memory: Memory::default(),
            flow: Flow::default(),
            lists: ["r1", "r2"]
                .map(|region| (shard(region), (Timestamp(0), BTreeMap::new())))
                .into(),
            recent_bulk: BTreeMap::new(),
            named: BTreeSet::new(),
            plans: BTreeMap::new(),
            usages: BTreeMap::new(),
            quotas: BTreeMap::new(),
        }
    }
}

pub(crate) fn shard(region: &str) -> Shard {
    Shard {
        project: "ci".into(),
        region: region.into(),
    }
}

pub(crate) fn job(n: u128) -> JobRef {
    JobRef {
        source: "bk".into(),
        id: JobId(uuid::Uuid::from_u128(n)),
    }
}

/// The machine type `kind` in `region`, with zones `a` and `b`.
pub(crate) fn shape(kind: &str, region: &str) -> Shape {
    Shape {
        project: "ci".into(),
        region: region.into(),
        zones: ["a", "b"]
            .map(|zone| format!("{region}-{zone}").as_str().into())
            .into(),
        machine_type: kind.into(),
        family: kind.into(),
        alternatives: Vec::new(),
        cpus: 1,
        memory_mib: 1024,
        arch: Arch::Amd64,
        model: if kind.starts_with("spot") {
            ProvisioningModel::Spot
        } else {
            ProvisioningModel::Standard
        },
        boot_disk: BootDisk {
            disk_type: "pd-balanced".into(),
            gib: 50,
            image: "global/images/ci".into(),
        },
        local_ssds: 0,
        gpus: None,
        network: Network {
            network: "global/networks/default".into(),
            subnetwork: None,
            external_address: false,
        },
        service_account: "ci@ci.iam".into(),
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
        max_run_seconds: 3600,
    }
}

pub(crate) fn facts(plan: &str, runnable_at: Timestamp) -> JobFacts {
    JobFacts {
        queue: "main".into(),
        rules: vec![plan.to_owned()],
        priority: 0,
        pipeline: "monorepo".into(),
        build: 1,
        branch: "main".into(),
        step: None,
        runnable_at,
    }
}

// Building.
impl World {
    /// A machine type of which each machine uses these quotas.
    pub fn kind(&mut self, kind: &str, uses: &[(&str, u64)]) {
        let usage = Usage(
            uses.iter()
                .map(|(metric, amount)| (Metric::new(*metric), *amount))
                .collect(),
        );
        self.usages.insert(kind.into(), usage);
    }

    /// A plan: machine types and regions, best first. Jobs name it in their tags.
    pub fn plan(&mut self, plan: &str, choices: &[(&str, &str)]) {
        let choices = choices
            .iter()
            .map(|(kind, region)| Choice {
                shape: Arc::new(shape(kind, region)),
                shard: shard(region),
                price: Price(1_000),
                usage: self
                    .usages
                    .get(&MachineTypeName::from(*kind))
                    .cloned()
                    .unwrap_or_default(),
                placement: Arc::new(Placement {
                    machine_type: (*kind).into(),
                    model: ProvisioningModel::Standard,
                    region: (*region).into(),
                    price: Price(1_000),
                }),
            })
            .collect();
        self.plans.insert(
            plan.to_owned(),
            Ok(Arc::new(Plan {
                key: plan.into(),
                choices,
            })),
        );
    }

    /// A plan by its name.
    pub fn plan_of(&self, plan: &str) -> Planned {
        self.plans[plan].clone()
    }

    /// A plan, in the stead of the one of its key.
    pub fn put_plan(&mut self, plan: Plan) {
        self.plans.insert(plan.key.to_string(), Ok(Arc::new(plan)));
    }

    /// Another leader reads the records, and knows nothing else.
    pub fn reload(&mut self) {
        let records = self.store.iter();
        let records = records.map(|(key, value)| (key.as_str(), value.as_slice()));
        self.book = Book::load(records, Format::OURS).expect("what was written can be read");
        self.memory = Memory::default();
    }

    /// The usual world: plan `small` on machine type `small` in `r1`, one `CPUS` each, no limit.
    pub fn small() -> Self {
        let mut world = Self::default();
        world.kind("small", &[("CPUS", 1)]);
        world.plan("small", &[("small", "r1")]);
        world
    }

    /// A limit in a region, and what others use of it.
    pub fn quota(&mut self, region: &str, metric: &str, limit: u64, foreign: u64) {
        self.quotas
            .insert((Some(region.into()), Metric::new(metric)), (limit, foreign));
    }

    /// A limit over all regions.
    pub fn project_quota(&mut self, metric: &str, limit: u64) {
        self.quotas.insert((None, Metric::new(metric)), (limit, 0));
    }

    /// Books job `n`, reserved and runnable since second `n`.
    pub fn job(&mut self, n: u128, plan: &str) -> JobRef {
        self.job_with(n, plan, |_| {})
    }

    /// Books job `n` with its facts changed.
    pub fn job_with(&mut self, n: u128, plan: &str, change: impl FnOnce(&mut JobFacts)) -> JobRef {
        let mut facts = facts(plan, Timestamp(START.0 + n as i64 * 1000));
        change(&mut facts);
        let listed = ListedJob { id: job(n).id, facts };
        self.book(&[listed]);
        job(n)
    }

    fn book(&mut self, jobs: &[ListedJob]) {
        let step = evolve::booked(&self.book, &"bk".into(), jobs, self.now);
        self.step(step);
        for listed in jobs {
            let job = JobRef {
                source: "bk".into(),
                id: listed.id,
            };
            let (now, until) = (self.now, self.now.after(self.settings.reservation));
            if let Some((_, seen)) = self.known.get_mut(&job) {
                seen.state = Some((JobState::Reserved, now));
                seen.reserved_until = Some(until);
            }
        }
    }

    /// Lets time pass. Reservations are renewed meanwhile; a second is enough to forget bulk calls.
    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
        if seconds > 0 {
            self.recent_bulk.clear();
        }
        let until = self.now.after(self.settings.reservation);
        for (_, seen) in self
            .known
            .values_mut()
            .filter(|(_, seen)| seen.reserved_until.is_some())
        {
            seen.reserved_until = Some(until);
        }
    }

    /// What was seen of a job.
    pub fn seen(&mut self, n: u128) -> &mut Seen {
        &mut self.known.get_mut(&job(n)).expect("a booked job").1
    }

    /// Buildkite shows job `n` in a state.
    pub fn state(&mut self, n: u128, state: JobState) {
        let now = self.now;
        let seen = self.seen(n);
        if state.is_over() {
            seen.over_since.get_or_insert(now);
        }
        seen.missing = 0;
        seen.state = Some((state, now));
    }

    /// A list of a region, begun now: names as in `m1.1`, each in zone `a` unless its record says otherwise.
    pub fn list(&mut self, region: &str, shown: &[(&str, InstanceStatus)]) {
        let instances: Vec<Instance> = shown
            .iter()
            .map(|(name, status)| {
                let name = self.name(name);
                let zone = self
                    .book
                    .machines()
                    .get(&name)
                    .and_then(|machine| machine.zone.clone());
                Instance {
                    id: 77,
                    zone: zone.unwrap_or_else(|| format!("{region}-a").as_str().into()),
                    status: *status,
                    machine_type: "small".into(),
                    created_at: Some(self.now),
                    name,
                }
            })
            .collect();
        if let Some(step) = evolve::seen_at(&self.book, &instances) {
            self.step(step);
        }
        let instances = instances
            .into_iter()
            .map(|instance| (instance.name.clone(), instance))
            .collect();
        self.lists.insert(shard(region), (self.now, instances));
    }

    /// The name behind `m<job>.<attempt>`; any other text is a name itself.
    pub fn name(&self, text: &str) -> MachineName {
        text.strip_prefix('m')
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(n, attempt)| Some((n.parse().ok()?, attempt.parse().ok()?)))
            .map_or_else(
                || text.into(),
                |(n, attempt)| MachineName::for_attempt(&self.stack, job(n).id, attempt),
            )
    }

    /// The phase of a job's record, in a word.
    pub fn phase(&self, n: u128) -> &'static str {
        match self.book.jobs().get(&job(n)).map(|record| &record.phase) {
            None => "none",
            Some(JobPhase::Booked) => "booked",
            Some(JobPhase::Refusing { .. }) => "refusing",
            Some(JobPhase::Claimed { .. }) => "claimed",
        }
    }
}

// Deciding.
impl World {
    /// What gust's records promise in a region, or over all of them.
    pub fn promised(&self, region: Option<&Region>) -> BTreeMap<Metric, u64> {
        let mut sum = BTreeMap::new();
        for (footprint, count) in self.book.footprints() {
            if region.is_none_or(|region| footprint.shard.region == *region) {
                self.usage(footprint).add_to(&mut sum, *count);
            }
        }
        sum
    }

    pub fn usage(&self, footprint: &Footprint) -> Usage {
        let of = |name: &MachineTypeName| self.usages.get(name).cloned().unwrap_or_default();
        let others = footprint.alternatives.iter().map(|(name, _)| of(name));
        others.fold(of(&footprint.machine_type), |all, other| all.or(&other))
    }

    /// The operator orders something.
    pub fn order(&mut self, change: impl FnOnce(&mut Orders, Order)) {
        let mut orders = self.book.orders().clone();
        let order = Order {
            by: "ann".to_owned(),
            at: self.now,
            note: "a note".to_owned(),
        };
        change(&mut orders, order);
        self.step(Step {
            phase: CommitPhase::Ordered,
            changes: vec![Change::PutOrders(Box::new(orders))],
        });
    }

    /// The operator takes a place out of service, or into it again.
    pub fn cordon(&mut self, place: Place, on: bool, drain: bool) {
        self.order(|orders, order| {
            if on {
                orders.cordon(Cordon { place, drain, order });
            } else {
                orders.uncordon(&place);
            }
        });
    }

    fn ledger(&self, region: Option<&Region>) -> Ledger {
        let quotas: Vec<Quota> = self
            .quotas
            .iter()
            .filter(|((at, _), _)| at.as_ref() == region)
            .map(|((at, metric), (limit, foreign))| Quota {
                metric: metric.to_string(),
                limit: *limit as f64,
                usage: *foreign as f64,
                project_wide: at.is_none(),
            })
            .collect();
        let shard = shard(region.map_or("r1", Region::as_str));
        let lessons = self.memory.exhausted.of(&shard, region.is_none());
        Ledger::new(&quotas, &BTreeMap::new(), &self.promised(region)).taught(lessons, self.now)
    }

    fn shards(&self) -> BTreeMap<Shard, ShardView> {
        let view = |shard: &Shard, list: &(Timestamp, BTreeMap<MachineName, Instance>)| ShardView {
            ledger: self.ledger(Some(&shard.region)),
            inventory: (list.0 > Timestamp(0)).then(|| list.clone()),
        };
        self.lists
            .iter()
            .map(|(shard, list)| (shard.clone(), view(shard, list)))
            .collect()
    }

    /// Looks at the world as one pass would.
    pub fn with_snapshot<T>(&self, look: impl FnOnce(&Snapshot<'_>) -> T) -> T {
        let shards = self.shards();
        let project_ledgers = [("ci".into(), self.ledger(None))].into();
        look(&Snapshot {
            now: self.now,
            term: Term(7),
            began: self.began,
            stack: &self.stack,
            settings: &self.settings,
            book: &self.book,
            jobs: self.views(),
            backlog: &self.backlog,
            paused: &self.paused,
            shards: &shards,
            project_ledgers: &project_ledgers,
            memory: &self.memory,
            flow: &self.flow,
            recent_bulk: &self.recent_bulk,
        })
    }

    /// Booked jobs with what belongs to them.
    pub fn views(&self) -> Vec<JobView<'_>> {
        let pairs = self.book.jobs().values().zip(self.known.values());
        pairs
            .map(|(record, (plan, seen))| JobView { record, plan, seen })
            .collect()
    }

    /// Decides, and changes nothing.
    pub fn decide(&self) -> Decision {
        self.with_snapshot(decide)
    }

    /// Decides, takes the decision into the records, and returns it as lines.
    pub fn pass(&mut self) -> Vec<String> {
        let decision = self.decide();
        let lines = say::decision(&decision);
        self.take(decision);
        lines
    }

    /// Takes a decision into the records as the leader does it: record first, then the effect's own memory.
    pub fn take(&mut self, decision: Decision) {
        for (begun_at, _) in self.lists.values_mut() {
            *begun_at = Timestamp(0); // Each list is looked at once.
        }
        self.memory.forget(self.now);
        for action in decision.actions {
            if let Some(step) = evolve::record(&self.book, &action, self.now) {
                self.step(step);
            }
            self.effect(action);
        }
    }

    fn effect(&mut self, action: Action) {
        match action {
            Action::Reserve { source, jobs } => {
                self.backlog.remove(&source);
                self.book(&jobs);
            }
            Action::Renew { jobs, .. } => {
                let until = self.now.after(self.settings.reservation);
                for id in jobs {
                    let known = self.known.get_mut(&JobRef {
                        source: "bk".into(),
                        id,
                    });
                    known.expect("a booked job").1.reserved_until = Some(until);
                }
            }
            Action::Refuse { job, .. } | Action::Finish { job, .. } => {
                self.known.get_mut(&job).expect("a booked job").1.finishing = true;
            }
            Action::Create(batch) => {
                if batch.call == Call::Bulk {
                    *self.recent_bulk.entry(batch.shape.project.clone()).or_default() += 1;
                }
                for member in batch.members {
                    let text = say::name(&member.name);
                    assert!(self.named.insert(member.name), "{text} is used twice");
                }
            }
            Action::Close { .. }
            | Action::Rebook { .. }
            | Action::Preempted { .. }
            | Action::Delete { .. }
            | Action::Check { .. } => {}
        }
    }

    /// Makes a step durable, and applies it.
    pub fn step(&mut self, step: Step) {
        let keys: BTreeSet<_> = step.changes.iter().map(Change::key).collect();
        assert_eq!(
            keys.len(),
            step.changes.len(),
            "a step changes each key once: {step:?}"
        );
        for change in &step.changes {
            self.book.apply(change);
            let key = change.key().to_string();
            match change.value() {
                Some(value) => drop(self.store.insert(key, value)),
                None => drop(self.store.remove(&key)),
            }
            match change {
                Change::PutJob(record) if !self.known.contains_key(&record.job) => {
                    let plan = self.plans.get(&record.facts.rules[0]).cloned();
                    let plan = plan.unwrap_or_else(|| Err("no such plan".into()));
                    self.known.insert(record.job.clone(), (plan, Seen::default()));
                }
                Change::RemoveJob(job) => drop(self.known.remove(job)),
                _ => {}
            }
        }
    }
}
