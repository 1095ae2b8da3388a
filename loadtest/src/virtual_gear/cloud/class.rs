//! What the fake GCE's refusals mean, as gust's own client for GCE classes them (crate `gust-cloud`): by codes
//! and reasons; a reply that is not in Google's form proves nothing, unless it says "too many requests".

use gust_core::{
    ids::Zone,
    ports::{CloudError, RefusalClass},
};
use gust_fakes::gce::{ApiError, Detail, OpError};

use super::super::net::Trouble;

/// A call that failed, still apart from "there is no such thing", which for some calls is an answer.
#[derive(Debug)]
pub(super) enum Missed {
    Absent(String),
    Failed(CloudError),
}

impl Missed {
    /// For calls to which absence is no answer.
    pub fn into_error(self, call: &'static str) -> CloudError {
        match self {
            Self::Failed(error) => error,
            Self::Absent(message) => refused(call, RefusalClass::Broken, message),
        }
    }
}

/// `None` for "there is no such thing".
pub(super) fn present<T>(answer: Result<T, Missed>) -> Result<Option<T>, CloudError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(Missed::Absent(_)) => Ok(None),
        Err(Missed::Failed(error)) => Err(error),
    }
}

pub(super) fn refused(call: &'static str, class: RefusalClass, message: String) -> CloudError {
    CloudError::Refused { call, class, message }
}

pub(super) fn unclear(call: &'static str, message: String) -> CloudError {
    CloudError::Unclear {
        call,
        message,
        source: None,
    }
}

/// What the fake said.
pub(super) fn said(call: &'static str, error: &ApiError) -> Missed {
    let message = format!("HTTP {} {}: {}", error.status, error.reason, error.message);
    let class = match (error.status, error.reason) {
        (404, _) => return Missed::Absent(message),
        (_, "rateLimitExceeded") | (429, _) => RefusalClass::Rate,
        (_, "quotaExceeded") => RefusalClass::Quota {
            metric: quoted(&error.message, "Quota '").unwrap_or("unknown").to_owned(),
            limit: None,
        },
        (_, "insufficientCapacity") => RefusalClass::Stockout {
            zone: zone_in(&error.message),
        },
        (_, "alreadyExists") => RefusalClass::Exists,
        (_, "resourceNotReady") => RefusalClass::Internal,
        (status, _) => return by_status(call, status, message),
    };
    Missed::Failed(refused(call, class, message))
}

/// What happened on the way.
pub(super) fn on_the_way(call: &'static str, trouble: Trouble) -> Missed {
    match trouble {
        Trouble::Refused { status: 429, .. } => {
            let message = "HTTP 429: refused on the way".to_owned();
            Missed::Failed(refused(call, RefusalClass::Rate, message))
        }
        Trouble::Refused { status, html: false } if status >= 400 => {
            by_status(call, status, format!("HTTP {status}: refused on the way"))
        }
        Trouble::Refused { status, .. } => {
            Missed::Failed(unclear(call, format!("HTTP {status}, not in Google's form")))
        }
        Trouble::CutOff => Missed::Failed(unclear(call, "the answer is cut off".to_owned())),
        Trouble::Lost => Missed::Failed(unclear(call, "no answer".to_owned())),
    }
}

fn by_status(call: &'static str, status: u16, message: String) -> Missed {
    let class = match status {
        404 => return Missed::Absent(message),
        408 => return Missed::Failed(unclear(call, message)),
        401 | 403 | 412 => RefusalClass::Denied,
        400..=499 | 501 => RefusalClass::Broken,
        _ => return Missed::Failed(unclear(call, message)),
    };
    Missed::Failed(refused(call, class, message))
}

/// The most specific class among the errors of an operation that ended, and its words.
pub(super) fn judged(errors: &[OpError], spot: bool) -> (RefusalClass, String) {
    // A summary comes before its causes.
    let cause = errors
        .iter()
        .find(|error| error.code != "VM_MIN_COUNT_NOT_REACHED");
    let class = cause
        .or(errors.first())
        .map_or(RefusalClass::Internal, |error| class_of(error, spot));
    let words: Vec<String> = errors
        .iter()
        .map(|error| format!("{}: {}", error.code, error.message))
        .collect();
    (class, words.join("; "))
}

fn class_of(error: &OpError, spot: bool) -> RefusalClass {
    match error.code {
        "QUOTA_EXCEEDED" => match &error.detail {
            Detail::Quota(shortage) => RefusalClass::Quota {
                metric: shortage.metric.to_string(),
                // The cast saturates, and no quota comes near.
                limit: Some(shortage.limit as u64),
            },
            Detail::None | Detail::Stockout { .. } => RefusalClass::Quota {
                metric: "unknown".to_owned(),
                limit: None,
            },
        },
        "VM_MIN_COUNT_NOT_REACHED" => RefusalClass::Stockout { zone: None },
        code if code.contains("POOL_EXHAUSTED") => RefusalClass::Stockout {
            zone: match &error.detail {
                Detail::Stockout { zone, .. } => Some(Zone::new(zone.as_str())),
                Detail::None | Detail::Quota(_) => zone_in(&error.message),
            },
        },
        code if code.starts_with("IP_SPACE") => RefusalClass::Addresses,
        "UNSUPPORTED_OPERATION" if spot => RefusalClass::Preempted,
        "UNSUPPORTED_OPERATION" => RefusalClass::Broken,
        "RESOURCE_ALREADY_EXISTS" => RefusalClass::Exists,
        _ => RefusalClass::Internal,
    }
}

fn zone_in(message: &str) -> Option<Zone> {
    let path = quoted(message, "zone '")?;
    path.rsplit('/').next().map(Zone::new)
}

fn quoted<'m>(message: &'m str, mark: &str) -> Option<&'m str> {
    let (text, _) = message.split_once(mark)?.1.split_once('\'')?;
    Some(text)
}
