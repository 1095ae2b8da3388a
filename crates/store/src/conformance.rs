//! What every store must do, as functions that any store's tests call.
//!
//! A store under test comes as a [`Bed`]. [`conformance_suite`](crate::conformance_suite) makes one test of
//! each function. Nothing here knows how a store is built; faults of a store's own kind are its own tests'.

pub mod etcd;
mod presence;
pub mod sample;
mod steps;

pub use presence::{
    a_campaign_again_on_the_lease_that_leads_returns_its_term,
    a_lease_that_carries_more_than_the_lead_is_left_alone, a_shard_has_one_owner_at_a_time,
    a_waiter_hears_of_another_roster, an_ended_lease_carries_nothing,
    deposing_a_leader_ends_its_term_and_nothing_else, revoking_a_lease_ends_all_that_is_tied_to_it,
};
pub use steps::{a_commit_may_be_larger_than_any_transaction, of_several_steps_the_last_word_on_a_key_holds};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use gust_core::{
    ids::{ReplicaId, Term},
    ports::{Candidacy, CommitError, LeaseId, Loaded, Revision, Store},
    records::{Book, Change, Format},
};

use sample::{commit, history, job, random_changes};

/// Where a store under test comes from.
#[async_trait]
pub trait Bed: Send + Sync {
    /// Opens the store, as a replica does that starts. Called again only after the store opened before was
    /// dropped; what that one committed must be there, and its leases must have ended.
    async fn open(&self) -> Arc<dyn Store>;
}

/// Makes a `#[tokio::test]` of every function of the suite; `$bed` is evaluated anew for each.
#[macro_export]
macro_rules! conformance_suite {
    ($bed:expr) => {
        $crate::conformance_suite!(@each $bed,
            terms_only_grow,
            a_commit_of_an_older_term_writes_nothing,
            a_commit_after_resigning_writes_nothing,
            resigning_an_older_term_changes_nothing,
            a_commit_takes_place_as_a_whole,
            commits_survive_the_store,
            the_same_commit_again_is_harmless,
            load_returns_all_records_but_history,
            history_comes_in_pages_in_the_order_of_keys,
            commits_at_the_same_time_get_revisions_of_their_own,
            a_store_and_a_book_agree_on_any_changes,
            a_commit_may_be_larger_than_any_transaction,
            of_several_steps_the_last_word_on_a_key_holds,
            a_campaign_again_on_the_lease_that_leads_returns_its_term,
            revoking_a_lease_ends_all_that_is_tied_to_it,
            a_shard_has_one_owner_at_a_time,
            an_ended_lease_carries_nothing,
            a_waiter_hears_of_another_roster,
            deposing_a_leader_ends_its_term_and_nothing_else,
            a_lease_that_carries_more_than_the_lead_is_left_alone,
        );
    };
    (@each $bed:expr, $($name:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            $crate::conformance::$name(&$bed).await;
        })+
    };
}

fn replica(name: &str) -> ReplicaId {
    ReplicaId::new(name)
}

/// Nobody renews them here: each outlasts any test on any disk.
const LEASE: Duration = Duration::from_secs(60);

async fn lease(store: &dyn Store) -> LeaseId {
    let lease = store.grant(LEASE).await.expect("the store works");
    assert!(lease.ttl >= LEASE);
    lease.id
}

async fn lead(store: &dyn Store) -> Term {
    let lease = lease(store).await;
    match store
        .campaign(lease, &replica("a"))
        .await
        .expect("the store works")
    {
        Candidacy::Elected(term) => term,
        held @ Candidacy::Held { .. } => panic!("nobody else leads, but {held:?}"),
    }
}

/// The next term, after the one before was given up.
async fn succeed(store: &dyn Store, before: Term) -> Term {
    store.resign(before).await.expect("the store works");
    lead(store).await
}

async fn put(store: &dyn Store, term: Term, changes: Vec<Change>) -> Revision {
    store.commit(&commit(term, changes)).await.expect("we lead")
}

async fn load(store: &dyn Store) -> Loaded {
    store.load().await.expect("the store works")
}

fn keys(loaded: &Loaded) -> BTreeSet<&str> {
    loaded.records.iter().map(|(key, _)| &**key).collect()
}

fn fenced(outcome: Result<Revision, CommitError>) -> (Term, Term) {
    match outcome {
        Err(CommitError::Fenced { ours, theirs }) => (ours, theirs),
        other => panic!("fenced, not {other:?}"),
    }
}

/// Whether a leader resigns, revokes its lease, or ends: no term comes twice, and each is above all before.
pub async fn terms_only_grow(bed: &dyn Bed) {
    let mut last = Term(0);
    for _ in 0..3 {
        let store = bed.open().await;
        for revokes in [true, false] {
            let lease = lease(&*store).await;
            let candidacy = store
                .campaign(lease, &replica("a"))
                .await
                .expect("the store works");
            let Candidacy::Elected(term) = candidacy else {
                panic!("nobody else leads, but {candidacy:?}");
            };
            assert!(term > last, "{term} after {last}");
            put(&*store, term, vec![Change::PutJob(job(1))]).await;
            if revokes {
                store.revoke(lease).await.expect("the store works");
            } else {
                store.resign(term).await.expect("the store works");
            }
            last = term;
        }
        // The last one of this store ends with it.
        last = lead(&*store).await;
    }
}

/// The fence.
pub async fn a_commit_of_an_older_term_writes_nothing(bed: &dyn Bed) {
    let store = bed.open().await;
    let old = lead(&*store).await;
    put(&*store, old, vec![Change::PutJob(job(1))]).await;
    let new = succeed(&*store, old).await;
    let before = load(&*store).await;
    let late = commit(old, vec![Change::PutJob(job(2)), Change::RemoveJob(job(1).job)]);
    assert_eq!(fenced(store.commit(&late).await), (old, new));
    let after = load(&*store).await;
    assert_eq!((after.revision, after.records), (before.revision, before.records));
    put(&*store, new, vec![Change::PutJob(job(2))]).await;
}

/// The fence when nobody leads.
pub async fn a_commit_after_resigning_writes_nothing(bed: &dyn Bed) {
    let store = bed.open().await;
    let term = lead(&*store).await;
    store.resign(term).await.expect("the store works");
    fenced(store.commit(&commit(term, vec![Change::PutJob(job(1))])).await);
    assert!(load(&*store).await.records.is_empty());
}

/// A late resignation must not depose a successor.
pub async fn resigning_an_older_term_changes_nothing(bed: &dyn Bed) {
    let store = bed.open().await;
    let old = lead(&*store).await;
    let new = succeed(&*store, old).await;
    store.resign(old).await.expect("the store works");
    put(&*store, new, vec![Change::PutJob(job(1))]).await;
}

/// Puts and removals of one commit are seen together.
pub async fn a_commit_takes_place_as_a_whole(bed: &dyn Bed) {
    let store = bed.open().await;
    let term = lead(&*store).await;
    let first: Vec<_> = (0..50).map(|n| Change::PutJob(job(n))).collect();
    put(&*store, term, first).await;
    let mut second: Vec<_> = (0..50).map(|n| Change::RemoveJob(job(n).job)).collect();
    second.extend((50..100).map(|n| Change::PutJob(job(n))));
    second.push(Change::PutHistory(history(1, 0)));
    let revision = put(&*store, term, second).await;
    let loaded = load(&*store).await;
    assert!(loaded.revision >= revision);
    let expected: BTreeSet<_> = (50..100)
        .map(|n| Change::PutJob(job(n)).key().to_string())
        .collect();
    assert_eq!(keys(&loaded), expected.iter().map(|key| &**key).collect());
    assert_eq!(store.history(None, 10).await.expect("the store works").len(), 1);
}

/// What was acknowledged is there after a restart.
pub async fn commits_survive_the_store(bed: &dyn Bed) {
    let store = bed.open().await;
    let term = lead(&*store).await;
    let changes = vec![Change::PutJob(job(1)), Change::PutHistory(history(2, 5))];
    let revision = put(&*store, term, changes).await;
    let before = load(&*store).await;
    drop(store);
    let store = bed.open().await;
    let after = load(&*store).await;
    assert!(after.revision >= revision);
    assert_eq!(after.records, before.records);
    assert_eq!(store.history(None, 10).await.expect("the store works").len(), 1);
}

/// As it must be for a commit whose outcome is unknown.
pub async fn the_same_commit_again_is_harmless(bed: &dyn Bed) {
    let store = bed.open().await;
    let term = lead(&*store).await;
    put(
        &*store,
        term,
        vec![Change::PutJob(job(1)), Change::PutJob(job(2))],
    )
    .await;
    let again = vec![
        Change::PutJob(job(3)),
        Change::RemoveJob(job(1).job),
        Change::PutHistory(history(1, 7)),
    ];
    let first = put(&*store, term, again.clone()).await;
    let before = load(&*store).await;
    let second = put(&*store, term, again).await;
    assert!(second > first);
    assert_eq!(load(&*store).await.records, before.records);
    assert_eq!(store.history(None, 10).await.expect("the store works").len(), 1);
}

/// Values come back as they were, at a revision not below any that was acknowledged.
pub async fn load_returns_all_records_but_history(bed: &dyn Bed) {
    let store = bed.open().await;
    let term = lead(&*store).await;
    let mut latest = Revision(0);
    for chunk in 0..30 {
        let changes = (0..100).map(|n| Change::PutJob(job(chunk * 100 + n)));
        let summary = Change::PutHistory(history(chunk, 1));
        latest = put(&*store, term, changes.chain([summary]).collect()).await;
    }
    let loaded = load(&*store).await;
    assert!(loaded.revision >= latest);
    assert_eq!(loaded.records.len(), 3000);
    assert!(keys(&loaded).iter().all(|key| key.starts_with("jobs/")));
    let written: BTreeMap<_, _> = (0..3000)
        .map(|n| Change::PutJob(job(n)))
        .map(|change| (change.key().to_string(), change.value()))
        .collect();
    for (key, value) in loaded.records {
        assert_eq!(written[&key], Some(value), "{key}");
    }
}

/// Pages neither overlap nor leave anything out.
pub async fn history_comes_in_pages_in_the_order_of_keys(bed: &dyn Bed) {
    let store = bed.open().await;
    let term = lead(&*store).await;
    for n in 0..25 {
        // Ends in another order than keys.
        put(
            &*store,
            term,
            vec![Change::PutHistory(history(n, 1000 - i64::from(n)))],
        )
        .await;
    }
    let mut seen = Vec::new();
    loop {
        let after = seen.last().cloned();
        let page = store
            .history(after.as_deref(), 10)
            .await
            .expect("the store works");
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 10);
        seen.extend(page.into_iter().map(|(key, _)| key));
    }
    let mut expected: Vec<_> = (0..25)
        .map(|n| Change::PutHistory(history(n, 0)).key().to_string())
        .collect();
    expected.sort();
    assert_eq!(seen, expected);
}

/// Whatever a store does to share one fsync, every commit is one of its own.
pub async fn commits_at_the_same_time_get_revisions_of_their_own(bed: &dyn Bed) {
    let store = bed.open().await;
    let old = lead(&*store).await;
    let term = succeed(&*store, old).await;
    let commits: Vec<_> = (0..200)
        // Every tenth is late: the fence must not take its neighbours along.
        .map(|n| commit(if n % 10 == 3 { old } else { term }, vec![Change::PutJob(job(n))]))
        .collect();
    let mut waiting: Vec<_> = commits.iter().map(|commit| store.commit(commit)).collect();
    let mut revisions = BTreeSet::new();
    let mut refused = 0;
    // Poll all before any is awaited to its end, so that they are under way together.
    let outcomes = all(&mut waiting).await;
    for outcome in outcomes {
        match outcome {
            Ok(revision) => assert!(revisions.insert(revision), "{revision:?} came twice"),
            Err(CommitError::Fenced { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((revisions.len(), refused), (180, 20));
    assert_eq!(load(&*store).await.records.len(), 180);
}

/// Awaits all of them, driven together.
async fn all<F: Future + Unpin>(futures: &mut [F]) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, slot) in futures.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(cx)
            {
                *slot = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Memory and store are changed by the same values; they must not drift apart.
pub async fn a_store_and_a_book_agree_on_any_changes(bed: &dyn Bed) {
    let store = bed.open().await;
    let term = lead(&*store).await;
    let mut book = Book::default();
    for changes in random_changes(7, 60) {
        for change in &changes {
            book.apply(change);
        }
        put(&*store, term, changes).await;
    }
    let loaded = load(&*store).await;
    let records = loaded.records.iter().map(|(key, value)| (&**key, &**value));
    assert_eq!(Book::load(records, Format::OURS).expect("we wrote it"), book);
}
