//! What a host of the fakes gets to see of HTTP: a request with everything in it, and a reply.
//!
//! Responsible for the shapes only. The skin (`http`) makes them from sockets, each host's `wire` module
//! turns them into calls of its model. A host offers three functions (see `http::Site`): the API method's
//! name of a request, the call itself, and the answer to a held call.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

/// A request, read whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// The path as sent: segments are still percent-encoded, see [`Request::segments`].
    pub path: String,
    /// Decoded query pairs in the order sent.
    pub query: Vec<(String, String)>,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, empty if none.
    pub body: Bytes,
    /// Address of the caller, `127.0.0.1:40123`.
    pub peer: String,
}

impl Request {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first query parameter of that name.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The path's segments, percent-decoded one by one, so that an encoded `/` stays inside its segment.
    pub fn segments(&self) -> Vec<String> {
        self.path
            .split('/')
            .skip(1)
            .map(|segment| percent_decode(segment, false))
            .collect()
    }

    /// Who called, for the `caller` field of events: the User-Agent and the peer address.
    pub fn caller(&self) -> String {
        format!("{} {}", self.header("user-agent").unwrap_or("-"), self.peer)
    }
}

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers; `content-length` and `date` are the skin's.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// A reply without a body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// A JSON reply.
    pub fn json<T: Serialize + ?Sized>(status: u16, body: &T) -> Self {
        let body = serde_json::to_vec(body).expect("own reply types have string keys, so they serialize");
        Self {
            status,
            headers: vec![("content-type".into(), "application/json; charset=utf-8".into())],
            body: body.into(),
        }
    }

    /// `{"message": …}`, the error form of Buildkite and of the control surface.
    pub fn message(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "message": message }))
    }

    /// The same reply with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// What a call comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply.
    Now(Response),
    /// The reply is not known yet: `held(model, now, key)` is asked again at each change of the log, and once
    /// more at `until` (since start), when it must answer.
    Hold {
        /// The host's own key of what is waited for.
        key: String,
        /// When to answer at the latest, since start.
        until: Duration,
    },
}

/// Decodes `%41` and, in queries, `+`. Broken escapes stay as they are.
pub fn percent_decode(text: &str, plus_is_space: bool) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if plus_is_space && bytes[at] == b'+' {
                    b' '
                } else {
                    bytes[at]
                });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Splits and decodes a query string.
pub fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key, true), percent_decode(value, true))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoded_slash_stays_inside_its_segment() {
        let request = Request {
            method: "GET".into(),
            path: "/v3/stacks/a%2Fb%2Ec/jobs".into(),
            query: parse_query("filter=a%3Db+c&empty=&flag"),
            headers: vec![],
            body: Bytes::new(),
            peer: "p".into(),
        };
        assert_eq!(request.segments(), ["v3", "stacks", "a/b.c", "jobs"]);
        assert_eq!(request.query("filter"), Some("a=b c"));
        assert_eq!(request.query("empty"), Some(""));
        assert_eq!(request.query("flag"), Some(""));
        assert_eq!(percent_decode("100%", false), "100%");
    }
}
