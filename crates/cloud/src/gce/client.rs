//! Google's client, set up our way: its parts, the options of each call, and what its errors mean.

use std::{error::Error as _, time::Duration};

use google_cloud_auth::credentials::{Builder as AdcBuilder, Credentials as Token, anonymous};
use google_cloud_compute_v1::client::{
    Instances, MachineTypes, Projects, RegionInstances, RegionOperations, Regions, Subnetworks,
    ZoneOperations,
};
use google_cloud_gax::{
    error::{Error as ClientError, rpc::StatusDetails},
    options::RequestOptions,
    retry_policy::NeverRetry,
};
use gust_core::{
    ids::Region,
    ports::{CloudError, RefusalClass},
};

use super::{
    calls::BULK_INSERT,
    classify::{OperationFault, Verdict, judge_reply},
    config::{ConfigError, Credentials, GceConfig, Timeouts},
    retry::{Patience, attempts},
};
use crate::layers::{Boxed, Budget, Call, Failure, Lane, Method, Stack};

/// The reason of a refusal for operations that run at the same time.
const CONCURRENT_OPERATIONS: &str = "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED";

/// The parts of Google's client that gust uses, and the stack its calls pass. Clones share all of it.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub instances: Instances,
    pub region_instances: RegionInstances,
    pub zone_operations: ZoneOperations,
    pub region_operations: RegionOperations,
    pub regions: Regions,
    pub subnetworks: Subnetworks,
    pub machine_types: MachineTypes,
    pub projects: Projects,
    stack: Stack,
    timeouts: Timeouts,
    user_agent: String,
}

/// A call that failed, still apart from "there is no such thing", which for some calls is an answer.
#[derive(Debug)]
pub(super) enum Missed {
    /// What the call names does not exist.
    Absent(String),
    /// Any other failure.
    Failed(CloudError),
}

impl Missed {
    /// For calls to which absence is no answer: something they refer to does not exist.
    pub fn into_error(self, method: Method) -> CloudError {
        match self {
            Self::Failed(error) => error,
            Self::Absent(message) => CloudError::Refused {
                call: method.name,
                class: RefusalClass::Broken,
                message,
            },
        }
    }
}

impl Client {
    pub async fn connect(config: &GceConfig) -> Result<Self, ConfigError> {
        let token: Token = match config.credentials {
            Credentials::Adc => AdcBuilder::default().build().map_err(ConfigError::Credentials)?,
            Credentials::Anonymous => anonymous::Builder::new().build(),
        };
        macro_rules! part {
            ($part:ident) => {{
                let mut builder = $part::builder().with_credentials(token.clone());
                if let Some(endpoint) = &config.endpoint {
                    builder = builder.with_endpoint(endpoint.as_str());
                }
                builder.build().await.map_err(ConfigError::Client)?
            }};
        }
        let wall = config.wall.clone();
        let budget = Budget::new(config.rates, config.regions, wall, spends_the_minute);
        Ok(Self {
            instances: part!(Instances),
            region_instances: part!(RegionInstances),
            zone_operations: part!(ZoneOperations),
            region_operations: part!(RegionOperations),
            regions: part!(Regions),
            subnetworks: part!(Subnetworks),
            machine_types: part!(MachineTypes),
            projects: part!(Projects),
            stack: Stack::new(config.calls_at_a_time, config.waits_at_a_time, budget),
            timeouts: config.timeouts,
            user_agent: config.user_agent.clone(),
        })
    }

    /// A region is ours to call in from now on; another may have called there until now.
    pub fn begin(&self, region: &Region) {
        self.stack.begin(region);
    }

    /// The options of a call that is answered at once. The client makes one attempt: see [`attempts`].
    pub fn options(&self) -> RequestOptions {
        self.options_within(self.timeouts.attempt)
    }

    /// The options of a call that Google holds.
    pub fn wait_options(&self) -> RequestOptions {
        self.options_within(self.timeouts.wait)
    }

    fn options_within(&self, attempt: Duration) -> RequestOptions {
        let mut options = RequestOptions::default();
        options.set_user_agent(&self.user_agent);
        options.set_attempt_timeout(attempt);
        options.set_retry_policy(NeverRetry);
        options
    }

    /// Makes a call that is answered at once; `make` begins an attempt. Sending it twice must do no more than sending
    /// it once.
    ///
    /// The call goes on the heap at once: the client's futures are large.
    pub fn call<T: Send + 'static, F: Future<Output = Result<T, ClientError>> + Send + 'static>(
        &self,
        method: Method,
        region: &Region,
        make: impl Fn() -> F + Send + Sync,
    ) -> impl Future<Output = Result<T, Missed>> + Send {
        self.send(Lane::Quick, method, region, self.timeouts.call, make)
    }

    /// Makes a call that Google holds.
    pub fn wait<T: Send + 'static, F: Future<Output = Result<T, ClientError>> + Send + 'static>(
        &self,
        method: Method,
        region: &Region,
        make: impl Fn() -> F + Send + Sync,
    ) -> impl Future<Output = Result<T, Missed>> + Send {
        self.send(Lane::Wait, method, region, self.timeouts.wait, make)
    }

    async fn send<T: Send + 'static, F: Future<Output = Result<T, ClientError>> + Send + 'static>(
        &self,
        lane: Lane,
        method: Method,
        region: &Region,
        budget: Duration,
        make: impl Fn() -> F + Send + Sync,
    ) -> Result<T, Missed> {
        let make = || -> Boxed<Result<T, ClientError>> { Box::pin(make()) };
        let begin = |within, run| {
            let call = Call {
                method,
                region: region.clone(),
                within,
                run,
            };
            self.stack.call(lane, call)
        };
        attempts(Patience { budget }, make, begin)
            .await
            .map_err(|failure| missed(method, failure))
    }
}

/// What an error of the client means.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The request did not leave this process.
    NotSent,
    /// Refused, and nothing happened.
    Refused(RefusalClass, String),
    /// What the call names does not exist.
    Absent(String),
    /// It may or may not have had its effect.
    Unclear,
}

/// Judges an error of the client.
pub(super) fn outcome_of(error: &ClientError) -> Outcome {
    let error = innermost(error);
    if error.is_connect() {
        return Outcome::NotSent;
    }
    if error.is_authentication() {
        return if error.is_transient_and_before_rpc() {
            Outcome::NotSent
        } else {
            Outcome::Refused(RefusalClass::Denied, error.to_string())
        };
    }
    // The request could not be written down: repeating it will not help.
    if error.is_binding() || error.is_serialization() {
        return Outcome::Refused(RefusalClass::Broken, error.to_string());
    }
    let Some(status) = error.http_status_code() else {
        return Outcome::Unclear;
    };
    let google = error.status();
    let message = google.map(|s| s.message.clone()).unwrap_or_default();
    let faults: Vec<_> = google
        .iter()
        .flat_map(|s| &s.details)
        .filter_map(|detail| match detail {
            StatusDetails::ErrorInfo(info) => Some(OperationFault::new(&info.reason, &message)),
            _ => None,
        })
        .collect();
    let reasons: Vec<_> = faults
        .iter()
        .map(|f| f.code.as_str())
        .filter(|c| !c.is_empty())
        .collect();
    let said = match reasons.as_slice() {
        [] => format!("HTTP {status}: {message}"),
        reasons => format!("HTTP {status} {}: {message}", reasons.join(", ")),
    };
    match judge_reply(status, google.is_some(), &faults) {
        Verdict::Refused(class) => Outcome::Refused(class, said),
        Verdict::Absent => Outcome::Absent(said),
        Verdict::Unclear => Outcome::Unclear,
    }
}

/// Whether a refusal says that Google takes no more calls of this group in this minute.
///
/// Too many bulk requests a second, bulk operations at a time or operations of any kind at a time are refused for their
/// rate as well. The last has a reason of its own; the other two are told apart by the call alone, so a refused
/// `bulkInsert` is left to whoever gave it its slot.
fn spends_the_minute(method: Method, error: &ClientError) -> bool {
    let mut details = innermost(error)
        .status()
        .into_iter()
        .flat_map(|status| &status.details);
    method.name != BULK_INSERT.name
        && matches!(outcome_of(error), Outcome::Refused(RefusalClass::Rate, _))
        && !details.any(
            |detail| matches!(detail, StatusDetails::ErrorInfo(info) if info.reason == CONCURRENT_OPERATIONS),
        )
}

/// The client wraps the last error when it makes no further attempt.
fn innermost(error: &ClientError) -> &ClientError {
    let mut error = error;
    while error.is_exhausted() {
        match error
            .source()
            .and_then(|source| source.downcast_ref::<ClientError>())
        {
            Some(inner) => error = inner,
            None => break,
        }
    }
    error
}

fn missed(method: Method, failure: Failure) -> Missed {
    let call = method.name;
    let outcome = match &failure {
        Failure::Client(error) => outcome_of(error),
        Failure::Overdue(_) => Outcome::Unclear,
    };
    Missed::Failed(match outcome {
        Outcome::Absent(message) => return Missed::Absent(message),
        Outcome::Refused(class, message) => CloudError::Refused { call, class, message },
        Outcome::NotSent | Outcome::Unclear => CloudError::Unclear {
            call,
            message: glance(&failure),
            source: Some(Box::new(failure)),
        },
    })
}

/// What was seen, in a few words; the whole chain is in the source.
fn glance(failure: &Failure) -> String {
    let Failure::Client(error) = failure else {
        return failure.to_string();
    };
    let error = innermost(error);
    match error.http_status_code() {
        _ if error.is_timeout() => "no reply in time".to_owned(),
        _ if error.is_connect() => "no connection".to_owned(),
        _ if error.is_deserialization() => "a reply that is no JSON of this call".to_owned(),
        Some(status) if error.status().is_some() => format!("HTTP {status}"),
        Some(status) => format!("HTTP {status} with a body that is not Google's"),
        None => "the connection broke".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_gax::error::rpc::Status;

    use super::*;
    use crate::gce::calls::{DELETE, INSERT, LIST};

    #[test]
    fn errors_wrapped_by_spent_retries_keep_their_meaning() {
        let wrapped = ClientError::exhausted(ClientError::connect("refused"));
        assert_eq!(outcome_of(&wrapped), Outcome::NotSent);
    }

    #[test]
    fn what_never_reached_google_or_never_came_back_is_not_taken_for_a_refusal() {
        assert_eq!(outcome_of(&ClientError::io("reset by peer")), Outcome::Unclear);
        assert_eq!(outcome_of(&ClientError::timeout("15 s")), Outcome::Unclear);
        assert_eq!(outcome_of(&ClientError::deser("half a body")), Outcome::Unclear);
        let page = ClientError::http(404, Default::default(), "<html>".into());
        assert_eq!(outcome_of(&page), Outcome::Unclear);
    }

    fn refusal(status: u16, reason: &str, detail: Option<&str>) -> ClientError {
        let details: Vec<_> = detail
            .iter()
            .map(|reason| {
                serde_json::json!({
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "compute.googleapis.com",
                })
            })
            .collect();
        let body = serde_json::json!({"error": {
            "code": status, "message": "m", "details": details,
            "errors": [{"reason": reason, "domain": "usageLimits", "message": "m"}],
        }});
        let body = serde_json::to_vec(&body).expect("JSON");
        let said = Status::try_from(&bytes::Bytes::from(body)).expect("Google's form");
        ClientError::service_with_http_metadata(said, Some(status), None)
    }

    #[test]
    fn only_a_refusal_for_calls_a_minute_spends_the_minute() {
        let spends =
            |method, status, reason, detail| spends_the_minute(method, &refusal(status, reason, detail));
        assert!(spends(DELETE, 403, "rateLimitExceeded", None));
        assert!(spends(LIST, 403, "rateLimitExceeded", None));
        assert!(spends(DELETE, 429, "", None));
        // Too many bulk operations, or operations, at a time.
        assert!(!spends(BULK_INSERT, 403, "rateLimitExceeded", None));
        let operations = Some("CONCURRENT_OPERATIONS_QUOTA_EXCEEDED");
        assert!(!spends(DELETE, 403, "rateLimitExceeded", operations));
        // Not for the rate at all.
        assert!(!spends(INSERT, 403, "quotaExceeded", None));
        assert!(!spends(DELETE, 503, "backendError", None));
        assert!(!spends_the_minute(DELETE, &ClientError::io("reset by peer")));
        let wrapped = ClientError::exhausted(refusal(403, "rateLimitExceeded", None));
        assert!(spends_the_minute(DELETE, &wrapped));
    }
}
