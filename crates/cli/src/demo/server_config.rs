//! The configuration of the replica in a demo: an ordinary one, whose endpoints are the stand-ins.

use std::collections::BTreeMap;

use super::control::Ready;

/// Variable that carries the token of the stand-in of Buildkite.
pub(crate) const TOKEN_VARIABLE: &str = "GUST_DEMO_TOKEN";

/// The token that the stand-in of Buildkite takes out of the box.
pub(crate) const TOKEN: &str = "bkct_fake";

/// Variable that carries the token of the admin API, and the token.
pub(crate) const ADMIN_TOKEN_VARIABLE: &str = "GUST_DEMO_ADMIN_TOKEN";
pub(crate) const ADMIN_TOKEN: &str = "demo";

/// The configuration file's text. `family_quotas` are those an operator would have to look up, since Google's
/// regions do not show them.
pub(crate) fn text(ready: &Ready, family_quotas: &BTreeMap<String, i64>) -> String {
    let quotas: String = family_quotas
        .iter()
        .map(|(family, limit)| format!("{family} = {limit}\n"))
        .collect();
    format!(
        r#"# Made by `gust demo`.
stack = "demo"
replica = "demo-1"
listen = "127.0.0.1:0"
data_dir = "store"

[admin]
listen = "127.0.0.1:0"
tokens = {{ demo = {{ env = "{ADMIN_TOKEN_VARIABLE}" }} }}

[http]
listen = "127.0.0.1:0"

[[source]]
name = "demo"
endpoint = "{buildkite}/v3"
token = {{ env = "{TOKEN_VARIABLE}" }}
queues = ["gust"]

[[project]]
id = "gust-demo"
regions = ["us-central1", "us-east4"]
service_account = "gust-machine@gust-demo.iam.gserviceaccount.com"
endpoint = "{gce}"
credentials = "anonymous"
jwks_url = "{metadata}/oauth2/v3/certs"

[project.images]
amd64 = "projects/debian-cloud/global/images/family/debian-12"
arm64 = "projects/debian-cloud/global/images/family/debian-12-arm64"

[project.family_quotas]
{quotas}"#,
        buildkite = ready.buildkite,
        gce = ready.gce,
        metadata = ready.metadata,
    )
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use gust_server::config::{Config, Surroundings};

    use super::{ADMIN_TOKEN, ADMIN_TOKEN_VARIABLE, Ready, TOKEN, TOKEN_VARIABLE, text};

    struct Environment;

    impl Surroundings for Environment {
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                TOKEN_VARIABLE => Some(TOKEN.to_owned()),
                ADMIN_TOKEN_VARIABLE => Some(ADMIN_TOKEN.to_owned()),
                _ => None,
            }
        }

        fn read(&self, _: &Path) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn process_name(&self) -> String {
            "host-1".to_owned()
        }
    }

    #[test]
    fn the_replica_takes_it() {
        let ready = Ready {
            control: "http://127.0.0.1:1".to_owned(),
            buildkite: "http://127.0.0.1:2".to_owned(),
            gce: "http://127.0.0.1:3".to_owned(),
            metadata: "http://127.0.0.1:4".to_owned(),
        };
        let quotas = [("C4A".to_owned(), 24), ("N4".to_owned(), 24)].into();
        let config = Config::parse(&text(&ready, &quotas), Path::new("/d/gust.toml"), &Environment)
            .expect("a good configuration");
        assert_eq!(config.data_dir, Path::new("/d/store"));
        assert_eq!(config.sources[0].token.reveal(), TOKEN);
        assert_eq!(config.projects[0].family_quotas["C4A"], 24);
    }
}
