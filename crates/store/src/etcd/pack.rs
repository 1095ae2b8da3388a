//! Packs the steps of a commit into transactions that etcd accepts.

use std::{collections::BTreeMap, sync::Arc};

use gust_core::{
    ports::Commit,
    records::{Change, Step},
};

use super::{layout::Layout, wire::Value};

/// Most writes in one transaction: etcd's 128 operations, less the one that moves `commits`.
pub(super) const MOST_WRITES: usize = 127;
/// Most bytes of keys and values in one transaction. etcd takes 1.5 MiB; a record is at most 1 MiB.
const MOST_BYTES: usize = 1 << 20;

/// New values by whole key; nothing for a removal.
pub(super) type Writes = BTreeMap<String, Option<Value>>;

/// Splits a commit into parts, each written by one transaction. There is always one, even if it writes nothing.
///
/// A step is in one part, unless it is too large for any; of each key a part has the last change.
pub(super) fn pack(layout: &Layout, commit: &Commit) -> Vec<Writes> {
    let mut packer = Packer::default();
    for step in &commit.steps {
        packer.add(layout, step);
    }
    packer.parts.push(packer.current);
    packer.parts
}

#[derive(Default)]
struct Packer {
    parts: Vec<Writes>,
    current: Writes,
    bytes: usize,
}

impl Packer {
    fn add(&mut self, layout: &Layout, step: &Step) {
        let changes: Vec<_> = step.changes.iter().map(|change| encode(layout, change)).collect();
        let mut whole = Writes::new();
        for change in &changes {
            whole.extend(change.iter().cloned());
        }
        if self.fits(whole.iter()) {
            self.take(whole);
            return;
        }
        self.close();
        if self.fits(whole.iter()) {
            self.take(whole);
            return;
        }
        for change in changes {
            if !self.fits(change.iter().map(|(key, value)| (key, value))) {
                self.close();
            }
            self.take(change);
        }
    }

    fn fits<'a>(&self, writes: impl Iterator<Item = (&'a String, &'a Option<Value>)>) -> bool {
        let mut count = self.current.len();
        // What a replaced value frees is not counted: parts may be a little smaller than they could be.
        let mut bytes = self.bytes;
        for (key, value) in writes {
            count += usize::from(!self.current.contains_key(key));
            bytes += size(key, value.as_ref());
        }
        count <= MOST_WRITES && bytes <= MOST_BYTES
    }

    fn take(&mut self, writes: impl IntoIterator<Item = (String, Option<Value>)>) {
        for (key, value) in writes {
            self.bytes += size(&key, value.as_ref());
            self.current.insert(key, value);
        }
    }

    fn close(&mut self) {
        if !self.current.is_empty() {
            self.parts.push(std::mem::take(&mut self.current));
            self.bytes = 0;
        }
    }
}

fn size(key: &str, value: Option<&Value>) -> usize {
    key.len() + value.map_or(0, |value| value.len())
}

/// The writes of one change; a summary comes with the key that sorts it by its end.
fn encode(layout: &Layout, change: &Change) -> Vec<(String, Option<Value>)> {
    let key = layout.key(&change.key().to_string());
    let value = change.value().map(Value::from);
    match change {
        Change::PutHistory(record) => {
            let by_end = layout.by_end(&key, record.ended_at);
            vec![(key, value), (by_end, Some(Arc::default()))]
        }
        _ => vec![(key, value)],
    }
}
