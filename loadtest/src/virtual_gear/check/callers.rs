//! Invariant 5, as the world sees it from outside: only the leader calls Buildkite, only the owner of a shard
//! calls Google there, no worker goes back to a leader of an older term, and nothing new is made in a shard before its new
//! owner has looked at it.
//!
//! Who calls is known by the network, who leads and who owns by etcd. Both stop on their own before their lease
//! can lapse, so a call that leaves later is one of a replica that believes in what is over.

use std::{collections::BTreeMap, time::Duration};

use gust_core::{ids::Shard, records::Change};

use super::{super::run::name_of, Checker, Invariant};

/// Owners of shards, and whom workers follow.
#[derive(Debug, Default)]
pub(super) struct Callers {
    /// By the shard's key: project and region.
    owners: BTreeMap<String, Owner>,
    /// The term that each replica's worker follows.
    follows: BTreeMap<String, u64>,
    /// Hellos that were accepted by the present life of a replica: in which order they came, of which term.
    followed: BTreeMap<usize, Vec<(u64, u64)>>,
    /// Leaders whose leases were ended by somebody else, and when.
    deposed: BTreeMap<String, Duration>,
}

/// Who owns a shard, and what it has asked Google there since.
#[derive(Debug)]
struct Owner {
    name: String,
    /// The term that it followed when it took the shard.
    term: u64,
    listed: bool,
    measured: bool,
}

/// A leader whose lease another replica ended knows that no later: by then it would have stopped by itself.
const UNAWARE: Duration = Duration::from_secs(4);

impl Callers {
    /// The key of a shard, below `shards/`, was written or removed.
    pub fn owner_written(&mut self, shard: &str, owner: Option<&[u8]>) {
        match owner {
            Some(owner) => {
                let name = String::from_utf8_lossy(owner).into_owned();
                if self.owners.get(shard).is_some_and(|owner| owner.name == name) {
                    return;
                }
                let owner = Owner {
                    term: self.follows.get(&name).copied().unwrap_or(0),
                    name,
                    listed: false,
                    measured: false,
                };
                self.owners.insert(shard.to_owned(), owner);
            }
            None => drop(self.owners.remove(shard)),
        }
    }

    /// Another replica ended the leader's lease.
    pub fn leader_deposed(&mut self, at: Duration, leader: &str) {
        self.deposed.insert(leader.to_owned(), at);
    }

    /// Whether a replica cannot know yet that it does not lead any more. What it does then was durable before, and it
    /// writes nothing.
    fn is_unaware(&self, at: Duration, replica: &str) -> bool {
        let deposed = self.deposed.get(replica);
        deposed.is_some_and(|since| at <= *since + UNAWARE)
    }

    /// A replica began anew: it remembers nobody.
    pub fn forget(&mut self, replica: usize) {
        self.followed.remove(&replica);
    }
}

impl Checker {
    /// A call to Buildkite leaves a replica of this name.
    pub fn calls_buildkite(&mut self, at: Duration, replica: &str, call: &str) {
        if self.store.leader == replica || self.callers.is_unaware(at, replica) {
            return;
        }
        self.catch_up(at);
        let leads = match self.store.leader.as_str() {
            "" => "nobody leads".to_owned(),
            leader => format!("{leader} leads"),
        };
        let what = format!("{replica} calls Buildkite ({call}) while {leads}");
        self.violate(at, Invariant::Terms, what, &[], &[]);
    }

    /// A call to Google about a shard leaves a replica of this name.
    pub fn calls_google(&mut self, at: Duration, replica: &str, shard: &Shard, call: &str) {
        let key = shard.to_string();
        let owner = self.callers.owners.get_mut(&key);
        let owns = match owner {
            Some(owner) if owner.name == replica => {
                owner.listed |= call == "list";
                owner.measured |= call == "quotas";
                return;
            }
            Some(owner) => format!("{} owns it", owner.name),
            None => "nobody owns it".to_owned(),
        };
        self.catch_up(at);
        let what = format!("{replica} calls Google ({call}) for {key} while {owns}");
        self.violate(at, Invariant::Terms, what, &[], &[]);
    }

    /// Batches are recorded: where the shard's owner took it in this very term, it must have read quotas and listed
    /// machines since, for only that tells the leader what is there. (An owner of an earlier term may have said so to another
    /// leader, or says now that it kept the shard.)
    pub(super) fn owner_has_looked(&mut self, at: Duration, term: u64, changes: &[Change]) {
        for change in changes {
            let Change::PutBatch(batch) = change else { continue };
            let key = batch.shard().to_string();
            let blind = self
                .callers
                .owners
                .get(&key)
                .filter(|owner| owner.term == term && !(owner.listed && owner.measured));
            if let Some(owner) = blind
                && !self.store.book.batches().contains_key(&batch.id)
            {
                let what = format!(
                    "batch {} is recorded for {key} before {}, which took it in this term, has looked at it",
                    batch.id, owner.name
                );
                self.violate(at, Invariant::Terms, what, &[], &[]);
            }
        }
    }

    /// A worker accepted a leader's hello, the `order`-th that reached any worker.
    pub fn followed(&mut self, at: Duration, replica: usize, order: u64, term: u64) {
        self.catch_up(at);
        let hellos = self.callers.followed.entry(replica).or_default();
        let back = hellos.iter().find(|(earlier, known)| {
            (*earlier < order && *known > term) || (*earlier > order && *known < term)
        });
        let other = back.map(|(_, other)| *other);
        hellos.push((order, term));
        let latest = hellos.iter().max().map_or(term, |(_, term)| *term);
        self.callers.follows.insert(name_of(replica).to_string(), latest);
        if let Some(other) = other {
            let what = format!(
                "the worker of replica {replica} follows term {} after it followed term {}",
                term.min(other),
                term.max(other)
            );
            self.violate(at, Invariant::Terms, what, &[], &[]);
        }
    }
}
