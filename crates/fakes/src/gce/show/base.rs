//! What all shown resources are written with: URLs, timestamps, fingerprints.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use crate::stamp;

pub(super) const BASE: &str = "https://www.googleapis.com/compute/v1/projects";

/// `https://www.googleapis.com/compute/v1/projects/P/zones/Z`.
pub(in crate::gce) fn zone_url(project: &str, zone: &str) -> String {
    format!("{BASE}/{project}/zones/{zone}")
}

/// A timestamp with a Pacific offset (summer time is left out: the instant is the same).
pub(in crate::gce) fn timestamp(unix_ns: i128) -> String {
    let shifted = stamp::rfc3339(unix_ns - 8 * 3_600_000_000_000);
    format!("{}-08:00", shifted.trim_end_matches('Z'))
}

/// A fingerprint as it is written.
pub(in crate::gce) fn fingerprint(value: u64) -> String {
    URL_SAFE.encode(value.to_be_bytes())
}

/// The name of a disk that was given none: the machine's, numbered from the second on.
pub(in crate::gce) fn disk_name(instance: &str, index: usize) -> String {
    if index == 0 {
        instance.to_owned()
    } else {
        format!("{instance}-{index}")
    }
}
