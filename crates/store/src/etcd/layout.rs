//! Where things are in etcd, below the stack's prefix.

use gust_core::{
    ids::{ProjectId, Region, ReplicaId, Shard, StackName},
    time::Timestamp,
};

use super::wire::Keys;
use crate::key_prefix;

const LEADER: &str = "leader";
const COMMITS: &str = "commits";
const MEMBERS: &str = "members/";
const SHARDS: &str = "shards/";
const HISTORY: &str = "history/";
/// Sorts before `history/` and after every record before it, so that one gap leaves both out.
const HISTORY_BY_END: &str = "history-by-end/";

/// Makes and reads keys.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    prefix: String,
}

impl Layout {
    pub fn new(stack: &StackName) -> Self {
        Self {
            prefix: key_prefix(stack),
        }
    }

    /// The whole key of what is called so below the prefix.
    pub fn key(&self, below: &str) -> String {
        format!("{}{below}", self.prefix)
    }

    /// What a key is called below the prefix.
    pub fn below<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&*self.prefix).unwrap_or(key)
    }

    /// Value: the leader's name. Tied to its lease. Its create revision is the term.
    pub fn leader(&self) -> String {
        self.key(LEADER)
    }

    /// Value: `<term>-<n>` for the n-th transaction of records in that term.
    pub fn commits(&self) -> String {
        self.key(COMMITS)
    }

    /// Value: the member as JSON. Tied to its lease.
    pub fn member(&self, replica: &ReplicaId) -> String {
        self.key(&format!("{MEMBERS}{replica}"))
    }

    /// Value: the owner's name. Tied to its lease.
    pub fn shard(&self, shard: &Shard) -> String {
        self.key(&format!("{SHARDS}{shard}"))
    }

    pub fn members(&self) -> Keys {
        self.under(MEMBERS)
    }

    pub fn shards(&self) -> Keys {
        self.under(SHARDS)
    }

    pub fn history(&self) -> Keys {
        self.under(HISTORY)
    }

    /// No value. For each summary one key that sorts by the end of its job.
    pub fn history_by_end(&self) -> Keys {
        self.under(HISTORY_BY_END)
    }

    fn under(&self, part: &str) -> Keys {
        // `0` follows `/`.
        let end = format!("{}0", part.trim_end_matches('/'));
        Keys::interval(self.key(part), self.key(&end))
    }

    /// The key that stands for the summary `history/<job>`, given whole, by the end of its job.
    pub fn by_end(&self, summary: &str, ended_at: Timestamp) -> String {
        let job = self.below(summary).trim_start_matches(HISTORY);
        self.key(&format!("{HISTORY_BY_END}{:015}/{job}", ended_at.0.max(0)))
    }

    /// The summary's whole key and the end of its job, from the key that stands for it.
    pub fn parse_by_end(&self, key: &str) -> Option<(String, Timestamp)> {
        let (end, job) = self.below(key).strip_prefix(HISTORY_BY_END)?.split_once('/')?;
        Some((self.key(&format!("{HISTORY}{job}")), Timestamp(end.parse().ok()?)))
    }

    /// All records but history, in two intervals: before it and after it.
    pub fn records(&self) -> [Keys; 2] {
        let after = self.history().end.unwrap_or_default();
        let end = format!("{}0", self.prefix.trim_end_matches('/'));
        [
            Keys::interval(&*self.prefix, self.key(HISTORY_BY_END)),
            Keys::interval(after, end),
        ]
    }

    /// True for the key of a record: not one of those that this module's other methods make.
    pub fn is_record(&self, key: &str) -> bool {
        let below = self.below(key);
        below != LEADER && below != COMMITS && !below.starts_with(MEMBERS) && !below.starts_with(SHARDS)
    }

    /// The shard whose owner a key names.
    pub fn parse_shard(&self, key: &str) -> Option<Shard> {
        let (project, region) = self.below(key).strip_prefix(SHARDS)?.split_once('/')?;
        Some(Shard {
            project: ProjectId::new(project),
            region: Region::new(region),
        })
    }
}
