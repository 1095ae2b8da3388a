//! What the environment of the process says, and how patient the guest is.

use std::{ffi::OsString, path::PathBuf, time::Duration};

/// Where the metadata server is unless told otherwise. The address rather than its name: it is the same on
/// every machine of Google's and needs no resolver.
pub const METADATA_ADDRESS: &str = "169.254.169.254:80";

/// How the guest was started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Metadata server, `host:port` (`GCE_METADATA_HOST`).
    pub metadata: String,
    /// The agent to run (`GUST_BUILDKITE_AGENT`); searched for where it is not given.
    pub agent: Option<PathBuf>,
    /// Where to look for `buildkite-agent` (`PATH`).
    pub path: OsString,
    /// The directory of the guest's own program, where a stand-in agent may lie.
    pub beside: Option<PathBuf>,
    /// Directory for builds and what else the agent needs: the working directory.
    pub work_dir: PathBuf,
    /// What powering off means (`GUST_POWER_OFF`).
    pub power_off: PowerOff,
    /// How long to try what.
    pub patience: Patience,
}

/// What powering off means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerOff {
    /// The machine goes off.
    Machine,
    /// The process ends with 0 and leaves the host alone (`GUST_POWER_OFF=exit`).
    Exit,
}

/// How long to try what, before the machine is given up.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To learn from the metadata server who we are.
    pub metadata: Duration,
    /// To get an answer to the claim.
    pub claim: Duration,
    /// One call to one address.
    pub call: Duration,
    /// To tell that the job is over. Short: the machine is billed meanwhile, and gust sees it power off.
    pub done: Duration,
    /// The agent's time to end after it was told to: within Google's 30 s notice of a preemption.
    pub agent_end: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            metadata: Duration::from_mins(2),
            claim: Duration::from_mins(10),
            call: Duration::from_secs(15),
            done: Duration::from_secs(8),
            agent_end: Duration::from_secs(23),
        }
    }
}

impl Settings {
    /// Reads the environment.
    pub fn from_env() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let text = |name| set(name).and_then(|value| value.into_string().ok());
        Self {
            metadata: text("GCE_METADATA_HOST").map_or_else(|| METADATA_ADDRESS.to_owned(), with_port),
            agent: set("GUST_BUILDKITE_AGENT").map(PathBuf::from),
            path: set("PATH").unwrap_or_default(),
            beside: std::env::current_exe()
                .ok()
                .and_then(|exe| exe.parent().map(PathBuf::from)),
            work_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            power_off: match text("GUST_POWER_OFF").as_deref() {
                Some("exit") => PowerOff::Exit,
                _ => PowerOff::Machine,
            },
            patience: Patience::default(),
        }
    }
}

fn with_port(host: String) -> String {
    let has_port = host
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { host } else { format!("{host}:80") }
}

#[cfg(test)]
mod tests {
    use super::with_port;

    #[test]
    fn a_metadata_host_may_leave_the_port_out() {
        assert_eq!(with_port("127.0.0.1:40005".to_owned()), "127.0.0.1:40005");
        assert_eq!(
            with_port("metadata.google.internal".to_owned()),
            "metadata.google.internal:80"
        );
    }
}
