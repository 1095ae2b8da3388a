//! Between our requests and answers, and those of etcd's client.

use etcd_client::{CompareOp, GetOptions, GetResponse, PutOptions, TxnOp, TxnOpResponse, TxnResponse};

use super::super::wire::{Compare, EtcdError, Found, KeyValue, Op, Range, Txn, TxnAnswer, Value};

/// Etcd's revisions, TTLs and counts are signed and never negative.
pub(super) fn positive(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Our keys are text: others below our prefix are somebody else's.
pub(super) fn text(key: &[u8]) -> Result<String, EtcdError> {
    String::from_utf8(key.to_vec())
        .map_err(|_| EtcdError::Refused("a key below the stack's prefix is not text".to_owned()))
}

pub(super) fn range(range: &Range) -> (String, GetOptions) {
    let mut options = GetOptions::new()
        .with_limit(i64::try_from(range.limit).unwrap_or(i64::MAX))
        .with_revision(signed(range.revision))
        .with_min_mod_revision(signed(range.min_mod_revision));
    if let Some(end) = &range.keys.end {
        options = options.with_range(end.as_str());
    }
    if range.keys_only {
        options = options.with_keys_only();
    }
    (range.keys.from.clone(), options)
}

pub(super) fn found(response: &GetResponse) -> Result<Found, EtcdError> {
    let kv = |kv: &etcd_client::KeyValue| {
        Ok(KeyValue {
            key: text(kv.key())?,
            create_revision: positive(kv.create_revision()),
            mod_revision: positive(kv.mod_revision()),
            lease: kv.lease(),
            value: Value::from(kv.value()),
        })
    };
    Ok(Found {
        revision: response.header().map_or(0, |header| positive(header.revision())),
        kvs: response.kvs().iter().map(kv).collect::<Result<_, EtcdError>>()?,
        more: response.more(),
        count: positive(response.count()),
    })
}

pub(super) fn txn(txn: &Txn) -> etcd_client::Txn {
    etcd_client::Txn::new()
        .when(txn.compares.iter().map(compare).collect::<Vec<_>>())
        .and_then(txn.success.iter().map(op).collect::<Vec<_>>())
        .or_else(txn.failure.iter().map(op).collect::<Vec<_>>())
}

fn compare(compare: &Compare) -> etcd_client::Compare {
    let equal = CompareOp::Equal;
    match compare {
        Compare::CreateRevision(key, revision) => {
            etcd_client::Compare::create_revision(key.as_str(), equal, signed(*revision))
        }
        Compare::ModRevision(key, revision) => {
            etcd_client::Compare::mod_revision(key.as_str(), equal, signed(*revision))
        }
        Compare::Lease(key, lease) => etcd_client::Compare::lease(key.as_str(), equal, *lease),
    }
}

fn op(op: &Op) -> TxnOp {
    match op {
        Op::Put { key, value, lease } => {
            let options = (*lease != 0).then(|| PutOptions::new().with_lease(*lease));
            TxnOp::put(key.as_str(), &**value, options)
        }
        Op::Delete(key) => TxnOp::delete(key.as_str(), None),
        Op::Range(of) => {
            let (key, options) = range(of);
            TxnOp::get(key, Some(options))
        }
    }
}

pub(super) fn txn_answer(response: &TxnResponse) -> Result<TxnAnswer, EtcdError> {
    let reads = response.op_responses().into_iter().filter_map(|op| match op {
        TxnOpResponse::Get(get) => Some(get),
        _ => None,
    });
    let header = response.header();
    Ok(TxnAnswer {
        revision: header.map_or(0, |header| positive(header.revision())),
        succeeded: response.succeeded(),
        found: reads.map(|get| found(&get)).collect::<Result<_, _>>()?,
    })
}
