//! Finds the programs a demo starts: they stand beside `gust`, and the agent may be installed anywhere.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};

use crate::{exit_codes, failure::Failure};

/// How to get the programs that are not there.
const BUILD: &str = "build all of them with: cargo build -p gust-cli -p gust-fakes -p gust-guest";

/// The programs of a demo.
#[derive(Debug)]
pub(crate) struct Programs {
    /// This very program.
    pub(crate) gust: PathBuf,
    /// The stand-ins of Buildkite and Google.
    pub(crate) fakes: PathBuf,
    /// What runs on a machine.
    pub(crate) guest: PathBuf,
    /// What runs a job.
    pub(crate) agent: Agent,
}

/// The program that runs a job on its machine. The guest chooses in this order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    /// Named by `GUST_BUILDKITE_AGENT`.
    Named(PathBuf),
    /// Buildkite's own, found on the path.
    Installed(PathBuf),
    /// The stand-in beside the guest.
    StandIn(PathBuf),
}

impl Agent {
    /// What is said about it at the start.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Named(path) => format!("{} (GUST_BUILDKITE_AGENT)", path.display()),
            Self::Installed(path) => format!("Buildkite's agent, {}", path.display()),
            Self::StandIn(path) => format!(
                "the stand-in {}, since no buildkite-agent is installed",
                path.display()
            ),
        }
    }
}

impl Programs {
    /// Finds them all.
    ///
    /// # Errors
    /// One is missing.
    pub(crate) fn find() -> Result<Self, Failure> {
        let gust = env::current_exe().context("cannot tell where this program is")?;
        let beside = gust.parent().unwrap_or(Path::new("."));
        let need = |name: &str| {
            let path = beside.join(name);
            if path.is_file() {
                return Ok(path);
            }
            let error = anyhow!("{name} is not beside this program, in {}", beside.display());
            Err(Failure::new(exit_codes::DEMO_PROGRAM, error).hint(BUILD))
        };
        let (fakes, guest) = (need("gust-fakes")?, need("gust-guest")?);
        let stand_in = beside.join("gust-agent-standin");
        let agent = find_agent(
            env::var_os("GUST_BUILDKITE_AGENT").map(PathBuf::from),
            env::var_os("PATH").iter().flat_map(env::split_paths),
            &stand_in,
        )?;
        Ok(Self {
            gust,
            fakes,
            guest,
            agent,
        })
    }
}

fn find_agent(
    named: Option<PathBuf>,
    path: impl Iterator<Item = PathBuf>,
    stand_in: &Path,
) -> Result<Agent, Failure> {
    let missing = |error, hint: &str| Failure::new(exit_codes::DEMO_PROGRAM, error).hint(hint);
    if let Some(named) = named.filter(|path| !path.as_os_str().is_empty()) {
        if named.is_file() {
            return Ok(Agent::Named(named));
        }
        let error = anyhow!("GUST_BUILDKITE_AGENT names {}, which is no file", named.display());
        return Err(missing(error, "correct it, or unset it"));
    }
    let mut installed = path.map(|dir| dir.join("buildkite-agent"));
    if let Some(installed) = installed.find(|path| path.is_file()) {
        return Ok(Agent::Installed(installed));
    }
    if stand_in.is_file() {
        return Ok(Agent::StandIn(stand_in.to_owned()));
    }
    let error = anyhow!("there is no agent to run jobs: neither buildkite-agent nor its stand-in");
    Err(missing(error, BUILD))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::{Agent, find_agent};

    #[test]
    fn the_agent_is_the_named_one_then_the_installed_one_then_the_stand_in() {
        let world = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = world.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            path
        };
        let stand_in = world.path().join("gust-agent-standin");
        let path = || [world.path().join("bin")].into_iter();
        assert!(find_agent(None, path(), &stand_in).is_err());
        let stand_in = file("gust-agent-standin");
        let found = find_agent(None, path(), &stand_in).unwrap();
        assert_eq!(found, Agent::StandIn(stand_in.clone()));
        let installed = file("bin/buildkite-agent");
        let found = find_agent(Some(PathBuf::new()), path(), &stand_in).unwrap();
        assert_eq!(found, Agent::Installed(installed));
        let named = file("named");
        let found = find_agent(Some(named.clone()), path(), &stand_in).unwrap();
        assert_eq!(found, Agent::Named(named));
        let absent = Some(world.path().join("absent"));
        assert!(find_agent(absent, path(), &stand_in).is_err());
    }
}
