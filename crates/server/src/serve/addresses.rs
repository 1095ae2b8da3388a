//! Where a replica answers, written to a file: with port 0 nobody could know otherwise.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use super::ServeError;

/// The file's name in the replica's `data_dir`: a JSON object of `machines`, `admin` and `http`, each `host:port`.
pub const ADDRESSES: &str = "addresses.json";

/// Writes the addresses that are bound.
pub(super) fn write(data_dir: &Path, bound: &BTreeMap<&'static str, SocketAddr>) -> Result<(), ServeError> {
    let path = data_dir.join(ADDRESSES);
    let text = serde_json::to_string_pretty(bound).unwrap_or_default() + "\n";
    std::fs::create_dir_all(data_dir)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|source| ServeError::File {
            what: "the file of addresses",
            path,
            source,
        })
}
