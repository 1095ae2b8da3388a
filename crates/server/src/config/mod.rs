//! The configuration of `gust serve`: one TOML file, read whole and checked whole before anything starts.
//!
//! Every problem is reported, not only the first; each with its line, its key and a remedy. Unknown keys
//! are refused by name. Secrets are named by environment variable or file and live in a type that cannot
//! print. What a machine type or a tag's value means is left to the catalog and the request grammar; names and defaults are held
//! against both here, so that all that is wrong is told at once.

mod admin;
mod bounds;
mod caps;
mod catalog;
mod cluster;
mod defaults;
mod duration;
mod fits;
mod limits;
mod listen;
mod log;
mod nearest;
mod prepaid;
mod problem;
mod project;
mod request;
mod section;
mod source;
mod surroundings;
#[cfg(test)]
mod tests;
mod value;
mod webhooks;

use std::{
    cell::LazyCell,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use gust_core::{
    catalog::Catalog,
    ids::{ReplicaId, SourceName, StackName},
    settings::Settings,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use toml::de::DeTable;

pub use self::{
    admin::Admin,
    catalog::{CatalogFile, laid_over},
    cluster::{Cluster, Etcd, Peer},
    listen::{Listen, Tls},
    log::{Log, LogFormat},
    prepaid::{Commitment, Reservation},
    problem::{ConfigError, Problem},
    project::{Credentials, Project, Zones},
    request::{Allow, RequestPolicy, RetryOnDemand, UnknownTags},
    source::{Api, Graphql, Poll, Source, SourceKind},
    surroundings::{Host, Surroundings},
    webhooks::Webhooks,
};
use self::{
    section::{Complaint, Input, Section},
    value::SecretRules,
};

/// Everything `gust serve` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this deployment; begins every machine's name.
    pub stack: StackName,
    /// Name of this replica.
    pub replica: ReplicaId,
    /// Where it listens and how machines reach it.
    pub listen: Listen,
    /// Directory of the embedded store, and of what a supervisor must know.
    pub data_dir: PathBuf,
    /// What one of several replicas is told; nothing for one that is alone.
    pub cluster: Option<Cluster>,
    /// Where operators reach it, if they may.
    pub admin: Option<Admin>,
    /// Where metrics and probes are served, if they are.
    pub http: Option<SocketAddr>,
    /// Where Buildkite tells that something happened, if it does.
    pub webhooks: Option<Webhooks>,
    /// Where jobs come from; at least one.
    pub sources: Vec<Source>,
    /// Where machines are made; at least one.
    pub projects: Vec<Project>,
    /// Files laid over the catalog, in this order.
    pub catalog: Vec<CatalogFile>,
    /// What jobs get and may ask for.
    pub policy: RequestPolicy,
    /// Deadlines, patience and rates.
    pub settings: Settings,
    /// Logging.
    pub log: Log,
}

/// What replicas must agree on: whatever a decision depends on.
#[derive(Serialize)]
struct Decided<'a> {
    stack: &'a StackName,
    sources: &'a [Source],
    projects: &'a [Project],
    policy: &'a RequestPolicy,
    settings: &'a Settings,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    catalog: &'a [CatalogFile],
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`] with everything that is wrong.
    pub fn load(file: &Path, surroundings: &dyn Surroundings) -> Result<Self, ConfigError> {
        let text = surroundings.read(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(&text, file, surroundings)
    }

    /// Checks the text of a file; relative paths in it count from the directory of `file`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] with everything that is wrong.
    pub fn parse(text: &str, file: &Path, surroundings: &dyn Surroundings) -> Result<Self, ConfigError> {
        let input = Input::new(text, surroundings);
        let (table, faults) = DeTable::parse_recoverable(text);
        for fault in &faults {
            // Only the parser's sentence: its full display repeats the line, which may hold a secret.
            let span = fault.span().unwrap_or(0..0);
            let key = match fault.message() {
                "duplicate key" => text.get(span.clone()).unwrap_or_default(),
                _ => "",
            };
            input.report(span.start, key, Complaint::new(fault.message()));
        }
        let base = file.parent().unwrap_or(Path::new(""));
        let config = if faults.is_empty() {
            read(Section::root(&input, table.get_ref()), base)
        } else {
            None
        };
        let problems = input.into_problems();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError::Invalid {
                file: file.to_owned(),
                problems,
            }),
        }
    }

    /// A hash of all that decisions depend on, as hexadecimal text. Replicas of one deployment must have
    /// the same; addresses, directories, logging and secrets do not count.
    pub fn decided_hash(&self) -> String {
        let decided = Decided {
            stack: &self.stack,
            sources: &self.sources,
            projects: &self.projects,
            policy: &self.policy,
            settings: &self.settings,
            catalog: &self.catalog,
        };
        let bytes = serde_json::to_vec(&decided)
            .expect("maps with text keys and plain values always have a JSON form");
        hex::encode(Sha256::digest(bytes))
    }
}

fn read(root: Section<'_>, base: &Path) -> Option<Config> {
    let stack = root.required("stack", "\"gust\"").and_then(|field| {
        field.parsed("a text", |text| {
            StackName::new(text).map_err(|cause| Complaint::new(cause.to_string()))
        })
    });
    let replica = match root.field("replica") {
        Some(field) => field.parsed("a text", |t| value::name(t, 63, "-_.")),
        None => Some(root.input.surroundings.process_name()),
    };
    let listen = listen::read(&root, base);
    let data_dir = root
        .required("data_dir", "\"/var/lib/gust\"")
        .and_then(|f| f.parsed("a path", value::word))
        .map(|path| base.join(path));
    let secrets = SecretRules {
        base,
        allow_literal: root.flag("allow_literal_secrets", false),
    };
    let sources = root
        .sections("source", "the Buildkite queues whose jobs gust takes")
        .into_iter()
        .map(|section| (section.start(), source::read(section, stack.as_ref(), secrets)))
        .collect::<Vec<_>>();
    let projects = root
        .sections("project", "the Google Cloud project machines are made in")
        .into_iter()
        .map(|section| (section.start(), project::read(section)))
        .collect::<Vec<_>>();
    let catalog = catalog::read(&root, base);
    let policy = {
        let sources: Vec<&Source> = sources.iter().filter_map(|(_, source)| source.as_ref()).collect();
        read_policy(&root, &catalog, &projects, &sources)
    };
    let settings = Settings {
        caps: caps::read(&root),
        ..limits::read(&root)
    };
    let log = log::read(&root);
    let (admin, http) = (admin::read(&root, secrets), admin::read_http(&root));
    let webhooks = webhooks::read(&root, secrets);
    let is_alone = root.field("etcd").is_none();
    let cluster = cluster::read(&root, secrets);
    if cluster.is_some() && listen.advertise.is_empty() {
        root.report(
            "advertise",
            Complaint::new("is missing: machines must know all replicas, since any one may be gone").hint(
                "advertise = [\"gust-0.internal:7070\", \"gust-1.internal:7070\", \"gust-2.internal:7070\"]",
            ),
        );
    }
    refuse_twins(&root, "source", &sources, |s| s.name.to_string());
    refuse_one_stack_key(&root, &sources);
    refuse_twins(&root, "project", &projects, |p| p.id.to_string());
    root.close();
    Some(Config {
        stack: stack?,
        replica: ReplicaId::new(replica?),
        listen,
        data_dir: data_dir?,
        // One of several that was refused must not silently become one that is alone; its problems are noted.
        cluster: if is_alone { None } else { Some(cluster?) },
        admin,
        http,
        webhooks,
        sources: sources.into_iter().map(|(_, s)| s).collect::<Option<_>>()?,
        projects: projects.into_iter().map(|(_, p)| p).collect::<Option<_>>()?,
        catalog,
        policy,
        settings,
        log,
    })
}

/// Reads what jobs may ask for, and holds names and numbers against the catalog.
fn read_policy(
    root: &Section<'_>,
    files: &[CatalogFile],
    projects: &[(usize, Option<Project>)],
    sources: &[&Source],
) -> RequestPolicy {
    let known = projects.iter().filter_map(|(_, project)| project.as_ref());
    // What does not fit in these files has been told.
    let laid = LazyCell::new(|| laid_over(files).ok());
    let world = bounds::World {
        catalog: LazyCell::new(Box::new(|| laid.clone().unwrap_or_else(Catalog::builtin))),
        projects: known.collect(),
    };
    let policy = request::read(root, &world, sources);
    // Without places nothing fits, and names of a file that does not fit are not known.
    if !world.projects.is_empty()
        && let Some(catalog) = &*laid
    {
        fits::check(root, catalog, projects);
        defaults::check(root, catalog, &world.projects, &policy);
    }
    policy
}

/// A stack key is one stack's in a whole organization, so two clusters cannot share one.
fn refuse_one_stack_key(root: &Section<'_>, sources: &[(usize, Option<Source>)]) {
    let mut keys: BTreeMap<&str, &SourceName> = BTreeMap::new();
    let stacks = sources
        .iter()
        .filter_map(|(start, source)| Some((*start, source.as_ref()?)))
        .filter(|(_, source)| source.kind == SourceKind::Stacks);
    for (start, source) in stacks {
        let first = keys.entry(&source.stack_key).or_insert(&source.name);
        if **first != source.name {
            let complaint = Complaint::new(format!(
                "`{}` and `{first}` both register as stack `{}`, and a key is for one stack only",
                source.name, source.stack_key
            ));
            let hint = format!(
                "give this one a key of its own: stack_key = \"{}-{}\"",
                source.stack_key, source.name
            );
            root.input.report(start, "source", complaint.hint(hint));
        }
    }
}

/// Names in records and logs must tell sections apart.
fn refuse_twins<T>(
    root: &Section<'_>,
    key: &'static str,
    sections: &[(usize, Option<T>)],
    name: impl Fn(&T) -> String,
) {
    let mut seen = BTreeSet::new();
    for (start, section) in sections {
        let Some(name) = section.as_ref().map(&name) else {
            continue;
        };
        if seen.contains(&name) {
            let complaint = Complaint::new(format!("two sections are called `{name}`"))
                .hint("give each a name of its own");
            root.input.report(*start, key, complaint);
        }
        seen.insert(name);
    }
}
