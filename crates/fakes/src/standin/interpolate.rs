//! `$VAR` and `${VAR…}` in pipeline files, filled in by the agent when steps are uploaded.
//!
//! Forms: `$VAR`, `${VAR}`, `${VAR:-text}` and `${VAR-text}` (default), `${VAR:?text}` and `${VAR?text}`
//! (required); `$$` and `\$` give a dollar sign. Source: Buildkite's documentation of `pipeline upload`.

use serde_json::{Map, Value};

/// Looks a variable up.
pub trait Lookup: Fn(&str) -> Option<String> {}
impl<F: Fn(&str) -> Option<String>> Lookup for F {}

/// Fills in every string of a document, keys included.
///
/// # Errors
/// A broken expression or a required variable that is not set, in words.
pub fn document(value: Value, lookup: &impl Lookup) -> Result<Value, String> {
    Ok(match value {
        Value::String(string) => Value::String(text(&string, lookup)?),
        Value::Array(items) => Value::Array(
            items
                .into_iter()
                .map(|item| document(item, lookup))
                .collect::<Result<_, _>>()?,
        ),
        Value::Object(entries) => {
            let mut out = Map::new();
            for (key, value) in entries {
                out.insert(text(&key, lookup)?, document(value, lookup)?);
            }
            Value::Object(out)
        }
        other => other,
    })
}

/// Fills in one string.
pub fn text(input: &str, lookup: &impl Lookup) -> Result<String, String> {
    let mut out = String::with_capacity(input.len());
    let mut rest = input;
    while let Some(at) = rest.find(['$', '\\']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$").or_else(|| rest.strip_prefix("\\$")) {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let end = after
                .find('}')
                .ok_or_else(|| format!("`${{` without `}}` in `{input}`"))?;
            out.push_str(&braced(&after[..end], lookup)?);
            rest = &after[end + 1..];
        } else if rest.starts_with('$') && name_length(&rest[1..]) > 0 {
            let end = 1 + name_length(&rest[1..]);
            out.push_str(&lookup(&rest[1..end]).unwrap_or_default());
            rest = &rest[end..];
        } else {
            // A lone dollar or backslash, such as in `$(date)`, stays.
            out.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn name_length(text: &str) -> usize {
    let first_ok = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if first_ok {
        text.bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
            .count()
    } else {
        0
    }
}

fn braced(expression: &str, lookup: &impl Lookup) -> Result<String, String> {
    let (name, operation) = expression.split_at(name_length(expression));
    if name.is_empty() {
        return Err(format!("`${{{expression}}}` names no variable"));
    }
    let value = lookup(name);
    let not_empty = value.clone().filter(|value| !value.is_empty());
    if operation.is_empty() {
        return Ok(value.unwrap_or_default());
    }
    let operations: [(&str, Option<String>, bool); 4] = [
        (":-", not_empty.clone(), false),
        (":?", not_empty, true),
        ("-", value.clone(), false),
        ("?", value, true),
    ];
    for (sign, value, required) in operations {
        if let Some(word) = operation.strip_prefix(sign) {
            return match value {
                Some(value) => Ok(value),
                None if required => Err(format!("${name} is not set: {word}")),
                None => text(word, lookup),
            };
        }
    }
    Err(format!("`${{{expression}}}` is not understood"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(input: &str) -> Result<String, String> {
        text(input, &|name: &str| match name {
            "BRANCH" => Some("main".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_filled_in_and_escapes_stay() {
        for (input, want) in [
            ("a $BRANCH b", "a main b"),
            ("${BRANCH}x", "mainx"),
            ("$${BRANCH}", "${BRANCH}"),
            ("\\$BRANCH", "$BRANCH"),
            ("${NONE:-d}${EMPTY:-d}${EMPTY-d}", "dd"),
            ("${NONE:-$BRANCH}", "main"),
            ("$NONE|$(date)|$5|\\n", "|$(date)|$5|\\n"),
        ] {
            assert_eq!(filled(input).as_deref(), Ok(want), "{input}");
        }
    }

    #[test]
    fn broken_and_required_ones_are_errors() {
        assert!(filled("${BRANCH").is_err());
        assert!(filled("${}").is_err());
        assert!(filled("${NONE?must be set}").is_err_and(|error| error.contains("must be set")));
        assert!(filled("${EMPTY:?must not be empty}").is_err());
        assert!(filled("${BRANCH^^}").is_err());
    }
}
