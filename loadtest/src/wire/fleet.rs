//! Several replicas of `gust serve` over etcd, each on a loopback address of its own.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use gust_store::{
    conformance::etcd::{Servers, loopback},
    etcd::{
        Etcd as _, Event, Keys, Range,
        client::{Cluster, Endpoints},
    },
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tokio::{process::Child, time::timeout};

use super::processes::{Fakes, Programs, read_lines};

/// Name of the stack, and so where its keys are.
const STACK: &str = "chaos";
/// Ports of each replica, on its own address.
const MACHINES: u16 = 7070;
const PEERS: u16 = 7071;

/// The replicas and their etcd.
pub struct Fleet {
    /// The members of etcd.
    pub etcd: Servers,
    programs: Programs,
    replicas: Vec<One>,
    way: Cluster,
}

struct One {
    dir: PathBuf,
    address: Ipv4Addr,
    /// The supervisor; the replica is its child.
    process: Option<Child>,
}

impl Fleet {
    /// Starts etcd and the replicas.
    ///
    /// # Errors
    /// A file cannot be written or a process not started.
    pub fn start(
        programs: &Programs,
        dir: &Path,
        fakes: &Fakes,
        replicas: usize,
        members: usize,
    ) -> Result<Self> {
        let etcd = Servers::start(members);
        let endpoints = Endpoints {
            // On a busy machine a fsync takes its time; what is asked here only watches.
            deadline: Duration::from_secs(5),
            ..Endpoints::new(etcd.urls())
        };
        let way = Cluster::new(endpoints).map_err(anyhow::Error::msg)?;
        let replicas = (0..replicas).map(|nth| One {
            dir: dir.join(format!("r{nth}")),
            address: loopback(),
            process: None,
        });
        let mut fleet = Self {
            etcd,
            programs: programs.clone(),
            replicas: replicas.collect(),
            way,
        };
        for nth in 0..fleet.replicas.len() {
            let one = &fleet.replicas[nth];
            std::fs::create_dir_all(&one.dir)
                .with_context(|| format!("cannot make {}", one.dir.display()))?;
            std::fs::write(one.dir.join("gust.toml"), fleet.configuration(nth, fakes))
                .context("cannot write gust.toml")?;
            fleet.restart(nth)?;
        }
        Ok(fleet)
    }

    /// How many replicas there are.
    pub fn count(&self) -> usize {
        self.replicas.len()
    }

    /// Starts a replica that does not run.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn restart(&mut self, nth: usize) -> Result<()> {
        let one = &mut self.replicas[nth];
        let mut command = self.programs.command("gust", &one.dir.join("gust.log"))?;
        command
            .current_dir(&one.dir)
            .args(["serve", "--config", "gust.toml", "--journal", "journal.jsonl"])
            .env("GUST_LOADTEST_TOKEN", "bkct_fake")
            .stdout(Stdio::null());
        one.process = Some(command.spawn().context("cannot start gust")?);
        Ok(())
    }

    /// Which replica leads, as etcd tells.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn leader(&self) -> Result<Option<usize>> {
        let found = self.way.range(Range::all(Keys::one(key("leader")))).await?;
        let name = found
            .kvs
            .first()
            .map(|kv| String::from_utf8_lossy(&kv.value).into_owned());
        Ok(name.and_then(|name| name.strip_prefix('r')?.parse().ok()))
    }

    /// Kills the replica itself (SIGKILL), and waits until its supervisor has ended.
    ///
    /// # Errors
    /// It does not run, or its supervisor does not end within 30 s.
    pub async fn kill_child(&mut self, nth: usize) -> Result<()> {
        let (Some(supervisor), Some(process)) = (self.pid(nth), self.replicas[nth].process.as_mut()) else {
            bail!("replica {nth} does not run");
        };
        let id = supervisor.as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))
            .context("cannot tell the supervisor's child")?;
        let child = children
            .split_whitespace()
            .next()
            .and_then(|id| id.parse().ok())
            .and_then(Pid::from_raw)
            .with_context(|| format!("the supervisor of replica {nth} has no child"))?;
        kill_process(child, Signal::KILL).context("the replica cannot be killed")?;
        timeout(Duration::from_secs(30), process.wait())
            .await
            .context("the supervisor does not end after its child")??;
        self.replicas[nth].process = None;
        Ok(())
    }

    /// Sends a signal to a replica and its supervisor, as to a whole host.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal_both(&self, nth: usize, signal: Signal) -> Result<()> {
        let pid = self
            .pid(nth)
            .with_context(|| format!("replica {nth} does not run"))?;
        kill_process_group(pid, signal).context("the processes cannot be signalled")
    }

    /// Kills a replica and its supervisor (SIGKILL).
    ///
    /// # Errors
    /// It does not run.
    pub async fn kill_both(&mut self, nth: usize) -> Result<()> {
        self.signal_both(nth, Signal::KILL)?;
        if let Some(mut process) = self.replicas[nth].process.take() {
            process.wait().await.context("a killed process does not end")?;
        }
        Ok(())
    }

    /// Ends a replica as an operator would.
    ///
    /// # Errors
    /// It does not end with 0 within 20 s.
    pub async fn stop(&mut self, nth: usize) -> Result<()> {
        let pid = self
            .pid(nth)
            .with_context(|| format!("replica {nth} does not run"))?;
        kill_process(pid, Signal::TERM).context("the process cannot be signalled")?;
        let Some(mut process) = self.replicas[nth].process.take() else {
            return Ok(());
        };
        let status = timeout(Duration::from_secs(20), process.wait())
            .await
            .with_context(|| format!("replica {nth} does not end"))??;
        ensure!(
            status.success(),
            "replica {nth} ended with {status}; see its gust.log"
        );
        Ok(())
    }

    /// Whether a replica runs; one that ended by itself is an error.
    ///
    /// # Errors
    /// It ended by itself.
    pub fn check(&mut self, nth: usize) -> Result<bool> {
        match &mut self.replicas[nth].process {
            None => Ok(false),
            Some(process) => match process.try_wait()? {
                None => Ok(true),
                Some(status) => bail!("replica {nth} ended by itself: {status}; see its gust.log"),
            },
        }
    }

    /// The commits of all replicas, in the order of their revisions.
    ///
    /// # Errors
    /// A journal cannot be read.
    pub fn read_journals(&self) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        for one in &self.replicas {
            all.extend(read_lines(&one.dir.join("journal.jsonl"))?);
        }
        all.sort_by_key(|commit| commit["revision"].as_u64());
        Ok(all)
    }

    /// Every change below the stack's prefix since etcd began, in order.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn history(&self) -> Result<Vec<Event>> {
        let keys = || Keys::interval(key(""), format!("/gust/v1/{STACK}0"));
        let now = self
            .way
            .range(Range {
                limit: 1,
                ..Range::all(keys())
            })
            .await?
            .revision;
        let mut watch = self.way.watch(vec![keys()], 1).await?;
        let mut all: Vec<Event> = Vec::new();
        while let Ok(events) = timeout(Duration::from_secs(2), watch.next()).await {
            all.extend(events?);
            if all.last().is_some_and(|event| event.revision >= now) {
                break;
            }
        }
        Ok(all)
    }

    fn pid(&self, nth: usize) -> Option<Pid> {
        let id = self.replicas[nth].process.as_ref()?.id()?;
        Pid::from_raw(i32::try_from(id).ok()?)
    }

    fn configuration(&self, nth: usize, fakes: &Fakes) -> String {
        let address = self.replicas[nth].address;
        let quoted = |items: Vec<String>| {
            let items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
            items.join(", ")
        };
        let machines = self
            .replicas
            .iter()
            .map(|one| format!("{}:{MACHINES}", one.address));
        let rest = fakes.sections(&["us-central1", "us-east1"]);
        format!(
            r#"stack = "{STACK}"
replica = "r{nth}"
zone = "zone-{nth}"
listen = "{address}:{MACHINES}"
advertise = [{advertise}]
data_dir = "store"

[etcd]
endpoints = [{etcd}]

[peer]
listen = "{address}:{PEERS}"
{rest}"#,
            advertise = quoted(machines.collect()),
            etcd = quoted(self.etcd.urls()),
        )
    }
}

/// A key of the stack.
pub(super) fn key(below: &str) -> String {
    format!("/gust/v1/{STACK}/{below}")
}
