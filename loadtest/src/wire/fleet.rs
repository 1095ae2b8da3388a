//! Several replicas of `gust serve` over etcd, each on a loopback address of its own.

mod ask;
mod configuration;
mod deeds;
mod watched;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use gust_store::{
    conformance::etcd::{Servers, loopback},
    etcd::client::{Cluster, Endpoints},
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tokio::{process::Child, time::timeout};

use self::watched::Watched;
use super::{
    super::virtual_gear::check::HostEvent,
    network::{Network, Party},
    processes::{Fakes, Programs, read_lines},
};

pub(super) use self::{
    deeds::{Deed, Done},
    watched::SeenAt,
};

/// Name of the stack, and so where its keys are.
pub(super) const STACK: &str = "chaos";
/// As in `deploy/etcd`: zones of one region are about a millisecond apart.
const ETCD: [&str; 2] = ["--heartbeat-interval=50", "--election-timeout=500"];
/// Ports of each replica, on its own address.
const MACHINES: u16 = 7070;
const PEERS: u16 = 7071;
const ADMIN: u16 = 7072;
const HTTP: u16 = 7073;
const WEBHOOKS: u16 = 7074;

/// Of what a fleet is made.
#[derive(Clone, Copy, Debug)]
pub struct Muster {
    /// Replicas of gust.
    pub replicas: usize,
    /// Members of etcd.
    pub members: usize,
    /// Regions that replicas look after.
    pub regions: &'static [&'static str],
    /// More sections of every replica's configuration.
    pub more: &'static str,
}

/// The replicas and their etcd. All that they dial of each other leads through a network that can be cut.
pub struct Fleet {
    /// The network between them.
    pub network: Network,
    etcd: Servers,
    replicas: Vec<One>,
    way: Cluster,
    watched: Watched,
    deeds: Vec<Deed>,
}

struct One {
    /// Its build of gust.
    program: PathBuf,
    dir: PathBuf,
    address: Ipv4Addr,
    /// Where the others dial it.
    dialled: SocketAddr,
    /// The supervisor; the replica is its child.
    process: Option<Child>,
}

impl Fleet {
    /// Starts etcd and the replicas.
    ///
    /// # Errors
    /// A file cannot be written or a process not started.
    pub fn start(programs: &Programs, dir: &Path, fakes: &Fakes, muster: &Muster) -> Result<Self> {
        let network = Network::open();
        let mut missing = None;
        let etcd = Servers::behind(muster.members, &ETCD, |nth, listens| {
            let relay = network.relay(Party::Member(nth), listens);
            relay.unwrap_or_else(|error| {
                missing = Some(error);
                listens
            })
        });
        if let Some(error) = missing {
            return Err(error);
        }
        let endpoints = Endpoints {
            // On a busy machine a fsync takes its time; what is asked here only watches.
            deadline: Duration::from_secs(5),
            ..Endpoints::new(etcd.urls())
        };
        let members = endpoints.urls.iter().map(|url| Endpoints {
            urls: vec![url.clone()],
            ..endpoints.clone()
        });
        let members = members.map(|one| Cluster::new(one).map_err(anyhow::Error::msg));
        let members: Vec<_> = members.collect::<Result<_>>()?;
        let watched = Watched::begin(members.into_iter());
        let way = Cluster::new(endpoints).map_err(anyhow::Error::msg)?;
        let mut replicas = Vec::new();
        for nth in 0..muster.replicas {
            let address = loopback();
            replicas.push(One {
                program: programs.gust(),
                dir: dir.join(format!("r{nth}")),
                address,
                dialled: network.relay(Party::Replica(nth), (address, PEERS).into())?,
                process: None,
            });
        }
        let mut fleet = Self {
            network,
            etcd,
            replicas,
            way,
            watched,
            deeds: Vec::new(),
        };
        for nth in 0..muster.members {
            fleet.show_member(nth);
        }
        let endpoints: Vec<_> = (0..muster.members)
            .map(|nth| fleet.network.relay(Party::Member(nth), fleet.etcd.clients(nth)))
            .collect::<Result<_>>()?;
        for nth in 0..muster.replicas {
            let one = &fleet.replicas[nth];
            std::fs::create_dir_all(&one.dir)
                .with_context(|| format!("cannot make {}", one.dir.display()))?;
            let text = fleet.configuration(nth, &endpoints, fakes, muster);
            std::fs::write(one.dir.join("gust.toml"), text).context("cannot write gust.toml")?;
            fleet.restart(nth)?;
        }
        Ok(fleet)
    }

    /// Where operators reach a replica. The token is the source's.
    pub fn admin_url(&self, nth: usize) -> String {
        format!("http://{}:{ADMIN}", self.replicas[nth].address)
    }

    /// Where a replica tells whether it is ready.
    pub fn ready_url(&self, nth: usize) -> String {
        format!("http://{}:{HTTP}/readyz", self.replicas[nth].address)
    }

    /// Where a replica takes webhooks. The token is the source's.
    pub fn webhook_url(&self, nth: usize) -> String {
        format!(
            "http://{}:{WEBHOOKS}/webhooks/buildkite",
            self.replicas[nth].address
        )
    }

    /// All parties of the network.
    pub fn parties(&self) -> Vec<Party> {
        let members = (0..self.etcd.urls().len()).map(Party::Member);
        (0..self.count()).map(Party::Replica).chain(members).collect()
    }

    /// Where a member of etcd is reached without the network.
    pub fn member_url(&self, nth: usize) -> String {
        self.etcd.url(nth)
    }

    /// Kills a member of etcd (SIGKILL).
    pub fn kill_member(&mut self, nth: usize) {
        self.etcd.kill(nth);
    }

    /// Starts a member of etcd again that was killed, with the data it had.
    pub fn restart_member(&mut self, nth: usize) {
        self.etcd.restart(nth);
        self.show_member(nth);
    }

    /// Starts all members of etcd again that were killed.
    pub fn restart_members(&mut self) {
        let dead = |nth: &usize| self.etcd.pid(*nth).is_none();
        let dead: Vec<usize> = (0..self.etcd.urls().len()).filter(dead).collect();
        for nth in dead {
            self.restart_member(nth);
        }
    }

    fn show_member(&self, nth: usize) {
        if let Some(process) = self.etcd.pid(nth) {
            self.network.is(Party::Member(nth), process);
        }
    }

    /// How many replicas there are.
    pub fn count(&self) -> usize {
        self.replicas.len()
    }

    /// Starts a replica that does not run, from now on with this build of gust.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn restart_with(&mut self, nth: usize, program: &Path) -> Result<()> {
        program.clone_into(&mut self.replicas[nth].program);
        self.restart(nth)
    }

    /// Starts a replica that does not run.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn restart(&mut self, nth: usize) -> Result<()> {
        let one = &mut self.replicas[nth];
        let mut command = Programs::command_of(&one.program, &one.dir.join("gust.log"))?;
        command
            .current_dir(&one.dir)
            .args(["serve", "--config", "gust.toml", "--journal", "journal.jsonl"])
            .env("GUST_LOADTEST_TOKEN", "bkct_fake")
            .stdout(Stdio::null());
        let process = command.spawn().context("cannot start gust")?;
        if let Some(id) = process.id() {
            self.network.is(Party::Replica(nth), id);
        }
        one.process = Some(process);
        self.became(nth, HostEvent::Started);
        Ok(())
    }

    /// Kills the replica itself (SIGKILL), and waits until its supervisor has ended.
    ///
    /// # Errors
    /// It does not run, or its supervisor does not end within 30 s.
    pub async fn kill_child(&mut self, nth: usize) -> Result<()> {
        let supervisor = self
            .pid(nth)
            .with_context(|| format!("replica {nth} does not run"))?;
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
        self.became(nth, HostEvent::Crashed);
        let process = self.replicas[nth].process.as_mut().context("it ran just now")?;
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
    pub fn signal_both(&mut self, nth: usize, signal: Signal) -> Result<()> {
        let pid = self
            .pid(nth)
            .with_context(|| format!("replica {nth} does not run"))?;
        kill_process_group(pid, signal).context("the processes cannot be signalled")?;
        match signal {
            Signal::STOP => self.became(nth, HostEvent::Frozen),
            Signal::CONT => self.became(nth, HostEvent::Thawed),
            _ => self.became(nth, HostEvent::Crashed),
        }
        Ok(())
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
        self.became(nth, HostEvent::Crashed);
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

    fn pid(&self, nth: usize) -> Option<Pid> {
        let id = self.replicas[nth].process.as_ref()?.id()?;
        Pid::from_raw(i32::try_from(id).ok()?)
    }
}

/// A key of the stack.
pub(super) fn key(below: &str) -> String {
    format!("/gust/v1/{STACK}/{below}")
}
