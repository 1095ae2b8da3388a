//! Single values that several sections share: addresses, names, secrets.

use std::{net::IpAddr, path::Path};

use gust_core::secret::Secret;
use toml::de::DeValue;
use url::{Host, Url};

use super::section::{Complaint, Field};

/// Reads the base URL of a service: https, or http on loopback, without user, query or fragment.
pub(super) fn endpoint(text: &str) -> Result<Url, Complaint> {
    let url = Url::parse(text).map_err(|cause| {
        Complaint::new(format!("`{text}` is no URL: {cause}"))
            .hint("for example \"https://agent.buildkite.com/v3\"")
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(Complaint::new(format!("`{text}` is no https URL")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The text is not repeated: it may hold a password.
        return Err(Complaint::new("a URL here must not carry a user or password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Complaint::new(format!(
            "`{text}` must not carry a query or fragment"
        )));
    }
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(Complaint::new(format!(
            "`{text}` is plain http to another host: tokens would travel unencrypted"
        ))
        .hint("use https; http is allowed on loopback only"));
    }
    Ok(url)
}

/// True if the URL leads to this very host.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Reads an address that machines dial: `host:port`, or a URL without path.
pub(super) fn advertised(text: &str) -> Result<String, Complaint> {
    let wrong = || {
        Complaint::new(format!("`{text}` is no address that a machine could dial"))
            .hint("write \"host:port\", or \"https://host:port\"")
    };
    if text.contains("://") {
        let url = endpoint(text)?;
        return if url.path().trim_matches('/').is_empty() {
            Ok(text.trim_end_matches('/').to_owned())
        } else {
            Err(wrong())
        };
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port_ok = port.parse::<u16>().is_ok_and(|p| p != 0);
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_ok = match inner {
        Some(ip) => ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        }
    };
    let specific = !matches!(host, "0.0.0.0" | "[::]");
    if port_ok && host_ok && specific {
        Ok(text.to_owned())
    } else {
        Err(wrong())
    }
}

/// Reads a name made of letters, digits and a few signs, at most `max` characters long.
pub(super) fn name(text: &str, max: usize, signs: &str) -> Result<String, Complaint> {
    let ok = (1..=max).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || signs.contains(c));
    if ok {
        return Ok(text.to_owned());
    }
    let signs: Vec<_> = signs.chars().map(|c| format!("`{c}`")).collect();
    Err(Complaint::new(format!(
        "`{text}` must be 1 to {max} letters, digits and {}",
        signs.join(", ")
    )))
}

/// Reads a text that is not empty and has no blanks or control characters, such as a resource path.
pub(super) fn word(text: &str) -> Result<String, Complaint> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Complaint::new("must not be empty or contain blanks"));
    }
    Ok(text.to_owned())
}

/// Reads the name of a user of Linux, by the rule that the guest has.
pub(super) fn user_name(text: &str) -> Result<String, Complaint> {
    let ok = text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    match text {
        "root" => Err(
            Complaint::new("`root` is what jobs run as without this key").hint("name another user, or leave it out")
        ),
        _ if ok => Ok(text.to_owned()),
        _ => Err(Complaint::new(format!("`{text}` is no user name")).hint(
            "a-z, 0-9, `_` and `-`, at most 32, beginning with a letter or `_`; the image must bring the user",
        )),
    }
}

/// Reads a label key or value as Google takes them.
/// Source: cloud.google.com/compute/docs/labeling-resources, requirements for labels.
pub(super) fn label(text: &str, is_key: bool) -> Result<(), Complaint> {
    let ok = text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
        && (!is_key || text.as_bytes().first().is_some_and(u8::is_ascii_lowercase));
    if ok {
        return Ok(());
    }
    let what = if is_key {
        "label key, which starts with a lower-case letter and"
    } else {
        "label value, which"
    };
    Err(Complaint::new(format!(
        "`{text}` is no {what} has at most 63 characters of a-z, 0-9, `-` and `_`"
    )))
}

/// Where secrets may come from.
#[derive(Clone, Copy)]
pub(super) struct SecretRules<'a> {
    /// Directory of the configuration file, against which relative paths count.
    pub(super) base: &'a Path,
    /// Whether a secret may stand in the file itself.
    pub(super) allow_literal: bool,
}

/// Reads `{ env = "NAME" }`, `{ file = "path" }` or, where allowed, a bare text. No message ever holds
/// the secret or a part of it.
pub(super) fn secret(field: &Field<'_>, rules: SecretRules<'_>) -> Option<Secret> {
    const WRITE: &str = "write { env = \"NAME\" } or { file = \"path\" }";
    let found = match field.value {
        DeValue::String(text) if rules.allow_literal => Ok(text.to_string()),
        DeValue::String(_) => Err(Complaint::new("a secret must not stand in this file")
            .hint(format!("{WRITE}, or set allow_literal_secrets = true for tests"))),
        DeValue::Table(_) => {
            let section = field.section("a table")?;
            let (env, file) = (section.text("env"), section.text("file"));
            section.close();
            match (env, file) {
                (Some(name), None) => field.surroundings().variable(&name).ok_or_else(|| unset(&name)),
                (None, Some(path)) => {
                    let path = rules.base.join(path);
                    field
                        .surroundings()
                        .read(&path)
                        .map_err(|cause| Complaint::new(format!("cannot read {}: {cause}", path.display())))
                }
                _ => Err(Complaint::new("names no place of the secret, or two").hint(WRITE)),
            }
        }
        _ => Err(Complaint::new("is no secret").hint(WRITE)),
    };
    let checked = found.and_then(|text| {
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            Err(Complaint::new("the secret is empty"))
        } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            Err(Complaint::new("the secret contains blanks or line breaks")
                .hint("it must be the bare token on one line"))
        } else {
            Ok(Secret::new(text))
        }
    });
    checked.map_err(|complaint| field.report(complaint)).ok()
}

/// The complaint about a variable that is not set. Its name is repeated only if it looks like one: people
/// paste the secret itself there.
fn unset(name: &str) -> Complaint {
    let usual = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    if name.bytes().all(usual) {
        Complaint::new(format!("the environment variable `{name}` is not set"))
            .hint(format!("start gust with {name} in its environment"))
    } else {
        Complaint::new("the environment variable named by `env` is not set")
            .hint("`env` takes the name of a variable, not the secret")
    }
}
