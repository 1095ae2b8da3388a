//! Loading once more: what was loaded before is kept, and only what has changed since is read.
//!
//! Whoever stands by to lead loads again and again, and once more when it is elected, while nothing is placed. Of
//! 10,000 records a few dozen have changed by then.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    EtcdStore,
    wire::{EtcdError, Found, KeyValue, Op, Range, Txn, Value},
};

/// All keys but those of history, as they were at one revision.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// At which revision.
    pub revision: u64,
    /// By whole key: the revision of the last change, and the value.
    pub keys: BTreeMap<String, (u64, Value)>,
}

impl Snapshot {
    pub fn put(&mut self, kv: KeyValue) {
        self.keys.insert(kv.key, (kv.mod_revision, kv.value));
    }

    /// What it becomes: the keys that there are, and the values of those that have changed. Nothing if these do not
    /// belong together.
    fn onto(&self, revision: u64, listed: Vec<KeyValue>, changed: Vec<KeyValue>) -> Option<Self> {
        let mut changed: BTreeMap<String, KeyValue> =
            changed.into_iter().map(|kv| (kv.key.clone(), kv)).collect();
        let mut next = Self {
            revision,
            keys: BTreeMap::new(),
        };
        for there in listed {
            if let Some(kv) = changed.remove(&there.key) {
                next.put(kv);
                continue;
            }
            let (modified, value) = self.keys.get(&there.key)?;
            if *modified != there.mod_revision {
                return None;
            }
            next.keys.insert(there.key, (*modified, Arc::clone(value)));
        }
        Some(next)
    }
}

impl EtcdStore {
    /// What `before` has become, read in one transaction; nothing if so much has changed that all is better read anew.
    pub(super) async fn read_changes(&self, before: &Snapshot) -> Result<Option<Snapshot>, EtcdError> {
        let intervals = self.layout.records();
        let listed = intervals.clone().map(|keys| Range {
            keys_only: true,
            ..Range::all(keys)
        });
        let changed = intervals.map(|keys| Range {
            min_mod_revision: before.revision + 1,
            limit: self.config.page,
            ..Range::all(keys)
        });
        let reads = Txn {
            success: listed.into_iter().chain(changed).map(Op::Range).collect(),
            ..Txn::default()
        };
        let reads = Arc::new(reads);
        let answer = self.again(|| self.etcd.txn(Arc::clone(&reads))).await?;
        let Ok([first, second, changed, changed_after]) = <[Found; 4]>::try_from(answer.found) else {
            return Ok(None);
        };
        if changed.more || changed_after.more {
            return Ok(None);
        }
        let both = |one: Found, other: Found| one.kvs.into_iter().chain(other.kvs).collect();
        let (listed, changed) = (both(first, second), both(changed, changed_after));
        Ok(before.onto(answer.revision, listed, changed))
    }
}
