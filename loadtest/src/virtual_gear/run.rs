//! One virtual run: a world, a replica, a build, and what people do to it meanwhile.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use gust_core::{
    ids::{ProjectId, ReplicaId, SourceName, StackName},
    ports::Cloud,
    time::Timestamp,
};
use gust_fakes::{buildkite::NewBuild, config::Settings, limits::Limits};
use gust_server::{
    clock::Clock,
    config::{Config, Surroundings},
    leader::{self, Handle, Parts, SourcePart, WorkerPart},
    planner::{self, Planner},
    task::{Dice, Tasks},
    worker::{Pace, Worker},
};
use gust_store::{HistoryBounds, MemoryStore};
use uuid::Uuid;

use super::{
    cloud::VirtualCloud,
    link::VirtualLink,
    machine::Machines,
    source::VirtualSource,
    world::{EPOCH_MS, Shared},
};

/// What somebody does while the build runs.
#[derive(Clone, Debug)]
pub enum Act {
    /// Cancels the job of a step.
    Cancel(String),
    /// Retries the job of a step.
    Retry(String),
}

/// A run to be made.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Seed of all randomness.
    pub seed: u64,
    /// The build.
    pub pipeline: String,
    /// The fakes' limits.
    pub limits: Limits,
    /// What is done when, in virtual time since the start.
    pub acts: Vec<(Duration, Act)>,
    /// Virtual time after which the run has failed.
    pub patience: Duration,
}

/// What a run left.
pub struct Ended {
    /// The event log, one JSON object a line.
    pub log: String,
    /// Virtual time it took.
    pub took: Duration,
}

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
regions = ["us-central1"]
service_account = "gust-machine@gust-demo.iam.gserviceaccount.com"
images = { amd64 = "projects/debian-cloud/global/images/family/debian-12", arm64 = "projects/debian-cloud/global/images/family/debian-12-arm64" }
endpoint = "http://127.0.0.1:1"
credentials = "anonymous"
jwks_url = "http://127.0.0.1:1/certs"
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

/// Runs a scenario to its end: every job over, the world empty.
///
/// # Errors
/// The build is refused, or the run does not end in time.
pub fn run(scenario: &Scenario) -> Result<Ended> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(inside(scenario))
}

async fn inside(scenario: &Scenario) -> Result<Ended> {
    let settings = Settings {
        seed: scenario.seed,
        limits: scenario.limits.clone(),
        ..Settings::default()
    };
    let (world, orders) = Shared::new(&settings);
    let tasks = Tasks::default();
    world.start_ticking(&tasks);
    let build = NewBuild {
        pipeline: "virtual".to_owned(),
        branch: "main".to_owned(),
        yaml: scenario.pipeline.clone(),
        ..NewBuild::default()
    };
    let build = world
        .call(|w, now, out| w.buildkite.create_build(now, &build, out))
        .map_err(|refusal| anyhow::anyhow!("the build is refused: {}", refusal.message))?;
    let steps: BTreeMap<String, Uuid> = build
        .jobs
        .iter()
        .filter_map(|job| Some((job.key.clone()?, job.uuid)))
        .collect();
    let (handle, mut inputs) = Handle::new();
    let parts = parts(scenario, &world, &tasks)?;
    let machines = Machines {
        world: world.clone(),
        leader: handle.clone(),
        dice: Dice::seeded(scenario.seed ^ 0x6d61_6368),
        tasks: tasks.child(),
    };
    tasks.spawn("machines", machines.play(orders));
    let store = Arc::clone(&parts.store);
    let term = store.campaign(&parts.replica).await.context("cannot campaign")?;
    let leading = tasks.clone();
    let lead = {
        let handle = handle.clone();
        async move { drop(leader::lead(parts, term, &handle, &mut inputs, &leading).await) }
    };
    tasks.spawn("lead", lead);
    for (at, act) in scenario.acts.clone() {
        tasks.spawn("act", perform(world.clone(), at, act, steps.clone()));
    }
    let took = until_empty(&world, scenario.patience).await;
    tasks.stop().await;
    let took = took?;
    Ok(Ended {
        log: world.log_lines(),
        took,
    })
}

fn parts(scenario: &Scenario, world: &Shared, tasks: &Tasks) -> Result<Parts> {
    let config =
        Config::parse(CONFIG, Path::new("virtual.toml"), &Nowhere).context("the virtual configuration")?;
    let shards = planner::shards(&config)?;
    let planner = Planner::new(&config, BTreeMap::new())?;
    let clock = Clock::starting_at(Timestamp(EPOCH_MS));
    let dice = Dice::seeded(scenario.seed);
    let cloud: Arc<dyn Cloud> = Arc::new(VirtualCloud {
        world: world.clone(),
        stack: config.stack.to_string(),
    });
    let clouds = [(ProjectId::from("gust-demo"), cloud)].into();
    let replica = ReplicaId::from("a");
    let worker = Worker::new(
        replica.clone(),
        clouds,
        clock.clone(),
        dice.clone(),
        Pace::default(),
        tasks,
    );
    let name = SourceName::from("virtual");
    let source = SourcePart {
        name: name.clone(),
        source: Arc::new(VirtualSource {
            world: world.clone(),
            queue: "gust".into(),
        }),
        queues: vec!["gust".into()],
        agent_endpoint: "virtual".to_owned(),
        agent_token: None,
        poll: (Duration::from_millis(250), Duration::from_secs(5)),
    };
    let stack: StackName = config.stack.clone();
    Ok(Parts {
        store: Arc::new(MemoryStore::new(&stack, HistoryBounds::default())),
        stack,
        replica: replica.clone(),
        settings: config.settings,
        clock,
        dice,
        sources: [(name, source)].into(),
        workers: vec![WorkerPart {
            link: Arc::new(VirtualLink {
                name: replica,
                worker,
            }),
            shards,
        }],
        planner: Arc::new(planner),
    })
}

async fn perform(world: Shared, at: Duration, act: Act, steps: BTreeMap<String, Uuid>) {
    tokio::time::sleep(at).await;
    let refused = match &act {
        Act::Cancel(step) => steps.get(step).map(|job| {
            world
                .call(|w, now, out| w.buildkite.cancel_job(now, *job, out))
                .err()
        }),
        Act::Retry(step) => steps.get(step).map(|job| {
            world
                .call(|w, now, out| w.buildkite.retry_job(now, *job, out))
                .err()
        }),
    };
    match refused {
        Some(None) => {}
        Some(Some(refusal)) => tracing::warn!(?act, message = refusal.message, "act refused"),
        None => tracing::warn!(?act, "no such step"),
    }
}

// Every job that was created is over, and every machine that came to be is gone.
async fn until_empty(world: &Shared, patience: Duration) -> Result<Duration> {
    let start = tokio::time::Instant::now();
    let mut seen = 0;
    let mut open: std::collections::BTreeSet<String> = Default::default();
    loop {
        world.read(|w| {
            let fresh = w.log.after(seen);
            for entry in fresh {
                let field = match entry.kind {
                    "job.created" | "job.finished" => "job",
                    "instance.inserted" | "instance.deleted" => "name",
                    _ => continue,
                };
                let name = entry
                    .fields()
                    .get(field)
                    .and_then(|v| v.as_str())
                    .unwrap_or_default()
                    .to_owned();
                if matches!(entry.kind, "job.created" | "instance.inserted") {
                    open.insert(name);
                } else {
                    open.remove(&name);
                }
            }
            seen += fresh.len() as u64;
        });
        if open.is_empty() {
            return Ok(start.elapsed());
        }
        if start.elapsed() > patience {
            bail!("after {patience:?} of virtual time these are not over: {open:?}");
        }
        world.changed(Duration::from_secs(10)).await;
    }
}
