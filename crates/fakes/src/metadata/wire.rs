//! The wire of the metadata server, for one instance, and of the JWKS for everybody.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::token::Ask;
use super::{Model, tree};
use crate::event::Effects;
use crate::fault::Faults;
use crate::gce;
use crate::now::Now;
use crate::wire::{Outcome, Request, Response};

/// A long poll without a time-out ends after so long.
const LONG_POLL: Duration = Duration::from_secs(3600);

const PREFIX: [&str; 2] = ["computeMetadata", "v1"];

/// What the wire works on.
pub struct Site<'w> {
    /// The metadata server.
    pub model: &'w mut Model,
    /// Where the instances are.
    pub gce: &'w mut gce::Model,
    /// The faults that are set.
    pub faults: &'w mut Faults,
}

/// The name of a call for faults and logs: `metadata.identity`, `metadata.token`, `metadata.get`.
pub fn method_of(request: &Request) -> String {
    let last = request.path.rsplit('/').next().unwrap_or_default();
    let name = match last {
        "identity" | "token" | "preempted" => last,
        _ => "get",
    };
    format!("metadata.{name}")
}

/// The public keys: `GET /oauth2/v3/certs`.
pub fn handle_jwks(model: &Model, request: &Request) -> Response {
    match (request.method.as_str(), request.path.as_str()) {
        ("GET" | "HEAD", "/oauth2/v3/certs") => {
            Response::json(200, model.jwks()).with("cache-control", "public, max-age=300, must-revalidate")
        }
        _ => Response::json(404, &json!({ "error": { "code": 404, "message": "Not found." } })),
    }
}

/// One call of the instance with that id.
pub fn handle(site: Site<'_>, instance: u64, now: Now, request: &Request, out: &mut Effects) -> Outcome {
    let has_header = request.header("metadata-flavor") == Some("Google");
    if !has_header || request.header("x-forwarded-for").is_some() {
        let why = "Missing required header: Metadata-Flavor";
        return Outcome::Now(plain(403, "text/html; charset=UTF-8", why.into()));
    }
    let segments = request.segments();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let path = match segments.as_slice() {
        [""] => return Outcome::Now(plain(200, "application/text", "computeMetadata/\n".into())),
        [first, second, rest @ ..] if [*first, *second] == PREFIX => rest,
        _ => return Outcome::Now(missing()),
    };
    let Some(asking) = site.gce.instance(instance).cloned() else {
        return Outcome::Now(missing());
    };
    match (request.method.as_str(), path) {
        (
            "GET",
            [
                "instance",
                "service-accounts",
                account,
                act @ ("identity" | "token"),
            ],
        ) => {
            let email = super::token::account(site.gce, &asking);
            if email.is_none() || (*account != "default" && email.as_deref() != Some(*account)) {
                return Outcome::Now(missing());
            }
            match *act {
                "identity" => identity(site, now, &asking, request, out),
                _ => Outcome::Now(token(&asking)),
            }
        }
        ("GET" | "HEAD", path) => read(&site, now, &asking, request, path),
        ("PUT" | "DELETE", ["instance", "guest-attributes", space, key]) => {
            Outcome::Now(write(site.gce, &asking, request, space, key))
        }
        ("PUT" | "DELETE" | "POST", _) => Outcome::Now(plain(
            405,
            "text/html; charset=UTF-8",
            "Method not allowed".into(),
        )),
        _ => Outcome::Now(missing()),
    }
}

/// The answer of a held call: a token that a fault delays, or a value that was waited for.
pub fn held(model: &mut Model, gce: &gce::Model, key: &str, last: bool) -> Option<Response> {
    if let Some(number) = key.strip_prefix("slow:") {
        return last
            .then(|| model.waiting.remove(&number.parse().ok()?))
            .flatten();
    }
    let wait: Value = serde_json::from_str(key).unwrap_or_default();
    let Some(instance) = wait["instance"].as_u64().and_then(|id| gce.instance(id)) else {
        return Some(missing());
    };
    let path: Vec<&str> = wait["path"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let found = find(gce, instance, &path, wait["recursive"] == true);
    let is_changed = etag(&found) != wait["etag"].as_str().unwrap_or_default();
    (is_changed || last).then_some(found)
}

fn identity(
    site: Site<'_>,
    now: Now,
    asking: &gce::Instance,
    request: &Request,
    out: &mut Effects,
) -> Outcome {
    let Some(audience) = request.query("audience").filter(|audience| !audience.is_empty()) else {
        let why = "non-empty audience parameter required";
        return Outcome::Now(plain(400, "text/html; charset=UTF-8", why.into()));
    };
    let is_full = match request.query("format").unwrap_or("standard") {
        "full" => true,
        "standard" | "" => false,
        _ => {
            return Outcome::Now(plain(
                400,
                "text/html; charset=UTF-8",
                "invalid format parameter".into(),
            ));
        }
    };
    let licenses = request
        .query("licenses")
        .is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let ask = Ask {
        audience,
        is_full,
        licenses,
    };
    match site.model.grant(site.gce, site.faults, now, asking, ask, out) {
        None => Outcome::Now(missing()),
        Some(granted) => {
            let (delay, reply) = (granted.delay, plain(200, "text/html", granted.sign()));
            if delay.is_zero() {
                return Outcome::Now(reply);
            }
            site.model.next_waiting += 1;
            let number = site.model.next_waiting;
            site.model.waiting.insert(number, reply);
            Outcome::Hold {
                key: format!("slow:{number}"),
                until: now.since_start + delay,
            }
        }
    }
}

/// An access token that opens nothing: no fake of this process checks one.
fn token(asking: &gce::Instance) -> Response {
    let token = format!("ya29.fake-{:x}", asking.id);
    let body = json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" });
    plain(200, "application/json", body.to_string())
}

fn read(site: &Site<'_>, now: Now, asking: &gce::Instance, request: &Request, path: &[&str]) -> Outcome {
    let is_set = |name: &str| {
        request
            .query(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    };
    let recursive = is_set("recursive") || request.query("alt") == Some("json");
    let found = find(site.gce, asking, path, recursive);
    if !is_set("wait_for_change") || found.status != 200 {
        return Outcome::Now(found);
    }
    let now_is = etag(&found);
    let known = request.query("last_etag").filter(|etag| !etag.is_empty());
    if known.is_some_and(|known| known != now_is) {
        return Outcome::Now(found);
    }
    let timeout = request
        .query("timeout_sec")
        .and_then(|text| text.parse().ok())
        .filter(|seconds| *seconds > 0);
    let timeout = timeout.map_or(LONG_POLL, Duration::from_secs);
    let key = json!({ "instance": asking.id, "path": path, "recursive": recursive, "etag": now_is });
    Outcome::Hold {
        key: key.to_string(),
        until: now.since_start + timeout,
    }
}

fn find(gce: &gce::Model, asking: &gce::Instance, path: &[&str], recursive: bool) -> Response {
    let tree = tree::tree(gce, asking);
    let Some(value) = tree::at(&tree, path) else {
        return missing();
    };
    // A folder is read with a slash at its end; without one the real server redirects to it.
    let is_folder = value.is_object();
    if is_folder && !recursive && path.last().is_some_and(|last| !last.is_empty()) {
        let to = format!("/{}/{}/", PREFIX.join("/"), path.join("/"));
        return plain(301, "text/html; charset=UTF-8", String::new()).with("location", to);
    }
    let (kind, body) = if recursive {
        let people = path
            .iter()
            .any(|part| matches!(*part, "attributes" | "guest-attributes"));
        ("application/json", tree::camel(value, people).to_string())
    } else {
        ("application/text", tree::text(value))
    };
    let tag = tag_of(&body);
    plain(200, kind, body).with("etag", tag)
}

fn write(
    gce: &mut gce::Model,
    asking: &gce::Instance,
    request: &Request,
    space: &str,
    key: &str,
) -> Response {
    if !gce::has_guest_attributes(asking) {
        return plain(
            403,
            "text/html; charset=UTF-8",
            "Guest attributes endpoint access is disabled.".into(),
        );
    }
    let value = (request.method == "PUT").then(|| String::from_utf8_lossy(&request.body).into_owned());
    if key.is_empty() || key.len() > 128 || value.as_ref().is_some_and(|value| value.len() > 262_144) {
        return plain(400, "text/html; charset=UTF-8", "Bad request".into());
    }
    match gce.set_guest_attribute(asking.id, space, key, value) {
        true => plain(200, "application/text", String::new()),
        false => missing(),
    }
}

fn etag(response: &Response) -> String {
    let tag = response.headers.iter().find(|(name, _)| name == "etag");
    tag.map(|(_, value)| value.clone()).unwrap_or_default()
}

fn tag_of(body: &str) -> String {
    let hash = body.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    URL_SAFE_NO_PAD.encode(hash.to_be_bytes())
}

fn plain(status: u16, kind: &str, body: String) -> Response {
    Response {
        body: body.into(),
        ..Response::empty(status)
    }
    .with("content-type", kind)
    .with("metadata-flavor", "Google")
    .with("server", "Metadata Server for VM")
}

fn missing() -> Response {
    plain(404, "text/html; charset=UTF-8", "Not Found".into())
}
