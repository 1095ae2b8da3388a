//! How a process of fakes is set up: the configuration file, and the settings made from it.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::buildkite;
use crate::limits::{self, Limits};

/// Why the configuration is refused.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("configuration file {path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file does not parse, or has an unknown key.
    #[error("configuration file {path} is malformed")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: toml::de::Error,
    },
    /// The limits it names are not usable.
    #[error(transparent)]
    Limits(#[from] limits::Error),
    /// Something in it cannot be.
    #[error("{0}")]
    Invalid(String),
}

/// What runs on the machines of the fake GCE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Machines {
    /// Nothing: instances run through their states.
    #[default]
    None,
    /// The guest program, as a process.
    Exec,
    /// A task of this process that says what the guest and its agent would say.
    Sim,
}

/// Ports of the listeners, all on 127.0.0.1; 0 means any free one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ports {
    /// The control surface.
    pub control: u16,
    /// Buildkite.
    pub buildkite: u16,
    /// GCE.
    pub gce: u16,
    /// Cloud Run.
    pub run: u16,
    /// The JWKS of the metadata service.
    pub metadata: u16,
}

/// The configuration file (TOML).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Seed of all randomness.
    pub seed: Option<u64>,
    /// What runs on machines.
    pub machines: Option<Machines>,
    /// The guest program.
    pub guest: Option<PathBuf>,
    /// `default`, `demo`, or the path of a limits file (relative to this file).
    pub limits: Option<PathBuf>,
    /// Ports.
    pub ports: Ports,
    /// Projects of the fake GCE.
    pub projects: Option<Vec<String>>,
    /// The organization of the fake Buildkite.
    pub buildkite: buildkite::Config,
}

impl File {
    /// Reads the file.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let mut file: Self = toml::from_str(&text).map_err(|source| Error::Parse {
            path: path.to_owned(),
            source,
        })?;
        if let Some(limits) = &mut file.limits
            && !is_built_in(limits)
            && let Some(folder) = path.parent()
        {
            *limits = folder.join(&*limits);
        }
        Ok(file)
    }

    /// The settings, with the limits loaded.
    pub fn settings(self) -> Result<Settings, Error> {
        if self.buildkite.clusters.is_empty()
            || self
                .buildkite
                .clusters
                .iter()
                .any(|cluster| cluster.queues.is_empty())
        {
            return Err(Error::Invalid(
                "buildkite.clusters: at least one cluster, each with a queue, is needed".into(),
            ));
        }
        if let Some(problem) = self
            .buildkite
            .webhooks
            .iter()
            .find_map(buildkite::Webhook::problem)
        {
            return Err(Error::Invalid(format!("buildkite.webhooks: {problem}")));
        }
        let limits = self
            .limits
            .as_deref()
            .map(Limits::load)
            .transpose()?
            .unwrap_or_else(Limits::standard);
        let settings = Settings::default();
        Ok(Settings {
            seed: self.seed.unwrap_or(settings.seed),
            machines: self.machines.unwrap_or_default(),
            guest: self.guest,
            limits,
            ports: self.ports,
            projects: self.projects.unwrap_or(settings.projects),
            buildkite: self.buildkite,
        })
    }
}

fn is_built_in(limits: &Path) -> bool {
    ["default", "demo"].iter().any(|name| limits == Path::new(name))
}

/// What the fakes start with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Seed of all randomness.
    pub seed: u64,
    /// What runs on machines.
    pub machines: Machines,
    /// The guest program; without it the one beside this program.
    pub guest: Option<PathBuf>,
    /// What is enforced, and how long things take.
    pub limits: Limits,
    /// Ports of the listeners.
    pub ports: Ports,
    /// Projects of the fake GCE.
    pub projects: Vec<String>,
    /// The organization of the fake Buildkite.
    pub buildkite: buildkite::Config,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            machines: Machines::None,
            guest: None,
            limits: Limits::standard(),
            ports: Ports::default(),
            projects: vec!["gust-demo".into()],
            buildkite: buildkite::Config::default(),
        }
    }
}
