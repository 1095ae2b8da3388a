//! One replica, from its configuration to its last breath.

mod addresses;
mod admin;
mod error;
mod http;
mod leases;
mod listeners;
mod metrics;
mod sources;
mod store;
mod webhooks;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use gust_cloud::gce::{GceCloud, GceConfig};
use gust_core::{
    ids::{ProjectId, ReplicaId},
    ports::{Cloud, Member},
    records::Format,
    tenure::Timing,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};

use crate::{
    clock::Clock,
    config::{self, Config},
    leader::{End, Handle, Parts},
    planner::{self, Planner},
    replica::{Leases, Replica},
    rpc::{Callers, Forward, Hints, Me, PeerRpc},
    task::{Dice, Tasks},
    worker::{Pace, Worker},
};

pub use self::{
    addresses::ADDRESSES,
    error::ServeError,
    leases::{leases_file, revoke_leases},
};
use leases::leases_in;

/// What `gust serve` is told beyond its configuration.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// Where every commit leaves a line.
    pub journal: Option<PathBuf>,
}

/// Runs a replica until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError`] if it cannot start, or finds records that it cannot read.
pub async fn serve(config: Config, options: ServeOptions) -> Result<(), ServeError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signal)?;
    let tasks = Tasks::default();
    // An etcd that does not answer is waited for, and so is the operator.
    let replica = tokio::select! {
        biased;
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
        started = start(config, options, &tasks) => started?,
    };
    let leading = tasks.child();
    let mut run = std::pin::pin!(replica.run(&leading));
    let end = tokio::select! {
        biased;
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        end = &mut run => Some(end),
    };
    let end = match end {
        Some(end) => end,
        None => {
            // Nothing is decided or begun any more, then leadership and membership are given up.
            leading.cancelled().cancel();
            run.await
        }
    };
    tasks.stop().await;
    info!("stopped");
    match end {
        End::Stopped => Ok(()),
        end => Err(ServeError::Lead(end)),
    }
}

async fn start(config: Config, options: ServeOptions, tasks: &Tasks) -> Result<Replica, ServeError> {
    let clock = Clock::system();
    let dice = Dice::from_system();
    let shards = planner::shards(&config).map_err(ServeError::Plan)?;
    // Before etcd is waited for: what is wrong here is told at once.
    let listener = listeners::bind(config.listen.address).await?;
    let bound = listeners::local(&listener)?;
    let planner = Planner::new(&config, machine_metadata(&config, bound)?).map_err(ServeError::Plan)?;
    for warning in planner.warnings() {
        warn!("{warning}");
    }
    let sources = sources::connect(&config, &dice)?;
    let clouds = connect_clouds(&config).await?;
    let (handle, leadership) = (Handle::default(), watch::Sender::default());
    let mut addresses = BTreeMap::from([("machines", bound)]);
    if let Some(address) = config.http {
        let pages = http::Pages {
            counted: metrics::Counted::begin(tasks),
            handle: handle.clone(),
            leadership: leadership.subscribe(),
        };
        // It tells of a replica that waits for its store, too.
        addresses.insert("http", http::serve(address, pages, tasks).await?);
    }
    let store = store::open(&config, options.journal.as_deref(), &clock).await?;
    let worker = Worker::new(
        config.replica.clone(),
        store.clone(),
        clouds.clone(),
        clock.clone(),
        dice.clone(),
        Pace::default(),
        tasks,
    );
    let peers = listeners::peer_links(&config)?;
    let several = config.cluster.is_some();
    let forward = several.then(|| Forward::new(leadership.subscribe(), store.clone(), peers.clone()));
    let standing = admin::Standing {
        me: Me {
            replica: config.replica.clone(),
            stack: config.stack.clone(),
            tag_prefix: config.policy.tag_prefix.clone(),
            leadership: leadership.subscribe(),
            tasks: tasks.clone(),
        },
        handle: handle.clone(),
        forward: forward.clone(),
    };
    if let Some(webhooks) = &config.webhooks {
        let hints = Hints::begin(handle.clone(), forward.clone(), tasks);
        let bound = webhooks::serve(webhooks, hints, clock.clone(), tasks).await?;
        addresses.insert("webhooks", bound);
    }
    let machines = listeners::machine_rpc(&config, &clouds, &clock, &handle, forward);
    let passed_on = listeners::PassedOn {
        machines: machines.clone(),
        admin: standing.service(Callers::Peers),
        peers: PeerRpc::new(handle.clone()),
    };
    let address = listeners::serve_workers(&config, worker.clone(), passed_on, tasks).await?;
    if let Some(admin) = &config.admin {
        addresses.insert("admin", admin::serve(admin, &standing, tasks).await?);
    }
    addresses::write(&config.data_dir, &addresses)?;
    listeners::serve_machines(&config, listener, machines, tasks)?;
    let cluster = config.cluster.as_ref();
    let me = Member {
        replica: config.replica.clone(),
        zone: cluster.map(|cluster| cluster.zone.clone()).unwrap_or_default(),
        address,
        version: VERSION.to_owned(),
        config: config.decided_hash(),
    };
    info!(
        gust.replica = %config.replica,
        stack = %config.stack,
        address = %bound,
        peers = me.address,
        shards = shards.len(),
        version = VERSION,
        "serving"
    );
    let timing = cluster.map_or_else(Timing::default, |cluster| cluster.timing);
    let leases = match several {
        true => leases_in(leases_file(&config)),
        false => Leases::default(),
    };
    let parts = Parts {
        sources,
        shards,
        stack: config.stack,
        replica: config.replica,
        settings: config.settings,
        clock,
        dice,
        store,
        planner: Arc::new(planner),
        format: Format::OURS,
    };
    Ok(Replica {
        me,
        parts,
        worker,
        links: Arc::new(peers),
        timing,
        handle,
        leadership,
        leases,
    })
}

async fn connect_clouds(config: &Config) -> Result<BTreeMap<ProjectId, Arc<dyn Cloud>>, ServeError> {
    let mut clouds: BTreeMap<ProjectId, Arc<dyn Cloud>> = BTreeMap::new();
    for project in &config.projects {
        let user_agent = user_agent(&config.replica);
        let gce = GceConfig {
            endpoint: project.endpoint.clone(),
            credentials: match project.credentials {
                config::Credentials::Adc => gust_cloud::gce::Credentials::Adc,
                config::Credentials::Anonymous => gust_cloud::gce::Credentials::Anonymous,
            },
            jwks_url: project.jwks_url.clone(),
            family_quotas: project.family_quotas.clone(),
            subnet: Some(gust_cloud::gce::Subnet {
                network: project.network.network.clone(),
                subnetwork: project.network.subnetwork.clone(),
            }),
            rates: project.calls_per_minute,
            regions: project.regions.len(),
            ..GceConfig::new(config.stack.clone(), user_agent)
        };
        let cloud = GceCloud::connect(gce)
            .await
            .map_err(|source| ServeError::Project {
                project: project.id.clone(),
                source: Box::new(source),
            })?;
        clouds.insert(project.id.clone(), Arc::new(cloud));
    }
    Ok(clouds)
}

/// The version that this build shows: a packager, or a test of two builds side by side, names its own.
const VERSION: &str = match option_env!("GUST_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};

fn user_agent(replica: &ReplicaId) -> String {
    format!("gust/{} ({replica})", VERSION)
}

fn machine_metadata(config: &Config, bound: SocketAddr) -> Result<BTreeMap<String, String>, ServeError> {
    let addresses = if config.listen.advertise.is_empty() {
        bound.to_string()
    } else {
        config.listen.advertise.join(",")
    };
    let mut metadata = BTreeMap::from([
        ("gust-addresses".to_owned(), addresses),
        ("gust-stack".to_owned(), config.stack.to_string()),
    ]);
    if let Some(tls) = &config.listen.tls {
        metadata.insert("gust-ca".to_owned(), read_pem("tls.authority", &tls.authority)?);
    }
    Ok(metadata)
}

fn read_pem(what: &'static str, path: &Path) -> Result<String, ServeError> {
    std::fs::read_to_string(path).map_err(|source| ServeError::File {
        what,
        path: path.to_owned(),
        source,
    })
}
