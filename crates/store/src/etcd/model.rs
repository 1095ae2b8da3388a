//! The store's requests put to the model of etcd, for tests and the virtual gear.

use std::{sync::Arc, time::Duration};

use gust_fakes::etcd as fake;

use super::wire::{Compare, EtcdError, Event, Found, KeyValue, Keys, Op, Range, Txn, TxnAnswer};

/// A read.
///
/// # Errors
/// The model refused it.
pub fn range(model: &fake::Model, range: &Range) -> Result<Found, EtcdError> {
    model.range(&range_request(range)).map(found).map_err(error)
}

/// A transaction.
///
/// # Errors
/// The model refused it.
pub fn txn(model: &mut fake::Model, txn: &Txn) -> Result<TxnAnswer, EtcdError> {
    let request = fake::Txn {
        compares: txn.compares.iter().map(compare).collect(),
        success: txn.success.iter().map(op).collect(),
        failure: txn.failure.iter().map(op).collect(),
    };
    let response = model.txn(&request).map_err(error)?;
    let read = |response| match response {
        fake::OpResponse::Range(response) => Some(found(response)),
        fake::OpResponse::Put | fake::OpResponse::Deleted(_) => None,
    };
    Ok(TxnAnswer {
        revision: response.revision,
        succeeded: response.succeeded,
        found: response.responses.into_iter().filter_map(read).collect(),
    })
}

/// A new lease.
///
/// # Errors
/// The model refused it.
pub fn lease_grant(model: &mut fake::Model, now: Duration, ttl: u64) -> Result<(i64, u64), EtcdError> {
    model.lease_grant(now, ttl).map_err(error)
}

/// A renewal.
///
/// # Errors
/// The lease has ended.
pub fn lease_keep_alive(model: &mut fake::Model, now: Duration, lease: i64) -> Result<u64, EtcdError> {
    model.lease_keep_alive(now, lease).map_err(error)
}

/// The end of a lease.
///
/// # Errors
/// The lease has ended before.
pub fn lease_revoke(model: &mut fake::Model, lease: i64) -> Result<(), EtcdError> {
    model.lease_revoke(lease).map_err(error)
}

/// What a watch sees from a revision on.
///
/// # Errors
/// It is compacted.
pub fn events(model: &fake::Model, watched: &[Keys], from: u64) -> Result<Vec<Event>, EtcdError> {
    let watched: Vec<_> = watched.iter().map(keys).collect();
    let events = model.events(&watched, from).map_err(error)?;
    let event = |event: fake::Event| Event {
        revision: event.revision,
        key: event.key,
        value: event.value,
    };
    Ok(events.into_iter().map(event).collect())
}

fn keys(keys: &Keys) -> fake::Keys {
    fake::Keys {
        from: keys.from.clone(),
        end: keys.end.clone(),
    }
}

fn range_request(range: &Range) -> fake::RangeRequest {
    fake::RangeRequest {
        keys: keys(&range.keys),
        limit: range.limit,
        revision: range.revision,
        min_mod_revision: range.min_mod_revision,
        keys_only: range.keys_only,
        count_only: false,
    }
}

fn compare(compare: &Compare) -> fake::Compare {
    let (key, target) = match compare {
        Compare::CreateRevision(key, revision) => (key, fake::Target::CreateRevision(*revision)),
        Compare::ModRevision(key, revision) => (key, fake::Target::ModRevision(*revision)),
        Compare::Lease(key, lease) => (key, fake::Target::Lease(*lease)),
    };
    fake::Compare {
        key: key.clone(),
        relation: fake::Relation::Equal,
        target,
    }
}

fn op(op: &Op) -> fake::Op {
    match op {
        Op::Put { key, value, lease } => fake::Op::Put {
            key: key.clone(),
            value: Arc::clone(value),
            lease: *lease,
        },
        Op::Delete(key) => fake::Op::Delete(fake::Keys::one(&**key)),
        Op::Range(range) => fake::Op::Range(range_request(range)),
    }
}

fn found(response: fake::RangeResponse) -> Found {
    let kv = |kv: fake::KeyValue| KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        lease: kv.lease,
        value: kv.value,
    };
    Found {
        revision: response.revision,
        kvs: response.kvs.into_iter().map(kv).collect(),
        more: response.more,
        count: response.count as u64,
    }
}

fn error(error: fake::Error) -> EtcdError {
    match error {
        fake::Error::LeaseNotFound => EtcdError::NoLease,
        fake::Error::Compacted { revision } => EtcdError::Compacted { revision },
        other => EtcdError::Refused(other.to_string()),
    }
}
