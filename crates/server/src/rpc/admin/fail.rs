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
    let known: Vec<String> = match place {
        Place::Shard(_) => places.iter().map(|(shard, _)| shard.to_string()).collect(),
        Place::Zone(_) => places
            .iter()
            .flat_map(|(_, zones)| zones)
            .map(ToString::to_string)
            .collect(),
        Place::Family { .. } => {
            let catalog = gust_core::catalog::Catalog::builtin();
            catalog.families().map(|family| family.name.to_string()).collect()
        }
    };
    field(
        "place",
        &format!(
            "is none of ours: there is no {place}; there are {}",
            known.join(", ")
        ),
    )
}
