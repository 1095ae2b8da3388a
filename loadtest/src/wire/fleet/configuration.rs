//! What each replica of a fleet is configured with.

use std::net::SocketAddr;

use super::{ADMIN, Fleet, HTTP, MACHINES, Muster, One, PEERS, STACK, WEBHOOKS};
use crate::wire::processes::Fakes;

impl Fleet {
    /// The text of its `gust.toml`.
    pub(super) fn configuration(
        &self,
        nth: usize,
        endpoints: &[SocketAddr],
        fakes: &Fakes,
        muster: &Muster,
    ) -> String {
        let One { address, dialled, .. } = &self.replicas[nth];
        let quoted = |items: Vec<String>| {
            let items: Vec<_> = items.iter().map(|item| format!("{item:?}")).collect();
            items.join(", ")
        };
        let machines = self
            .replicas
            .iter()
            .map(|one| format!("{}:{MACHINES}", one.address));
        let rest = fakes.sections(muster.regions);
        let more = muster.more;
        format!(
            r#"stack = "{STACK}"
replica = "r{nth}"
zone = "zone-{nth}"
listen = "{address}:{MACHINES}"
advertise = [{advertise}]
data_dir = "store"

[etcd]
endpoints = [{etcd}]

[peer]
listen = "{address}:{PEERS}"
address = "{dialled}"

[admin]
listen = "{address}:{ADMIN}"
tokens = {{ operator = {{ env = "GUST_LOADTEST_TOKEN" }} }}

[http]
listen = "{address}:{HTTP}"

[webhooks]
listen = "{address}:{WEBHOOKS}"
token = {{ env = "GUST_LOADTEST_TOKEN" }}
{more}
{rest}"#,
            advertise = quoted(machines.collect()),
            etcd = quoted(endpoints.iter().map(|at| format!("http://{at}")).collect()),
        )
    }
}
