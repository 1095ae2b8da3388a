//! What is wrong with a message, and where in it.

use std::fmt;

/// A message that cannot be taken over: a field is missing or makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{path}` {problem}")]
pub struct Malformed {
    /// Path of the field from the message's root, such as `create.members[3].job.id`.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// It must be there and is not (also: an empty text, an unset enum).
    Missing,
    /// It is no UUID.
    NotUuid,
    /// Its number is none this version knows.
    UnknownEnum(i32),
    /// It is not a finite number.
    NotFinite,
    /// It has more entries than this.
    TooMany(usize),
    /// It repeats another entry.
    Repeated,
    /// It is something else than what belongs here; says what was expected.
    Expected(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("is missing"),
            Self::NotUuid => f.write_str("is no UUID"),
            Self::UnknownEnum(number) => {
                write!(f, "has the value {number}, which this version does not know")
            }
            Self::NotFinite => f.write_str("is not a finite number"),
            Self::TooMany(most) => write!(f, "has more than {most} entries"),
            Self::Repeated => f.write_str("repeats another entry"),
            Self::Expected(what) => write!(f, "must be {what}"),
        }
    }
}

impl Malformed {
    pub(crate) fn at(path: impl Into<String>, problem: Problem) -> Self {
        Self {
            path: path.into(),
            problem,
        }
    }

    /// The same fault, seen from the message that holds this one in `field`.
    #[must_use]
    pub(crate) fn within(mut self, field: &str) -> Self {
        self.path = if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{field}.{}", self.path)
        };
        self
    }
}

/// A text that must not be empty.
pub(crate) fn text(field: &str, value: String) -> Result<String, Malformed> {
    if value.is_empty() {
        Err(Malformed::at(field, Problem::Missing))
    } else {
        Ok(value)
    }
}

/// A text that may be absent, but not empty where it is there.
pub(crate) fn optional_text(field: &str, value: Option<String>) -> Result<Option<String>, Malformed> {
    value.map(|value| text(field, value)).transpose()
}

/// A nested message that must be there.
pub(crate) fn message<P, T>(field: &str, value: Option<P>) -> Result<T, Malformed>
where
    T: TryFrom<P, Error = Malformed>,
{
    let value = value.ok_or_else(|| Malformed::at(field, Problem::Missing))?;
    T::try_from(value).map_err(|e| e.within(field))
}

/// Every entry of a list.
pub(crate) fn list<P, T>(
    field: &str,
    values: Vec<P>,
    mut each: impl FnMut(P) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    values
        .into_iter()
        .enumerate()
        .map(|(i, value)| each(value).map_err(|e| e.within(&format!("{field}[{i}]"))))
        .collect()
}

/// Every entry of a list of texts, none of them empty.
pub(crate) fn texts<T>(
    field: &str,
    values: Vec<String>,
    each: impl Fn(String) -> T,
) -> Result<Vec<T>, Malformed> {
    list(field, values, |value| text("", value).map(&each))
}

/// A UUID as text.
pub(crate) fn uuid(field: &str, value: &str) -> Result<uuid::Uuid, Malformed> {
    if value.is_empty() {
        return Err(Malformed::at(field, Problem::Missing));
    }
    uuid::Uuid::parse_str(value).map_err(|_| Malformed::at(field, Problem::NotUuid))
}
