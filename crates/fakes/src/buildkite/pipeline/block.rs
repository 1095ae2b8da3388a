//! Block and input steps.

use serde_json::{Map, Value};

use super::text;
use crate::buildkite::ids::Refusal;

/// A block or input step, read.
#[derive(Clone, Debug)]
pub(in crate::buildkite) struct BlockPlan {
    /// An input step holds up only what depends on it.
    pub(in crate::buildkite) input: bool,
    /// Keys of its fields, and which of them must have a value.
    pub(in crate::buildkite) fields: Vec<(String, bool)>,
    /// State of the build meanwhile: `passed`, `failed` or `running`.
    pub(in crate::buildkite) blocked_state: &'static str,
}

/// Attributes such a step can have beside the common ones.
pub(super) const ATTRIBUTES: &[&str] = &[
    "block",
    "input",
    "manual",
    "prompt",
    "fields",
    "blocked_state",
    "allowed_teams",
];

/// Whether a step is an input step (true) or a block step (false), if it is either.
pub(super) fn is_input(step: &Map<String, Value>) -> Option<bool> {
    let of_type = step.get("type").and_then(Value::as_str);
    let is = |kind: &str| step.contains_key(kind) || of_type == Some(kind);
    if is("input") {
        Some(true)
    } else if is("block") || is("manual") {
        Some(false)
    } else {
        None
    }
}

pub(super) fn read(step: &Map<String, Value>, input: bool) -> Result<BlockPlan, Refusal> {
    let wrong = || Refusal::unprocessable("`fields` must be a list of fields, each with a `key`");
    let field = |value: &Value| {
        let key = value
            .get("key")
            .and_then(text)
            .filter(|key| !key.is_empty())
            .ok_or_else(wrong)?;
        // A field must have a value unless it says otherwise.
        let required = value.get("required").and_then(Value::as_bool).unwrap_or(true);
        Ok((key, required && value.get("default").is_none()))
    };
    let fields = match step.get("fields") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(fields)) => fields.iter().map(field).collect::<Result<_, Refusal>>()?,
        Some(_) => return Err(wrong()),
    };
    let blocked_state = match step.get("blocked_state").map(text) {
        None => "passed",
        Some(Some(state)) if state == "passed" => "passed",
        Some(Some(state)) if state == "failed" => "failed",
        Some(Some(state)) if state == "running" => "running",
        Some(_) => {
            return Err(Refusal::unprocessable(
                "`blocked_state` must be passed, failed or running",
            ));
        }
    };
    Ok(BlockPlan {
        input,
        fields,
        blocked_state,
    })
}
