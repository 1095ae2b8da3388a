//! Many jobs at once: how soon all their machines are asked for, next to how soon that is possible at all, and how many
//! calls it takes.

mod bound;
mod course;
mod mix;
mod run;
mod waits;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use gust_fakes::limits::Limits;
use serde_json::Value;

pub use bound::{Bound, bound};
use course::Course;
pub use course::Kind;
use mix::Mix;
use run::{Gust, Run};
pub use waits::Waits;
use waits::waits;

use super::{
    control::Control,
    processes::{Fakes, Programs},
    verdict::{Evidence, Verdict, judge},
};

/// Goals: time in bounds, and calls to Google a job, with its deletion.
pub const GOAL: f64 = 1.10;
/// Jobs run so long, in seconds.
const RUN_S: f64 = 5.0;

/// Raised quotas, Google's rates.
const RAISED: &str = include_str!("../../../limits/burst.toml");

/// Where records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Records {
    /// In the replica's own store.
    Embedded,
    /// In one member of etcd.
    Etcd,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct BurstOptions {
    /// How many jobs.
    pub jobs: usize,
    /// Quotas of a new project; else they are raised until they never bind.
    pub default_quotas: bool,
    /// Another limits file.
    pub limits: Option<PathBuf>,
    /// Where records are kept.
    pub records: Records,
    /// Seed of the fakes.
    pub seed: u64,
    /// How long all of it may take.
    pub patience: Duration,
}

/// The outcome.
#[derive(Debug)]
pub struct Burst {
    /// Main figures of the limits file.
    pub limits: String,
    /// How many ask for the same, the largest group first.
    pub groups: Vec<usize>,
    /// The bound.
    pub bound: Bound,
    /// Seconds from all jobs listed to the last create accepted.
    pub took: f64,
    /// Seconds to the last job's end, and until the last machine was gone.
    pub until_end: f64,
    /// See [`Burst::until_end`].
    pub until_gone: f64,
    /// Creates accepted, by method: calls and machines.
    pub creates: BTreeMap<String, (u64, u64)>,
    /// Bulk calls accepted, in order: seconds after all jobs were listed, and machines.
    pub bulk: Vec<(f64, u64)>,
    /// Calls to Google since the jobs came, by group and method.
    pub calls: BTreeMap<Kind, u64>,
    /// Calls to Buildkite's Stacks API.
    pub buildkite: BTreeMap<String, u64>,
    /// Calls that were not taken, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// How jobs ended.
    pub ends: BTreeMap<String, usize>,
    /// With default quotas: what waiting jobs were told.
    pub waits: Option<Waits>,
    /// What the judge says.
    pub verdict: Verdict,
}

impl Burst {
    /// Calls to Google by job.
    pub fn calls_per_job(&self) -> f64 {
        self.calls.values().sum::<u64>() as f64 / self.groups.iter().sum::<usize>().max(1) as f64
    }

    /// Time in bounds; nothing where the bound is none.
    pub fn ratio(&self) -> Option<f64> {
        (self.bound.seconds > 0.0).then(|| self.took / self.bound.seconds)
    }
}

/// Where jobs may go: with raised quotas one region holds them all, with those of a new project all are needed.
const ONE: &[&str] = &["us-central1"];
const ALL: &[&str] = &[
    "us-central1",
    "us-east1",
    "us-east4",
    "us-west1",
    "europe-west1",
    "europe-west4",
    "asia-east1",
    "asia-northeast1",
];

impl BurstOptions {
    fn regions(&self) -> &'static [&'static str] {
        if self.default_quotas { ALL } else { ONE }
    }
}

/// Runs a burst over processes in `dir`, telling progress through `say`.
///
/// # Errors
/// A process fails, or the burst does not end in time.
pub async fn burst(options: &BurstOptions, dir: &Path, say: &mut dyn FnMut(String)) -> Result<Burst> {
    let programs = Programs::find()?;
    let path = limits_of(options, dir)?;
    let limits = Limits::load(&path).with_context(|| path.display().to_string())?;
    let smallest = limits.gce.family_quotas.values().chain(
        limits
            .gce
            .quotas
            .iter()
            .filter_map(|(metric, limit)| (metric.ends_with("_CPUS") && *limit > 0.0).then_some(limit)),
    );
    let smallest = smallest.fold(f64::INFINITY, |least, limit| least.min(*limit));
    let mix = Mix::of(options.jobs, |cpu| cpu as f64 <= smallest)?;
    let fakes = Fakes::simulated(&programs, dir, options.seed, &path).await?;
    let control = Control::new(&fakes.control)?;
    let mut gust = Gust::start(options, &programs, dir, &fakes)?;
    let mut run = Run {
        control,
        course: Course::default(),
        jobs: mix.jobs(),
        regions: options.regions(),
    };
    run.ready(&mut gust).await?;
    run.course.begin();
    let begun = run.control.build(&mix.pipeline(RUN_S)).await?;
    ensure!(begun.len() == mix.jobs(), "{} jobs came to be", begun.len());
    say(format!("{} jobs are there", begun.len()));
    run.until_end(&mut gust, options.patience, say).await?;
    let journal = gust.stop().await?;
    run.look().await?;
    let Run { mut course, .. } = run;
    let evidence = Evidence {
        events: std::mem::take(&mut course.events),
        journal,
        started_unix_ns: fakes.started_unix_ns,
    };
    fakes.stop().await?;
    outcome(options, &limits, &mix, course, &evidence)
}

fn limits_of(options: &BurstOptions, dir: &Path) -> Result<PathBuf> {
    match (&options.limits, options.default_quotas) {
        (Some(path), _) => Ok(path.clone()),
        (None, true) => Ok(PathBuf::from("default")),
        (None, false) => {
            let path = dir.join("burst.toml");
            std::fs::write(&path, RAISED).context("cannot write burst.toml")?;
            Ok(path)
        }
    }
}

fn outcome(
    options: &BurstOptions,
    limits: &Limits,
    mix: &Mix,
    course: Course,
    evidence: &Evidence,
) -> Result<Burst> {
    let listed = course.listed_at.context("gust never listed all jobs")?;
    let since = |at: Option<f64>| at.map_or(0.0, |at| at - listed);
    let groups = mix.groups();
    let mut creates: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (_, machines, method) in &course.creates {
        let (calls, all) = creates.entry(method.clone()).or_default();
        *calls += 1;
        *all += machines;
    }
    let bulk = course
        .creates
        .iter()
        .filter(|(_, _, method)| method.ends_with("bulkInsert"));
    let bulk = bulk.map(|(at, machines, _)| (at - listed, *machines)).collect();
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    for how in course.over.values() {
        *ends.entry(how.clone()).or_default() += 1;
    }
    let waits = options.default_quotas.then(|| {
        let needs = needs(&evidence.events);
        waits(&evidence.events, &limits.gce, &needs, listed + 30.0)
    });
    Ok(Burst {
        limits: figures(limits),
        bound: bound(&limits.gce, limits.speed, options.regions().len(), &groups, GOAL),
        groups,
        took: since(course.last_create),
        until_end: since(course.last_end),
        until_gone: since(course.last_gone),
        creates,
        bulk,
        calls: course.calls,
        buildkite: course.buildkite,
        rejected: course.rejected,
        ends,
        waits,
        verdict: judge(evidence),
    })
}

/// The vCPUs that each job asks for.
fn needs(events: &[Value]) -> BTreeMap<String, u64> {
    let created = events.iter().filter(|event| event["kind"] == "job.created");
    created
        .map(|event| {
            let rules = event["rules"].as_array().into_iter().flatten();
            let mut cpu = rules.filter_map(|rule| rule.as_str()?.strip_prefix("cpu=")?.parse::<u64>().ok());
            let job = event["job"].as_str().unwrap_or_default();
            (job.to_owned(), cpu.next().unwrap_or_default())
        })
        .collect()
}

fn figures(limits: &Limits) -> String {
    let gce = &limits.gce;
    let range = |range: gust_fakes::limits::Range| format!("{} to {} s", range.0, range.1);
    format!(
        "{} bulk operations at a time, {} bulk requests a second, {} writes a minute in a region, {} operations at a time, \
         CPUS {}, INSTANCES {}; PROVISIONING {}, STAGING {}, then the guest after {}; deleted within {}",
        gce.bulk_running,
        gce.bulk_per_second,
        gce.rates_per_minute
            .get("default_per_region")
            .copied()
            .unwrap_or_default(),
        gce.concurrent_operations,
        gce.quotas.get("CPUS").copied().unwrap_or_default(),
        gce.quotas.get("INSTANCES").copied().unwrap_or_default(),
        range(gce.boot.provisioning_s),
        range(gce.boot.staging_s),
        range(gce.boot.guest_s),
        range(gce.boot.deleting_s),
    )
}
