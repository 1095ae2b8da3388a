//! Errors of the admin API, with details that a program can read.

use gust_core::{ids::JobId, records::Place};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::leader::{CancelRefused, LeaderGone, ShardZones};

const DOMAIN: &str = "gust";

fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    Status::with_error_details(code, message, details)
}

pub(super) fn field(name: &str, wrong: &str) -> Status {
    let mut details = ErrorDetails::with_bad_request_violation(name, wrong);
    details.set_error_info("BAD_FIELD", DOMAIN, []);
    Status::with_error_details(Code::InvalidArgument, format!("{name} {wrong}"), details)
}

pub(super) fn unauthenticated(message: &str) -> Status {
    status(Code::Unauthenticated, "UNAUTHENTICATED", message)
}

pub(super) fn gone(gone: LeaderGone) -> Status {
    status(Code::Unavailable, "NO_LEADER", gone.to_string())
}

pub(super) fn no_leader(cause: &Status) -> Status {
    status(Code::Unavailable, "NO_LEADER", cause.message())
}

/// What the leader said, as it is; a leader that was not reached is one that is not there.
pub(super) fn passed_on(answer: Status) -> Status {
    match answer.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled if answer.details().is_empty() => {
            let message = format!("the leader cannot be reached: {}", answer.message());
            status(Code::Unavailable, "NO_LEADER", message)
        }
        code => Status::with_details(code, answer.message(), answer.details().to_vec().into()),
    }
}

pub(super) fn store(error: &str) -> Status {
    status(
        Code::Unavailable,
        "STORE",
        format!("the history cannot be read: {error}"),
    )
}

pub(super) fn lagged() -> Status {
    status(
        Code::Aborted,
        "WATCH_TOO_SLOW",
        "changes came faster than they were read: begin the watch again",
    )
}

pub(super) fn no_job(id: JobId) -> Status {
    status(
        Code::NotFound,
        "NO_SUCH_JOB",
        format!("gust has no job {id}: it was never taken in, or ended so long ago that its summary is gone"),
    )
}

pub(super) fn cancel(id: JobId, refused: &CancelRefused) -> Status {
    match refused {
        CancelRefused::Unknown => no_job(id),
        CancelRefused::Claimed => status(Code::FailedPrecondition, "JOB_HAS_MACHINE", refused.to_string()),
    }
}

pub(super) fn no_place(place: &Place, places: &ShardZones) -> Status {
    let shards = || listed(places.iter().map(|(shard, _)| shard));
    let zones = || listed(places.iter().flat_map(|(_, zones)| zones));
    let catalog = gust_core::catalog::Catalog::builtin();
    let families = || listed(catalog.families().map(|family| &family.name));
    let of_region = |name: &str| {
        let shards = places.iter().map(|(shard, _)| shard);
        listed(shards.filter(|shard| shard.region.as_str() == name))
    };
    let why = match place {
        Place::Shard(_) => format!("there is no {place}; there are {}", shards()),
        Place::Zone(zone) if !of_region(zone.as_str()).is_empty() => {
            format!(
                "{zone} is a region; write it with its project: {}",
                of_region(zone.as_str())
            )
        }
        Place::Zone(_) => format!("there is no {place}; there are {}", zones()),
        Place::Family {
            family,
            zone: Some(zone),
        } if catalog.family(family).is_some() => {
            format!("there is no zone {zone}; there are {}", zones())
        }
        Place::Family { family, .. } => format!(
            "there is no {family}: name a region with its project ({}), a zone ({}), or a family, also one in a zone ({})",
            shards(),
            zones(),
            families()
        ),
    };
    field("place", &format!("is none of ours: {why}"))
}

fn listed<T: ToString>(names: impl Iterator<Item = T>) -> String {
    let mut names: Vec<String> = names.map(|name| name.to_string()).collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use gust_core::{ids::Shard, records::Place};

    use super::no_place;

    #[test]
    fn who_names_no_place_is_told_the_forms_and_what_there_is() {
        let shard = |region: &str| Shard {
            project: "ci".into(),
            region: region.into(),
        };
        let places = vec![
            (
                shard("us-central1"),
                vec!["us-central1-a".into(), "us-central1-b".into()],
            ),
            (shard("us-east4"), vec!["us-east4-a".into()]),
        ];
        let family = |family: &str, zone: Option<&str>| Place::Family {
            family: family.to_owned(),
            zone: zone.map(Into::into),
        };
        let all = [
            Place::Shard(shard("mars")),
            Place::Zone("us-central1".into()),
            Place::Zone("us-central1-z".into()),
            family("mars", None),
            family("n2d", Some("mars")),
        ];
        let all = all.map(|place| no_place(&place, &places).message().to_owned());
        insta::assert_snapshot!(all.join("\n"));
    }
}
