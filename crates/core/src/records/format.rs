//! Which builds can read the records.

use serde::{Deserialize, Serialize};

use crate::mutant;

/// The form in which records are written. Key: `operator/format`.
///
/// A build reads what is one version ahead of it as long as that says so: it passes over fields that it does not know.
/// What it cannot read it does not lead over, so that an upgrade never has to stop everything, and a downgrade too far
/// never loses anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// The form. Every build that writes a field or a variant more counts one up.
    pub version: u32,
    /// The oldest form whose builds can read it: a new field leaves this as it is, a new variant that older builds
    /// cannot pass over does not.
    pub readable_by: u32,
}

/// Records of a form that this build cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "records have been written in form {}, which builds that write form {} or later can read; this one writes form {}: \
     upgrade it", .theirs.version, .theirs.readable_by, .ours
)]
pub struct TooNew {
    /// What was found.
    pub theirs: Format,
    /// The form that this build writes.
    pub ours: u32,
}

impl Format {
    /// The name of its record below `operator/`.
    pub const NAME: &str = "format";

    /// What builds of a version write: those of the version before can still read it.
    pub const fn of(version: u32) -> Self {
        Self {
            version,
            readable_by: if version > 1 { version - 1 } else { 1 },
        }
    }

    /// What this build writes. A build made with `GUST_RECORDS_NEXT` set stands for one of the next version, so that
    /// upgrades can be rehearsed before there is one: each of its records has a field more.
    pub const OURS: Self = Self::of(if NEXT { 3 } else { 2 });

    /// Whether a build that writes `ours` can read this.
    ///
    /// # Errors
    /// [`TooNew`] if it cannot.
    pub fn check(self, ours: u32) -> Result<(), TooNew> {
        if ours < self.readable_by && !mutant!("format-not-checked") {
            return Err(TooNew { theirs: self, ours });
        }
        Ok(())
    }
}

/// This build stands for the next version.
const NEXT: bool = option_env!("GUST_RECORDS_NEXT").is_some();

/// A record as it is written, with the field more that the next version's have.
#[derive(Serialize)]
struct Written<'a, T> {
    #[serde(flatten)]
    record: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<bool>,
}

/// A record as the store keeps it.
pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let bytes = if NEXT {
        serde_json::to_vec(&Written {
            record,
            next: Some(true),
        })
    } else {
        serde_json::to_vec(record)
    };
    bytes.expect("records have text keys and no maps that JSON could refuse")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Book, Change, Unreadable};

    #[test]
    fn a_build_leads_over_what_says_that_it_can_read_it() {
        let next = Format {
            version: 8,
            readable_by: 7,
        };
        assert_eq!(next.check(7), Ok(()));
        assert_eq!(next.check(9), Ok(()));
        let error = next.check(6).expect_err("too new");
        insta::assert_snapshot!(error, @"records have been written in form 8, which builds that write form 7 or later can read; this one writes form 6: upgrade it");
    }

    #[test]
    fn what_this_build_writes_it_reads() {
        assert_eq!(Format::OURS.check(Format::OURS.version), Ok(()));
    }

    fn format(version: u32, readable_by: u32) -> (String, Vec<u8>) {
        let change = Change::PutFormat(Format { version, readable_by });
        (change.key().to_string(), change.value().expect("it is written"))
    }

    fn load(records: &[(String, Vec<u8>)]) -> Result<Book, Unreadable> {
        let records = records.iter();
        Book::load(
            records.map(|(key, value)| (key.as_str(), value.as_slice())),
            Format::OURS,
        )
    }

    #[test]
    fn what_a_build_too_new_wrote_is_refused_before_anything_is_read() {
        let (ours, damaged) = (Format::OURS.version, ("jobs/x".to_owned(), b"?".to_vec()));
        let refused = load(&[damaged.clone(), format(ours + 2, ours + 1)]).expect_err("too new");
        assert!(matches!(refused, Unreadable::TooNew(_)), "{refused}");
        let damage = load(&[damaged, format(ours, ours)]).expect_err("damaged");
        assert!(matches!(damage, Unreadable::Damaged(_)), "{damage}");
    }

    #[test]
    fn kinds_of_records_that_the_next_build_has_are_passed_over() {
        let ours = Format::OURS.version;
        let surprise = ("surprises/1".to_owned(), b"{}".to_vec());
        let book = load(&[surprise.clone(), format(ours + 1, ours)]).expect("readable");
        assert_eq!(book.format().map(|format| format.version), Some(ours + 1));
        load(&[surprise, format(ours, ours)]).expect_err("damaged");
    }
}
