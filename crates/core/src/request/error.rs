//! What can be wrong with a job's tags, each with a code, what is allowed, and the nearest valid tag.

use std::fmt;

use super::tag::Tag;
use super::text;

/// Why tags make no request: all problems, in the order of the tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.render())]
pub struct Error {
    problems: Vec<Problem>,
}

impl Error {
    /// Wraps the problems found; `None` if there are none.
    pub(super) fn of(problems: Vec<Problem>) -> Option<Self> {
        (!problems.is_empty()).then_some(Self { problems })
    }

    /// The problems, at least one.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The code of the first problem, such as `GUST104`.
    pub fn code(&self) -> &'static str {
        self.problems.first().map_or("GUST100", Problem::code)
    }

    /// One line a problem, each with its code; at most [`text::DETAIL_BYTES`] bytes.
    pub fn render(&self) -> String {
        text::bounded(&self.lines())
    }

    /// The first problem in at most [`text::SHORT_CHARS`] characters.
    pub fn short(&self) -> String {
        text::short(&self.lines())
    }

    fn lines(&self) -> Vec<String> {
        self.problems
            .iter()
            .map(|p| format!("{}: {p}", p.code()))
            .collect()
    }
}

/// A whole tag that is valid, for who wrote one that is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The one that was probably meant, or that comes closest.
    Nearest(String),
    /// Just one of many, where nothing shows what was meant.
    Example(String),
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hint::Nearest(tag) => write!(f, "nearest: `{tag}`"),
            Hint::Example(tag) => write!(f, "for example `{tag}`"),
        }
    }
}

/// One thing that is wrong with a job's tags. The texts in it are safe to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A rule that is not `name=value`.
    #[error("`{rule}` is not a tag: write name=value; {hint}")]
    Malformed {
        /// The rule.
        rule: String,
        /// What to write.
        hint: Hint,
    },
    /// A name gust does not know.
    #[error("`{rule}`: there is no tag `{name}`{}; known are {known}", did_you_mean(.nearest))]
    UnknownTag {
        /// The rule.
        rule: String,
        /// Its name.
        name: String,
        /// The name that was probably meant.
        nearest: Option<String>,
        /// All names, as a list for people.
        known: String,
    },
    /// The same name with two values.
    #[error("`{rule}`: the tag `{tag}` is also given as `{first}`; give it once")]
    Repeated {
        /// The later rule.
        rule: String,
        /// Its tag.
        tag: Tag,
        /// The earlier value.
        first: String,
    },
    /// A value that cannot be read.
    #[error("`{rule}`: {tag} takes {expected}; {hint}")]
    BadValue {
        /// The rule.
        rule: String,
        /// Its tag.
        tag: Tag,
        /// What is allowed.
        expected: &'static str,
        /// What to write.
        hint: Hint,
    },
    /// More than the operator lets a job ask for.
    #[error(
        "`{rule}`: at most {limit} is allowed by {list}; nearest: `{nearest}`, or ask the operator of this queue"
    )]
    OverLimit {
        /// The rule.
        rule: String,
        /// Its tag.
        tag: Tag,
        /// The operator's limit, with its unit.
        limit: String,
        /// Where the operator set it, for people.
        list: String,
        /// The whole tag at the limit.
        nearest: String,
    },
    /// Something the operator does not let this job choose.
    #[error(
        "`{rule}`: {tag} `{value}` is not allowed by {list}; allowed: {allowed}{}, or ask the operator of this queue",
        nearest_tag(.nearest)
    )]
    NotAllowed {
        /// The rule.
        rule: String,
        /// Its tag.
        tag: Tag,
        /// The part of the value that is not allowed.
        value: String,
        /// The operator's list that refuses it, for people.
        list: String,
        /// What is, as a list for people.
        allowed: String,
        /// The whole tag that would be allowed.
        nearest: Option<String>,
    },
    /// A backend that this gust does not have: nobody can allow it.
    #[error("`{rule}`: this gust makes no machines on {backend}; to be had: {served}; nearest: `{nearest}`")]
    NoBackend {
        /// The rule.
        rule: String,
        /// The backend.
        backend: &'static str,
        /// Those that there are, as a list for people.
        served: String,
        /// The whole tag that would be taken.
        nearest: String,
    },
    /// More tags than are looked at.
    #[error("`{rule}` and what follows was not read: a job has at most {most} tags; leave some out")]
    TooMany {
        /// The first rule that was not read.
        rule: String,
        /// How many are read.
        most: usize,
    },
    /// Two tags that exclude each other.
    #[error("`{rule}` contradicts `{other}`: {why}; nearest: `{nearest}`")]
    Conflict {
        /// The rule.
        rule: String,
        /// The other one.
        other: String,
        /// Why they exclude each other.
        why: String,
        /// The whole tag that would go with the other.
        nearest: String,
    },
}

impl Problem {
    /// The stable code of the problem's page.
    pub fn code(&self) -> &'static str {
        match self {
            Problem::Malformed { .. } => "GUST101",
            Problem::UnknownTag { .. } => "GUST102",
            Problem::Repeated { .. } => "GUST103",
            Problem::BadValue { .. } => "GUST104",
            Problem::OverLimit { .. } => "GUST105",
            Problem::NotAllowed { .. } | Problem::NoBackend { .. } => "GUST106",
            Problem::Conflict { .. } => "GUST107",
            Problem::TooMany { .. } => "GUST108",
        }
    }
}

fn nearest_tag(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |tag| format!("; nearest: `{tag}`"))
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest
        .as_ref()
        .map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}
