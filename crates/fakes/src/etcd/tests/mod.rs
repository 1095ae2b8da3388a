mod time;

use super::*;

fn keys(from: &str) -> Keys {
    Keys::interval(from, format!("{from}\u{7f}"))
}

fn put(key: &str, value: &str) -> Op {
    put_leased(key, value, 0)
}

fn put_leased(key: &str, value: &str, lease: i64) -> Op {
    Op::Put {
        key: key.to_owned(),
        value: value.as_bytes().into(),
        lease,
    }
}

fn delete(key: &str) -> Op {
    Op::Delete(Keys::one(key))
}

fn is(key: &str, target: Target) -> Compare {
    Compare {
        key: key.to_owned(),
        relation: Relation::Equal,
        target,
    }
}

/// Does these operations if the conditions hold.
fn when(compares: Vec<Compare>, success: Vec<Op>) -> Txn {
    Txn {
        compares,
        success,
        failure: Vec::new(),
    }
}

fn act(model: &mut Model, ops: Vec<Op>) -> u64 {
    let response = model.txn(&when(Vec::new(), ops)).unwrap();
    assert!(response.succeeded);
    response.revision
}

fn get(model: &Model, key: &str) -> Option<KeyValue> {
    let response = model.range(&RangeRequest::all(Keys::one(key))).unwrap();
    response.kvs.into_iter().next()
}

fn names(response: &RangeResponse) -> Vec<&str> {
    response.kvs.iter().map(|kv| &*kv.key).collect()
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_key_counts_its_revisions_and_versions() {
    let mut model = Model::default();
    assert_eq!(model.revision(), 1, "of a new cluster");
    assert_eq!(
        act(&mut model, vec![put("a", "1"), put("b", "1")]),
        2,
        "one revision a txn"
    );
    assert_eq!(act(&mut model, vec![put("a", "2")]), 3);
    let a = get(&model, "a").unwrap();
    assert_eq!(
        (a.create_revision, a.mod_revision, a.version, &*a.value),
        (2, 3, 2, &b"2"[..])
    );
    act(&mut model, vec![delete("a")]);
    assert_eq!(get(&model, "a"), None);
    act(&mut model, vec![put("a", "3")]);
    let a = get(&model, "a").unwrap();
    assert_eq!(
        (a.create_revision, a.mod_revision, a.version),
        (5, 5, 1),
        "it was made anew"
    );
}

#[test]
fn what_changes_nothing_makes_no_revision() {
    let mut model = Model::default();
    model.tap();
    assert_eq!(act(&mut model, vec![delete("a")]), 1);
    assert_eq!(act(&mut model, vec![Op::Range(RangeRequest::all(keys("a")))]), 1);
    let (lease, _) = model.lease_grant(secs(0), 5).unwrap();
    model.lease_revoke(lease).unwrap();
    assert_eq!((model.revision(), model.take_applied()), (1, Vec::new()));
}

#[test]
fn a_range_is_read_in_pages_at_one_revision() {
    let mut model = Model::default();
    for n in 0..5 {
        act(&mut model, vec![put(&format!("k{n}"), "old")]);
    }
    let pinned = model.revision();
    act(&mut model, vec![delete("k3"), put("k4", "new"), put("k5", "new")]);
    let page = |from: &str, revision| {
        let request = RangeRequest {
            keys: Keys::interval(from, "l"),
            limit: 3,
            revision,
            min_mod_revision: 0,
            keys_only: false,
            count_only: false,
        };
        model.range(&request).unwrap()
    };
    let first = page("k", pinned);
    assert_eq!(
        (names(&first), first.more, first.count),
        (vec!["k0", "k1", "k2"], true, 5)
    );
    assert_eq!(
        first.revision,
        pinned + 1,
        "the header tells the present revision"
    );
    let second = page("k2\0", pinned);
    assert_eq!((names(&second), second.more), (vec!["k3", "k4"], false));
    assert_eq!(&*second.kvs[1].value, b"old");
    let now = page("k2\0", 0);
    assert_eq!((names(&now), &*now.kvs[0].value), (vec!["k4", "k5"], &b"new"[..]));
}

#[test]
fn counting_and_listing_leave_values_out() {
    let mut model = Model::default();
    act(&mut model, vec![put("k1", "v"), put("k2", "v")]);
    let mut request = RangeRequest::all(keys("k"));
    request.keys_only = true;
    assert!(
        model
            .range(&request)
            .unwrap()
            .kvs
            .iter()
            .all(|kv| kv.value.is_empty())
    );
    request.count_only = true;
    let counted = model.range(&request).unwrap();
    assert_eq!((counted.count, counted.kvs.len(), counted.more), (2, 0, false));
}

#[test]
fn nothing_is_read_beyond_the_present_or_before_the_compaction() {
    let mut model = Model::default();
    act(&mut model, vec![put("a", "1")]);
    act(&mut model, vec![put("a", "2"), put("b", "1")]);
    act(&mut model, vec![delete("b")]);
    let read = |model: &Model, revision| {
        let mut request = RangeRequest::all(keys("a"));
        request.keys = Keys::interval("a", "c");
        request.revision = revision;
        model.range(&request).map(|response| response.kvs.len())
    };
    assert_eq!(read(&model, 5), Err(Error::FutureRevision));
    assert_eq!(model.compact(5), Err(Error::FutureRevision));
    model.compact(3).unwrap();
    assert_eq!(model.compact(3), Err(Error::Compacted { revision: 3 }));
    assert_eq!(read(&model, 2), Err(Error::Compacted { revision: 3 }));
    assert_eq!(
        (read(&model, 3), read(&model, 4), read(&model, 0)),
        (Ok(2), Ok(1), Ok(1))
    );
    model.compact(4).unwrap();
    assert_eq!(read(&model, 4), Ok(1));
    let in_txn = Op::Range(RangeRequest {
        revision: 3,
        ..RangeRequest::all(Keys::one("a"))
    });
    let refused = model.txn(&when(Vec::new(), vec![put("x", "1"), in_txn]));
    assert_eq!(refused, Err(Error::Compacted { revision: 4 }));
    assert_eq!(get(&model, "x"), None, "refused as a whole");
}

#[test]
fn a_comparison_looks_at_every_field() {
    let mut model = Model::default();
    let (lease, _) = model.lease_grant(secs(0), 5).unwrap();
    act(&mut model, vec![put_leased("a", "m", lease)]);
    act(&mut model, vec![put_leased("a", "m", lease)]);
    let holds = |relation, target| {
        let compare = Compare {
            key: "a".to_owned(),
            relation,
            target,
        };
        model.keyspace.holds(&compare)
    };
    for (target, value) in [
        (Target::CreateRevision as fn(u64) -> Target, 2),
        (Target::ModRevision, 3),
        (Target::Version, 2),
    ] {
        assert!(holds(Relation::Equal, target(value)));
        assert!(!holds(Relation::NotEqual, target(value)));
        assert!(holds(Relation::Greater, target(value - 1)) && !holds(Relation::Greater, target(value)));
        assert!(holds(Relation::Less, target(value + 1)) && !holds(Relation::Less, target(value)));
    }
    assert!(holds(Relation::Equal, Target::Lease(lease)) && !holds(Relation::Equal, Target::Lease(0)));
    assert!(holds(Relation::Greater, Target::Value(b"l".into())));
    assert!(holds(Relation::Equal, Target::Value(b"m".into())));
}

#[test]
fn a_key_that_is_not_there_has_zeros_and_no_value() {
    let mut model = Model::default();
    for target in [
        Target::CreateRevision(0),
        Target::ModRevision(0),
        Target::Version(0),
        Target::Lease(0),
    ] {
        assert!(
            model
                .txn(&when(vec![is("a", target)], Vec::new()))
                .unwrap()
                .succeeded
        );
    }
    for relation in [Relation::Equal, Relation::NotEqual, Relation::Less] {
        let compare = Compare {
            key: "a".to_owned(),
            relation,
            target: Target::Value(Vec::new()),
        };
        assert!(!model.txn(&when(vec![compare], Vec::new())).unwrap().succeeded);
    }
}

#[test]
fn a_transaction_does_one_list_and_reads_what_it_wrote() {
    let mut model = Model::default();
    let txn = Txn {
        compares: vec![is("a", Target::CreateRevision(0))],
        success: vec![put("a", "1"), Op::Range(RangeRequest::all(Keys::one("a")))],
        failure: vec![delete("a"), Op::Range(RangeRequest::all(Keys::one("a")))],
    };
    let first = model.txn(&txn).unwrap();
    let OpResponse::Range(read) = &first.responses[1] else {
        panic!("a range");
    };
    assert_eq!(
        (first.succeeded, read.kvs.len(), read.kvs[0].mod_revision),
        (true, 1, 2)
    );
    let second = model.txn(&txn).unwrap();
    assert_eq!((second.succeeded, second.revision), (false, 3));
    assert_eq!(second.responses[0], OpResponse::Deleted(1));
    assert_eq!(get(&model, "a"), None);
}

#[test]
fn malformed_transactions_are_refused_whole() {
    let mut model = Model::default();
    let mut refused = |compares, ops| model.txn(&when(compares, ops)).unwrap_err();
    let many = |n| (0..n).map(|n| put(&n.to_string(), "v")).collect::<Vec<_>>();
    assert_eq!(refused(vec![], many(129)), Error::TooManyOps);
    assert_eq!(
        refused(vec![is("a", Target::Version(0)); 129], vec![]),
        Error::TooManyOps
    );
    assert_eq!(
        refused(vec![], vec![put("a", "1"), put("a", "2")]),
        Error::DuplicateKey
    );
    assert_eq!(
        refused(vec![], vec![put("a", "1"), delete("a")]),
        Error::DuplicateKey
    );
    let prefix = Op::Delete(keys("a"));
    assert_eq!(refused(vec![], vec![prefix, put("ab", "1")]), Error::DuplicateKey);
    assert_eq!(refused(vec![], vec![put("", "1")]), Error::EmptyKey);
    assert_eq!(refused(vec![is("", Target::Version(0))], vec![]), Error::EmptyKey);
    assert_eq!(
        refused(vec![], vec![put_leased("a", "1", 7)]),
        Error::LeaseNotFound
    );
    assert_eq!(
        refused(vec![], vec![put("a", &"x".repeat(REQUEST_BYTES))]),
        Error::RequestTooLarge
    );
    assert_eq!(model.revision(), 1);
    act(&mut model, many(128));
    // The lists exclude each other, and deletions may overlap.
    let txn = Txn {
        compares: Vec::new(),
        success: vec![put("a", "1"), delete("b"), Op::Delete(keys("b"))],
        failure: vec![put("a", "2"), put_leased("b", "1", 7)],
    };
    assert!(model.txn(&txn).unwrap().succeeded);
}

#[test]
fn a_range_can_be_of_what_has_changed_since() {
    let mut model = Model::default();
    for n in 0..4 {
        act(&mut model, vec![put(&format!("k{n}"), "old")]);
    }
    let since = act(&mut model, vec![put("k1", "new"), put("k3", "new")]);
    let mut request = RangeRequest::all(Keys::interval("k", "l"));
    request.min_mod_revision = since;
    let changed = model.range(&request).unwrap();
    assert_eq!((names(&changed), changed.more), (vec!["k1", "k3"], false));
    assert_eq!(changed.count, 4, "the count is of all");
    request.limit = 1;
    let changed = model.range(&request).unwrap();
    assert_eq!((names(&changed), changed.more), (vec!["k1"], true));
}
