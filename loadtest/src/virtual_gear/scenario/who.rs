//! Which replica something is about, as scenarios name it.

use serde::{Deserialize, Serialize};

/// Which replica a fault strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WhoInFile", into = "WhoInFile")]
pub enum Who {
    /// The one that leads, as far as the world can tell: the last that called Buildkite.
    #[default]
    Leader,
    /// The one whose message, or whose job or machine, triggered the fault; else the leader.
    Sender,
    /// One that does not lead; with a single replica that one.
    Other,
    /// The one of this index, from 0.
    Index(usize),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "a replica is \"leader\", \"sender\", \"other\", or a number from 0"
)]
enum WhoInFile {
    Index(usize),
    Named(Named),
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Named {
    Leader,
    Sender,
    Other,
}

impl From<WhoInFile> for Who {
    fn from(who: WhoInFile) -> Self {
        match who {
            WhoInFile::Index(index) => Self::Index(index),
            WhoInFile::Named(Named::Leader) => Self::Leader,
            WhoInFile::Named(Named::Sender) => Self::Sender,
            WhoInFile::Named(Named::Other) => Self::Other,
        }
    }
}

impl From<Who> for WhoInFile {
    fn from(who: Who) -> Self {
        match who {
            Who::Index(index) => Self::Index(index),
            Who::Leader => Self::Named(Named::Leader),
            Who::Sender => Self::Named(Named::Sender),
            Who::Other => Self::Named(Named::Other),
        }
    }
}
