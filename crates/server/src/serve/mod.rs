//! One replica, from its configuration to its last breath.

mod error;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gust_buildkite::StacksSource;
use gust_cloud::gce::{GceCloud, GceConfig};
use gust_core::{
    ids::{ProjectId, ReplicaId, SourceName},
    ports::{Cloud, Link, Member, Store},
    tenure::Timing,
};
use gust_proto::v1::{
    machine_service_server::MachineServiceServer, worker_service_server::WorkerServiceServer,
};
use gust_store::{EmbeddedStore, Journal};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Identity, Server, ServerTlsConfig};
use tracing::{error, info};

use crate::{
    clock::Clock,
    config::{self, Config},
    leader::{End, Handle, Parts, SourcePart},
    planner::{self, Planner},
    replica::{Links, Replica},
    rpc::{GrpcLink, MachineRpc, Verifier, WorkerRpc},
    task::{Dice, Tasks},
    worker::{Pace, Worker},
};

pub use self::error::ServeError;

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
    let replica = start(config, options, &tasks).await?;
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

/// The way to this replica's own worker, which is the only one.
struct OwnLink(Arc<GrpcLink>);

impl Links for OwnLink {
    fn to(&self, _member: &Member) -> Arc<dyn Link> {
        self.0.clone()
    }
}

async fn start(config: Config, options: ServeOptions, tasks: &Tasks) -> Result<Replica, ServeError> {
    let clock = Clock::system();
    let dice = Dice::from_system();
    let shards = planner::shards(&config).map_err(ServeError::Place)?;
    let store = open_store(&config, options.journal.as_deref(), &clock).await?;
    let clouds = connect_clouds(&config).await?;
    let listener = bind(config.listen.address).await?;
    let bound = local(&listener)?;
    let planner = Planner::new(&config, machine_metadata(&config, bound)?).map_err(ServeError::Place)?;
    let worker = Worker::new(
        config.replica.clone(),
        store.clone(),
        clouds.clone(),
        clock.clone(),
        dice.clone(),
        Pace::default(),
        tasks,
    );
    let link = serve_worker(worker.clone(), &config.replica, tasks).await?;
    let handle = Handle::default();
    let me = Member {
        replica: config.replica.clone(),
        zone: String::new(),
        address: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: config.decided_hash(),
    };
    serve_machines(&config, listener, &clouds, &clock, &handle, tasks)?;
    info!(
        gust.replica = %config.replica,
        stack = %config.stack,
        address = %bound,
        shards = shards.len(),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    let parts = Parts {
        sources: sources(&config, &dice)?,
        shards,
        stack: config.stack,
        replica: config.replica,
        settings: config.settings,
        clock,
        dice,
        store,
        planner: Arc::new(planner),
    };
    Ok(Replica {
        me,
        parts,
        worker,
        links: Arc::new(OwnLink(Arc::new(link))),
        timing: Timing::default(),
        handle,
        leadership: Default::default(),
    })
}

async fn open_store(
    config: &Config,
    journal: Option<&Path>,
    clock: &Clock,
) -> Result<Arc<dyn Store>, ServeError> {
    std::fs::create_dir_all(&config.data_dir).map_err(|source| ServeError::File {
        what: "data_dir",
        path: config.data_dir.clone(),
        source,
    })?;
    let clock = clock.clone();
    let wall: gust_store::WallClock = Arc::new(move || clock.now_unix_ns());
    let journal = journal
        .map(|path| Journal::open(path, wall))
        .transpose()
        .map_err(ServeError::Journal)?;
    let file = gust_store::embedded::Config::new(config.data_dir.join("gust.redb"), config.stack.clone());
    let store = EmbeddedStore::open(file, journal)
        .await
        .map_err(ServeError::Store)?;
    Ok(Arc::new(store))
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

fn user_agent(replica: &ReplicaId) -> String {
    format!("gust/{} ({replica})", env!("CARGO_PKG_VERSION"))
}

fn sources(config: &Config, dice: &Dice) -> Result<BTreeMap<SourceName, SourcePart>, ServeError> {
    let mut sources = BTreeMap::new();
    for source in &config.sources {
        let refused = |error| ServeError::Source {
            name: source.name.clone(),
            source: error,
        };
        let client = gust_buildkite::Client::new(gust_buildkite::Config {
            replica: config.replica.to_string(),
            seed: dice.seed(),
            ..gust_buildkite::Config::new(
                source.endpoint.clone(),
                source.token.clone(),
                source.stack_key.as_str(),
            )
        })
        .map_err(refused)?;
        let Some(first) = source.queues.first().cloned() else {
            continue;
        };
        let metadata = [("gust".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into();
        let part = SourcePart {
            name: source.name.clone(),
            source: Arc::new(StacksSource::new(client, first, metadata)),
            queues: source.queues.clone(),
            agent_endpoint: source.agent_endpoint.as_str().trim_end_matches('/').to_owned(),
            agent_token: source.agent_token_fallback.then(|| source.token.clone()),
            poll: (source.poll.min, source.poll.max),
        };
        sources.insert(source.name.clone(), part);
    }
    Ok(sources)
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

async fn bind(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, ServeError> {
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    listener.local_addr().map_err(|source| ServeError::Listen {
        address: unknown,
        source,
    })
}

/// A single replica's worker is served on loopback only: machines have no business with it.
async fn serve_worker(worker: Worker, replica: &ReplicaId, tasks: &Tasks) -> Result<GrpcLink, ServeError> {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = local(&listener)?;
    let service = WorkerServiceServer::new(WorkerRpc::new(worker, tasks)).max_decoding_message_size(64 << 20);
    let server = Server::builder()
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener));
    tasks.spawn("worker-rpc", async move {
        if let Err(error) = server.await {
            error!(error = crate::error_chain(&error), "the worker's server ended");
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(ServeError::Grpc)?;
    Ok(GrpcLink::new(replica.clone(), endpoint))
}

fn serve_machines(
    config: &Config,
    listener: TcpListener,
    clouds: &BTreeMap<ProjectId, Arc<dyn Cloud>>,
    clock: &Clock,
    handle: &Handle,
    tasks: &Tasks,
) -> Result<(), ServeError> {
    let Some(cloud) = clouds.values().next() else {
        return Ok(());
    };
    let rpc = MachineRpc::new(
        config.stack.clone(),
        Verifier::new(Arc::clone(cloud)),
        clock.clone(),
        handle.clone(),
    );
    let mut server = Server::builder()
        .timeout(Duration::from_secs(60))
        .concurrency_limit_per_connection(16);
    if let Some(tls) = &config.listen.tls {
        let identity = Identity::from_pem(
            read_pem("tls.certificate", &tls.certificate)?,
            read_pem("tls.key", &tls.key)?,
        );
        server = server
            .tls_config(ServerTlsConfig::new().identity(identity))
            .map_err(ServeError::Grpc)?;
    }
    let server = server
        .add_service(MachineServiceServer::new(rpc))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tasks.spawn("machine-rpc", async move {
        if let Err(error) = server.await {
            error!(error = crate::error_chain(&error), "the machines' server ended");
        }
    });
    Ok(())
}
