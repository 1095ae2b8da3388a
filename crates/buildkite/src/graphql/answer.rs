//! Reading an answer of the GraphQL API: a good status may carry errors, with data or without.

use std::time::Duration;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::{BadBody, Error, Remedy},
    reply::Reply,
    scope::{Effect, Scope},
};

/// Words of the service kept in an error, in characters.
const WORDS: usize = 300;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    errors: Option<Vec<Complaint>>,
}

#[derive(Deserialize)]
struct Complaint {
    #[serde(default)]
    message: String,
    /// Which field of the answer is missing for it.
    #[serde(default)]
    path: Option<Vec<Value>>,
}

/// The data of an answer. What is missing from it because of an error in a single field is null there, as if it did not exist.
pub(super) fn read<T: DeserializeOwned>(reply: &Reply) -> Result<T, Error> {
    let scope = reply.scope;
    let answer: Answer = reply.json()?;
    let errors = answer.errors.unwrap_or_default();
    let data = answer.data.filter(|data| !data.is_null());
    let whole = errors
        .iter()
        .find(|error| error.path.as_ref().is_none_or(Vec::is_empty));
    match (whole.or(errors.first()), data) {
        (None, None) => Err(body(reply, serde::de::Error::custom("neither data nor errors"))),
        (Some(error), data) if whole.is_some() || data.is_none() || scope.effect() != Effect::Read => {
            Err(refused(scope, &error.message))
        }
        (error, Some(data)) => {
            if let Some(error) = error {
                tracing::debug!(
                    call = scope.name(),
                    error = error.message,
                    "a part of an answer is missing"
                );
            }
            T::deserialize(data).map_err(|cause| body(reply, cause))
        }
        (Some(error), None) => Err(refused(scope, &error.message)),
    }
}

fn body(reply: &Reply, cause: serde_json::Error) -> Error {
    Error::Body {
        scope: reply.scope,
        status: reply.status,
        source: BadBody::Json(cause),
    }
}

/// Buildkite names no codes, so its words decide; where they are not known, a query is asked again later.
fn refused(scope: Scope, words: &str) -> Error {
    let lower = words.to_ascii_lowercase();
    let says = |some: &[&str]| some.iter().any(|word| lower.contains(word));
    let remedy = if says(&["complexity points", "rate limit", "try again in"]) {
        Remedy::RetryLater {
            after: seconds_in(&lower),
        }
    } else if says(&[
        "max complexity",
        "parse error",
        "doesn't exist on type",
        "invalid value",
    ]) {
        Remedy::Refused
    } else if says(&[
        "unauthorized",
        "not authorized",
        "permission",
        "access token",
        "scope",
    ]) {
        Remedy::Unauthorized
    } else if says(&["not found", "no job", "no organization"]) {
        Remedy::Gone
    } else if scope.effect() == Effect::Read {
        Remedy::RetryLater { after: None }
    } else {
        Remedy::Refused
    };
    let message = words
        .chars()
        .take(WORDS)
        .map(|c| if c.is_control() { ' ' } else { c });
    Error::Graphql {
        scope,
        remedy,
        message: message.collect(),
    }
}

/// The number before the word `seconds`.
fn seconds_in(words: &str) -> Option<Duration> {
    let before = words.split(" second").next()?;
    let number = before.rsplit(' ').next()?.parse().ok()?;
    Some(Duration::from_secs(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(scope: Scope, body: &str) -> Result<Value, Error> {
        read(&Reply {
            scope,
            status: 200,
            body: body.as_bytes().to_vec(),
        })
    }

    #[test]
    fn errors_in_a_good_reply_are_classed_by_their_words() {
        let over = "Your organization has exceeded the limit of 20000 complexity points. Please try again in 187 seconds.";
        let cases = [
            (
                over,
                Remedy::RetryLater {
                    after: Some(Duration::from_secs(187)),
                },
            ),
            (
                "Query has complexity of 251503, which exceeds max complexity of 50000",
                Remedy::Refused,
            ),
            ("Field 'x' doesn't exist on type 'Job'", Remedy::Refused),
            ("You are not authorized to do that", Remedy::Unauthorized),
            ("No organization found", Remedy::Gone),
            ("Something went wrong", Remedy::RetryLater { after: None }),
        ];
        for (words, remedy) in cases {
            let body = serde_json::json!({ "data": null, "errors": [{ "message": words }] });
            let error = read_text(Scope::GraphqlStates, &body.to_string()).expect_err(words);
            assert_eq!(error.remedy(), remedy, "{words}");
        }
        let cancel = read_text(
            Scope::GraphqlCancel,
            r#"{"errors":[{"message":"Job can't be canceled"}]}"#,
        );
        assert_eq!(cancel.expect_err("refused").remedy(), Remedy::Refused);
    }

    #[test]
    fn an_error_in_one_field_leaves_the_others() {
        let part = r#"{"data":{"j0":{"state":"RUNNING"},"j1":null},"errors":[{"message":"no access","path":["j1"]}]}"#;
        let data = read_text(Scope::GraphqlStates, part).expect("a part of it");
        assert_eq!(data["j0"]["state"], "RUNNING");
        for body in [
            "{}",
            r#"{"data":null}"#,
            "[]",
            "7",
            r#"{"data":{},"errors":[{"message":"whole"}]}"#,
        ] {
            assert!(read_text(Scope::GraphqlStates, body).is_err(), "{body}");
        }
    }
}
