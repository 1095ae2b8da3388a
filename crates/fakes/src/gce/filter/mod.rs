//! Filters of lists, in both grammars: comparisons after AIP-160 (`labels.owner = "x"`, `:`, `<` …), and
//! regular expressions over the whole text (`name eq gust-.*`).
//!
//! `OR` binds tighter than `AND`, as AIP-160 has it; expressions side by side are joined by AND.

mod parse;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use serde_json::Value;

use super::error::ApiError;
use crate::stamp::parse_rfc3339;

/// A field of a record.
pub enum Field<'a> {
    /// Its text.
    Is(Cow<'a, str>),
    /// Not there.
    Absent,
    /// Only the whole record can tell.
    Look,
}

/// What a filter is put to. The whole record is rendered only for fields that are not at hand.
pub trait Record {
    /// The field at this dotted path, if it is at hand.
    fn field(&self, path: &str) -> Field<'_>;
    /// The record as the API shows it.
    fn whole(&self) -> Value;
}

impl Record for Value {
    fn field(&self, _path: &str) -> Field<'_> {
        Field::Look
    }

    fn whole(&self) -> Value {
        self.clone()
    }
}

/// A filter, parsed.
#[derive(Debug)]
pub struct Filter(Node);

#[derive(Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Compare { path: String, test: Test },
}

#[derive(Debug)]
enum Test {
    Equal(String),
    NotEqual(String),
    Less(String),
    LessOrEqual(String),
    More(String),
    MoreOrEqual(String),
    Has(String),
    Matches(regex::Regex),
    MatchesNot(regex::Regex),
}

impl Filter {
    /// Reads a filter; an empty one is none.
    pub fn parse(text: Option<&str>) -> Result<Option<Self>, ApiError> {
        let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        match parse::parse(text) {
            Ok(node) => Ok(Some(Self(node))),
            Err(why) => Err(ApiError::field(
                "filter",
                text,
                &format!("Invalid list filter expression. {why}"),
            )),
        }
    }

    /// Whether the record passes.
    pub fn passes(&self, record: &impl Record) -> bool {
        self.0.passes(record)
    }
}

impl Node {
    fn passes(&self, record: &impl Record) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.passes(record)),
            Self::Any(nodes) => nodes.iter().any(|node| node.passes(record)),
            Self::Not(node) => !node.passes(record),
            Self::Compare { path, test } => match record.field(path) {
                Field::Is(text) => test.passes(&[text]),
                Field::Absent => test.passes(&[]),
                Field::Look => test.passes(&texts_at(&record.whole(), path)),
            },
        }
    }
}

/// All texts at a dotted path; a list on the way means any of its elements.
fn texts_at(value: &Value, path: &str) -> Vec<Cow<'static, str>> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| texts_at(item, path)).collect(),
        Value::Object(fields) if !path.is_empty() => {
            let (first, rest) = path.split_once('.').unwrap_or((path, ""));
            fields
                .get(first)
                .map(|field| texts_at(field, rest))
                .unwrap_or_default()
        }
        // A map compares by its keys: `labels:owner`.
        Value::Object(fields) => fields.keys().map(|key| Cow::Owned(key.clone())).collect(),
        _ if !path.is_empty() => Vec::new(),
        Value::String(text) => vec![Cow::Owned(text.clone())],
        Value::Null => Vec::new(),
        other => vec![Cow::Owned(other.to_string())],
    }
}

impl Test {
    fn passes(&self, texts: &[Cow<'_, str>]) -> bool {
        let any = |test: &dyn Fn(&str) -> bool| texts.iter().any(|text| test(text));
        match self {
            Self::Equal(wanted) => any(&|is| equal(is, wanted)),
            Self::NotEqual(wanted) => !any(&|is| equal(is, wanted)),
            Self::Less(than) => any(&|is| order(is, than).is_lt()),
            Self::LessOrEqual(than) => any(&|is| order(is, than).is_le()),
            Self::More(than) => any(&|is| order(is, than).is_gt()),
            Self::MoreOrEqual(than) => any(&|is| order(is, than).is_ge()),
            Self::Has(part) => any(&|is| part == "*" || is.contains(part.as_str())),
            Self::Matches(pattern) => any(&|is| pattern.is_match(is)),
            Self::MatchesNot(pattern) => !any(&|is| pattern.is_match(is)),
        }
    }
}

/// Equal as text, as a number, as a truth value, or as the last part of a URL (U: `zone = us-east4-a`).
fn equal(is: &str, wanted: &str) -> bool {
    is == wanted
        || (is.starts_with("https://") && is.rsplit('/').next() == Some(wanted))
        || matches!((is.parse::<f64>(), wanted.parse::<f64>()), (Ok(left), Ok(right)) if left == right)
        || ((is == "true" || is == "false") && is.eq_ignore_ascii_case(wanted))
}

/// By time, else by number, else by text.
fn order(is: &str, than: &str) -> std::cmp::Ordering {
    if let (Some(left), Some(right)) = (parse_rfc3339(is), parse_rfc3339(than)) {
        return left.cmp(&right);
    }
    match (is.parse::<f64>(), than.parse::<f64>()) {
        (Ok(left), Ok(right)) => left.total_cmp(&right),
        _ => is.cmp(than),
    }
}
