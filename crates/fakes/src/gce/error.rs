//! Refusals: of a call (an HTTP status) and inside an operation (HTTP 200, later DONE with errors).
//!
//! Messages and reasons follow the forms in the wire reference, section 1.9. How they are written as JSON is
//! the business of `wire`.

use std::collections::BTreeMap;

use super::quota::Shortage;

/// A call that is refused: nothing was done.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// `errors[0].reason`, the dependable key.
    pub reason: &'static str,
    /// `errors[0].domain`: `global` or `usageLimits`.
    pub domain: &'static str,
    /// What Google would say.
    pub message: String,
    /// ErrorInfo of the concurrent-operations quota; other refusals have none.
    pub info: Option<ErrorInfo>,
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorInfo {
    /// Its reason.
    pub reason: &'static str,
    /// Its map, `metadatas` on the wire.
    pub metadatas: BTreeMap<String, String>,
}

impl ApiError {
    fn new(status: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            domain: "global",
            message: message.into(),
            info: None,
        }
    }

    /// 400: something about the request is malformed or not allowed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid", message)
    }

    /// 400: the value of one field.
    pub fn field(field: &str, value: &str, why: &str) -> Self {
        Self::invalid(format!("Invalid value for field '{field}': '{value}'. {why}"))
    }

    /// 400: fields that do not go together.
    pub fn bad_request(message: &str) -> Self {
        Self::new(400, "badRequest", message)
    }

    /// 400: a delete of an instance that is protected against it.
    pub fn protected() -> Self {
        let why = "Resource cannot be deleted if it's protected against deletion.";
        Self::new(
            400,
            "invalidResourceUsage",
            format!("Invalid resource usage: '{why}'."),
        )
    }

    /// 400: a field that must be there.
    pub fn required(field: &str) -> Self {
        Self::new(400, "required", format!("Required field '{field}' not specified"))
    }

    /// 404 for `projects/…`.
    pub fn not_found(resource: &str) -> Self {
        Self::new(
            404,
            "notFound",
            format!("The resource '{resource}' was not found"),
        )
    }

    /// 404 or another status for a path that is no method.
    pub fn no_such_method(path: &str) -> Self {
        Self::new(
            404,
            "notFound",
            format!("The requested URL {path} was not found on this server."),
        )
    }

    /// 409 for `projects/…`.
    pub fn already_exists(resource: &str) -> Self {
        Self::new(
            409,
            "alreadyExists",
            format!("The resource '{resource}' already exists"),
        )
    }

    /// 409: a request id came again with another request.
    pub fn request_id_reused(request_id: &str) -> Self {
        let why = "was already used for a different request";
        Self::new(409, "conflict", format!("The request ID '{request_id}' {why}"))
    }

    /// 400: the resource is not in a state for this.
    pub fn not_ready(resource: &str) -> Self {
        Self::new(
            400,
            "resourceNotReady",
            format!("The resource '{resource}' is not ready"),
        )
    }

    /// 412: a stale fingerprint.
    pub fn stale_fingerprint(what: &str) -> Self {
        let message = format!(
            "{what} fingerprint either invalid or resource {} have changed",
            what.to_lowercase()
        );
        Self::new(412, "conditionNotMet", message)
    }

    /// 403: an allocation quota, found at validation.
    pub fn quota(shortage: &Shortage) -> Self {
        Self::new(403, "quotaExceeded", shortage.message())
    }

    /// 403: calls per minute.
    pub fn rate(quota_metric: &str, limit_name: &str, number: u64) -> Self {
        let message = format!(
            "Quota exceeded for quota metric '{quota_metric}' and limit '{limit_name}' of service \
             'compute.googleapis.com' for consumer 'project_number:{number}'."
        );
        Self {
            domain: "usageLimits",
            ..Self::new(403, "rateLimitExceeded", message)
        }
    }

    /// 403: too many bulk requests a second, or bulk operations running.
    pub fn bulk_rate(message: &str) -> Self {
        Self {
            domain: "usageLimits",
            ..Self::new(403, "rateLimitExceeded", message)
        }
    }

    /// 403: operations pending or running at the same time.
    pub fn concurrent_operations(metadatas: BTreeMap<String, String>) -> Self {
        let info = ErrorInfo {
            reason: "CONCURRENT_OPERATIONS_QUOTA_EXCEEDED",
            metadatas,
        };
        Self {
            domain: "usageLimits",
            info: Some(info),
            ..Self::new(403, "rateLimitExceeded", "Rate Limit Exceeded")
        }
    }

    /// 503: a stockout that is known at once.
    pub fn insufficient_capacity(place: &str) -> Self {
        let message = format!("The {place} does not have enough resources available to fulfill the request.");
        Self::new(503, "insufficientCapacity", message)
    }

    /// 501: a method that Google has and the fake has not.
    pub fn not_built(method: &str) -> Self {
        Self::new(
            501,
            "notImplemented",
            format!("{method} is not built in this fake"),
        )
    }

    /// `error.status` for this HTTP status.
    pub fn rpc_status(&self) -> &'static str {
        match self.status {
            400 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            409 => "ALREADY_EXISTS",
            412 => "FAILED_PRECONDITION",
            429 => "RESOURCE_EXHAUSTED",
            501 => "UNIMPLEMENTED",
            503 => "UNAVAILABLE",
            _ => "INTERNAL",
        }
    }
}

/// One error of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OpError {
    /// `QUOTA_EXCEEDED` …: what a client branches on.
    pub code: &'static str,
    /// What Google would say.
    pub message: String,
    /// What comes with it.
    pub detail: Detail,
}

/// `errorDetails` of an operation's error.
#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    /// None.
    None,
    /// `quotaInfo`.
    Quota(Shortage),
    /// `localizedMessage` and `errorInfo` of a stockout.
    Stockout {
        /// Machine type.
        vm_type: String,
        /// Where it was wanted.
        zone: String,
        /// Comma list of zones that may have it.
        zones_available: String,
    },
}

impl OpError {
    /// `httpErrorStatusCode` and `httpErrorMessage` of an operation that ends with this as its first error.
    pub fn http(&self) -> (u16, &'static str) {
        match self.code {
            "QUOTA_EXCEEDED" => (403, "FORBIDDEN"),
            "RESOURCE_ALREADY_EXISTS" => (409, "CONFLICT"),
            "INTERNAL_ERROR" => (500, "INTERNAL SERVER ERROR"),
            "UNSUPPORTED_OPERATION" => (400, "BAD REQUEST"),
            _ => (503, "SERVICE UNAVAILABLE"),
        }
    }

    fn plain(code: &'static str, message: String) -> Self {
        Self {
            code,
            message,
            detail: Detail::None,
        }
    }

    /// An allocation quota.
    pub fn quota(shortage: Shortage) -> Self {
        Self {
            code: "QUOTA_EXCEEDED",
            message: shortage.message(),
            detail: Detail::Quota(shortage),
        }
    }

    /// A name that is taken.
    pub fn already_exists(resource: &str) -> Self {
        Self::plain(
            "RESOURCE_ALREADY_EXISTS",
            format!("The resource '{resource}' already exists"),
        )
    }

    /// Fewer than `minCount` machines; the causes follow it.
    pub fn min_count(min_count: u64) -> Self {
        let message = format!("Requested minimum count of {min_count} VMs could not be created.");
        Self::plain("VM_MIN_COUNT_NOT_REACHED", message)
    }

    /// No room in a zone.
    pub fn stockout(project: &str, zone: &str) -> Self {
        let message = format!(
            "The zone 'projects/{project}/zones/{zone}' does not have enough resources available to fulfill the \
             request.  Try a different zone, or try again later."
        );
        Self::plain("ZONE_RESOURCE_POOL_EXHAUSTED", message)
    }

    /// No room in a zone, with the zones that have the machine type as well.
    pub fn stockout_with_details(project: &str, zone: &str, vm_type: &str, others: &[&str]) -> Self {
        let Self { message, .. } = Self::stockout(project, zone);
        Self {
            code: "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
            message: format!("{message} '(resource type:compute)'."),
            detail: Detail::Stockout {
                vm_type: vm_type.to_owned(),
                zone: zone.to_owned(),
                zones_available: others.join(","),
            },
        }
    }

    /// The subnet is full.
    pub fn ip_space(project: &str, region: &str) -> Self {
        Self::plain(
            "IP_SPACE_EXHAUSTED",
            format!(
                "IP space of 'projects/{project}/regions/{region}/subnetworks/default' is exhausted. The total \
                 number of free IP addresses is 0."
            ),
        )
    }

    /// A machine type given as a URL in a bulk request.
    pub fn internal() -> Self {
        Self::plain(
            "INTERNAL_ERROR",
            "Internal error. Please try again or contact Google Support.".into(),
        )
    }

    /// A Spot machine that was taken back while it was being made.
    pub fn preempted_while_creating() -> Self {
        Self::plain(
            "UNSUPPORTED_OPERATION",
            "Instance was preempted during creation.".into(),
        )
    }
}
