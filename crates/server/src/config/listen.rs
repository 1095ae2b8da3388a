//! Where a replica listens, how machines reach it, and `[tls]`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use super::{
    section::{Complaint, Section},
    value,
};

/// `[tls]`: files in PEM form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificate of this replica, with its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority that machines trust it by; handed to machines in their metadata.
    pub authority: PathBuf,
}

/// Addresses of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Where gRPC is served to machines and workers. Port 0 takes any free one.
    pub address: SocketAddr,
    /// What machines dial; empty means the address that was bound.
    pub advertise: Vec<String>,
    /// Encryption; always there unless the address is on loopback.
    pub tls: Option<Tls>,
}

pub(super) fn read(root: &Section<'_>, base: &Path) -> Listen {
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let field = root.field("listen");
    let address = field.as_ref().and_then(|f| {
        f.parsed("an address", |text| {
            text.parse::<SocketAddr>().map_err(|_| {
                Complaint::new(format!("`{text}` is no address with a port"))
                    .hint("for example \"127.0.0.1:7070\" or \"0.0.0.0:7070\"")
            })
        })
    });
    let address = address.unwrap_or(loopback);
    let tls_given = root.field("tls").is_some();
    let tls = root.section("tls").and_then(|section| read_tls(section, base));
    let advertise = root
        .list("advertise", "addresses", value::advertised)
        .unwrap_or_default();
    if let Some(field) = field {
        if !address.ip().is_loopback() && !tls_given {
            field.report(
                Complaint::new("listens beyond loopback without encryption")
                    .hint("add a [tls] section with certificate, key and authority"),
            );
        }
        if address.ip().is_unspecified() && advertise.is_empty() {
            field.report(
                Complaint::new("does not tell which address machines should dial")
                    .hint("add advertise = [\"gust.internal.example.com:7070\"]"),
            );
        }
    }
    Listen {
        address,
        advertise,
        tls,
    }
}

pub(super) fn read_tls(section: Section<'_>, base: &Path) -> Option<Tls> {
    let file = |key, example| {
        let field = section.required(key, example)?;
        field.parsed("a path", value::word).map(|p| base.join(p))
    };
    let certificate = file("certificate", "\"gust.crt\"");
    let key = file("key", "\"gust.key\"");
    let authority = file("authority", "\"ca.crt\"");
    section.close();
    Some(Tls {
        certificate: certificate?,
        key: key?,
        authority: authority?,
    })
}
