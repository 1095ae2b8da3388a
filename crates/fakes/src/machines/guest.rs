//! One guest process, from its start to the end of its whole family.

use std::fs::File;
use std::io;
use std::io::{Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::family::Family;
use super::site::MetadataSite;
use crate::http::{Shared, listen, spawn};

/// The log of a guest, in its directory.
const LOG: &str = "guest.log";

/// How much of the log is told when a guest crashes.
const TOLD: u64 = 4096;

/// What to start.
pub(super) struct Start {
    pub instance: u64,
    pub turn: u32,
    pub name: String,
    pub program: PathBuf,
    pub folder: PathBuf,
    pub agent: Option<PathBuf>,
}

/// What is asked of a running guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// End, within the grace.
    Stop(std::time::Duration),
    /// Die.
    Kill,
    /// Stand still.
    Freeze,
}

/// Starts the guest and its metadata listener; the task ends when the machine is off.
pub(super) async fn run(shared: Shared, start: Start, mut asks: mpsc::Receiver<Ask>) {
    let quiet = CancellationToken::new();
    let begun = begin(&shared, &start, &quiet).await;
    match begun {
        Ok((child, family)) => {
            let clean = attend(child, &family, &mut asks).await;
            family.kill().await;
            let told = tail(&start.folder.join(LOG), TOLD);
            match clean {
                true => info!(instance = start.name, "guest powered off"),
                false => warn!(
                    instance = start.name,
                    output = told,
                    "guest ended badly or was killed"
                ),
            }
            shared.with(None, |world, now, out| {
                world.gce.console(start.instance, &told);
                world.gce.guest_ended(now, start.instance, start.turn, clean, out);
            });
        }
        Err(error) => {
            // A machine whose guest cannot start is a machine that stays silent.
            warn!(instance = start.name, program = %start.program.display(), %error, "guest does not start");
            shared.with(None, |world, now, out| {
                world
                    .gce
                    .console(start.instance, &format!("guest does not start: {error}\n"));
                world.gce.guest_ended(now, start.instance, start.turn, false, out);
            });
        }
    }
    quiet.cancel();
    shared.with(None, |world, _, _| world.metadata.is_silent(start.instance));
}

async fn begin(shared: &Shared, start: &Start, quiet: &CancellationToken) -> io::Result<(Child, Family)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?.to_string();
    let site = Arc::new(MetadataSite {
        instance: start.instance,
    });
    spawn(
        "metadata listener",
        listen(listener, shared.clone(), site, quiet.clone()),
    );
    shared.with(None, |world, _, _| {
        world.metadata.listens(start.instance, address.clone())
    });

    std::fs::create_dir_all(&start.folder)?;
    let log = File::create(start.folder.join(LOG))?;
    let mut command = Command::new(&start.program);
    command
        .current_dir(&start.folder)
        .env_clear()
        .env(
            "PATH",
            std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
        )
        .env("HOME", &start.folder)
        .env("GCE_METADATA_HOST", &address)
        .env("GUST_POWER_OFF", "exit")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true);
    if let Some(agent) = &start.agent {
        command.env("GUST_BUILDKITE_AGENT", agent);
    }
    let child = command.spawn()?;
    let family = Family::new(child.id().unwrap_or_default(), &address);
    info!(instance = start.name, metadata = address, "guest started");
    Ok((child, family))
}

/// Waits for the guest's end and does what is asked meanwhile. True for exit 0.
async fn attend(mut child: Child, family: &Family, asks: &mut mpsc::Receiver<Ask>) -> bool {
    let mut deadline = None;
    loop {
        let killed = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = child.wait() => return ended.is_ok_and(|status| status.success()),
            ask = asks.recv() => match ask {
                Some(Ask::Stop(grace)) => {
                    // One that stands still cannot hear: it is woken to end.
                    family.signal_all(Signal::CONT);
                    family.signal_guest(Signal::TERM);
                    deadline.get_or_insert(tokio::time::Instant::now() + grace);
                }
                Some(Ask::Freeze) => family.signal_all(Signal::STOP),
                // The runner is gone: so is the host.
                Some(Ask::Kill) | None => {
                    family.kill().await;
                    let _ = child.wait().await;
                    return false;
                }
            },
            () = killed => {
                family.kill().await;
                let _ = child.wait().await;
                return false;
            }
        }
    }
}

/// The end of a log.
fn tail(path: &Path, most: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let from = file.metadata()?.len().saturating_sub(most);
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.take(most).read_to_end(&mut text)?;
        Ok(text)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}
