//! Conditions of steps (`if`): read once, then asked of a build.
//!
//! Facts (docs: `pipelines/configure/conditionals`, and the public evaluator buildkite/conditional for what those leave
//! open): dotted names are flat; kinds are checked before anything is asked; `&&` binds tighter than `||`, both looser
//! than the comparators, `!` tightest of all; nothing but `true` lets a step run. Regular expressions are those of the
//! crate `regex`, so what looks ahead or refers back is refused.

mod check;
mod expand;
mod grammar;
mod variables;
mod words;

use std::fmt;

use regex::Regex;

use check::Kind;
use expand::{Expansion, Piece};
pub(super) use variables::is_visible;

/// What is wrong with a condition, and at which character of it, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    what: String,
    at: usize,
}

impl Problem {
    fn new(at: usize, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            at,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} at character {}", self.what, self.at)
    }
}

/// What a condition can ask about.
pub(super) trait Facts {
    /// The value of a variable that [`variables`] has.
    fn variable(&self, name: &str) -> Value;
    /// A variable of the build's environment; none where it is not set.
    fn env(&self, name: &str) -> Option<String>;
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
    Texts(Vec<String>),
    Null,
}

impl Value {
    fn is_true(&self) -> bool {
        *self == Self::Flag(true)
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        text.map_or(Self::Null, Self::Text)
    }
}

/// A condition, read and checked.
#[derive(Debug)]
pub(super) struct Condition(Node);

impl Condition {
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let node = grammar::read(words::cut(text)?)?;
        check::expect(&node, &[Kind::Flag])?;
        Ok(Self(node))
    }

    /// Whether it is true of a build.
    pub(super) fn holds(&self, facts: &dyn Facts) -> bool {
        self.0.value(facts).is_true()
    }
}

/// A part of a condition, and where it begins.
#[derive(Debug)]
struct Node {
    at: usize,
    expr: Expr,
}

#[derive(Debug)]
enum Expr {
    Value(Value),
    /// Text in double quotes, with what is put into it.
    Template(Vec<Piece>),
    Expansion(Expansion),
    Regex(Regex),
    List(Vec<Node>),
    Variable(&'static str, Kind),
    /// `env("X")`, or `build.env("X")`, which is null where there is no such variable.
    Env {
        nullable: bool,
        name: Box<Node>,
    },
    Not(Box<Node>),
    /// `&&`, however often.
    All(Vec<Node>),
    /// `||`, however often.
    Any(Vec<Node>),
    Compare(Comparator, Box<(Node, Node)>),
    /// Condition, value where it holds, value where it does not.
    Choose(Box<[Node; 3]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparator {
    Equal,
    Differs,
    Matches,
    MatchesNot,
    Includes,
}

impl Node {
    fn value(&self, facts: &dyn Facts) -> Value {
        match &self.expr {
            Expr::Value(value) => value.clone(),
            Expr::Template(pieces) => Value::Text(expand::text(pieces, facts)),
            Expr::Expansion(expansion) => expansion.value(facts).into(),
            // Only what compares looks into it.
            Expr::Regex(_) => Value::Null,
            Expr::List(items) => {
                let texts = items.iter().filter_map(|item| match item.value(facts) {
                    Value::Text(text) => Some(text),
                    _ => None,
                });
                Value::Texts(texts.collect())
            }
            Expr::Variable(name, _) => facts.variable(name),
            Expr::Env { nullable, name } => {
                let found = match name.value(facts) {
                    Value::Text(name) => facts.env(&name),
                    _ => None,
                };
                if *nullable {
                    found.into()
                } else {
                    Value::Text(found.unwrap_or_default())
                }
            }
            Expr::Not(node) => Value::Flag(!node.value(facts).is_true()),
            Expr::All(nodes) => Value::Flag(nodes.iter().all(|node| node.value(facts).is_true())),
            Expr::Any(nodes) => Value::Flag(nodes.iter().any(|node| node.value(facts).is_true())),
            Expr::Compare(comparator, sides) => {
                Value::Flag(compare(*comparator, &sides.0.value(facts), &sides.1, facts))
            }
            Expr::Choose(nodes) => {
                let [condition, yes, no] = nodes.as_ref();
                if condition.value(facts).is_true() {
                    yes.value(facts)
                } else {
                    no.value(facts)
                }
            }
        }
    }
}

fn compare(comparator: Comparator, left: &Value, right: &Node, facts: &dyn Facts) -> bool {
    let matches = |text: &str| matches!(&right.expr, Expr::Regex(regex) if regex.is_match(text));
    match (comparator, left) {
        (Comparator::Equal, _) => *left == right.value(facts),
        (Comparator::Differs, _) => *left != right.value(facts),
        (Comparator::Matches, Value::Text(text)) => matches(text),
        (Comparator::MatchesNot, Value::Text(text)) => !matches(text),
        (Comparator::Includes, Value::Texts(texts)) => match right.value(facts) {
            Value::Text(wanted) => texts.contains(&wanted),
            _ => texts.iter().any(|text| matches(text)),
        },
        // Null has nothing in it, and matches nothing.
        (Comparator::Matches | Comparator::Includes, _) => false,
        (Comparator::MatchesNot, _) => true,
    }
}
