//! Real etcd, for tests: members of a cluster as processes, each on a loopback address of its own.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// Ports of each member, on its own address.
const CLIENTS: u16 = 2379;
const PEERS: u16 = 2380;

/// How long a member may take to answer its first connection.
const START: Duration = Duration::from_secs(30);

/// A cluster of etcd. Its processes end with it, and its data with them.
pub struct Servers {
    dir: TempDir,
    members: Vec<Member>,
    flags: Vec<String>,
}

struct Member {
    address: Ipv4Addr,
    /// Where the others dial it.
    dialled: SocketAddr,
    process: Option<Child>,
}

/// An address that nobody else uses: other processes have other ids, and one of ours is given again only after 250
/// others.
pub fn loopback() -> Ipv4Addr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let nth = GIVEN.fetch_add(1, Ordering::Relaxed) % 250;
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high % 250 + 2, low, u8::try_from(nth).unwrap_or(0) + 2)
}

impl Servers {
    /// Starts a cluster of so many members.
    ///
    /// # Panics
    /// If etcd is not installed (Debian: `apt-get install etcd-server`), or does not start.
    pub fn start(count: usize) -> Self {
        Self::with_flags(count, &[])
    }

    /// As [`Servers::start`], with more flags for each member.
    ///
    /// # Panics
    /// As [`Servers::start`].
    pub fn with_flags(count: usize, flags: &[&str]) -> Self {
        Self::behind(count, flags, |_, listens| listens)
    }

    /// As [`Servers::with_flags`], and the members dial each other where `dialled` says for each and for where it
    /// listens.
    ///
    /// # Panics
    /// As [`Servers::start`].
    pub fn behind(
        count: usize,
        flags: &[&str],
        mut dialled: impl FnMut(usize, SocketAddr) -> SocketAddr,
    ) -> Self {
        let member = |nth| {
            let address = loopback();
            Member {
                address,
                dialled: dialled(nth, (address, PEERS).into()),
                process: None,
            }
        };
        let mut servers = Self {
            dir: TempDir::new().expect("a writable directory"),
            members: (0..count).map(member).collect(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        for nth in 0..count {
            servers.spawn(nth);
        }
        for nth in 0..count {
            servers.wait_for(nth);
        }
        servers
    }

    /// Base URLs for clients.
    pub fn urls(&self) -> Vec<String> {
        let url = |member: &Member| format!("http://{}:{CLIENTS}", member.address);
        self.members.iter().map(url).collect()
    }

    /// Base URL of one member.
    pub fn url(&self, nth: usize) -> String {
        format!("http://{}:{CLIENTS}", self.members[nth].address)
    }

    /// Where clients reach one member.
    pub fn clients(&self, nth: usize) -> SocketAddr {
        (self.members[nth].address, CLIENTS).into()
    }

    /// The process of a member that runs.
    pub fn pid(&self, nth: usize) -> Option<u32> {
        self.members[nth].process.as_ref().map(Child::id)
    }

    /// Where a member writes what it has to say.
    pub fn log(&self, nth: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("m{nth}.log"))
    }

    /// Kills a member (SIGKILL).
    pub fn kill(&mut self, nth: usize) {
        if let Some(mut process) = self.members[nth].process.take() {
            // One that has ended by itself is as dead.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Starts a member again that was killed, with the data it had. Does not wait: without a quorum it cannot answer.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn restart(&mut self, nth: usize) {
        self.kill(nth);
        self.spawn(nth);
    }

    /// Kills a member and starts it again with nothing, as after its disk was replaced; does not wait. Of a cluster of
    /// one that is another cluster.
    ///
    /// # Panics
    /// If its data cannot be removed, or it cannot be started.
    pub fn lose_data(&mut self, nth: usize) {
        self.kill(nth);
        std::fs::remove_dir_all(self.dir.path().join(format!("m{nth}"))).expect("it had data");
        self.spawn(nth);
    }

    fn spawn(&mut self, nth: usize) {
        let name = |nth: usize| format!("m{nth}");
        let peer = |member: &Member| format!("http://{}", member.dialled);
        let listens = format!("http://{}:{PEERS}", self.members[nth].address);
        let cluster: Vec<String> = self
            .members
            .iter()
            .enumerate()
            .map(|(nth, member)| format!("{}={}", name(nth), peer(member)))
            .collect();
        let log = File::options().create(true).append(true).open(self.log(nth));
        let log = log.expect("a writable directory");
        let process = Command::new("etcd")
            .args(["--name", &name(nth)])
            .arg("--data-dir")
            .arg(self.dir.path().join(name(nth)))
            .args(["--listen-client-urls", &self.url(nth)])
            .args(["--advertise-client-urls", &self.url(nth)])
            .args(["--listen-peer-urls", &listens])
            .args(["--initial-advertise-peer-urls", &peer(&self.members[nth])])
            .args(["--initial-cluster", &cluster.join(",")])
            // Off by default in 3.4: a member that comes back from a cut would force an election on the others.
            .arg("--pre-vote=true")
            .args(["--logger", "zap", "--log-outputs", "stderr"])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let process = process.unwrap_or_else(|error| {
            panic!("cannot start etcd: {error} (Debian: apt-get install etcd-server)")
        });
        self.members[nth].process = Some(process);
    }

    #[expect(clippy::disallowed_methods, reason = "processes run on real time")]
    fn wait_for(&self, nth: usize) {
        let begun = Instant::now();
        while TcpStream::connect((self.members[nth].address, CLIENTS)).is_err() {
            assert!(
                begun.elapsed() < START,
                "etcd does not start:\n{}",
                tail(&self.log(nth))
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for nth in 0..self.members.len() {
            self.kill(nth);
        }
    }
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
