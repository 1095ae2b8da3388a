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

/// Whether a text is what a pattern says, in which `*` stands for anything.
pub(in crate::buildkite::wire) fn like(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut left) = text.strip_prefix(head) else {
        return false;
    };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*') {
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, is) in [
            ("main", "main", true),
            ("main", "maine", false),
            ("*dev*", "my-dev-branch", true),
            ("*dev*", "main", false),
            ("feature/*", "feature/a/b", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(like(pattern, text), is, "{pattern} {text}");
        }
    }
}
