//! The replicas of a run: each time one starts, it is made anew from nothing but its configuration.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use gust_core::{
    cap::Cap,
    ids::{ProjectId, ReplicaId, SourceName},
    ports::{Cloud, Member, Source, Store},
    records::Format,
    secret::Secret,
    settings::Settings,
    tenure::Timing,
};
use gust_server::{
    clock::Clock,
    config::{Config, Surroundings},
    leader::{Handle, Parts, Picture, ShardZones, SourcePart},
    planner::{self, Planner},
    replica::Replica,
    task::{Dice, Executor, Tasks},
    worker::{Pace, Worker},
};
use gust_store::etcd::EtcdStore;

use super::{
    cloud::VirtualCloud,
    etcd::{EtcdWorld, VirtualEtcd},
    hosts::Hosts,
    link::{VirtualLinks, Workers},
    machine::Doors,
    net::Net,
    run::name_of,
    scenario::{Scenario, SourceOf},
    source::{Unreserved, VirtualSource},
    witness::Witness,
    world::Shared,
};
use crate::words::count;

/// The project of every run.
pub(super) const PROJECT: &str = "gust-demo";
/// Its regions: two, so that there are two shards to own.
pub(super) const REGIONS: [&str; 2] = ["us-central1", "us-east1"];

/// The key of whoever leads the stack of [`CONFIG`].
const LEADER: &str = "/gust/v1/gust/leader";

const CONFIG: &str = r#"
stack = "gust"
replica = "a"
data_dir = "unused"
[[source]]
name = "virtual"
endpoint = "http://127.0.0.1:1/v3"
token = { env = "TOKEN" }
queues = ["gust"]
[[project]]
id = "gust-demo"
regions = ["us-central1", "us-east1"]
service_account = "gust-machine@gust-demo.iam.gserviceaccount.com"
images = { amd64 = "projects/debian-cloud/global/images/family/debian-12", arm64 = "projects/debian-cloud/global/images/family/debian-12-arm64" }
endpoint = "http://127.0.0.1:1"
credentials = "anonymous"
jwks_url = "http://127.0.0.1:1/certs"
[limits]
aging = "2m"
merge_premium_percent = 10
"#;

/// The surroundings of a virtual replica: one variable, no files.
struct Nowhere;

impl Surroundings for Nowhere {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "TOKEN").then(|| "bkct_fake".to_owned())
    }

    fn read(&self, _path: &Path) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn process_name(&self) -> String {
        "virtual".to_owned()
    }
}

/// What all replicas of all runs are configured with. It is the same each time, so it is read once.
struct Configured {
    config: Arc<Config>,
    planner: Arc<Planner>,
    shards: ShardZones,
}

impl Configured {
    fn get() -> &'static Self {
        static READ: OnceLock<Configured> = OnceLock::new();
        READ.get_or_init(|| {
            let config = Config::parse(CONFIG, Path::new("virtual.toml"), &Nowhere)
                .expect("the virtual configuration is a good one");
            let planner =
                Planner::new(&config, BTreeMap::new()).expect("the virtual configuration places machines");
            let shards = planner::shards(&config).expect("the virtual configuration has shards");
            Self {
                config: Arc::new(config),
                planner: Arc::new(planner),
                shards,
            }
        })
    }
}

/// What a build writes that is so many versions later than the first.
pub(super) fn form(build: u32) -> Format {
    match build {
        0 => Format::OURS,
        later => Format::of(Format::OURS.version + later),
    }
}

/// All replicas of a run. Cheap to clone.
#[derive(Clone)]
pub(super) struct Replicas {
    seed: u64,
    count: usize,
    source: SourceOf,
    config: Arc<Config>,
    caps: Arc<[Cap]>,
    pub planner: Arc<Planner>,
    families: Arc<Vec<(String, f64)>>,
    workers: Workers,
    /// The last picture that each showed.
    pictures: Arc<Mutex<Vec<Arc<Picture>>>>,
    names: Arc<Vec<ReplicaId>>,
    starts: Arc<Mutex<Vec<u64>>>,
    hellos: Arc<AtomicU64>,
}

/// What each replica is connected to.
#[derive(Clone)]
struct Surrounding {
    world: Shared,
    net: Net,
    hosts: Hosts,
    etcd: EtcdWorld,
    doors: Doors,
    witness: Witness,
}

impl Replicas {
    /// Those of a scenario; nothing runs yet.
    pub fn new(scenario: &Scenario) -> Self {
        let Configured { config, planner, .. } = Configured::get();
        let count = scenario.replicas;
        let limits = scenario
            .limits
            .limits()
            .expect("a scenario was checked before it is run");
        let families = limits.gce.family_quotas;
        Self {
            seed: scenario.seed,
            count,
            source: scenario.source,
            config: Arc::clone(config),
            caps: scenario.caps.clone().into(),
            planner: Arc::clone(planner),
            families: Arc::new(families.into_iter().collect()),
            workers: Arc::new(Mutex::new(vec![None; count])),
            pictures: Arc::new(Mutex::new(vec![Arc::default(); count])),
            names: Arc::new((0..count).map(name_of).collect()),
            starts: Arc::new(Mutex::new(vec![0; count])),
            hellos: Arc::default(),
        }
    }

    /// Starts all, and each again after a crash.
    pub fn start(
        &self,
        world: &Shared,
        net: &Net,
        hosts: &Hosts,
        etcd: &EtcdWorld,
        doors: &Doors,
        witness: &Witness,
    ) {
        let around = Surrounding {
            world: world.clone(),
            net: net.clone(),
            hosts: hosts.clone(),
            etcd: etcd.clone(),
            doors: doors.clone(),
            witness: witness.clone(),
        };
        let replicas = self.clone();
        hosts.start(Arc::new(move |at, executor, clock| {
            replicas.boot(at, executor, &clock, &around);
        }));
    }

    fn boot(&self, at: usize, executor: Arc<dyn Executor>, clock: &Clock, around: &Surrounding) {
        let tasks = Tasks::on(executor);
        let dice = Dice::seeded(self.next_seed(at));
        let etcd = VirtualEtcd::new(around.etcd.clone(), around.net.clone(), at);
        let config = gust_store::etcd::Config {
            page: 50,
            ..gust_store::etcd::Config::new(self.config.stack.clone())
        };
        let store: Arc<dyn Store> = Arc::new(EtcdStore::new(Arc::new(etcd.clone()), config));
        let cloud: Arc<dyn Cloud> = Arc::new(VirtualCloud {
            world: around.world.clone(),
            net: around.net.clone(),
            from: at,
            name: self.names[at].clone(),
            stack: self.config.stack.to_string(),
            families: self.families.to_vec(),
            witness: around.witness.clone(),
        });
        let me = self.member(at);
        let worker = Worker::new(
            me.replica.clone(),
            Arc::clone(&store),
            [(ProjectId::from(PROJECT), cloud)].into(),
            clock.clone(),
            dice.clone(),
            Pace::default(),
            &tasks,
        );
        self.set_worker(at, &worker);
        let handle = Handle::default();
        around.doors.set(at, Some(handle.clone()));
        let replica = Replica {
            leases: gust_server::replica::Leases::default(),
            parts: self.parts(at, clock, &dice, store, around),
            me,
            worker,
            links: Arc::new(VirtualLinks {
                from: at,
                net: around.net.clone(),
                hosts: around.hosts.clone(),
                workers: Arc::clone(&self.workers),
                names: Arc::clone(&self.names),
                world: around.world.clone(),
                witness: around.witness.clone(),
                hellos: Arc::clone(&self.hellos),
            }),
            timing: Timing::default(),
            handle: handle.clone(),
            leadership: Default::default(),
        };
        let asked = tasks.child();
        around.hosts.ends_by(at, asked.cancelled().clone());
        let (hosts, world, witness) = (around.hosts.clone(), around.world.clone(), around.witness.clone());
        tasks.spawn("replica", async move {
            drop(replica.run(&asked).await);
            if asked.cancelled().is_cancelled() {
                let (now, keeps_lead) = (world.elapsed(), etcd.keeps(LEADER));
                witness.tell(|checker| checker.replica_ended(now, at, keeps_lead));
            }
            hosts.has_ended(at);
        });
        self.show(at, &handle, around);
    }

    fn parts(
        &self,
        at: usize,
        clock: &Clock,
        dice: &Dice,
        store: Arc<dyn Store>,
        around: &Surrounding,
    ) -> Parts {
        let name = SourceName::from("virtual");
        let buildkite = Arc::new(VirtualSource {
            world: around.world.clone(),
            net: around.net.clone(),
            from: at,
            name: self.names[at].clone(),
            queue: "gust".into(),
            witness: around.witness.clone(),
        });
        let (way, agent_token): (Arc<dyn Source>, _) = match self.source {
            SourceOf::Stacks => (buildkite.clone(), None),
            SourceOf::Graphql => (
                Arc::new(Unreserved::new(buildkite.clone())),
                Some(Secret::new("bkct_fake")),
            ),
        };
        let source = SourcePart {
            name: name.clone(),
            source: way,
            queues: vec!["gust".into()],
            agent_endpoint: "virtual".to_owned(),
            agent_token,
            poll: (Duration::from_millis(250), Duration::from_secs(5)),
            retrier: Some(buildkite),
        };
        Parts {
            stack: self.config.stack.clone(),
            replica: self.names[at].clone(),
            settings: Settings {
                caps: self.caps.to_vec(),
                ..self.config.settings.clone()
            },
            clock: clock.clone(),
            dice: dice.clone(),
            store,
            sources: [(name, source)].into(),
            shards: Configured::get().shards.clone(),
            planner: self.planner.clone(),
            format: form(around.hosts.build(at)),
        }
    }

    /// What it shows goes to the checker, as if somebody looked all the time.
    fn show(&self, at: usize, handle: &Handle, around: &Surrounding) {
        let mut shown = handle.pictures();
        let (world, witness, pictures) = (
            around.world.clone(),
            around.witness.clone(),
            Arc::clone(&self.pictures),
        );
        around.net.tasks.spawn("pictures", async move {
            while shown.changed().await.is_ok() {
                let picture = Arc::clone(&shown.borrow_and_update());
                witness.tell(|checker| checker.picture(world.elapsed(), at, &picture));
                pictures.lock().unwrap_or_else(PoisonError::into_inner)[at] = picture;
            }
        });
    }

    fn member(&self, at: usize) -> Member {
        Member {
            replica: self.names[at].clone(),
            zone: format!("us-central1-{}", char::from(b'a' + (at % 3) as u8)),
            address: format!("r{at}"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config: self.config.decided_hash(),
        }
    }

    fn set_worker(&self, at: usize, worker: &Worker) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers[at] = Some(worker.clone());
    }

    // Each life of a replica has randomness of its own.
    fn next_seed(&self, at: usize) -> u64 {
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts[at] += 1;
        self.seed ^ (at as u64 + 1) << 48 ^ starts[at] << 32
    }

    /// What each replica waits for, in lines.
    pub fn waits(&self, hosts: &Hosts) -> Vec<String> {
        let pictures = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for at in 0..self.count {
            let state = match (hosts.is_up(at), hosts.is_frozen(at)) {
                (false, _) => "is down",
                (true, true) => "stands still",
                (true, false) => "runs",
            };
            let picture = &pictures[at];
            let led = if picture.term.0 == 0 {
                "it never led".to_owned()
            } else {
                format!(
                    "it led in term {}; {} waited for a machine, and it missed {}",
                    picture.term,
                    count(picture.waiting.len() as u64, "job"),
                    if picture.missing.is_empty() {
                        "nothing".to_owned()
                    } else {
                        picture.missing.join(", ")
                    },
                )
            };
            lines.push(format!("replica {at} {state}; {led}"));
            lines.extend(
                picture
                    .waiting
                    .iter()
                    .take(5)
                    .map(|(job, reason)| format!("  job {} {reason}", job.id)),
            );
            let tasks: Vec<String> = hosts
                .tasks_of(at)
                .into_iter()
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            lines.push(format!("  its tasks: {}", tasks.join(", ")));
        }
        lines
    }
}
