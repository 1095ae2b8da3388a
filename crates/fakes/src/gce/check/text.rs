//! Names and other texts of callers: what they may be made of.

use std::collections::BTreeMap;

use super::super::error::ApiError;
use super::Checked;

/// Whether a name is 1 to 63 characters of `[a-z]([-a-z0-9]*[a-z0-9])?`.
pub(in crate::gce) fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(inner)
        && !name.ends_with('-')
}

/// How Google says what a name must be.
const NAME_FORM: &str = "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'";

/// Refuses what is no name.
pub(in crate::gce) fn check_name(field: &str, name: &str) -> Checked {
    match is_name(name) {
        true => Ok(()),
        false => Err(ApiError::field(field, name, NAME_FORM)),
    }
}

/// Network tags: names, at most 64.
pub(in crate::gce) fn check_tags(field: &str, tags: &[String]) -> Checked {
    if tags.len() > 64 {
        let why = "There are more than 64 network tags.";
        return Err(ApiError::field(field, &tags.len().to_string(), why));
    }
    for (index, tag) in tags.iter().enumerate() {
        check_name(&format!("{field}.items[{index}]"), tag)?;
    }
    Ok(())
}

/// A hostname: fully qualified, RFC 1035.
pub(in crate::gce) fn check_hostname(field: &str, hostname: Option<&str>) -> Checked {
    let Some(hostname) = hostname else {
        return Ok(());
    };
    let is_qualified = hostname.contains('.') && hostname.split('.').all(is_name);
    match is_qualified && hostname.len() <= 253 {
        true => Ok(()),
        false => Err(ApiError::field(
            field,
            hostname,
            "Must be a fully qualified domain name that conforms to RFC 1035.",
        )),
    }
}

/// Labels: at most 64, lower-case keys that begin with a letter.
pub(in crate::gce) fn check_labels(field: &str, labels: &BTreeMap<String, String>) -> Checked {
    let is_inner = |text: &str| {
        text.chars()
            .all(|c| c == '_' || c == '-' || c.is_numeric() || (c.is_alphabetic() && !c.is_uppercase()))
    };
    if labels.len() > 64 {
        return Err(ApiError::field(field, "labels", "There are more than 64 labels."));
    }
    for (key, value) in labels {
        let starts = key.starts_with(|first: char| first.is_alphabetic() && !first.is_uppercase());
        if !starts || key.chars().count() > 63 || !is_inner(key) {
            return Err(ApiError::field(field, key, "Label key is not valid."));
        }
        if value.chars().count() > 63 || !is_inner(value) {
            return Err(ApiError::field(
                field,
                value,
                &format!("Label value of '{key}' is not valid."),
            ));
        }
    }
    Ok(())
}

/// Metadata: keys of `[a-zA-Z0-9-_]`, values up to 256 KiB, 512 KiB in all.
pub(in crate::gce) fn check_metadata<'a>(
    field: &str,
    items: impl Iterator<Item = (&'a String, &'a String)>,
) -> Checked {
    let mut total = 0;
    for (key, value) in items {
        let is_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if key.is_empty() || key.len() >= 128 || !key.bytes().all(is_key) {
            return Err(ApiError::field(
                &format!("{field}.items.key"),
                key,
                "Metadata key is not valid.",
            ));
        }
        if value.len() > 262_144 {
            let why = "Value is too large: maximum size 262144 character(s)";
            return Err(ApiError::field(&format!("{field}.items.value"), key, why));
        }
        total += key.len() + value.len();
    }
    if total >= 512 * 1024 {
        return Err(ApiError::invalid(
            "Metadata is too large: the total must be less than 524288 bytes.",
        ));
    }
    Ok(())
}
