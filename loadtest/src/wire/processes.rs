//! Starting, killing and stopping the processes of a run, by their ids.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use gust_fakes::limits::Limits;
use gust_store::conformance::etcd::loopback;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// The fakes' project.
pub(super) const PROJECT: &str = "gust-demo";

/// Port of a replica that has a loopback address of its own.
const MACHINES: u16 = 7070;

/// The programs of this build.
#[derive(Clone, Debug)]
pub struct Programs {
    dir: PathBuf,
}

impl Programs {
    /// Finds the programs beside the running one (tests run one folder below).
    ///
    /// # Errors
    /// One is missing; the message says how to build them.
    pub fn find() -> Result<Self> {
        let own = std::env::current_exe().context("cannot tell where this program is")?;
        let dir = own
            .ancestors()
            .skip(1)
            .take(2)
            .find(|dir| dir.join("gust").is_file())
            .map(Path::to_owned);
        let Some(dir) = dir else {
            bail!(
                "gust is not beside {}; build all programs with: cargo build --workspace",
                own.display()
            );
        };
        for name in ["gust-fakes", "gust-guest", "gust-agent-standin"] {
            ensure!(
                dir.join(name).is_file(),
                "{name} is not in {}; build all programs with: cargo build --workspace",
                dir.display()
            );
        }
        Ok(Self { dir })
    }

    /// Where `gust` is.
    pub fn gust(&self) -> PathBuf {
        self.dir.join("gust")
    }

    pub(super) fn command(&self, name: &str, log: &Path) -> Result<Command> {
        Self::command_of(&self.dir.join(name), log)
    }

    /// A command of any program, which writes its log to `log`.
    pub(super) fn command_of(program: &Path, log: &Path) -> Result<Command> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stderr(file)
            .kill_on_drop(true)
            .process_group(0);
        for proxy in [
            "http_proxy",
            "HTTP_PROXY",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
        ] {
            command.env_remove(proxy);
        }
        Ok(command)
    }
}

/// The fakes, in a process of their own.
pub struct Fakes {
    child: Child,
    /// Base URL of the control surface.
    pub control: String,
    /// Address of the fake Buildkite.
    pub buildkite: String,
    gce: String,
    metadata: String,
    /// Calls a minute that they take, by Google's name of the group.
    rates: BTreeMap<String, u32>,
    /// Quotas of families that Google does not show, for replicas that are to be told of them.
    families: BTreeMap<String, u64>,
    /// How often replicas list jobs, where that is not gust's own choice.
    pub poll: Option<Duration>,
    /// When they started, nanoseconds since the Unix epoch: times in the event log count from it.
    pub started_unix_ns: u64,
}

impl Fakes {
    /// Starts them with machines that run this build's guest.
    ///
    /// # Errors
    /// They are not ready within 30 s.
    pub async fn start(programs: &Programs, dir: &Path, seed: u64) -> Result<Self> {
        Self::begin(programs, dir, seed, "exec", (Path::new("demo"), Limits::demo())).await
    }

    /// Starts them with simulated machines. Replicas are told the quotas that Google does not show.
    ///
    /// # Errors
    /// As [`Fakes::start`].
    pub async fn simulated(programs: &Programs, dir: &Path, seed: u64, limits: &Path) -> Result<Self> {
        let loaded = Limits::load(limits).with_context(|| limits.display().to_string())?;
        // Limits are whole numbers, far below where that would lose any.
        let families = loaded.gce.family_quotas.iter();
        let families = families
            .map(|(family, limit)| (family.clone(), *limit as u64))
            .collect();
        let fakes = Self::begin(programs, dir, seed, "sim", (limits, loaded)).await?;
        Ok(Self { families, ..fakes })
    }

    /// As [`Fakes::start`], with another limits file.
    ///
    /// # Errors
    /// As [`Fakes::start`].
    pub async fn with_limits(programs: &Programs, dir: &Path, seed: u64, limits: &Path) -> Result<Self> {
        let loaded = Limits::load(limits).with_context(|| limits.display().to_string())?;
        Self::begin(programs, dir, seed, "exec", (limits, loaded)).await
    }

    async fn begin(
        programs: &Programs,
        dir: &Path,
        seed: u64,
        machines: &str,
        (limits, loaded): (&Path, Limits),
    ) -> Result<Self> {
        let mut command = programs.command("gust-fakes", &dir.join("fakes.log"))?;
        command
            .args(["--machines", machines, "--seed", &seed.to_string(), "--limits"])
            .arg(limits)
            .arg("--guest")
            .arg(programs.dir.join("gust-guest"))
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start gust-fakes")?;
        let stdout = child.stdout.take().context("gust-fakes has no stdout")?;
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        timeout(Duration::from_secs(30), reader.read_line(&mut line))
            .await
            .context("gust-fakes was not ready within 30 s")?
            .context("gust-fakes cannot be read")?;
        let ready: Value =
            serde_json::from_str(&line).context("gust-fakes' first line is no JSON; see fakes.log")?;
        let text = |key: &str| {
            ready[key]
                .as_str()
                .map(str::to_owned)
                .with_context(|| format!("no `{key}` in {line}"))
        };
        Ok(Self {
            child,
            control: text("control")?,
            buildkite: text("buildkite")?,
            gce: text("gce")?,
            metadata: text("metadata")?,
            rates: loaded.gce.rates_per_minute,
            families: BTreeMap::new(),
            poll: None,
            started_unix_ns: ready["started_unix_ns"].as_u64().context("no start time")?,
        })
    }

    /// Ends them.
    ///
    /// # Errors
    /// They do not end with 0 within 10 s.
    pub async fn stop(mut self) -> Result<()> {
        signal(&self.child, Signal::TERM)?;
        let status = timeout(Duration::from_secs(10), self.child.wait())
            .await
            .context("gust-fakes does not end")??;
        ensure!(status.success(), "gust-fakes ended with {status}");
        Ok(())
    }
}

/// By which interface of Buildkite's jobs are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// The Stacks API.
    Stacks,
    /// GraphQL.
    Graphql,
}

impl Found {
    /// A word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stacks => "stacks",
            Self::Graphql => "graphql",
        }
    }
}

/// One `gust serve`, which may be killed and started again over the same records.
pub struct Replica {
    programs: Programs,
    dir: PathBuf,
    child: Child,
}

impl Replica {
    /// Writes a configuration into `dir` and starts a replica with it.
    ///
    /// # Errors
    /// The file cannot be written or the process not started.
    pub fn start(programs: &Programs, dir: &Path, fakes: &Fakes) -> Result<Self> {
        // Machines are told this address when they are made, so it must outlive a restart.
        let address = std::net::SocketAddr::from((loopback(), MACHINES));
        Self::configured(
            programs,
            dir,
            &configuration(fakes, address, &["us-central1"], ""),
        )
    }

    /// As [`Replica::start`], with regions of its own and more sections in its configuration.
    ///
    /// # Errors
    /// As [`Replica::start`].
    pub fn start_in(
        programs: &Programs,
        dir: &Path,
        fakes: &Fakes,
        regions: &[&str],
        more: &str,
    ) -> Result<Self> {
        // Nothing is restarted here: any free port will do, and gust tells machines which it is.
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        Self::configured(programs, dir, &configuration(fakes, any, regions, more))
    }

    /// As [`Replica::start`], with jobs found in this way and more sections in its configuration.
    ///
    /// # Errors
    /// As [`Replica::start`].
    pub fn start_finding(
        programs: &Programs,
        dir: &Path,
        fakes: &Fakes,
        found: Found,
        more: &str,
    ) -> Result<Self> {
        let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let mut text = configuration(fakes, any, &["us-central1"], more);
        if found == Found::Graphql {
            // Any token of the fakes': where one is needed is what is tried, not which.
            std::fs::write(dir.join("api.token"), "bkua_fake").context("cannot write api.token")?;
            let api = format!(
                "[[source]]\nkind = \"graphql\"\nagent_token_fallback = true\napi = {{ organization = \"gust-demo\", \
                 endpoint = \"{0}/v2\", graphql_endpoint = \"{0}/v1\", token = {{ file = \"api.token\" }} }}\n",
                fakes.buildkite
            );
            text = text.replacen("[[source]]\n", &api, 1);
        }
        Self::configured(programs, dir, &text)
    }

    fn configured(programs: &Programs, dir: &Path, text: &str) -> Result<Self> {
        std::fs::write(dir.join("gust.toml"), text).context("cannot write gust.toml")?;
        let child = Self::spawn(programs, dir)?;
        Ok(Self {
            programs: programs.clone(),
            dir: dir.to_owned(),
            child,
        })
    }

    fn spawn(programs: &Programs, dir: &Path) -> Result<Child> {
        let mut command = programs.command("gust", &dir.join("gust.log"))?;
        command
            .current_dir(dir)
            .args(["serve", "--config", "gust.toml", "--journal", "journal.jsonl"])
            .env("GUST_LOADTEST_TOKEN", "bkct_fake")
            .stdout(Stdio::null());
        command.spawn().context("cannot start gust")
    }

    /// The commits so far. Whole lines only: the last one may be under way.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn read_journal(&self) -> Result<Vec<Value>> {
        read_lines(&self.dir.join("journal.jsonl"))
    }

    /// The process, or an error if it has ended by itself.
    ///
    /// # Errors
    /// It has ended.
    pub fn id(&mut self) -> Result<u32> {
        if let Some(status) = self.child.try_wait()? {
            bail!("gust ended by itself: {status}; see gust.log");
        }
        self.child.id().context("gust has ended")
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    /// It had ended before.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("gust ended by itself: {status}; see gust.log");
        }
        self.child.kill().await.context("gust cannot be killed")
    }

    /// Starts it again.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.child = Self::spawn(&self.programs, &self.dir)?;
        Ok(())
    }

    /// Ends it as an operator would.
    ///
    /// # Errors
    /// It does not end with 0 within 10 s.
    pub async fn stop(mut self) -> Result<()> {
        signal(&self.child, Signal::TERM)?;
        let status = timeout(Duration::from_secs(10), self.child.wait())
            .await
            .context("gust does not end")??;
        ensure!(status.success(), "gust ended with {status}; see gust.log");
        Ok(())
    }
}

fn signal(child: &Child, signal: Signal) -> Result<()> {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    kill_process(pid.context("the process has ended")?, signal).context("the process cannot be signalled")
}

/// Wall time, in nanoseconds since the Unix epoch, as replicas and fakes read it.
pub(super) fn wall_ns() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "held against the times of other processes"
    )]
    let wall = std::time::SystemTime::now();
    let wall = wall.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX)
}

/// The lines of a journal. Whole ones only: the last may be under way.
pub(super) fn read_lines(journal: &Path) -> Result<Vec<Value>> {
    let text = match std::fs::read_to_string(journal) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context("the journal cannot be read"),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}")))
        .collect()
}

fn configuration(fakes: &Fakes, listen: std::net::SocketAddr, regions: &[&str], more: &str) -> String {
    let rest = fakes.sections(regions);
    format!(
        r#"stack = "kill"
replica = "kill-1"
listen = "{listen}"
data_dir = "store"
{rest}
{more}"#
    )
}

impl Fakes {
    /// The sections of a configuration that lead to these fakes.
    pub(super) fn sections(&self, regions: &[&str]) -> String {
        let Self {
            buildkite,
            gce,
            metadata,
            rates,
            families,
            ..
        } = self;
        let rates = [
            ("writes", "default_per_region"),
            ("reads", "read_requests_per_region"),
            ("lists", "list_requests_per_region"),
            ("operation_reads", "operation_read_requests_per_region"),
            ("waits", "heavy_weight_read_requests_per_region"),
            ("global_reads", "read_requests"),
        ]
        .map(|(ours, googles)| format!("{ours} = {}", rates[googles]))
        .join(", ");
        let families: Vec<_> = families
            .iter()
            .map(|(family, limit)| format!("{family} = {limit}"))
            .collect();
        let families = match families.is_empty() {
            true => String::new(),
            false => format!("family_quotas = {{ {} }}\n", families.join(", ")),
        };
        let poll = self.poll.map(|poll| {
            let seconds = poll.as_secs();
            format!("poll = {{ min = \"{seconds}s\", max = \"{seconds}s\" }}\n")
        });
        let poll = poll.unwrap_or_default();
        format!(
            r#"
[[source]]
name = "fake"
endpoint = "{buildkite}/v3"
token = {{ env = "GUST_LOADTEST_TOKEN" }}
queues = ["gust"]
{poll}
[[project]]
id = "{PROJECT}"
regions = {regions:?}
service_account = "gust-machine@{PROJECT}.iam.gserviceaccount.com"
endpoint = "{gce}"
credentials = "anonymous"
jwks_url = "{metadata}/oauth2/v3/certs"
calls_per_minute = {{ {rates} }}
{families}
[project.images]
amd64 = "projects/debian-cloud/global/images/family/debian-12"
arm64 = "projects/debian-cloud/global/images/family/debian-12-arm64"
"#
        )
    }
}
