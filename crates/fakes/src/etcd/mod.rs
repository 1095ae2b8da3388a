//! etcd as a pure model: revisions, guarded transactions, leases, watches and compaction, as far as gust
//! uses them and as strict as the real one.
//!
//! Semantics are those of etcd 3.5 ([api guarantees], [transactions], [leases]) for one key space that a majority
//! agrees on: what is asked for here has reached the raft leader and takes effect at once. Whether a
//! request or its answer arrives, whether there is a majority, and how long anything takes, is for whoever
//! drives the model. Time is a value, counted from the start of the world.
//!
//! Left out, because gust does not use it: users and roles, nested transactions, sorting, `ignore_value`,
//! `prev_kv`, checkpoints of leases (they matter for TTLs above five minutes), alarms.
//!
//! [api guarantees]: https://etcd.io/docs/v3.5/learning/api_guarantees/
//! [transactions]: https://etcd.io/docs/v3.5/learning/api/#transaction
//! [leases]: https://etcd.io/docs/v3.5/learning/api/#lease-api

mod keyspace;
mod lease;
#[cfg(test)]
mod tests;
mod txn;
mod types;

use std::{sync::Arc, time::Duration};

use keyspace::Keyspace;
use lease::Lessor;
pub use types::{
    Applied, Compare, Error, Event, KeyValue, Keys, MOST_OPS, Op, OpResponse, REQUEST_BYTES, RangeRequest,
    RangeResponse, Relation, Target, Txn, TxnResponse,
};

/// One etcd cluster, as its clients see it.
#[derive(Debug, Default)]
pub struct Model {
    keyspace: Keyspace,
    lessor: Lessor,
    applied: Vec<Applied>,
    tapped: bool,
}

impl Model {
    /// The revision of the last change; 1 when nothing was ever written.
    pub fn revision(&self) -> u64 {
        self.keyspace.revision()
    }

    /// The revision up to which history was forgotten; 0 if it never was.
    pub fn compacted(&self) -> u64 {
        self.keyspace.compacted()
    }

    /// Keeps what is applied from now on, for [`Model::take_applied`].
    pub fn tap(&mut self) {
        self.tapped = true;
    }

    /// Every revision applied since the last call, in order.
    pub fn take_applied(&mut self) -> Vec<Applied> {
        std::mem::take(&mut self.applied)
    }

    /// Reads keys.
    ///
    /// # Errors
    /// An empty key; a revision that is compacted, or not there yet.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        txn::check_range(request)?;
        self.keyspace.range(request)
    }

    /// Compares, and does the one list or the other, all at one revision.
    ///
    /// # Errors
    /// The request is malformed or too large, puts a key twice, names a lease that does not live, or reads at
    /// a revision that it cannot. Nothing was written then.
    pub fn txn(&mut self, request: &Txn) -> Result<TxnResponse, Error> {
        txn::check(request)?;
        let succeeded = request
            .compares
            .iter()
            .all(|compare| self.keyspace.holds(compare));
        let ops = if succeeded {
            &request.success
        } else {
            &request.failure
        };
        for op in ops {
            match op {
                Op::Put { lease, .. } if *lease != 0 && !self.lessor.lives(*lease) => {
                    return Err(Error::LeaseNotFound);
                }
                Op::Range(range) => self.keyspace.check_revision(range.revision)?,
                Op::Put { .. } | Op::Delete(_) => {}
            }
        }
        let responses = ops.iter().map(|op| self.execute(op)).collect::<Result<_, _>>()?;
        self.keyspace.end();
        let guard = succeeded.then(|| txn::guard(request)).flatten();
        self.note(guard);
        Ok(TxnResponse {
            revision: self.revision(),
            succeeded,
            responses,
        })
    }

    fn execute(&mut self, op: &Op) -> Result<OpResponse, Error> {
        Ok(match op {
            Op::Put { key, value, lease } => {
                let before = self.keyspace.put(key, value, *lease);
                self.lessor.attach(key, before, *lease);
                OpResponse::Put
            }
            Op::Delete(keys) => {
                let deleted = self.keyspace.delete(keys);
                for (key, lease) in &deleted {
                    self.lessor.attach(key, *lease, 0);
                }
                OpResponse::Deleted(deleted.len())
            }
            Op::Range(range) => OpResponse::Range(self.keyspace.range(range)?),
        })
    }

    /// Keeps the revision that was just made, if one was and somebody wants it.
    fn note(&mut self, guard: Option<u64>) {
        let fresh = self.keyspace.take_fresh();
        if !(fresh && self.tapped) {
            return;
        }
        let revision = self.revision();
        let write = |event: &Event| (event.key.clone(), event.value.clone());
        let writes = self.keyspace.events_at(revision).iter().map(write).collect();
        self.applied.push(Applied {
            revision,
            guard,
            writes,
        });
    }

    /// Grants a lease under a new id; returns that and its TTL in seconds, which is at least the cluster's
    /// floor.
    ///
    /// # Errors
    /// The TTL is above etcd's limit.
    pub fn lease_grant(&mut self, now: Duration, ttl: u64) -> Result<(i64, u64), Error> {
        self.lessor.grant(now, ttl)
    }

    /// Renews a lease; returns its TTL in seconds.
    ///
    /// # Errors
    /// It has lapsed or was revoked. A client sees this as an answer with a TTL of 0. If it has expired without
    /// having been revoked, the real one answers after that; here it is revoked by the question.
    pub fn lease_keep_alive(&mut self, now: Duration, id: i64) -> Result<u64, Error> {
        if self.lessor.expired(now, id) {
            self.lease_revoke(id)?;
        }
        self.lessor.renew(now, id)
    }

    /// Ends a lease and deletes all keys tied to it, in one revision.
    ///
    /// # Errors
    /// There is no such lease.
    pub fn lease_revoke(&mut self, id: i64) -> Result<(), Error> {
        for key in self.lessor.revoke(id)? {
            self.keyspace.delete(&Keys::one(key));
        }
        self.keyspace.end();
        self.note(None);
        Ok(())
    }

    /// True while the lease lives.
    pub fn lease_lives(&self, id: i64) -> bool {
        self.lessor.lives(id)
    }

    /// The raft leader is another one: every lease gets its whole TTL again, and an election timeout on top.
    pub fn leader_moved(&mut self, now: Duration) {
        self.lessor.promote(now);
    }

    /// Ends the leases whose time is over, each in a revision of its own.
    pub fn tick(&mut self, now: Duration) {
        while let Some(id) = self.lessor.due(now) {
            self.lease_revoke(id)
                .expect("the lessor named a lease that it has");
        }
    }

    /// When [`Model::tick`] has something to do next.
    pub fn next_due(&self) -> Option<Duration> {
        self.lessor.next_due()
    }

    /// Changes of `keys` from revision `from` on, in order; those of one revision are always together.
    ///
    /// # Errors
    /// [`Error::Compacted`]: the watch is canceled, and says which revision is the oldest left.
    pub fn events(&self, keys: &[Keys], from: u64) -> Result<Vec<Event>, Error> {
        self.keyspace.events(keys, from)
    }

    /// Forgets what was before `revision`.
    ///
    /// # Errors
    /// The revision was forgotten before, or is not there yet.
    pub fn compact(&mut self, revision: u64) -> Result<(), Error> {
        self.keyspace.compact(revision)
    }
}

/// Bytes that are shared between versions, events and answers.
pub type Value = Arc<[u8]>;
