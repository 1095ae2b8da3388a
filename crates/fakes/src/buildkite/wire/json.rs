//! Reading JSON bodies: what is not JSON, or has the wrong type, is a 400.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::buildkite::ids::Refusal;

/// A body that must be a JSON object.
pub(super) fn object(body: &Bytes) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(Refusal::bad("The request body must be a JSON object")),
        Err(error) => Err(Refusal::bad(format!(
            "The request body is not valid JSON: {error}"
        ))),
    }
}

/// A body that may be empty.
pub(super) fn optional_object(body: &Bytes) -> Result<Map<String, Value>, Refusal> {
    if body.iter().all(u8::is_ascii_whitespace) {
        Ok(Map::new())
    } else {
        object(body)
    }
}

/// A body of a known shape.
pub(super) fn typed<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("The request body is not valid: {error}")))
}

/// A list of texts: missing, `null` or anything else is a 400.
pub(super) fn texts(map: &Map<String, Value>, name: &str) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::bad(format!("{name} must be an array of strings"));
    let Some(Value::Array(items)) = map.get(name) else {
        return Err(wrong());
    };
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
        .collect()
}

/// An integer that may be absent.
pub(super) fn integer(map: &Map<String, Value>, name: &str) -> Result<Option<i64>, Refusal> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_i64()
            .map(Some)
            .ok_or_else(|| Refusal::bad(format!("{name} must be an integer"))),
    }
}

/// A text that may be absent.
pub(super) fn text(map: &Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::bad(format!("{name} must be a string"))),
    }
}

/// A flag that may be absent.
pub(super) fn flag(map: &Map<String, Value>, name: &str) -> bool {
    map.get(name).and_then(Value::as_bool).unwrap_or(false)
}
