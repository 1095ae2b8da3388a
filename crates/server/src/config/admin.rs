//! Where operators reach a replica: `[admin]` and `[http]`.

use std::{net::SocketAddr, path::PathBuf};

use gust_core::secret::Secret;

use super::{
    section::{Complaint, Field, Section},
    value::{self, SecretRules},
};

/// `[admin]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where the admin API is served. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Who may call, by token: the name that stands in orders and logs, and the token.
    pub tokens: Vec<(String, Secret)>,
    /// Certificate and key of this replica; always there unless `listen` is on loopback.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The authority of the operators' own certificates, where they prove themselves by one.
    pub authority: Option<PathBuf>,
}

pub(super) fn read(root: &Section<'_>, secrets: SecretRules<'_>) -> Option<Admin> {
    let section = root.section("admin")?;
    let field = section.required("listen", "\"127.0.0.1:7072\"");
    let listen = field.as_ref().and_then(address);
    let mut tokens = Vec::new();
    let mut refused = false;
    for (name, field) in section
        .section("tokens")
        .map(|table| table.named())
        .unwrap_or_default()
    {
        let named = value::name(name, 63, "-_.@").map_err(|complaint| field.report(complaint));
        match (named, value::secret(&field, secrets)) {
            (Ok(name), Some(token)) => tokens.push((name, token)),
            _ => refused = true,
        }
    }
    let file = |key| {
        let field = section.field(key)?;
        field
            .parsed("a path", value::word)
            .map(|path| secrets.base.join(path))
    };
    let (certificate, key, authority) = (file("certificate"), file("key"), file("authority"));
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            let complaint =
                Complaint::new("has a certificate without its key, or a key without its certificate");
            section.report("", complaint.hint("give both, or neither"));
            None
        }
    };
    if let (Some(field), Some(listen)) = (&field, listen)
        && !listen.ip().is_loopback()
        && identity.is_none()
    {
        field.report(
            Complaint::new("listens beyond loopback without encryption").hint("add certificate and key"),
        );
    }
    if authority.is_some() && identity.is_none() {
        section.report(
            "authority",
            Complaint::new(
                "needs a certificate and key of this replica: without TLS nobody shows a certificate",
            ),
        );
    }
    if tokens.is_empty() && authority.is_none() && !refused {
        section.report(
            "tokens",
            Complaint::new("is missing, and so is `authority`: nobody could call")
                .hint("tokens = { ann = { file = \"ann.token\" } }, or the authority of your operators' certificates"),
        );
    }
    section.close();
    Some(Admin {
        listen: listen?,
        tokens,
        identity,
        authority,
    })
}

/// `[http]`: metrics and probes, in plain text and for anybody who reaches the address.
pub(super) fn read_http(root: &Section<'_>) -> Option<SocketAddr> {
    let section = root.section("http")?;
    let listen = section
        .required("listen", "\"127.0.0.1:7073\"")
        .as_ref()
        .and_then(address);
    section.close();
    listen
}

pub(super) fn address(field: &Field<'_>) -> Option<SocketAddr> {
    field.parsed("an address", |text| {
        text.parse().map_err(|_| {
            Complaint::new(format!("`{text}` is no address with a port"))
                .hint("for example \"127.0.0.1:7072\" or \"0.0.0.0:7072\"")
        })
    })
}
