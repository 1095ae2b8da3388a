//! `[webhooks]`: where Buildkite tells that something happened.

use std::net::SocketAddr;

use gust_core::secret::Secret;

use super::{
    admin::address,
    section::Section,
    value::{self, SecretRules},
};

/// `[webhooks]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhooks {
    /// Where they are taken, in plain HTTP: whatever stands in front speaks TLS. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// The token that Buildkite shows for the webhook; it comes as it is, or a signature is made with it.
    pub token: Secret,
}

pub(super) fn read(root: &Section<'_>, secrets: SecretRules<'_>) -> Option<Webhooks> {
    let section = root.section("webhooks")?;
    let listen = section
        .required("listen", "\"127.0.0.1:7074\"")
        .as_ref()
        .and_then(address);
    let token = section
        .required("token", "{ file = \"buildkite-webhook.token\" }")
        .and_then(|field| value::secret(&field, secrets));
    section.close();
    Some(Webhooks {
        listen: listen?,
        token: token?,
    })
}
