//! Reading a reply: the status decides, the body is read under a cap, nothing in it is trusted.

use serde::de::DeserializeOwned;

use crate::{
    error::{BadBody, Error},
    headers::RateHeaders,
    scope::Scope,
};

/// Words of the service kept in an error, in characters.
const MESSAGE_CHARS: usize = 300;
/// An error's body is read no further than this.
const ERROR_BODY_CAP: usize = 64 << 10;

/// A reply with a good status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub scope: Scope,
    pub status: u16,
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON of the shape expected.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        decode(&self.body).map_err(|source| Error::Body {
            scope: self.scope,
            status: self.status,
            source,
        })
    }
}

/// Decodes a body, telling apart what a person would want told apart.
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BadBody> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(BadBody::Empty);
    }
    serde_json::from_slice(body).map_err(|cause| {
        if is_html(body) {
            BadBody::Html
        } else {
            BadBody::Json(cause)
        }
    })
}

/// Reads the reply whole. Transport errors come back as they are, for the caller knows the time limit.
pub(crate) async fn read(
    scope: Scope,
    rate: &RateHeaders,
    mut reply: reqwest::Response,
    cap: usize,
) -> Result<Result<Reply, Error>, reqwest::Error> {
    let status = reply.status();
    let cap = if status.is_success() { cap } else { ERROR_BODY_CAP };
    let mut body = Vec::new();
    while let Some(chunk) = reply.chunk().await? {
        if body.len() + chunk.len() > cap {
            if status.is_success() {
                let source = BadBody::TooLarge { cap };
                return Ok(Err(Error::Body {
                    scope,
                    status: status.as_u16(),
                    source,
                }));
            }
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(if status.is_success() {
        Ok(Reply {
            scope,
            status: status.as_u16(),
            body,
        })
    } else {
        // A reset says when the window has room, not when a broken service is well again.
        let after = if status.as_u16() == 429 {
            rate.come_back()
        } else {
            rate.retry_after
        };
        Err(Error::Status {
            scope,
            status: status.as_u16(),
            message: message(&body),
            after,
        })
    })
}

/// The service's words from an error body: `{"message"}` where it has that form, else the text's beginning.
fn message(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Said {
        One { message: String },
        // Of the GraphQL API.
        Several { errors: Vec<One> },
    }
    #[derive(serde::Deserialize)]
    struct One {
        message: String,
    }
    let text = match serde_json::from_slice::<Said>(body) {
        Ok(Said::One { message }) => message,
        Ok(Said::Several { errors }) => {
            let words: Vec<String> = errors.into_iter().map(|error| error.message).collect();
            words.join("; ")
        }
        Err(_) if body.iter().all(u8::is_ascii_whitespace) => return "no reason given".to_owned(),
        Err(_) if is_html(body) => return "an HTML page instead of a reason".to_owned(),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let mut cut: String = text
        .chars()
        .take(MESSAGE_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

fn is_html(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'<')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_service_are_cut_and_cannot_forge_log_lines() {
        assert_eq!(message(br#"{"message":"no such\nstack"}"#), "no such stack");
        assert_eq!(message(b"<html>"), "an HTML page instead of a reason");
        assert_eq!(message(b""), "no reason given");
        assert_eq!(
            message("é".repeat(1000).as_bytes()).chars().count(),
            MESSAGE_CHARS + 1
        );
    }

    #[test]
    fn bodies_that_cannot_be_used_say_why() {
        assert!(matches!(decode::<serde_json::Value>(b" \n"), Err(BadBody::Empty)));
        assert!(matches!(
            decode::<serde_json::Value>(b"<!doctype html>"),
            Err(BadBody::Html)
        ));
        assert!(matches!(
            decode::<serde_json::Value>(b"{\"jobs\":["),
            Err(BadBody::Json(_))
        ));
    }
}
