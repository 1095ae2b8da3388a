//! Where Google is, as whom to call it, and how long to wait.

use std::{collections::BTreeMap, time::Duration};

use gust_core::{budget::Rates, ids::StackName, time::Timestamp};
use url::{Host, Url};

use crate::layers::Wall;

/// The keys that sign the identity tokens of Google's machines.
pub const GOOGLE_JWKS: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// As whom gust calls Google.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// Application default credentials: the environment, the gcloud login, or the metadata server.
    Adc,
    /// No credentials at all: for a stand-in on loopback.
    Anonymous,
}

/// How long calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// One attempt of a call.
    pub attempt: Duration,
    /// A call with all its attempts.
    pub call: Duration,
    /// One `operations.wait`. Google holds it for up to 2 minutes, so this must be longer.
    pub wait: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(15),
            call: Duration::from_secs(40),
            wait: Duration::from_secs(135),
        }
    }
}

/// The network that machines join, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    /// Network, a partial or full URL.
    pub network: String,
    /// Subnetwork, a name or URL, where the network is not in auto mode.
    pub subnetwork: Option<String>,
}

/// The configuration of a [`super::GceCloud`].
#[derive(Clone, Debug)]
pub struct GceConfig {
    /// Address of the API; Google's own where none is given. Plain `http` is for loopback only.
    pub endpoint: Option<Url>,
    /// As whom to call.
    pub credentials: Credentials,
    /// Whose machines are listed: those with the label `gust-stack=<stack>`.
    pub stack: StackName,
    /// The User-Agent of every call, `gust/<version> (<replica>)`.
    pub user_agent: String,
    /// Where the keys of identity tokens are. Plain `http` is for loopback only.
    pub jwks_url: Url,
    /// vCPU limits that Google keeps per family and does not show in `regions.get`; key is the family in
    /// capitals (`C3D`), as in the dimension `vm_family` of the quota `CPUS_PER_VM_FAMILY`.
    pub family_quotas: BTreeMap<String, u64>,
    /// The network whose addresses are counted, if they are.
    pub subnet: Option<Subnet>,
    /// How long calls may take.
    pub timeouts: Timeouts,
    /// Most calls under way at a time, waits aside.
    pub calls_at_a_time: usize,
    /// Most waits under way at a time.
    pub waits_at_a_time: usize,
    /// Calls a minute that Google takes.
    pub rates: Rates,
    /// How many regions of the project gust works in: they share what belongs to none.
    pub regions: usize,
    /// Tells the time by which Google's minutes are counted.
    pub wall: Wall,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Requests, and tokens in them, would cross a network unencrypted.
    #[error("`{key}` is {url}: plain http is allowed on loopback only; write https:// instead")]
    PlainHttp {
        /// The key of the configuration.
        key: &'static str,
        /// Its value.
        url: Url,
    },
    /// Not an address that can be called.
    #[error("`{key}` is {url}: it must start with https:// (or http:// on loopback)")]
    Scheme {
        /// The key of the configuration.
        key: &'static str,
        /// Its value.
        url: Url,
    },
    /// There are no credentials.
    #[error(
        "found no Google credentials; run `gcloud auth application-default login`, set \
         GOOGLE_APPLICATION_CREDENTIALS, or run on a machine with a service account"
    )]
    Credentials(#[source] google_cloud_auth::build_errors::Error),
    /// A client could not be built.
    #[error("could not build the Google client")]
    Client(#[source] google_cloud_gax::client_builder::Error),
    /// The HTTP client that fetches identity keys could not be built.
    #[error("could not build the HTTP client for identity keys")]
    Http(#[source] reqwest::Error),
}

impl GceConfig {
    /// Google itself, with application default credentials.
    pub fn new(stack: StackName, user_agent: impl Into<String>) -> Self {
        Self {
            endpoint: None,
            credentials: Credentials::Adc,
            stack,
            user_agent: user_agent.into(),
            jwks_url: Url::parse(GOOGLE_JWKS).expect("the constant is a URL"),
            family_quotas: BTreeMap::new(),
            subnet: None,
            timeouts: Timeouts::default(),
            calls_at_a_time: 64,
            waits_at_a_time: 32,
            rates: Rates::default(),
            regions: 1,
            wall: Wall::new(host_time),
        }
    }

    /// Checks the addresses.
    ///
    /// # Errors
    /// [`ConfigError`] with the key at fault.
    pub fn check(&self) -> Result<(), ConfigError> {
        if let Some(endpoint) = &self.endpoint {
            check_url("endpoint", endpoint)?;
        }
        check_url("jwks_url", &self.jwks_url)
    }
}

/// The host's wall time.
#[expect(
    clippy::disallowed_methods,
    reason = "Google's minutes are those of the wall clock; who has another clock sets `wall`"
)]
fn host_time() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX))
}

fn check_url(key: &'static str, url: &Url) -> Result<(), ConfigError> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        "http" => Err(ConfigError::PlainHttp {
            key,
            url: url.clone(),
        }),
        _ => Err(ConfigError::Scheme {
            key,
            url: url.clone(),
        }),
    }
}

/// True for addresses that cannot leave this host.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_endpoint(url: &str) -> Result<(), ConfigError> {
        let stack = StackName::new("gust").expect("a good name");
        let mut config = GceConfig::new(stack, "gust/0 (test)");
        config.endpoint = Some(Url::parse(url).expect("a URL"));
        config.check()
    }

    #[test]
    fn plain_http_never_leaves_the_host() {
        for good in [
            "https://compute.example",
            "http://127.0.0.1:1",
            "http://[::1]:1",
            "http://localhost:1",
        ] {
            with_endpoint(good).expect(good);
        }
        for bad in [
            "http://10.0.0.1",
            "http://localhost.example",
            "http://0.0.0.0:1",
            "ftp://127.0.0.1",
        ] {
            assert!(with_endpoint(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_error_names_the_key_and_the_remedy() {
        let error = with_endpoint("http://compute.example/").expect_err("not on loopback");
        insta::assert_snapshot!(
            error,
            @"`endpoint` is http://compute.example/: plain http is allowed on loopback only; write https:// instead"
        );
    }
}
