//! Several replicas: `zone`, `[etcd]`, `[peer]` and `[lease]`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use gust_core::{secret::Secret, tenure::Timing};
use url::Url;

use super::{
    listen::{Tls, read_tls},
    section::{Complaint, Section},
    value::{self, SecretRules},
};

/// What a replica among several is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The failure domain of this replica, such as a zone; empty if not told.
    pub zone: String,
    /// Where records are kept.
    pub etcd: Etcd,
    /// Where the other replicas reach this one.
    pub peer: Peer,
    /// How leases are kept.
    pub timing: Timing,
}

/// `[etcd]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Etcd {
    /// Its members.
    pub endpoints: Vec<Url>,
    /// Name and password.
    pub user: Option<(String, Secret)>,
    /// The authority that signed the members' certificates.
    pub authority: Option<PathBuf>,
    /// Our own certificate and its key, where members want one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// How long one call to one member may take.
    pub deadline: Duration,
}

/// `[peer]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where gRPC is served to the other replicas. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// What they dial; nothing means the address that was bound.
    pub address: Option<String>,
    /// By what replicas know each other; always there unless `listen` is on loopback.
    pub tls: Option<Tls>,
}

/// Nothing for a replica that is alone.
pub(super) fn read(root: &Section<'_>, secrets: SecretRules<'_>) -> Option<Cluster> {
    let zone = root
        .field("zone")
        .and_then(|f| f.parsed("a text", |text| value::name(text, 63, "-_.")));
    let (peer, lease) = (root.section("peer"), root.section("lease"));
    let Some(etcd) = root.field("etcd") else {
        // Their keys are not looked at: each section as a whole is wrong.
        let given = [("peer", peer.is_some()), ("lease", lease.is_some())];
        for (key, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            root.report(
                key,
                Complaint::new("is for several replicas, which share their records through etcd")
                    .hint("add an [etcd] section, or leave this one out"),
            );
        }
        return None;
    };
    if peer.is_none() && root.field("peer").is_none() {
        root.report(
            "peer",
            Complaint::new("is missing: with [etcd] there are other replicas, and they must reach this one")
                .hint("for example: [peer] with listen = \"10.0.0.5:7071\", certificate, key and authority"),
        );
    }
    let etcd = etcd
        .section("a table")
        .and_then(|section| read_etcd(section, secrets));
    let peer = peer.and_then(|section| read_peer(section, secrets.base));
    let timing = lease.map_or_else(Timing::default, read_lease);
    Some(Cluster {
        zone: zone.unwrap_or_default(),
        etcd: etcd?,
        peer: peer?,
        timing,
    })
}

fn read_etcd(section: Section<'_>, secrets: SecretRules<'_>) -> Option<Etcd> {
    let file = |key| {
        let field = section.field(key)?;
        field
            .parsed("a path", value::word)
            .map(|path| secrets.base.join(path))
    };
    let endpoints = section
        .required("endpoints", "[\"https://etcd-0.internal:2379\"]")
        .is_some()
        .then(|| section.list("endpoints", "URLs", value::endpoint))
        .flatten();
    if endpoints.as_ref().is_some_and(Vec::is_empty) {
        section.report("endpoints", Complaint::new("names no usable member of etcd"));
    }
    let user = section.text("user");
    let password = section.field("password");
    let user = match (user, password) {
        (Some(user), Some(password)) => value::secret(&password, secrets).map(|password| (user, password)),
        (Some(_), None) => {
            section.report(
                "password",
                Complaint::new("is missing for `user`").hint("password = { env = \"GUST_ETCD_PASSWORD\" }"),
            );
            None
        }
        (None, Some(password)) => {
            password.report(Complaint::new("has no `user` to belong to"));
            None
        }
        (None, None) => None,
    };
    let (authority, certificate, key) = (file("authority"), file("certificate"), file("key"));
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            section.report(
                "",
                Complaint::new("has a certificate without its key, or a key without its certificate")
                    .hint("give both, or neither"),
            );
            None
        }
    };
    let secure = |url: &Url| url.scheme() == "https";
    if endpoints.as_ref().is_some_and(|urls| urls.iter().any(secure)) && authority.is_none() {
        section.report(
            "authority",
            Complaint::new("is missing: by it the members' certificates are trusted")
                .hint("authority = \"etcd-ca.crt\""),
        );
    }
    let range = Duration::from_millis(50)..=Duration::from_secs(10);
    let deadline = section.duration("deadline", range, Duration::from_millis(600));
    section.close();
    Some(Etcd {
        endpoints: endpoints?,
        user,
        authority,
        identity,
        deadline,
    })
}

fn read_peer(section: Section<'_>, base: &Path) -> Option<Peer> {
    let field = section.required("listen", "\"10.0.0.5:7071\"")?;
    let listen = field.parsed("an address", |text| {
        text.parse::<SocketAddr>().map_err(|_| {
            Complaint::new(format!("`{text}` is no address with a port"))
                .hint("for example \"10.0.0.5:7071\" or \"0.0.0.0:7071\"")
        })
    });
    let address = section
        .field("address")
        .map(|f| f.parsed("an address", value::advertised));
    if let (Some(listen), None) = (listen, &address)
        && listen.ip().is_unspecified()
    {
        field.report(
            Complaint::new("does not tell which address the other replicas should dial")
                .hint("add address = \"gust-0.gust.ci.svc:7071\""),
        );
    }
    let has_tls = ["certificate", "key", "authority"].map(|key| section.field(key).is_some());
    let tls = if has_tls.contains(&true) {
        read_tls(section, base)
    } else {
        section.close();
        None
    };
    if let Some(listen) = listen
        && !listen.ip().is_loopback()
        && !has_tls.contains(&true)
    {
        field.report(
            Complaint::new("listens beyond loopback, where replicas must prove to each other who they are")
                .hint("add certificate, key and authority"),
        );
    }
    Some(Peer {
        listen: listen?,
        address: address.map_or(Some(None), |address| address.map(Some))?,
        tls,
    })
}

fn read_lease(section: Section<'_>) -> Timing {
    let defaults = Timing::default();
    let (seconds, millis) = (Duration::from_secs, Duration::from_millis);
    // A shorter one is lost to a mere change of etcd's own leader.
    let ttl = section.duration("ttl", seconds(3)..=seconds(60), defaults.ttl);
    let timing = Timing {
        ttl,
        renew: section.duration("renew", millis(100)..=seconds(20), defaults.renew),
        margin: section.duration("margin", millis(100)..=seconds(20), defaults.margin),
        ..defaults
    };
    if timing.renew * 2 + timing.margin >= timing.ttl {
        section.report(
            "ttl",
            Complaint::new("leaves no time for a second try: two times `renew` and `margin` must be shorter"),
        );
    }
    section.close();
    timing
}
