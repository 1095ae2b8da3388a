//! The life of a guest, from boot to the last thing it says. Whoever calls this powers off afterwards.

use std::{
    fmt::Write as _,
    fs, io,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gust_core::{ids::JobId, time::human};
use gust_proto::machine::Assignment;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    agent::{self, Agent, AgentEnd, NoAgent},
    backoff::Backoff,
    facts::{Facts, FactsError},
    gust::{BadEndpoint, ClaimError, Claimed, Gust},
    key::{CryptoFailed, Key},
    metadata::Metadata,
    plan::{Ingredients, Known, Plan},
    settings::{Patience, Settings},
    stop::{Cause, Stop},
    task::{Background, background},
    user::{BadUser, User, UserName},
};

/// So long is waited for gust to hear of a preemption before it is told that the job is over: of the 30 s that Google leaves.
const TELLING: Duration = Duration::from_secs(5);

/// How a machine's life went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It had its job.
    Ran {
        /// The job.
        job: JobId,
        /// How the agent ended.
        agent: AgentEnd,
        /// Whether gust heard of it.
        told: bool,
    },
    /// There was none for it.
    NoJob(String),
    /// It was stopped before it had one.
    Stopped(Cause),
}

/// A life without a job, for a reason that somebody should look at.
#[derive(Debug, thiserror::Error)]
pub enum LifeError {
    /// What gust tells the machine cannot be used.
    #[error("the machine does not know who it is")]
    Facts(#[source] FactsError),
    /// No key.
    #[error("no key can be made")]
    Key(#[source] CryptoFailed),
    /// Signals cannot be listened to.
    #[error("signals cannot be listened to")]
    Signals(#[source] io::Error),
    /// Gust cannot be talked to.
    #[error("gust cannot be talked to")]
    Endpoint(#[source] BadEndpoint),
    /// No program to run the job with.
    #[error("no agent can run jobs on this machine")]
    NoAgent(#[source] NoAgent),
    /// No answer, or no.
    #[error("the machine gets no job")]
    Claim(#[source] ClaimError),
}

/// Lives once.
///
/// # Errors
/// [`LifeError`] if the machine did not get as far as an answer to its claim.
pub async fn live(settings: &Settings) -> Result<End, LifeError> {
    let metadata = Metadata::new(settings.metadata.clone());
    let mut stop = Stop::new(metadata.clone()).map_err(LifeError::Signals)?;
    let mut life = tokio::select! {
        biased;
        cause = stop.asked() => return Ok(End::Stopped(cause)),
        life = Life::begin(settings, metadata) => life?,
    };
    let claimed = tokio::select! {
        biased;
        cause = stop.asked() => return Ok(End::Stopped(cause)),
        claimed = life.claim() => claimed?,
    };
    match claimed {
        (Claimed::NoJob(reason), _) => Ok(End::NoJob(reason)),
        (Claimed::Job(assignment), known) => Ok(life.run(&assignment, &known, &mut stop).await),
    }
}

struct Life<'a> {
    settings: &'a Settings,
    facts: Facts,
    metadata: Metadata,
    gust: Gust,
    agent: PathBuf,
    /// Beacons under way.
    beacons: Vec<Background>,
    /// Gust is being told that Google takes the machine back.
    telling: Option<Background>,
}

impl<'a> Life<'a> {
    async fn begin(settings: &'a Settings, metadata: Metadata) -> Result<Self, LifeError> {
        let key = Arc::new(Key::generate().map_err(LifeError::Key)?);
        let facts = facts(&metadata, &key, settings.patience)
            .await
            .map_err(LifeError::Facts)?;
        tracing::info!(machine = %facts.machine, stack = %facts.stack, gust = ?shown(&facts), "booted");
        let gust = Gust::new(&facts, key).map_err(LifeError::Endpoint)?;
        let agent = match agent::find(settings) {
            Ok(agent) => agent,
            Err(error) => {
                // The one failure of an image that gust could not guess: worth the wait for the beacon.
                gust.beacon("no-agent", &error.to_string()).await;
                return Err(LifeError::NoAgent(error));
            }
        };
        let mut life = Self {
            settings,
            facts,
            metadata,
            gust,
            agent,
            beacons: Vec::new(),
            telling: None,
        };
        life.tell("booted", concat!("gust-guest ", env!("CARGO_PKG_VERSION")));
        Ok(life)
    }

    fn tell(&mut self, stage: &'static str, detail: &str) {
        self.beacons
            .push(background(stage, self.gust.beacon(stage, detail)));
    }

    /// The agent is asked what it knows while the claim is under way: neither waits for the other.
    async fn claim(&mut self) -> Result<(Claimed, Known), LifeError> {
        let agent = self.agent.clone();
        let (claimed, known) = tokio::join!(
            self.gust.claim(&self.metadata, self.settings.patience),
            agent::ask(&agent)
        );
        Ok((claimed.map_err(LifeError::Claim)?, known))
    }

    /// Runs the agent and tells gust of its end.
    async fn run(mut self, assignment: &Assignment, known: &Known, stop: &mut Stop) -> End {
        let began = Instant::now();
        let job = assignment.job.id;
        tracing::info!(
            %job,
            agent = %self.agent.display(),
            version = known.version.as_deref().unwrap_or("unknown"),
            tags = %assignment.tags.join(","),
            "claimed a job"
        );
        if assignment.agent_token_fallback {
            tracing::warn!("the agent registers with the cluster's token, not with one for this job alone");
        }
        let agent = match self.prepare(assignment, known) {
            Ok(plan) => self.agent_to_its_end(&plan, assignment, stop).await,
            Err(error) => {
                tracing::error!(error = %chain(&error), "the agent cannot be started");
                AgentEnd::Killed
            }
        };
        let ran = began.elapsed();
        tracing::info!(%job, code = ?agent.exit_code(), ran = %human(ran), "the agent ended: {}", agent.meaning());
        // The host's shutdown may have ended the agent before anybody told us why.
        if self.telling.is_none() && stop.is_preempted().await {
            self.told_to_stop(Cause::Preempted, job);
        }
        let is_preempted = self.telling.is_some();
        // In this order: gust closes a job once it hears that its machine is done, and what comes later is of no job.
        if let Some(telling) = self.telling.take() {
            let _ = timeout(TELLING, telling.ended()).await;
        }
        let patience = self.settings.patience.done;
        let told = self.gust.done(job, agent, is_preempted, ran, patience).await;
        let told = told.unwrap_or(false);
        if !told {
            tracing::warn!("gust did not hear that the job is over; it will see the machine go off");
        }
        End::Ran { job, agent, told }
    }

    fn prepare(&self, assignment: &Assignment, known: &Known) -> Result<Plan, PrepareError> {
        let work_dir = &self.settings.work_dir;
        let builds = work_dir.join("builds");
        make_dir(&builds)?;
        let bootstrap = match &self.facts.job_user {
            Some(name) if rustix::process::geteuid().is_root() => {
                Some(prepare_user(name, &self.agent, work_dir, &builds)?)
            }
            Some(name) => {
                tracing::warn!(user = %name, "not root: the job runs as the agent's own user");
                None
            }
            None => None,
        };
        Ok(Plan::new(Ingredients {
            agent: &self.agent,
            known,
            assignment,
            machine: &self.facts.machine,
            builds: &builds,
            bootstrap: bootstrap.as_deref(),
        }))
    }

    /// Gust hears of a preemption beside the agent's end: the job that runs the step again may come at once.
    fn told_to_stop(&mut self, cause: Cause, job: JobId) {
        if cause != Cause::Preempted {
            return;
        }
        match self.gust.reclaimed(job) {
            Ok(telling) => self.telling = Some(background("reclaimed", telling)),
            Err(error) => tracing::warn!(%error, "gust is not told of the preemption"),
        }
    }

    async fn agent_to_its_end(&mut self, plan: &Plan, assignment: &Assignment, stop: &mut Stop) -> AgentEnd {
        let started = Agent::start(plan, &assignment.token, &self.settings.work_dir);
        let mut agent = match started {
            Ok(agent) => agent,
            Err(error) => {
                tracing::error!(%error, program = %plan.program.display(), "the agent does not start");
                return AgentEnd::Killed;
            }
        };
        self.tell("agent-started", "");
        let patience = self.settings.patience.agent_end;
        tokio::select! {
            biased;
            end = agent.ended() => return end,
            cause = stop.asked() => self.told_to_stop(cause, assignment.job.id),
            () = sleep_until(Instant::now() + assignment.max_run) => {
                tracing::warn!(limit = %human(assignment.max_run), "the job has run for too long");
            }
        }
        agent.stop(patience).await
    }
}

/// Asks until the metadata server answers; it may come up after us.
async fn facts(metadata: &Metadata, key: &Key, patience: Patience) -> Result<Facts, FactsError> {
    let deadline = Instant::now() + patience.metadata;
    let waits = Backoff::new(key.public(), Duration::from_millis(100), Duration::from_secs(2));
    let mut last = None;
    for wait in waits {
        match Facts::read(metadata).await {
            Ok(facts) => return Ok(facts),
            Err(error) if error.may_pass() && Instant::now() + wait < deadline => {
                let said = chain(&error);
                if last.as_ref() != Some(&said) {
                    tracing::warn!(error = %said, "asking again");
                }
                last = Some(said);
                sleep(wait).await;
            }
            Err(error) => return Err(error),
        }
    }
    Err(FactsError::Missing("metadata"))
}

/// What stands between a claimed job and its agent.
#[derive(Debug, thiserror::Error)]
enum PrepareError {
    #[error("{} cannot be made", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the job's user cannot be used")]
    User(#[source] BadUser),
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> PrepareError {
    let path = path.to_owned();
    move |source| PrepareError::File { path, source }
}

fn make_dir(path: &Path) -> Result<(), PrepareError> {
    fs::create_dir_all(path).map_err(file_error(path))
}

/// The user's directories and the script that steps down to it.
fn prepare_user(
    name: &UserName,
    agent: &Path,
    work_dir: &Path,
    builds: &Path,
) -> Result<PathBuf, PrepareError> {
    let passwd = Path::new("/etc/passwd");
    let text = fs::read_to_string(passwd).map_err(file_error(passwd))?;
    let user = User::find(name, &text).map_err(PrepareError::User)?;
    let sockets = work_dir.join("sockets");
    make_dir(&sockets)?;
    for dir in [builds, &sockets] {
        chown(dir, Some(user.uid), Some(user.gid)).map_err(file_error(dir))?;
    }
    let script = work_dir.join("bootstrap");
    fs::write(&script, user.bootstrap_script(agent, &sockets)).map_err(file_error(&script))?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&script, executable).map_err(file_error(&script))?;
    Ok(script)
}

fn shown(facts: &Facts) -> Vec<String> {
    facts.addresses.iter().map(ToString::to_string).collect()
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}
