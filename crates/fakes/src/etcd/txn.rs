//! What etcd checks before it looks at any key.

use std::collections::BTreeSet;

use super::types::{Compare, Error, Keys, MOST_OPS, Op, REQUEST_BYTES, RangeRequest, Relation, Target, Txn};

/// A read must name a key.
pub(super) fn check_range(request: &RangeRequest) -> Result<(), Error> {
    check_keys(&request.keys)
}

fn check_keys(keys: &Keys) -> Result<(), Error> {
    check_key(&keys.from)
}

fn check_key(key: &str) -> Result<(), Error> {
    if key.is_empty() {
        Err(Error::EmptyKey)
    } else {
        Ok(())
    }
}

/// The order of the checks is that of etcd (`server/etcdserver/api/v3rpc/key.go`, `v3_server.go` for the size).
pub(super) fn check(txn: &Txn) -> Result<(), Error> {
    let longest = txn.compares.len().max(txn.success.len()).max(txn.failure.len());
    if longest > MOST_OPS {
        return Err(Error::TooManyOps);
    }
    for compare in &txn.compares {
        check_key(&compare.key)?;
    }
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            Op::Put { key, .. } => check_key(key)?,
            Op::Delete(keys) => check_keys(keys)?,
            Op::Range(range) => check_range(range)?,
        }
    }
    check_overlaps(&txn.success)?;
    check_overlaps(&txn.failure)?;
    if size(txn) > REQUEST_BYTES {
        return Err(Error::RequestTooLarge);
    }
    Ok(())
}

/// Deletions may overlap each other; a put may overlap nothing.
fn check_overlaps(ops: &[Op]) -> Result<(), Error> {
    let mut points = BTreeSet::new();
    let mut intervals = Vec::new();
    for op in ops {
        match op {
            Op::Delete(keys) if keys.end.is_none() => drop(points.insert(&*keys.from)),
            Op::Delete(keys) => intervals.push(keys),
            Op::Put { .. } | Op::Range(_) => {}
        }
    }
    let mut puts = BTreeSet::new();
    for op in ops {
        if let Op::Put { key, .. } = op {
            let deleted = points.contains(&**key) || intervals.iter().any(|keys| keys.contains(key));
            if deleted || !puts.insert(&**key) {
                return Err(Error::DuplicateKey);
            }
        }
    }
    Ok(())
}

/// About what the request has on the wire: its texts, and a few bytes of tags and lengths for each part.
fn size(txn: &Txn) -> usize {
    const TAGS: usize = 12;
    let keys = |keys: &Keys| keys.from.len() + keys.end.as_ref().map_or(0, String::len);
    let compare = |compare: &Compare| {
        compare.key.len()
            + match &compare.target {
                Target::Value(value) => value.len(),
                _ => 8,
            }
    };
    let op = |op: &Op| match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete(deleted) => keys(deleted),
        Op::Range(range) => keys(&range.keys),
    };
    let compares: usize = txn.compares.iter().map(|part| compare(part) + TAGS).sum();
    let ops = txn.success.iter().chain(&txn.failure);
    compares + ops.map(|part| op(part) + TAGS).sum::<usize>()
}

/// The create revision that the transaction stands on, if it compares one.
pub(super) fn guard(txn: &Txn) -> Option<u64> {
    txn.compares.iter().find_map(|compare| match compare {
        Compare {
            relation: Relation::Equal,
            target: Target::CreateRevision(revision),
            ..
        } if *revision != 0 => Some(*revision),
        _ => None,
    })
}
