//! Leases, watches, and the tap.

use super::*;

#[test]
fn a_lease_lasts_at_least_its_ttl_and_takes_its_keys_along_in_one_revision() {
    let mut model = Model::default();
    model.tap();
    let (lease, ttl) = model.lease_grant(Duration::from_millis(100), 5).unwrap();
    assert_eq!(ttl, 5);
    act(
        &mut model,
        vec![
            put_leased("b", "1", lease),
            put_leased("a", "1", lease),
            put("c", "1"),
        ],
    );
    act(&mut model, vec![put("b", "untied")]);
    act(&mut model, vec![put_leased("d", "1", lease)]);
    model.take_applied();
    // etcd looks every half second.
    assert_eq!(model.next_due(), Some(Duration::from_millis(5500)));
    model.tick(Duration::from_millis(5499));
    assert!(get(&model, "a").is_some());
    model.tick(Duration::from_millis(5500));
    assert!(!model.lease_lives(lease));
    let gone = Applied {
        revision: 5,
        guard: None,
        writes: vec![("a".to_owned(), None), ("d".to_owned(), None)],
    };
    assert_eq!(model.take_applied(), [gone]);
    assert_eq!((get(&model, "b").is_some(), model.next_due()), (true, None));
}

#[test]
fn a_renewed_lease_lasts_its_ttl_from_then_on() {
    let mut model = Model::default();
    let (lease, _) = model.lease_grant(secs(0), 5).unwrap();
    assert_eq!(model.lease_keep_alive(secs(3), lease), Ok(5));
    assert_eq!(model.next_due(), Some(secs(8)));
    model.tick(Duration::from_millis(7999));
    assert!(model.lease_lives(lease));
}

#[test]
fn an_expired_lease_cannot_be_renewed_even_if_it_was_not_found_yet() {
    let mut model = Model::default();
    let (lease, _) = model.lease_grant(Duration::from_millis(100), 5).unwrap();
    act(&mut model, vec![put_leased("a", "1", lease)]);
    let late = Duration::from_millis(5200);
    model.tick(late);
    assert!(model.lease_lives(lease), "found half a second later at most");
    assert_eq!(model.lease_keep_alive(late, lease), Err(Error::LeaseNotFound));
    assert_eq!(get(&model, "a"), None);
    assert_eq!(model.lease_revoke(lease), Err(Error::LeaseNotFound));
}

#[test]
fn ttls_have_a_floor_and_a_limit() {
    let mut model = Model::default();
    assert_eq!(model.lease_grant(secs(0), 1).unwrap().1, 2);
    assert_eq!(
        model.lease_grant(secs(0), 9_000_000_001),
        Err(Error::LeaseTtlTooLarge)
    );
}

#[test]
fn a_new_raft_leader_gives_every_lease_its_whole_ttl_again() {
    let mut model = Model::default();
    let (lease, _) = model.lease_grant(secs(0), 5).unwrap();
    model.leader_moved(secs(4));
    model.tick(Duration::from_millis(9999));
    assert!(model.lease_lives(lease), "and an election timeout on top");
    model.tick(secs(10));
    assert!(!model.lease_lives(lease));
}

#[test]
fn a_watch_sees_every_change_of_its_keys_in_order() {
    let mut model = Model::default();
    act(&mut model, vec![put("a1", "1"), put("b", "1")]);
    act(&mut model, vec![put("b", "2")]);
    act(&mut model, vec![delete("a1"), put("a2", "1")]);
    let seen = |model: &Model, from| {
        let events = model.events(&[keys("a"), Keys::one("c")], from);
        events.map(|events| {
            let what = |event: Event| (event.revision, event.key, event.value.is_some());
            events.into_iter().map(what).collect::<Vec<_>>()
        })
    };
    let last = [(4, "a1".to_owned(), false), (4, "a2".to_owned(), true)];
    assert_eq!(seen(&model, 1).unwrap().len(), 3);
    assert_eq!(seen(&model, 3).unwrap(), last);
    assert_eq!(seen(&model, 5).unwrap(), []);
    model.compact(4).unwrap();
    assert_eq!(seen(&model, 3), Err(Error::Compacted { revision: 4 }));
    assert_eq!(seen(&model, 4).unwrap(), last);
}

#[test]
fn the_tap_tells_what_a_transaction_stood_on() {
    let mut model = Model::default();
    model.tap();
    let create = when(
        vec![is("leader", Target::CreateRevision(0))],
        vec![put("leader", "a")],
    );
    let term = model.txn(&create).unwrap().revision;
    let guarded = when(
        vec![
            is("x", Target::CreateRevision(0)),
            is("leader", Target::CreateRevision(term)),
        ],
        vec![put("x", "1")],
    );
    model.txn(&guarded).unwrap();
    model.txn(&guarded).unwrap();
    let guards: Vec<_> = model
        .take_applied()
        .iter()
        .map(|a| (a.revision, a.guard))
        .collect();
    assert_eq!(guards, [(2, None), (3, Some(2))]);
    assert_eq!(model.take_applied(), []);
}
