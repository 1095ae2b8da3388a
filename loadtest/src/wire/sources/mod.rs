//! The same jobs found in each way there is, over the Stacks API and over GraphQL, with webhooks and without: they must end
//! the same.

mod ends;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tokio::time::{Instant, sleep};

use self::{
    ends::Ends,
    work::{Fate, Step},
};
use super::{
    control::Control,
    processes::{Fakes, Found, Programs, Replica},
    verdict::{Evidence, Verdict, judge},
};

/// Between two looks at what happened.
const LOOK: Duration = Duration::from_millis(200);
/// Quotas that never bind.
const LIMITS: &str = include_str!("../../../limits/burst.toml");
/// What Buildkite shows and gust expects.
const TOKEN: &str = "a-webhook-token";

/// What to run.
#[derive(Clone, Debug)]
pub struct SourcesOptions {
    /// How many steps, each with one job at first.
    pub jobs: usize,
    /// Seed of the jobs and the fakes.
    pub seed: u64,
    /// Longest time of one way.
    pub patience: Duration,
}

/// One way to find jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// By which interface.
    pub found: Found,
    /// Whether Buildkite tells that something happened.
    pub webhooks: bool,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::of(Found::Stacks, false),
        Self::of(Found::Stacks, true),
        Self::of(Found::Graphql, false),
        Self::of(Found::Graphql, true),
    ];

    const fn of(found: Found, webhooks: bool) -> Self {
        Self { found, webhooks }
    }

    /// A name without blanks.
    pub fn name(self) -> String {
        let webhooks = if self.webhooks { "webhooks" } else { "polling" };
        format!("{}-{webhooks}", self.found.as_str())
    }
}

/// What came of one way.
#[derive(Debug)]
pub struct Course {
    /// The way.
    pub way: Way,
    /// Steps that did not end as they must, each in one line.
    pub wrong: Vec<String>,
    /// What the judge says.
    pub verdict: Verdict,
    /// Jobs by the state in which they ended.
    pub ends: BTreeMap<String, usize>,
    /// Seconds from when a job could be listed to the first that gust did about it: the median, and 99 of a hundred.
    pub latency: Option<(f64, f64)>,
    /// Calls to Buildkite, by method.
    pub calls: BTreeMap<String, u64>,
    /// Calls that Buildkite refused, with the reason.
    pub rejected: BTreeMap<String, u64>,
    /// Seconds from the build to the last machine's end.
    pub took_s: f64,
}

/// Runs the jobs once in each way, one after the other, each with processes of its own below `dir`.
///
/// # Errors
/// A process fails, or a way does not end in time.
pub async fn sources(
    options: &SourcesOptions,
    dir: &Path,
    ways: &[Way],
    say: &mut dyn FnMut(String),
) -> Result<Vec<Course>> {
    let programs = Programs::find()?;
    let steps = work::draw(options.seed, options.jobs);
    let mut courses = Vec::new();
    for way in ways {
        let dir = dir.join(way.name());
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        say(format!("{}: {} steps", way.name(), steps.len()));
        courses.push(one(options, &programs, &dir, *way, &steps, say).await?);
    }
    Ok(courses)
}

async fn one(
    options: &SourcesOptions,
    programs: &Programs,
    dir: &Path,
    way: Way,
    steps: &[Step],
    say: &mut dyn FnMut(String),
) -> Result<Course> {
    let limits = dir.join("limits.toml");
    std::fs::write(&limits, LIMITS).context("cannot write limits.toml")?;
    let fakes = Fakes::simulated(programs, dir, options.seed, &limits).await?;
    let control = Control::new(&fakes.control)?;
    // What is compared are ends, not how long a budget of queries lasts.
    let plenty = json!({"buildkite": {
        "graphql": {"organization_complexity": 1_000_000_000, "user_complexity": 1_000_000_000},
        "rest": {"organization_requests": 1_000_000, "user_requests": 1_000_000},
    }});
    control.limits(&plenty).await?;
    let mut more = String::new();
    if way.webhooks {
        let address = free_address()?;
        more = format!("[webhooks]\nlisten = \"{address}\"\ntoken = {{ file = \"webhook.token\" }}\n");
        std::fs::write(dir.join("webhook.token"), TOKEN).context("cannot write webhook.token")?;
        let url = format!("http://{address}/webhooks/buildkite");
        control.webhook(&url, TOKEN).await?;
    }
    let replica = Replica::start_finding(programs, dir, &fakes, way.found, &more)?;
    let mut run = Run {
        control,
        replica,
        steps: steps.iter().map(|step| (step.key.clone(), step)).collect(),
        ends: Ends::default(),
        canceled: BTreeSet::new(),
        retried: BTreeSet::new(),
    };
    let begun = Instant::now();
    run.begin(steps).await?;
    run.until_end(options.patience, say).await?;
    let took_s = begun.elapsed().as_secs_f64();
    let Run {
        control,
        replica,
        mut ends,
        ..
    } = run;
    let journal = replica.read_journal()?;
    replica.stop().await?;
    look(&control, &mut ends).await?;
    let evidence = Evidence {
        events: std::mem::take(&mut ends.events),
        journal,
        started_unix_ns: fakes.started_unix_ns,
    };
    fakes.stop().await?;
    Ok(course(way, steps, ends, &judge(&evidence), took_s))
}

fn course(way: Way, steps: &[Step], ends: Ends, verdict: &Verdict, took_s: f64) -> Course {
    let differs = |step: &Step| {
        let (is, must) = (ends.of(&step.key), step.end());
        (is != must).then(|| format!("{}: {is:?}, and not {must:?}", step.key))
    };
    let mut by_end: BTreeMap<String, usize> = BTreeMap::new();
    for key in ends.jobs.keys() {
        for end in ends.of(key) {
            *by_end.entry(end).or_default() += 1;
        }
    }
    Course {
        way,
        wrong: steps.iter().filter_map(differs).collect(),
        verdict: Verdict {
            violations: verdict.violations.clone(),
            ..*verdict
        },
        ends: by_end,
        latency: ends.latency(),
        calls: ends.calls,
        rejected: ends.rejected,
        took_s,
    }
}

struct Run<'a> {
    control: Control,
    replica: Replica,
    steps: BTreeMap<String, &'a Step>,
    ends: Ends,
    canceled: BTreeSet<String>,
    retried: BTreeSet<String>,
}

impl Run<'_> {
    /// Creates the build, and does what a person does while jobs wait.
    async fn begin(&mut self, steps: &[Step]) -> Result<()> {
        let jobs = self.control.build(&work::pipeline(steps)).await?;
        ensure!(jobs.len() == steps.len(), "{} jobs came to be", jobs.len());
        for (job, step) in jobs.iter().zip(steps) {
            if step.fate == Fate::CanceledWaiting {
                self.control.cancel_job(job).await?;
                self.canceled.insert(job.clone());
            }
        }
        for (job, step) in jobs.iter().zip(steps) {
            if let Some(priority) = step.moved_to.filter(|_| !self.canceled.contains(job)) {
                // It may be over by now.
                let _ = self.control.prioritize(job, priority).await;
            }
        }
        Ok(())
    }

    /// Looks, and does what a person does once jobs run or have failed.
    async fn step(&mut self) -> Result<()> {
        look(&self.control, &mut self.ends).await?;
        for (key, jobs) in &self.ends.jobs {
            let (Some(step), [job]) = (self.steps.get(key), &jobs[..]) else {
                continue;
            };
            let state = self.ends.states.get(job).map_or("", String::as_str);
            match step.fate {
                Fate::CanceledRunning if state == "running" && self.canceled.insert(job.clone()) => {
                    self.control.cancel_job(job).await?;
                }
                Fate::RetriedByHand if state == "finished" && self.retried.insert(job.clone()) => {
                    self.control.retry_job(job).await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn until_end(&mut self, patience: Duration, say: &mut dyn FnMut(String)) -> Result<()> {
        let (begun, mut told) = (Instant::now(), Instant::now());
        loop {
            self.step().await?;
            let open = self.open();
            if open.is_empty() && self.ends.live == 0 {
                return Ok(());
            }
            self.replica.id()?;
            let stands = format!(
                "{} of {} steps open, {} machines; {}",
                open.len(),
                self.steps.len(),
                self.ends.live,
                open.first().map_or("", String::as_str)
            );
            if told.elapsed() >= Duration::from_secs(10) {
                told = Instant::now();
                say(format!("after {:.0} s: {stands}", begun.elapsed().as_secs_f64()));
            }
            if begun.elapsed() >= patience {
                bail!("after {patience:?}: {stands}; see gust.log and fakes.log");
            }
            sleep(LOOK).await;
        }
    }

    /// Steps that are not over, each with how it stands.
    fn open(&self) -> Vec<String> {
        let is_over =
            |state: &String| !state.is_empty() && (state.starts_with("finished ") || state == "canceled");
        let steps = self.steps.iter().filter_map(|(key, step)| {
            let is = self.ends.of(key);
            let over = is.len() >= step.end().len() && is.iter().all(is_over);
            (!over).then(|| format!("{key} is {is:?}"))
        });
        steps.collect()
    }
}

async fn look(control: &Control, ends: &mut Ends) -> Result<()> {
    let (events, last) = control.some_events(ends.last, Ends::wants).await?;
    ends.last = last;
    events.into_iter().for_each(|event| ends.take(event));
    Ok(())
}

/// An address that was free a moment ago: Buildkite is told of it before gust listens there.
fn free_address() -> Result<std::net::SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("no free port")?;
    listener.local_addr().context("no free port")
}
