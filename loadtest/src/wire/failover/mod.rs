//! Losing leaders, again and again, over one fleet with a standing backlog, and measuring for how long nothing is
//! placed.

mod backlog;
mod cause;
mod gaps;
mod report;
mod upgrade;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use gust_server::clock::Clock;
use gust_store::etcd::Event;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::time::{Instant, sleep};

use super::{
    control::Control,
    fleet::{Fleet, Muster},
    history::{add_unwritten, batch_terms, terms},
    processes::{Fakes, Programs},
    raft::Raft,
    verdict::{Evidence, Verdict, judge},
};
use backlog::Backlog;
pub use cause::Cause;
use gaps::{Course, Loss};
pub use report::{Failovers, Row};
pub use upgrade::{Step, UpgradeOptions, Upgraded, upgrade};

/// What to do.
#[derive(Clone, Debug)]
pub struct FailoverOptions {
    /// How leaders are lost; causes take turns.
    pub causes: Vec<Cause>,
    /// How many losses.
    pub count: usize,
    /// At least so many jobs wait at each loss.
    pub backlog: usize,
    /// Seed of the fakes and of the moments of losses.
    pub seed: u64,
    /// How long the fleet may take to be whole again after a loss, and to end all jobs at the end.
    pub patience: Duration,
}

/// The limits of the fakes: few bulk operations at a time, and quotas that never bind.
const LIMITS: &str = include_str!("../../../limits/failover.toml");

const MUSTER: Muster = Muster {
    replicas: 3,
    members: 3,
    regions: &["us-central1", "us-east1", "us-west1"],
    // As the limits file says. What is no bulk operation would not wait for a slot, and the fakes' lists do not lag.
    more: "[limits]\nbulk_slots = 20\nbulk_per_second = 100\nsingles = 0\nlist_lag = \"1s\"\n",
};

/// So many creates are accepted between the fleet being whole and the next loss.
const FLOW: usize = 30;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// Loses leaders and measures, telling progress through `say`.
///
/// # Errors
/// A process fails by itself, or the fleet does not recover in time.
pub async fn failover(
    options: &FailoverOptions,
    dir: &Path,
    say: &mut dyn FnMut(String),
) -> Result<Failovers> {
    ensure!(!options.causes.is_empty(), "there is no cause");
    let (mut run, fakes) = Run::start(options, dir).await?;
    let backlog = run.backlog.clone();
    tokio::select! {
        biased;
        kept = backlog.keep() => kept?,
        lost = run.lose_all(say) => lost?,
    }
    say("all losses are done; what is left is cancelled".to_owned());
    backlog.end(options.patience).await?;
    let mut found = run.judge(&fakes).await?;
    found.verdict.violations.append(&mut run.broken);
    report::of(&run.losses, &found.course, found.verdict)
}

/// What a run left behind.
struct Found {
    course: Course,
    verdict: Verdict,
    history: Vec<Event>,
}

struct Run<'a> {
    options: &'a FailoverOptions,
    fleet: Fleet,
    raft: Raft,
    backlog: Backlog,
    clock: Clock,
    /// When the fakes began, in nanoseconds since the Unix epoch.
    began: u64,
    losses: Vec<(Cause, Loss)>,
    /// What no log shows later.
    broken: Vec<String>,
}

impl<'a> Run<'a> {
    /// Starts the fakes, the fleet and nothing else: the backlog is kept by whoever runs this.
    async fn start(options: &'a FailoverOptions, dir: &Path) -> Result<(Self, Fakes)> {
        let programs = Programs::find()?;
        let limits = dir.join("limits.toml");
        std::fs::write(&limits, LIMITS).context("cannot write limits.toml")?;
        let fakes = Fakes::with_limits(&programs, dir, options.seed, &limits).await?;
        let fleet = Fleet::start(&programs, dir, &fakes, &MUSTER)?;
        let run = Self {
            options,
            raft: Raft::of(&fleet, MUSTER.members)?,
            fleet,
            backlog: Backlog::new(Control::new(&fakes.control)?, options.backlog)?,
            clock: Clock::system(),
            began: fakes.started_unix_ns,
            losses: Vec::new(),
            broken: Vec::new(),
        };
        Ok((run, fakes))
    }

    async fn lose_all(&mut self, say: &mut dyn FnMut(String)) -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.options.seed);
        for nth in 0..self.options.count {
            let cause = self.options.causes[nth % self.options.causes.len()];
            let pause = Duration::from_millis(rng.random_range(0..1_000));
            let step = async {
                let (leader, term) = self.ready(cause, pause).await?;
                self.lose(cause, nth, leader, term).await
            };
            step.await
                .with_context(|| format!("loss {} of {}: {}", nth + 1, self.options.count, cause.name()))?;
            let waiting = self.backlog.seen().waiting.len();
            say(format!(
                "loss {:>3} of {}: {:<9} {waiting} jobs wait",
                nth + 1,
                self.options.count,
                cause.name()
            ));
        }
        self.whole().await?;
        self.flow_on().await
    }

    /// Waits until the fleet is whole, then for more creates and `pause`, and tells who leads all that time.
    async fn ready(&mut self, cause: Cause, pause: Duration) -> Result<(usize, u64)> {
        loop {
            let (leader, term) = self.whole().await?;
            if cause == Cause::Zone {
                self.raft.make_lead(leader).await?;
            }
            self.flow_on().await?;
            sleep(pause).await;
            // On a busy machine a lead is lost by itself now and then.
            if cause::lead(&self.fleet, 0).await? == (leader, term) {
                return Ok((leader, term));
            }
        }
    }

    /// Waits until as many more creates were accepted as show that all goes on: fewer where the backlog is small.
    async fn flow_on(&mut self) -> Result<()> {
        self.flow(FLOW.min(self.options.backlog / 10).max(1)).await
    }

    async fn lose(&mut self, cause: Cause, nth: usize, leader: usize, term: u64) -> Result<()> {
        let at = self.now();
        cause
            .strike(
                nth / self.options.causes.len(),
                leader,
                &mut self.fleet,
                &self.raft,
            )
            .await?;
        self.losses.push((cause, Loss { at, term }));
        if cause == Cause::Member {
            // The others go on without it, or elect one of them first.
            self.flow_on().await?;
            let now = cause::lead(&self.fleet, 0).await?;
            if now != (leader, term) {
                self.broken.push(format!(
                    "with a member of etcd the lead of r{leader} in term {term} was lost"
                ));
            }
        } else {
            cause::lead(&self.fleet, term + 1).await?;
            self.flow_on().await?;
        }
        cause.mend(leader, &mut self.fleet)
    }

    /// Seconds since the fakes began.
    fn now(&self) -> f64 {
        self.clock.reanchor();
        self.clock.now_unix_ns().saturating_sub(self.began) as f64 / 1e9
    }

    /// Waits until all replicas are members, one leads, the members of etcd agree on one, and the backlog stands.
    async fn whole(&mut self) -> Result<(usize, u64)> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            for nth in 0..self.fleet.count() {
                self.fleet.check(nth)?;
            }
            let waiting = self.backlog.seen().waiting.len();
            if waiting >= self.options.backlog
                && self.raft.leader().await.is_some()
                && let Ok(MEMBERS) = self.fleet.members().await
                && let Ok(Some(lead)) = self.fleet.lead().await
            {
                return Ok(lead);
            }
            if Instant::now() >= deadline {
                bail!(
                    "the fleet is not whole: {waiting} jobs wait, lead {:?}, members {:?}, etcd's leader {:?}",
                    self.fleet.lead().await,
                    self.fleet.members().await,
                    self.raft.leader().await
                );
            }
            sleep(LOOK).await;
        }
    }

    /// Waits until so many more creates were accepted.
    async fn flow(&self, more: usize) -> Result<()> {
        let deadline = Instant::now() + self.options.patience;
        let until = self.backlog.seen().calls.len() + more;
        loop {
            let now = self.backlog.seen().calls.len();
            if now >= until {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{} of {more} creates were accepted in time",
                now + more - until
            );
            sleep(LOOK).await;
        }
    }

    /// Ends the replicas and judges what they did.
    async fn judge(&mut self, fakes: &Fakes) -> Result<Found> {
        let history = self.fleet.history().await?;
        let history: Vec<_> = history.into_iter().map(|(_, event)| event).collect();
        for nth in 0..self.fleet.count() {
            self.fleet.stop(nth).await?;
        }
        let mut evidence = Evidence {
            events: std::mem::take(&mut self.backlog.seen().events),
            journal: self.fleet.read_journals()?,
            started_unix_ns: fakes.started_unix_ns,
        };
        let times = evidence
            .journal
            .iter()
            .filter_map(|commit| commit["unix_ns"].as_u64());
        let commits = times
            .map(|at| at.saturating_sub(self.began) as f64 / 1e9)
            .collect();
        let course = Course::new(&self.backlog.seen().calls, &batch_terms(&history), commits);
        add_unwritten(&mut evidence, &history);
        let mut verdict: Verdict = judge(&evidence);
        terms(&history, &mut verdict);
        Ok(Found {
            course,
            verdict,
            history,
        })
    }
}

/// All replicas are members.
const MEMBERS: usize = MUSTER.replicas;
