//! All processes of one machine, and signals to them.
//!
//! A guest starts agents and jobs that lead process groups of their own, so its group is not the machine. The
//! machine is: the guest's group, whatever descends from it, and whatever still carries its metadata address in
//! its environment after its parents are gone.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::time::{Instant, sleep};
use tracing::warn;

/// Between two looks at what is left of a machine that is killed.
const LOOK: Duration = Duration::from_millis(5);
/// What is not gone by then hangs in the kernel, where no signal reaches it.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A machine's processes.
#[derive(Clone, Debug)]
pub(super) struct Family {
    root: i32,
    marker: Vec<u8>,
}

impl Family {
    /// The family of a guest that leads a process group; `address` is its `GCE_METADATA_HOST`.
    pub fn new(root: u32, address: &str) -> Self {
        let root = i32::try_from(root).unwrap_or_default();
        Self {
            root,
            marker: format!("GCE_METADATA_HOST={address}\0").into_bytes(),
        }
    }

    /// Asks the guest's own group.
    pub fn signal_guest(&self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.root).filter(|_| self.root > 1) {
            // A group that is gone needs no signal.
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Signals every process of the machine.
    pub fn signal_all(&self, signal: Signal) {
        self.signal_guest(signal);
        for pid in self.members() {
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Kills until nothing of the machine is left: a process may fork while its family is being read, and one that was
    /// killed lives until it has its turn on a processor.
    pub async fn kill(&self) {
        let deadline = Instant::now() + GONE_WITHIN;
        loop {
            self.signal_all(Signal::KILL);
            let left = self.members();
            if left.is_empty() {
                return;
            }
            if Instant::now() >= deadline {
                warn!(processes = ?left, "processes of a machine outlive it");
                return;
            }
            sleep(LOOK).await;
        }
    }

    fn members(&self) -> BTreeSet<i32> {
        let all = processes().unwrap_or_default();
        let mut members: BTreeSet<i32> = all
            .iter()
            .filter(|process| {
                process.pid == self.root || process.group == self.root || self.is_marked(process.pid)
            })
            .map(|process| process.pid)
            .collect();
        loop {
            let children = all
                .iter()
                .filter(|process| members.contains(&process.parent))
                .map(|process| process.pid);
            let grown: BTreeSet<i32> = children.chain(members.iter().copied()).collect();
            if grown.len() == members.len() {
                break;
            }
            members = grown;
        }
        let me = i32::try_from(std::process::id()).unwrap_or_default();
        members.retain(|pid| *pid > 1 && *pid != me);
        members
    }

    fn is_marked(&self, pid: i32) -> bool {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .windows(self.marker.len())
            .any(|window| window == self.marker)
    }
}

struct Process {
    pid: i32,
    parent: i32,
    group: i32,
}

/// All processes that are not zombies.
fn processes() -> io::Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        // The name in parentheses may hold anything: the fields begin after the last one.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let Some((_, fields)) = stat.rsplit_once(')') else {
            continue;
        };
        let mut fields = fields.split_whitespace();
        let (state, parent, group) = (fields.next(), fields.next(), fields.next());
        let number = |field: Option<&str>| field.and_then(|text| text.parse().ok());
        if let (Some(state), Some(parent), Some(group)) = (state, number(parent), number(group))
            && state != "Z"
            && state != "X"
        {
            all.push(Process { pid, parent, group });
        }
    }
    Ok(all)
}
