//! What `reply.*` faults do to one call: drawn before it, applied around it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::event::{Effects, Event, Host};
use crate::fault::{Fault, Faults};
use crate::now::Now;
use crate::wire::{Request, Response};

const HTML: &str = "<!DOCTYPE html>\n<html><head><title>502 Bad Gateway</title></head>\n<body><h1>502 Bad Gateway</h1>\
<p>The proxy received an invalid response.</p></body></html>\n";

/// The faults that meet one call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The call is not made; this is answered.
    pub(super) instead: Option<Response>,
    /// The call is made twice, the second answer is sent.
    pub(super) duplicate: bool,
    /// The reply waits.
    pub(super) delay: Option<Duration>,
    /// The call is made, the connection is reset.
    pub(super) lost: bool,
    /// The call is made, half the body arrives.
    pub(super) truncated: bool,
}

impl Plan {
    /// Draws the faults for a call.
    pub(super) fn draw(
        faults: &mut Faults,
        now: Now,
        host: Host,
        method: &str,
        request: &Request,
        out: &mut Effects,
    ) -> Self {
        if !faults.any("reply.") {
            return Self::default();
        }
        let host_name = match host {
            Host::Buildkite => "buildkite",
            Host::Gce => "gce",
            Host::Run => "run",
            Host::Metadata => "metadata",
        };
        let caller = request.caller();
        let subject = BTreeMap::from([
            ("host", host_name),
            ("method", method),
            ("path", request.path.as_str()),
            ("caller", caller.as_str()),
        ]);
        let mut plan = Self {
            delay: faults.check(now, "reply.delay", &subject, out).map(delay_of),
            ..Self::default()
        };
        plan.instead = faults
            .check(now, "reply.status", &subject, out)
            .map(status_of)
            .or_else(|| faults.check(now, "reply.html", &subject, out).map(html_of));
        if let Some(instead) = &plan.instead {
            out.push(
                Event::new(host, "api.call")
                    .with("method", method)
                    .with("status", instead.status)
                    .with("reason", "fault"),
            );
            return plan;
        }
        plan.lost = faults.check(now, "reply.lost", &subject, out).is_some();
        plan.truncated = faults.check(now, "reply.truncated", &subject, out).is_some();
        plan.duplicate = faults.check(now, "reply.duplicate", &subject, out).is_some();
        plan
    }
}

fn delay_of(fault: &Fault) -> Duration {
    let seconds = fault
        .number("delay_s")
        .or_else(|| fault.number("delay_ms").map(|milliseconds| milliseconds / 1000.0))
        .unwrap_or(2.0);
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn status_of(fault: &Fault) -> Response {
    let status = fault
        .number("status")
        .map_or(503, |status| status as u16)
        .clamp(200, 599);
    let mut response = match fault.param("body") {
        None => Response::message(status, "answered by a fault"),
        Some(Value::String(text)) => Response {
            body: text.clone().into(),
            ..Response::empty(status)
        }
        .with("content-type", "text/plain; charset=utf-8"),
        Some(json) => Response::json(status, json),
    };
    if let Some(Value::Object(headers)) = fault.param("headers") {
        for (name, value) in headers {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            response = response.with(&name.to_lowercase(), value);
        }
    }
    response
}

fn html_of(fault: &Fault) -> Response {
    let status = fault
        .number("status")
        .map_or(200, |status| status as u16)
        .clamp(200, 599);
    let body = fault.text("body").unwrap_or_else(|| HTML.to_owned());
    Response {
        body: body.into(),
        ..Response::empty(status)
    }
    .with("content-type", "text/html; charset=utf-8")
}
