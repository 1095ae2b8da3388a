//! Where records are kept: stores behind [`gust_core::ports::Store`].
//!
//! [`embedded`] keeps them in one file, for a single replica without etcd. [`etcd`] keeps them in etcd, for
//! several replicas. Both pass the suite in `conformance` (feature of that name). What the records mean, and who may
//! lead, is decided elsewhere: a store only keeps, fences and counts.

pub mod embedded;
pub mod etcd;
pub mod history;
pub mod journal;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

use gust_core::ids::StackName;

pub use embedded::EmbeddedStore;
pub use etcd::EtcdStore;
pub use history::HistoryBounds;
pub use journal::{Journal, WallClock};

/// What stands before the key of every record of a stack, in etcd and in the commit journal.
pub fn key_prefix(stack: &StackName) -> String {
    format!("/gust/v1/{stack}/")
}
