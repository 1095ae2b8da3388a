//! `gust explain`: which machine a request gets, at which price, and why no other.

mod json;
mod text;

pub(crate) use self::{
    json::offer as offer_json,
    text::{borrowed, sold},
};

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use gust_core::request::Tag;
use gust_proto::v1::ExplainRequest;
use gust_server::{
    config::{Config, Surroundings},
    planner::{Asker, Planner},
};

use crate::{admin::args::Connection, exit_codes, failure::Failure};

/// What is asked for, as in a step's `agents:`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Tags as a step writes them, such as `cpu=16 memory=64 spot=prefer`
    #[arg(value_name = "TAG=VALUE")]
    tags: Vec<String>,
    #[command(flatten)]
    asked: Asked,
    /// Judge by this operator's configuration: policy, regions, defaults. Otherwise by all regions that gust knows
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Judge as a job of this queue. Default: the `queue` among the tags, or no queue of which the configuration speaks
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Judge as a job of this pipeline, by its slug
    #[arg(long, value_name = "SLUG")]
    pipeline: Option<String>,
    /// Show so many offers
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// Print everything, as JSON
    #[arg(long)]
    json: bool,
    /// Ask the gust that runs: by its configuration, with the room that quota leaves at present and what Google refused lately
    #[arg(long, conflicts_with = "config")]
    live: bool,
    #[command(flatten)]
    connection: Connection,
}

/// The same tags as options.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Tags")]
struct Asked {
    /// vCPUs: `16`, or `8+16` for 8 to 16
    #[arg(long, value_name = "N")]
    cpu: Option<String>,
    /// Least memory: `64` (GiB), `64Gi` or `65536Mi`
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// Least boot disk, in GiB
    #[arg(long, value_name = "SIZE")]
    disk: Option<String>,
    /// Boot disk types
    #[arg(long, value_name = "TYPE|…")]
    disk_type: Option<String>,
    /// Least number of local SSDs
    #[arg(long, value_name = "N")]
    local_ssd: Option<String>,
    /// Machine families: `n2d|c3d`
    #[arg(long, value_name = "FAMILY|…")]
    family: Option<String>,
    /// Machine types by name
    #[arg(long, value_name = "TYPE|…")]
    machine_type: Option<String>,
    /// `amd64` or `arm64`
    #[arg(long)]
    arch: Option<String>,
    /// `true`, `false` or `prefer`
    #[arg(long)]
    spot: Option<String>,
    /// Accelerators
    #[arg(long)]
    gpu: Option<String>,
    /// Regions
    #[arg(long, value_name = "REGION|…")]
    region: Option<String>,
    /// Zones
    #[arg(long, value_name = "ZONE|…")]
    zone: Option<String>,
    /// Longest run
    #[arg(long, value_name = "TIME")]
    max_run: Option<String>,
}

impl Asked {
    fn rules(&self) -> impl Iterator<Item = String> + '_ {
        [
            (Tag::Cpu, &self.cpu),
            (Tag::Memory, &self.memory),
            (Tag::Disk, &self.disk),
            (Tag::DiskType, &self.disk_type),
            (Tag::LocalSsd, &self.local_ssd),
            (Tag::Family, &self.family),
            (Tag::MachineType, &self.machine_type),
            (Tag::Arch, &self.arch),
            (Tag::Spot, &self.spot),
            (Tag::Gpu, &self.gpu),
            (Tag::Region, &self.region),
            (Tag::Zone, &self.zone),
            (Tag::MaxRun, &self.max_run),
        ]
        .into_iter()
        .filter_map(|(tag, value)| Some(format!("{tag}={}", value.as_ref()?)))
    }
}

/// Who reads a configuration and has none of its secrets: they do not matter here.
struct Bystander;

impl Surroundings for Bystander {
    fn variable(&self, name: &str) -> Option<String> {
        Some(std::env::var(name).unwrap_or_else(|_| "unknown".to_owned()))
    }

    fn read(&self, path: &Path) -> std::io::Result<String> {
        Ok(std::fs::read_to_string(path).unwrap_or_else(|_| "unknown".to_owned()))
    }

    fn read_data(&self, path: &Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn process_name(&self) -> String {
        "explain".to_owned()
    }
}

/// By what requests are judged: what an operator configured, or nothing but the catalog.
pub(crate) struct Judge {
    pub planner: Planner,
    /// What tag names begin with.
    prefix: String,
    /// The queues that are served, each once; none without a configuration.
    pub queues: Vec<String>,
}

impl Judge {
    /// Reads a configuration, if there is one.
    pub fn of(config: Option<&PathBuf>) -> Result<Self, Failure> {
        let refused = |error| Failure::new(exit_codes::CONFIG, error);
        let Some(path) = config else {
            let planner = Planner::anywhere()
                .context("the catalog cannot be used")
                .map_err(refused)?;
            return Ok(Self {
                planner,
                prefix: String::new(),
                queues: Vec::new(),
            });
        };
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{} cannot be read", path.display()))
            .map_err(refused)?;
        let config = Config::parse(&text, path, &Bystander)
            .with_context(|| format!("{} was refused", path.display()))
            .map_err(refused)?;
        let sources = config.sources.iter();
        let queues: BTreeSet<String> = sources
            .flat_map(|source| source.queues.iter().map(ToString::to_string))
            .collect();
        let planner = Planner::new(&config, Default::default())
            .with_context(|| format!("{} was refused", path.display()))
            .map_err(refused)?;
        Ok(Self {
            planner,
            prefix: config.policy.tag_prefix,
            queues: queues.into_iter().collect(),
        })
    }

    /// Refuses a queue that the configuration does not serve: the answer would be that of no queue.
    pub fn knows(&self, queue: &str) -> Result<(), Failure> {
        if self.queues.is_empty() || self.queues.iter().any(|known| known == queue) {
            return Ok(());
        }
        let error = anyhow::anyhow!("the configuration serves no queue `{queue}`");
        let hint = format!("it serves {}", self.queues.join(", "));
        Err(Failure::new(exit_codes::USAGE, error).hint(hint))
    }
}

/// Explains one request.
pub(crate) fn run(args: &ExplainArgs) -> Result<ExitCode, Failure> {
    if let Some(tag) = args.tags.iter().find(|tag| !tag.contains('=')) {
        let error = anyhow::anyhow!("`{tag}` is no tag");
        return Err(Failure::new(exit_codes::USAGE, error).hint("write TAG=VALUE, such as cpu=16"));
    }
    if args.live {
        // The operator's prefix is known to the gust that runs.
        let request = ExplainRequest {
            tags: args.tags.clone(),
            options: args.asked.rules().collect(),
            queue: args.queue.clone().unwrap_or_default(),
            pipeline: args.pipeline.clone().unwrap_or_default(),
        };
        crate::admin::explain(&args.connection, request, args.limit, args.json)?;
        return Ok(ExitCode::from(exit_codes::SUCCESS));
    }
    if args.config.is_none() && (args.queue.is_some() || args.pipeline.is_some()) {
        let error = anyhow::anyhow!("a queue and a pipeline say something only to an operator's gust");
        return Err(Failure::new(exit_codes::USAGE, error).hint("add --config FILE, or --live"));
    }
    let judge = Judge::of(args.config.as_ref())?;
    let planner = &judge.planner;
    let options = args.asked.rules().map(|rule| format!("{}{rule}", judge.prefix));
    let rules: Vec<String> = args.tags.iter().cloned().chain(options).collect();
    let tag = args.tags.iter().find_map(|tag| tag.strip_prefix("queue="));
    let queue = args.queue.as_deref().or(tag);
    if let Some(queue) = queue {
        judge.knows(queue)?;
    }
    let asker = Asker {
        queue: queue.unwrap_or_default(),
        pipeline: args.pipeline.as_deref().unwrap_or_default(),
    };
    let explained = match planner.explain(asker, &rules) {
        Ok(explained) => explained,
        Err(why) if args.json => {
            print(&json::impossible(&why))?;
            return Ok(ExitCode::from(exit_codes::REQUEST));
        }
        Err(why) => return Err(Failure::new(exit_codes::REQUEST, anyhow::anyhow!(why))),
    };
    print(&match args.json {
        true => json::explained(&explained, planner.catalog()),
        false => text::explained(&explained, planner.catalog(), args.limit),
    })?;
    Ok(ExitCode::from(exit_codes::SUCCESS))
}

/// Data goes to stdout.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(written.context("cannot write to stdout")?)
}

#[cfg(test)]
mod tests;
