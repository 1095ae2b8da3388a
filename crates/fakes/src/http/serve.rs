//! All listeners of one process, from settings to addresses and to the end.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{Machines, Settings};
use crate::event::Host;
use crate::http::clock::Clock;
use crate::http::connection::listen;
use crate::http::control::Control;
use crate::http::postman;
use crate::http::shared::Shared;
use crate::http::site::Site;
use crate::http::sites::{Buildkite, Gce, Jwks, Unbuilt};
use crate::http::task;
use crate::machines::{Runner, RunnerError, Simulator, ToolsError};
use crate::world::World;

/// Why the fakes do not start.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A port cannot be had.
    #[error(
        "the {host} listener cannot be bound to 127.0.0.1:{port}; choose another port, or 0 for any free one"
    )]
    Bind {
        /// Which listener.
        host: &'static str,
        /// The port asked for.
        port: u16,
        /// Why not.
        source: std::io::Error,
    },
    /// Machines of kind `exec` cannot be run.
    #[error(transparent)]
    Machines(#[from] RunnerError),
    /// Machines of kind `sim` cannot be simulated.
    #[error(transparent)]
    Simulator(#[from] ToolsError),
}

/// Where the fakes listen. Serialized, it is the ready line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// Always true.
    pub ready: bool,
    /// Wall time of the start, nanoseconds since the Unix epoch.
    pub started_unix_ns: u64,
    /// `http://127.0.0.1:…` of the control surface.
    pub control: String,
    /// Of Buildkite.
    pub buildkite: String,
    /// Of GCE.
    pub gce: String,
    /// Of Cloud Run.
    pub run: String,
    /// Of the JWKS.
    pub metadata: String,
}

/// Running fakes. They end when this is dropped, or with [`Handle::shutdown`].
pub struct Handle {
    /// Where they listen.
    pub addresses: Addresses,
    /// The world they serve.
    pub shared: Shared,
    cancel: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Handle {
    /// Ends the fakes and waits until all machines are dead.
    pub async fn shutdown(mut self) {
        self.cancel.cancel();
        for task in std::mem::take(&mut self.tasks) {
            // A task that panicked has ended as well.
            let _ = task.await;
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Binds every listener and starts serving.
pub async fn serve(settings: Settings) -> Result<Handle, ServeError> {
    let (mut runner, mut simulator) = (None, None);
    match settings.machines {
        Machines::None => {}
        Machines::Exec => runner = Some(Runner::new(settings.guest.clone())?),
        Machines::Sim => simulator = Some(Simulator::new()?),
    }
    let ports = settings.ports;
    let control = bind("control", ports.control).await?;
    let buildkite = bind("buildkite", ports.buildkite).await?;
    let gce = bind("gce", ports.gce).await?;
    let run = bind("run", ports.run).await?;
    let metadata = bind("metadata", ports.metadata).await?;

    let clock = Clock::start();
    let addresses = Addresses {
        ready: true,
        started_unix_ns: u64::try_from(clock.started_unix_ns()).unwrap_or_default(),
        control: url(&control),
        buildkite: url(&buildkite),
        gce: url(&gce),
        run: url(&run),
        metadata: url(&metadata),
    };
    let mut world = World::new(&settings);
    world.buildkite.set_base_url(addresses.buildkite.clone());
    let shared = Shared::new(world, clock);
    let cancel = CancellationToken::new();
    let mut tasks = vec![
        task::spawn("ticks", shared.clone().run_ticks(cancel.clone())),
        task::spawn("webhooks", postman::run(shared.clone(), cancel.clone())),
    ];
    let sites: [(TcpListener, Arc<dyn Site>); 5] = [
        (control, Arc::new(Control)),
        (buildkite, Arc::new(Buildkite)),
        (gce, Arc::new(Gce)),
        (
            run,
            Arc::new(Unbuilt(Host::Run, "Cloud Run is not built in this fake yet")),
        ),
        (metadata, Arc::new(Jwks)),
    ];
    for (listener, site) in sites {
        tasks.push(task::spawn(
            "listener",
            listen(listener, shared.clone(), site, cancel.clone()),
        ));
    }
    if let Some(runner) = runner {
        tasks.push(task::spawn(
            "machines",
            runner.run(shared.clone(), cancel.clone()),
        ));
    }
    if let Some(simulator) = simulator {
        tasks.push(task::spawn(
            "machines",
            simulator.run(shared.clone(), cancel.clone()),
        ));
    }
    Ok(Handle {
        addresses,
        shared,
        cancel,
        tasks,
    })
}

async fn bind(host: &'static str, port: u16) -> Result<TcpListener, ServeError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Bind { host, port, source })
}

fn url(listener: &TcpListener) -> String {
    // A listener that is bound knows its address.
    listener
        .local_addr()
        .map(|address| format!("http://{address}"))
        .unwrap_or_default()
}
