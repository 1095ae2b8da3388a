//! What requests say in their query: lists, flags, times, patterns.

use crate::buildkite::ids::Refusal;
use crate::stamp::parse_rfc3339;
use crate::wire::Request;

/// `state`, and `state[]` as often as one likes.
pub(super) fn values<'a>(request: &'a Request, name: &str) -> Vec<&'a str> {
    let named = request
        .query
        .iter()
        .filter(|(key, _)| key == name || key.strip_suffix("[]") == Some(name));
    named.map(|(_, value)| value.as_str()).collect()
}

/// Whether a flag is set. As Rails has it, all but a few words are yes: Python's clients send `True`.
pub(super) fn flag(request: &Request, name: &str) -> Option<bool> {
    const NO: [&str; 5] = ["false", "f", "0", "off", "no"];
    let text = request.query(name).filter(|text| !text.is_empty())?;
    Some(!NO.iter().any(|no| text.eq_ignore_ascii_case(no)))
}

/// A time in ISO 8601: of RFC 3339 also without zone, which means UTC, and a date alone.
pub(super) fn time(request: &Request, name: &str) -> Result<Option<i128>, Refusal> {
    let Some(text) = request.query(name) else {
        return Ok(None);
    };
    let read = parse_rfc3339(text)
        .or_else(|| parse_rfc3339(&format!("{text}Z")))
        .or_else(|| parse_rfc3339(&format!("{text}T00:00:00Z")));
    let wrong = || Refusal::bad(format!("{name} is not an ISO 8601 time"));
    read.map(Some).ok_or_else(wrong)
}
