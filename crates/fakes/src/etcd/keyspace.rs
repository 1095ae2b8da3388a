//! Keys with all their versions, and the changes in their order.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use super::{
    Value,
    types::{Compare, Error, Event, KeyValue, Keys, RangeRequest, RangeResponse, Relation, Target},
};

/// A key at one revision; nothing if it was deleted then.
#[derive(Debug)]
struct Version {
    revision: u64,
    kv: Option<Present>,
}

#[derive(Clone, Debug)]
struct Present {
    create_revision: u64,
    mod_revision: u64,
    version: u64,
    lease: i64,
    value: Value,
}

impl Present {
    fn with_key(&self, key: &str, keys_only: bool) -> KeyValue {
        KeyValue {
            key: key.to_owned(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
            version: self.version,
            lease: self.lease,
            value: if keys_only {
                Arc::default()
            } else {
                Arc::clone(&self.value)
            },
        }
    }
}

/// The key space.
#[derive(Debug)]
pub(super) struct Keyspace {
    revision: u64,
    compacted: u64,
    /// What is there now.
    present: BTreeMap<String, Present>,
    /// All versions since the last compaction, the oldest first, of keys that have any.
    versions: BTreeMap<String, Vec<Version>>,
    /// Changes since the last compaction, one entry a revision.
    events: VecDeque<(u64, Vec<Event>)>,
    /// Changes of the transaction that is under way.
    open: Vec<Event>,
    /// True if the last transaction made a revision.
    fresh: bool,
}

impl Default for Keyspace {
    /// A new cluster is at revision 1.
    fn default() -> Self {
        Self {
            revision: 1,
            compacted: 0,
            present: BTreeMap::new(),
            versions: BTreeMap::new(),
            events: VecDeque::new(),
            open: Vec::new(),
            fresh: false,
        }
    }
}

impl Keyspace {
    pub fn revision(&self) -> u64 {
        self.revision
    }

    pub fn compacted(&self) -> u64 {
        self.compacted
    }

    /// Writes a key as part of the transaction under way; returns the lease it was tied to.
    pub fn put(&mut self, key: &str, value: &Value, lease: i64) -> i64 {
        let revision = self.revision + 1;
        let before = self.present.get(key);
        let now = Present {
            create_revision: before.map_or(revision, |before| before.create_revision),
            mod_revision: revision,
            version: before.map_or(0, |before| before.version) + 1,
            lease,
            value: Arc::clone(value),
        };
        let untied = before.map_or(0, |before| before.lease);
        self.change(key, Some(now));
        untied
    }

    /// Deletes keys as part of the transaction under way; returns them with their leases.
    pub fn delete(&mut self, keys: &Keys) -> Vec<(String, i64)> {
        let there = self.select(keys);
        let deleted: Vec<_> = there.map(|(key, kv)| (key.to_owned(), kv.lease)).collect();
        for (key, _) in &deleted {
            self.change(key, None);
        }
        deleted
    }

    fn change(&mut self, key: &str, now: Option<Present>) {
        let revision = self.revision + 1;
        self.open.push(Event {
            revision,
            key: key.to_owned(),
            value: now.as_ref().map(|now| Arc::clone(&now.value)),
        });
        match &now {
            Some(now) => drop(self.present.insert(key.to_owned(), now.clone())),
            None => drop(self.present.remove(key)),
        }
        let version = Version { revision, kv: now };
        match self.versions.get_mut(key) {
            Some(versions) => versions.push(version),
            None => drop(self.versions.insert(key.to_owned(), vec![version])),
        }
    }

    /// Ends the transaction under way: if it changed anything, that is one revision.
    pub fn end(&mut self) {
        self.fresh = !self.open.is_empty();
        if self.fresh {
            self.revision += 1;
            self.events
                .push_back((self.revision, std::mem::take(&mut self.open)));
        }
    }

    /// True once after a transaction that made a revision.
    pub fn take_fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    fn select<'a>(&'a self, keys: &'a Keys) -> impl Iterator<Item = (&'a str, &'a Present)> {
        within(&self.present, keys)
    }

    fn select_at<'a>(
        &'a self,
        keys: &'a Keys,
        revision: u64,
    ) -> impl Iterator<Item = (&'a str, &'a Present)> {
        within(&self.versions, keys).filter_map(move |(key, versions)| {
            let upto = versions.partition_point(|version| version.revision <= revision);
            let kv = versions[..upto].last()?.kv.as_ref()?;
            Some((key, kv))
        })
    }

    /// An error if nothing can be read at this revision.
    pub fn check_revision(&self, revision: u64) -> Result<(), Error> {
        if revision > self.revision {
            Err(Error::FutureRevision)
        } else if revision != 0 && revision < self.compacted {
            Err(Error::Compacted {
                revision: self.compacted,
            })
        } else {
            Ok(())
        }
    }

    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Error> {
        self.check_revision(request.revision)?;
        let past = request.revision != 0 && request.revision < self.revision;
        Ok(if past {
            self.answer(request, self.select_at(&request.keys, request.revision))
        } else {
            self.answer(request, self.select(&request.keys))
        })
    }

    fn answer<'a>(
        &self,
        request: &RangeRequest,
        found: impl Iterator<Item = (&'a str, &'a Present)>,
    ) -> RangeResponse {
        let limit = match (request.count_only, request.limit) {
            (true, _) => 0,
            (false, 0) => usize::MAX,
            (false, limit) => limit,
        };
        let mut kvs = Vec::new();
        let mut count = 0;
        let mut more = false;
        // As etcd does it: the count is of all keys, the limit of those that are left by the filter.
        for (key, kv) in found {
            count += 1;
            if kv.mod_revision < request.min_mod_revision {
                continue;
            }
            if kvs.len() < limit {
                kvs.push(kv.with_key(key, request.keys_only));
            } else {
                more = true;
            }
        }
        RangeResponse {
            revision: self.revision,
            more: more && !request.count_only,
            kvs,
            count,
        }
    }

    /// True if the condition holds now.
    pub fn holds(&self, compare: &Compare) -> bool {
        let kv = self.present.get(&compare.key);
        let number = |field: fn(&Present) -> u64| kv.map_or(0, field);
        let order = match &compare.target {
            Target::CreateRevision(target) => number(|kv| kv.create_revision).cmp(target),
            Target::ModRevision(target) => number(|kv| kv.mod_revision).cmp(target),
            Target::Version(target) => number(|kv| kv.version).cmp(target),
            Target::Lease(target) => kv.map_or(0, |kv| kv.lease).cmp(target),
            Target::Value(target) => match kv {
                Some(kv) => (*kv.value).cmp(target.as_slice()),
                None => return false,
            },
        };
        match compare.relation {
            Relation::Equal => order == Ordering::Equal,
            Relation::NotEqual => order != Ordering::Equal,
            Relation::Greater => order == Ordering::Greater,
            Relation::Less => order == Ordering::Less,
        }
    }

    pub fn events(&self, keys: &[Keys], from: u64) -> Result<Vec<Event>, Error> {
        if from < self.compacted {
            return Err(Error::Compacted {
                revision: self.compacted,
            });
        }
        let start = self.events.partition_point(|(revision, _)| *revision < from);
        let since = self.events.range(start..).flat_map(|(_, events)| events);
        let watched = since.filter(|event| keys.iter().any(|keys| keys.contains(&event.key)));
        Ok(watched.cloned().collect())
    }

    /// The changes of the last revision, if it is this one.
    pub fn events_at(&self, revision: u64) -> &[Event] {
        match self.events.back() {
            Some((last, events)) if *last == revision => events,
            _ => &[],
        }
    }

    pub fn compact(&mut self, revision: u64) -> Result<(), Error> {
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        if revision <= self.compacted {
            return Err(Error::Compacted {
                revision: self.compacted,
            });
        }
        self.compacted = revision;
        let forgotten = self.events.partition_point(|(at, _)| *at < revision);
        self.events.drain(..forgotten);
        self.versions.retain(|_, versions| {
            let upto = versions.partition_point(|version| version.revision <= revision);
            let last_is_there = versions[..upto].last().is_some_and(|last| last.kv.is_some());
            versions.drain(..upto - usize::from(last_is_there));
            !versions.is_empty()
        });
        Ok(())
    }
}

/// Those of `map` that are meant.
fn within<'a, V>(map: &'a BTreeMap<String, V>, keys: &'a Keys) -> impl Iterator<Item = (&'a str, &'a V)> {
    let from = &*keys.from;
    let end = match keys.end.as_deref() {
        None => Bound::Included(from),
        // An interval that ends before it begins is empty.
        Some(end) => Bound::Excluded(end.max(from)),
    };
    map.range::<str, _>((Bound::Included(from), end))
        .map(|(key, value)| (&**key, value))
}
