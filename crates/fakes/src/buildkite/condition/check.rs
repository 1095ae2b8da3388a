//! Kinds of values, checked before a condition is asked of anything.

use super::{Comparator, Expr, Node, Problem, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    Texts,
    Regex,
    Null,
    /// Text that is one of these.
    Choice(&'static [&'static str]),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "a number",
            Self::Flag => "true or false",
            Self::Texts => "an array",
            Self::Regex => "a regular expression",
            Self::Null => "null",
            Self::Choice(_) => "one of a few words",
        }
    }
}

/// The kind of what it comes to.
fn kind(node: &Node) -> Result<Kind, Problem> {
    Ok(match &node.expr {
        Expr::Value(Value::Text(_)) | Expr::Template(_) | Expr::Expansion(_) => Kind::Text,
        Expr::Value(Value::Number(_)) => Kind::Number,
        Expr::Value(Value::Flag(_)) => Kind::Flag,
        Expr::Value(Value::Texts(_)) => Kind::Texts,
        Expr::Value(Value::Null) => Kind::Null,
        Expr::Regex(_) => Kind::Regex,
        Expr::Variable(_, kind) => *kind,
        Expr::List(items) => {
            for item in items {
                expect(item, &[Kind::Text])?;
            }
            Kind::Texts
        }
        Expr::Env { name, .. } => {
            expect(name, &[Kind::Text])?;
            Kind::Text
        }
        Expr::Not(node) => {
            expect(node, &[Kind::Flag])?;
            Kind::Flag
        }
        Expr::All(nodes) | Expr::Any(nodes) => {
            for node in nodes {
                expect(node, &[Kind::Flag])?;
            }
            Kind::Flag
        }
        Expr::Compare(comparator, sides) => {
            compared(*comparator, &sides.0, &sides.1)?;
            Kind::Flag
        }
        Expr::Choose(nodes) => {
            let [condition, yes, no] = nodes.as_ref();
            expect(condition, &[Kind::Flag])?;
            alike(yes, no)?
        }
    })
}

/// Refuses what is of none of these kinds.
pub(super) fn expect(node: &Node, kinds: &[Kind]) -> Result<(), Problem> {
    let is = kind(node)?;
    if kinds.contains(&is) {
        return Ok(());
    }
    let wanted: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let what = format!("expected {}, found {}", wanted.join(" or "), is.name());
    Err(Problem::new(node.at, what))
}

fn compared(comparator: Comparator, left: &Node, right: &Node) -> Result<(), Problem> {
    match comparator {
        Comparator::Matches | Comparator::MatchesNot => {
            expect(left, &[Kind::Text, Kind::Null])?;
            expect(right, &[Kind::Regex])
        }
        Comparator::Includes => {
            expect(left, &[Kind::Texts, Kind::Null])?;
            expect(right, &[Kind::Text, Kind::Regex, Kind::Null])
        }
        Comparator::Equal | Comparator::Differs => alike(left, right).map(|_| ()),
    }
}

/// Both must be of one kind, or null.
fn alike(left: &Node, right: &Node) -> Result<Kind, Problem> {
    let (first, second) = (kind(left)?, kind(right)?);
    match (first, second) {
        (Kind::Regex, _) => Err(Problem::new(left.at, "a regular expression has no place here")),
        (Kind::Null, other) => Ok(other),
        (kind, Kind::Null) => Ok(kind),
        (Kind::Choice(words), _) => {
            expect(right, &[Kind::Text])?;
            match &right.expr {
                Expr::Value(Value::Text(word)) if !words.contains(&word.as_str()) => {
                    let what = format!("{word:?} is none of {}", words.join(", "));
                    Err(Problem::new(right.at, what))
                }
                _ => Ok(first),
            }
        }
        (kind, _) => {
            expect(right, &[kind])?;
            Ok(kind)
        }
    }
}
