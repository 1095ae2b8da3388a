//! Names of things. Each is its own type, so that a zone cannot be passed where a region is meant.

use std::{cmp::Ordering, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        // The order that would be derived. Most names that meet are copies of one another, which is seen
        // without reading them.
        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                if Arc::ptr_eq(&self.0, &other.0) {
                    return Ordering::Equal;
                }
                self.0.cmp(&other.0)
            }
        }

        impl $name {
            /// Wraps the text as it is; whoever reads it from outside checks it first.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The bare text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
    };
}

text_id!(
    /// One `[[source]]` of the configuration: an organization's cluster in Buildkite.
    SourceName
);
text_id!(
    /// A Buildkite queue key.
    QueueKey
);
text_id!(
    /// A Google Cloud project id.
    ProjectId
);
text_id!(
    /// A region such as `us-central1`.
    Region
);
text_id!(
    /// A zone such as `us-central1-a`.
    Zone
);
text_id!(
    /// One running `gust serve`.
    ReplicaId
);
text_id!(
    /// A machine type such as `n2d-standard-16` or `n2d-custom-8-20480`.
    MachineTypeName
);
text_id!(
    /// The name of a machine (a VM's name at Google).
    MachineName
);

impl Zone {
    /// The region a zone belongs to: everything before the last `-`.
    pub fn region(&self) -> Region {
        Region::new(self.0.rsplit_once('-').map_or(&*self.0, |(region, _)| region))
    }
}

/// The name of this gust deployment. It begins every machine's name and labels, so two deployments in one
/// project never touch each other's machines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StackName(String);

/// Why a text is no stack name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "stack name `{0}` must be 1 to 12 characters of a-z, 0-9 and `-`, start with a letter and not end with `-`"
)]
pub struct BadStackName(String);

impl StackName {
    /// Longest stack name: 12, so that a machine's name (stack, 26 characters of job, attempt) stays below 63.
    pub const MAX_LEN: usize = 12;

    /// Checks the text.
    ///
    /// # Errors
    /// [`BadStackName`] if it could not begin a Google resource name.
    pub fn new(text: &str) -> Result<Self, BadStackName> {
        let ok = (1..=Self::MAX_LEN).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && text.as_bytes()[0].is_ascii_lowercase()
            && !text.ends_with('-');
        if ok {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadStackName(text.to_owned()))
        }
    }

    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for StackName {
    type Error = BadStackName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<StackName> for String {
    fn from(name: StackName) -> Self {
        name.0
    }
}

/// One Buildkite command job. A retry is a new job with a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(pub Uuid);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A job together with the source it came from: what records and machines refer to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobRef {
    /// Where the job came from.
    pub source: SourceName,
    /// Its UUID there.
    pub id: JobId,
}

impl fmt::Display for JobRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.source, self.id)
    }
}

/// The id of a batch and, at the same time, the request id under which Google is asked for it.
///
/// It is derived from the first machine's name, and names are never used again; so it needs no
/// randomness, and a replay of the same record is the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub Uuid);

impl BatchId {
    /// The id of the batch whose first machine is `first`.
    pub fn of(first: &MachineName) -> Self {
        Self(Uuid::new_v5(
            &Uuid::NAMESPACE_URL,
            format!("gust:batch:{first}").as_bytes(),
        ))
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The leader's term: the create revision of its key in the store. It fences all that a leader does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u64);

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One (project, region): the unit of quota, budget and ownership.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shard {
    /// The Google Cloud project.
    pub project: ProjectId,
    /// The region within it.
    pub region: Region,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.region)
    }
}

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl MachineName {
    /// The name of the `attempt`-th machine made for a job: `<stack>-<26 base32 of the UUID>-<attempt>`.
    /// It says for which attempt the machine was made, never which job it runs.
    pub fn for_attempt(stack: &StackName, job: JobId, attempt: u32) -> Self {
        let mut text = String::with_capacity(stack.as_str().len() + 32);
        text.push_str(stack.as_str());
        text.push('-');
        let bits = u128::from_be_bytes(*job.0.as_bytes());
        // 26 characters of 5 bits are 130: the last one carries the remaining 3 bits, shifted left.
        for i in 0..26_u32 {
            let five = if i < 25 {
                (bits >> (123 - 5 * i)) & 31
            } else {
                (bits << 2) & 31
            };
            text.push(char::from(BASE32[five as usize]));
        }
        text.push('-');
        text.push_str(&attempt.to_string());
        Self(text.into())
    }

    /// The attempt number at the end of the name; 0 if there is none.
    pub fn attempt(&self) -> u32 {
        self.0
            .rsplit_once('-')
            .and_then(|(_, n)| n.parse().ok())
            .unwrap_or(0)
    }

    /// True if the name has the form of one of this stack's machines.
    pub fn belongs_to(&self, stack: &StackName) -> bool {
        self.0
            .strip_prefix(stack.as_str())
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|rest| rest.split_once('-'))
            .is_some_and(|(job, n)| {
                job.len() == 26
                    && job.bytes().all(|b| BASE32.contains(&b))
                    && !n.is_empty()
                    && n.bytes().all(|b| b.is_ascii_digit())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_names_fit_google_and_name_their_stack() {
        let stack = StackName::new("gust").expect("a good name");
        let name = MachineName::for_attempt(&stack, JobId(Uuid::from_u128(u128::MAX)), 7);
        assert_eq!(name.as_str(), "gust-777777777777777777777777".to_owned() + "74-7");
        assert!(name.belongs_to(&stack));
        assert!(!name.belongs_to(&StackName::new("gus").expect("a good name")));
        assert!(name.as_str().len() <= 63);
    }

    #[test]
    fn different_jobs_never_share_a_name() {
        let stack = StackName::new("gust").expect("a good name");
        let names: std::collections::BTreeSet<_> = (0..128)
            .map(|bit| MachineName::for_attempt(&stack, JobId(Uuid::from_u128(1_u128 << bit)), 1))
            .collect();
        assert_eq!(names.len(), 128);
    }

    #[test]
    fn bad_stack_names_are_refused() {
        for bad in ["", "-a", "9a", "a-", "UPPER", "thirteen-long"] {
            assert!(StackName::new(bad).is_err(), "{bad}");
        }
    }
}
