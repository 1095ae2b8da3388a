//! What can go wrong in a call, classed by what to do about it.

use std::time::Duration;

use crate::scope::{Effect, Scope};

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The service answered, but not now or not usefully: call again, not before `after` where it said so.
    RetryLater {
        /// What the service asked for.
        after: Option<Duration>,
    },
    /// The service is down or out of reach: keep everything, call again when it is back.
    Wait,
    /// The request is wrong, or not possible in the present state: repeating it cannot help.
    Refused,
    /// The token is missing, wrong, expired or not allowed: an operator must act.
    Unauthorized,
    /// Stack, queue or job do not exist (any more).
    Gone,
}

/// Why the body of a reply with a good status could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BadBody {
    /// Nothing at all.
    #[error("the body is empty")]
    Empty,
    /// A web page: some proxy or error page answered in Buildkite's place.
    #[error("the body is an HTML page, not JSON")]
    Html,
    /// Over the cap.
    #[error("the body is larger than {cap} bytes")]
    TooLarge {
        /// The cap in bytes.
        cap: usize,
    },
    /// Cut off, not JSON, or of another shape.
    #[error("the body is not the JSON expected")]
    Json(#[source] serde_json::Error),
}

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service refused, or failed, with a status.
    #[error("buildkite answered {} with {status}: {message}", scope.name())]
    Status {
        /// The call.
        scope: Scope,
        /// HTTP status.
        status: u16,
        /// The service's own words, cut.
        message: String,
        /// When to come back, where the reply said so.
        after: Option<Duration>,
    },
    /// A good status, and errors in the body.
    #[error("buildkite refused {}: {message}", scope.name())]
    Graphql {
        /// The call.
        scope: Scope,
        /// What its words mean.
        remedy: Remedy,
        /// The service's own words, cut.
        message: String,
    },
    /// A good status with a body that is of no use. A write may well have happened.
    #[error("buildkite answered {} with {status}, but the reply cannot be read", scope.name())]
    Body {
        /// The call.
        scope: Scope,
        /// HTTP status.
        status: u16,
        /// What is wrong with it.
        #[source]
        source: BadBody,
    },
    /// No connection, so the request never left.
    #[error("cannot connect to buildkite for {}", scope.name())]
    Connect {
        /// The call.
        scope: Scope,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The connection broke before the reply was whole. A write may well have happened.
    #[error("the connection to buildkite broke during {}", scope.name())]
    Broken {
        /// The call.
        scope: Scope,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// No whole reply in time. A write may well have happened.
    #[error("buildkite did not answer {} within {limit:?}", scope.name())]
    TimedOut {
        /// The call.
        scope: Scope,
        /// The time given.
        limit: Duration,
    },
    /// The rate limit leaves no room for the call before the caller's deadline; nothing was sent.
    #[error("the rate limit of {} leaves no room for {after:?}", scope.name())]
    NoRoom {
        /// The call.
        scope: Scope,
        /// When there is room again.
        after: Duration,
    },
    /// The call breaks a rule of the API that gust knows; nothing was sent.
    #[error("not sent to {}: {why}", scope.name())]
    Invalid {
        /// The call.
        scope: Scope,
        /// Which rule.
        why: String,
    },
}

impl Error {
    /// What to do about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Status { status, after, .. } => match status {
                401 => Remedy::Unauthorized,
                404 | 410 => Remedy::Gone,
                408 | 425 | 429 => Remedy::RetryLater { after: *after },
                500.. => after.map_or(Remedy::Wait, |after| Remedy::RetryLater { after: Some(after) }),
                // 403 is the organization's stack limit as well as a forbidden token: both are for a person,
                // and neither gets better by asking again. Redirects are not followed: the endpoint is wrong.
                _ => Remedy::Refused,
            },
            Self::Graphql { remedy, .. } => *remedy,
            Self::Body { .. } => Remedy::RetryLater { after: None },
            Self::NoRoom { after, .. } => Remedy::RetryLater { after: Some(*after) },
            Self::Connect { .. } | Self::Broken { .. } | Self::TimedOut { .. } => Remedy::Wait,
            Self::Invalid { .. } => Remedy::Refused,
        }
    }

    /// True if the call writes and may have taken effect although it failed.
    pub fn outcome_unknown(&self) -> bool {
        let (scope, unknown) = match self {
            Self::Status { scope, status, .. } => (*scope, *status >= 500),
            Self::Body { scope, .. } | Self::Broken { scope, .. } | Self::TimedOut { scope, .. } => {
                (*scope, true)
            }
            Self::Graphql { scope, .. }
            | Self::Connect { scope, .. }
            | Self::NoRoom { scope, .. }
            | Self::Invalid { scope, .. } => (*scope, false),
        };
        unknown && scope.effect() != Effect::Read
    }

    /// Which call failed.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Status { scope, .. }
            | Self::Graphql { scope, .. }
            | Self::Body { scope, .. }
            | Self::Connect { scope, .. }
            | Self::Broken { scope, .. }
            | Self::TimedOut { scope, .. }
            | Self::NoRoom { scope, .. }
            | Self::Invalid { scope, .. } => *scope,
        }
    }

    /// The service's status and words, where it answered with an error.
    pub fn status(&self) -> Option<(u16, &str)> {
        match self {
            Self::Status { status, message, .. } => Some((*status, message)),
            _ => None,
        }
    }

    /// Whether the client itself may send the same call again, and how long to wait at least.
    pub(crate) fn repeat(&self) -> Option<Option<Duration>> {
        let effect = self.scope().effect();
        match self {
            // Refused before it did anything: safe for every call.
            Self::Status {
                status: 429, after, ..
            } => Some(*after),
            Self::Connect { .. } => Some(None),
            Self::Status {
                status: 500.., after, ..
            } if effect != Effect::Once => Some(*after),
            Self::Body {
                source: BadBody::TooLarge { .. },
                ..
            } => None,
            Self::Body { .. } | Self::Broken { .. } | Self::TimedOut { .. } if effect != Effect::Once => {
                Some(None)
            }
            _ => None,
        }
    }
}
