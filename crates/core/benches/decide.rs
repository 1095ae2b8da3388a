//! How long a pass takes: `decide/mix/<jobs>` over the eleven shapes of a real build, half of the jobs placeable and
//! half waiting with a reason; `decide/distinct/<requests>` over 10,000 jobs of so many distinct requests;
//! `decide/running/<machines>` over jobs that run, where nothing is to be done.
//!
//! The mix's jobs come from `loadtest/rust-monorepo-ci-mix.csv` through grammar, catalog and offers, as in the server.

use std::{collections::BTreeMap, hint::black_box, sync::Arc, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gust_core::{
    catalog::Catalog,
    decide::{Action, Decision, decide},
    evolve,
    flow::Flow,
    ids::{JobId, JobRef, ProjectId, Region, Shard, StackName, Term},
    memory::Memory,
    offer::{CPUS_ALL_REGIONS, Offer, Place, Placement, Site, SpotQuota, offers, resources},
    plan::{Choice, Plan},
    ports::{JobState, ListedJob, MemberFate, Quota},
    quota::{Footprint, Ledger, Metric},
    reason::{self, Kind},
    records::{Book, Change, Claim, JobFacts, JobPhase, KeyHash, MachinePhase},
    request::{Policy, Request},
    settings::Settings,
    shape::{BootDisk, Network, STACK_LABEL, Shape},
    snapshot::{JobView, Planned, Seen, ShardView, Snapshot},
    time::Timestamp,
};
use uuid::Uuid;

const MIX: &str = include_str!("../../../loadtest/rust-monorepo-ci-mix.csv");
const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// Four regions of thirteen zones.
const REGIONS: [&str; 4] = ["us-central1", "us-east4", "us-east1", "us-west1"];

/// What the leader holds, with the book and the views' map apart as there.
struct World {
    stack: StackName,
    settings: Settings,
    book: Book,
    known: BTreeMap<JobRef, (Planned, Seen)>,
    shards: BTreeMap<Shard, ShardView>,
    project_ledgers: BTreeMap<ProjectId, Ledger>,
    memory: Memory,
    flow: Flow,
}

impl World {
    fn decide(&self) -> Decision {
        let views = self.book.jobs().values().zip(self.known.values());
        let jobs = views
            .map(|(record, (plan, seen))| JobView { record, plan, seen })
            .collect();
        decide(&Snapshot {
            now: NOW,
            term: Term(7),
            began: Timestamp::default(),
            stack: &self.stack,
            settings: &self.settings,
            book: &self.book,
            jobs,
            backlog: &BTreeMap::new(),
            paused: &Default::default(),
            shards: &self.shards,
            project_ledgers: &self.project_ledgers,
            memory: &self.memory,
            flow: &self.flow,
            recent_bulk: &BTreeMap::new(),
        })
    }
}

impl World {
    /// Machine types among all choices.
    fn types(&self) -> std::collections::BTreeSet<String> {
        let plans = self.known.values().filter_map(|(plan, _)| plan.as_ref().ok());
        let choices = plans.flat_map(|plan| &plan.choices);
        choices
            .map(|choice| choice.shape.machine_type.to_string())
            .collect()
    }
}

/// One kind of job: its tags and its priority.
#[derive(Clone)]
struct Template {
    rules: Vec<String>,
    priority: i64,
    cpus: u64,
}

/// The jobs of the real build, as often as each step runs.
fn mix() -> Vec<Template> {
    let rows = MIX
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>());
    let templates = rows.flat_map(|row| {
        let [_, arch, cpu, memory, _, parallelism, _, priority, ..] = row[..] else {
            panic!("columns of the mix")
        };
        let template = Template {
            rules: vec![
                format!("arch={arch}"),
                format!("cpu={cpu}"),
                format!("memory={memory}"),
            ],
            priority: priority.parse().expect("a number"),
            cpus: cpu.parse().expect("a number"),
        };
        vec![template; parallelism.parse().expect("a number")]
    });
    templates.collect()
}

/// So many requests that all differ in memory.
fn distinct(requests: u64) -> Vec<Template> {
    let template = |n: u64| {
        let cpus = [2, 4, 8, 16, 32][n as usize % 5];
        let memory = cpus * (1024 + 60 * (n / 5));
        Template {
            rules: vec![format!("cpu={cpus}"), format!("memory={memory}Mi")],
            priority: 0,
            cpus,
        }
    };
    (0..requests).map(template).collect()
}

/// From tags to plans, each request once.
struct Planner {
    catalog: Catalog,
    placement: Placement,
    plans: BTreeMap<Vec<String>, Planned>,
}

impl Planner {
    fn new() -> Self {
        let catalog = Catalog::builtin();
        let regions = REGIONS.map(|region| (Region::from(region), Vec::new())).into();
        let site = Site {
            project: "ci".into(),
            regions,
        };
        let placement = Placement::new(&catalog, &[site], &Policy::default()).expect("known regions");
        Self {
            catalog,
            placement,
            plans: BTreeMap::new(),
        }
    }

    fn plan(&mut self, rules: &[String]) -> Planned {
        if let Some(plan) = self.plans.get(rules) {
            return plan.clone();
        }
        let request = Request::parse(rules, &Policy::default()).expect("good tags");
        let offers = offers(&request, &self.catalog, &self.placement);
        let choices: Vec<Choice> = offers
            .iter()
            .flat_map(|offer| offer.places.iter().map(|place| self.choice(offer, place)))
            .collect();
        assert!(!choices.is_empty(), "{rules:?}");
        let plan: Planned = Ok(Arc::new(Plan {
            key: request.canonical().into(),
            choices,
        }));
        self.plans.insert(rules.to_vec(), plan.clone());
        plan
    }

    fn choice(&self, offer: &Offer, place: &Place) -> Choice {
        let shape = Shape {
            project: place.shard.project.clone(),
            region: place.shard.region.clone(),
            zones: place.zones.clone(),
            machine_type: offer.machine_type.clone(),
            family: offer.family.to_string(),
            alternatives: Vec::new(),
            cpus: offer.cpus.0,
            memory_mib: offer.memory.0,
            arch: offer.arch,
            model: offer.model,
            boot_disk: BootDisk {
                disk_type: offer.disk.disk_type.to_string(),
                gib: offer.disk.size.0 as u32,
                image: format!("projects/ci/global/images/family/ci-{}", offer.arch),
            },
            local_ssds: offer.local_ssds.attach,
            gpus: offer.accelerators(),
            network: Network {
                network: "global/networks/default".into(),
                subnetwork: None,
                external_address: false,
            },
            service_account: "ci@ci.iam.gserviceaccount.com".into(),
            labels: [(STACK_LABEL.to_owned(), "bench".to_owned())].into(),
            metadata: BTreeMap::new(),
            max_run_seconds: 14_400,
        };
        let placement = Arc::new(reason::Placement {
            machine_type: shape.machine_type.clone(),
            model: shape.model,
            region: shape.region.clone(),
            price: offer.price,
        });
        let usage = resources(&Footprint::from(&shape), &self.catalog, &SpotQuota::default());
        Choice {
            shard: place.shard.clone(),
            price: offer.price,
            usage,
            placement,
            shape: Arc::new(shape),
        }
    }
}

/// `jobs` jobs, the templates over and over, booked and reserved; vCPU quota for this share of them.
fn world(templates: &[Template], jobs: usize, share: f64) -> World {
    let mut planner = Planner::new();
    let mut book = Book::default();
    let mut known = BTreeMap::new();
    let mut listed = Vec::new();
    let mut cpus = 0;
    for (n, template) in templates.iter().cycle().take(jobs).enumerate() {
        // Ids as Buildkite makes them, in no order.
        let id = JobId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &n.to_be_bytes()));
        let facts = JobFacts {
            queue: "main".into(),
            rules: template.rules.clone(),
            priority: template.priority,
            pipeline: "monorepo".into(),
            build: n as u64 / 126,
            branch: "main".into(),
            step: None,
            runnable_at: Timestamp(NOW.0 - 60_000 + n as i64),
        };
        let seen = Seen {
            state: Some((JobState::Reserved, NOW)),
            reserved_until: Some(NOW.after(Duration::from_secs(180))),
            ..Seen::default()
        };
        known.insert(
            JobRef {
                source: "bk".into(),
                id,
            },
            (planner.plan(&template.rules), seen),
        );
        listed.push(ListedJob { id, facts });
        cpus += template.cpus;
    }
    for change in evolve::booked(&book, &"bk".into(), &listed, NOW).changes {
        book.apply(&change);
    }
    let plans = planner.plans.values().filter_map(|plan| plan.as_ref().ok());
    let metrics: Vec<Metric> = plans
        .flat_map(|plan| &plan.choices)
        .flat_map(|choice| &choice.usage.0)
        .map(|(m, _)| m.clone())
        .collect();
    let quota = |metric: &str, limit: f64| Quota {
        metric: metric.into(),
        limit,
        usage: 0.0,
        project_wide: metric == CPUS_ALL_REGIONS,
    };
    let regional: Vec<Quota> = metrics.iter().map(|metric| quota(metric.as_str(), 1e9)).collect();
    let none = BTreeMap::new();
    let shard = |region: &str| Shard {
        project: "ci".into(),
        region: region.into(),
    };
    let view = ShardView {
        ledger: Ledger::new(&regional, &none, &none),
        ..ShardView::default()
    };
    let wide = Ledger::new(&[quota(CPUS_ALL_REGIONS, cpus as f64 * share)], &none, &none);
    World {
        stack: StackName::new("bench").expect("a good name"),
        settings: Settings::default(),
        book,
        known,
        shards: REGIONS.map(|region| (shard(region), view.clone())).into(),
        project_ledgers: [("ci".into(), wide)].into(),
        memory: Memory::default(),
        flow: Flow::default(),
    }
}

/// Every job has a reason, and those of the kinds given are so many.
fn count(world: &World, kinds: &[Kind]) -> usize {
    let decision = world.decide();
    assert_eq!(decision.reasons.len(), world.book.jobs().len());
    decision
        .reasons
        .iter()
        .filter(|(_, reason)| kinds.contains(&reason.kind()))
        .count()
}

/// All jobs of the mix claimed by machines of their own, and running.
fn running(jobs: usize) -> World {
    let mut world = world(&mix(), jobs, 1.0);
    world.settings.bulk_slots = u32::MAX;
    world.settings.bulk_per_second = u32::MAX;
    for action in world.decide().actions {
        let Action::Create(batch) = action else { continue };
        world.book.apply(&Change::PutBatch(batch.clone()));
        let zone = batch.shape.zones[0].clone();
        let created = MemberFate::Created {
            zone,
            instance_id: Some(1),
            machine_type: None,
        };
        let fates: Vec<_> = batch
            .members
            .iter()
            .map(|member| (member.name.clone(), created.clone()))
            .collect();
        let settled = evolve::settled(&world.book, batch.id, &fates, NOW).expect("an open batch");
        settled
            .step
            .changes
            .iter()
            .for_each(|change| world.book.apply(change));
        for member in batch.members {
            let mut job = world.book.jobs()[&member.job].clone();
            let mut machine = world.book.machines()[&member.name].clone();
            job.phase = JobPhase::Claimed {
                machine: member.name,
                at: NOW,
            };
            machine.phase = MachinePhase::Claimed(Claim {
                job: member.job,
                key: KeyHash("k".into()),
                at: NOW,
            });
            world.book.apply(&Change::PutJob(job));
            world.book.apply(&Change::PutMachine(Box::new(machine)));
        }
    }
    for (_, seen) in world.known.values_mut() {
        seen.state = Some((JobState::Running, NOW));
    }
    assert_eq!(world.book.machines().len(), jobs);
    assert_eq!(world.decide(), Decision::default());
    world
}

fn passes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for jobs in [100, 1_000, 10_000] {
        let world = world(&mix(), jobs, 0.5);
        let waiting = count(&world, &[Kind::Quota]);
        assert!(
            (jobs * 4 / 10..=jobs * 6 / 10).contains(&waiting),
            "{waiting} of {jobs} wait"
        );
        group.throughput(Throughput::Elements(jobs as u64));
        group.bench_function(BenchmarkId::new("mix", jobs), |b| {
            b.iter(|| black_box(world.decide()))
        });
    }
    // Half of the jobs fit; there are slots for all calls, so that none of the others waits for anything but quota.
    for (requests, jobs) in [(500, 10_000), (500, 100_000)] {
        let mut world = world(&distinct(requests), jobs, 0.5);
        world.settings.bulk_slots = u32::MAX;
        world.settings.bulk_per_second = u32::MAX;
        let waiting = count(&world, &[Kind::Quota]);
        assert!(
            (jobs * 4 / 10..=jobs * 6 / 10).contains(&waiting),
            "{waiting} of {jobs} wait"
        );
        let types = world.types().len();
        assert!(types >= 400, "only {types} machine types");
        group.throughput(Throughput::Elements(jobs as u64));
        group.bench_function(BenchmarkId::new(format!("distinct-{requests}"), jobs), |b| {
            b.iter(|| black_box(world.decide()))
        });
    }
    let world = running(10_000);
    group.bench_function(BenchmarkId::new("running", 10_000), |b| {
        b.iter(|| black_box(world.decide()))
    });
    group.finish();
}

criterion_group!(benches, passes);
criterion_main!(benches);
