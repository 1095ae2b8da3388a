//! Leases, and what is tied to them.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use gust_core::{
    ids::{ProjectId, Region, Shard},
    ports::{Candidacy, LeaseError, Member, Ownership},
    records::Change,
};

use super::{Bed, commit, fenced, job, lead, lease, load, put, replica};

fn member(name: &str) -> Member {
    Member {
        replica: replica(name),
        zone: "us-central1-a".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        version: "1".to_owned(),
        config: "c".to_owned(),
    }
}

fn shard(region: &str) -> Shard {
    Shard {
        project: ProjectId::new("p"),
        region: Region::new(region),
    }
}

/// An answer that was lost does not cost the term that it told of.
pub async fn a_campaign_again_on_the_lease_that_leads_returns_its_term(bed: &dyn Bed) {
    let store = bed.open().await;
    let (ours, other) = (lease(&*store).await, lease(&*store).await);
    let first = store
        .campaign(ours, &replica("a"))
        .await
        .expect("the store works");
    let Candidacy::Elected(term) = first else {
        panic!("nobody else leads, but {first:?}");
    };
    put(&*store, term, vec![Change::PutJob(job(1))]).await;
    let again = store
        .campaign(ours, &replica("a"))
        .await
        .expect("the store works");
    assert_eq!(again, Candidacy::Elected(term));
    put(&*store, term, vec![Change::PutJob(job(2))]).await;
    let held = Candidacy::Held {
        leader: replica("a"),
        term,
    };
    let theirs = store
        .campaign(other, &replica("b"))
        .await
        .expect("the store works");
    assert_eq!(theirs, held);
}

/// The lead, the member and its shards go together; what another lease carries stays.
pub async fn revoking_a_lease_ends_all_that_is_tied_to_it(bed: &dyn Bed) {
    let store = bed.open().await;
    let (ours, other) = (lease(&*store).await, lease(&*store).await);
    store
        .campaign(ours, &replica("a"))
        .await
        .expect("the store works");
    for (lease, name, region) in [(ours, "a", "east"), (other, "b", "west")] {
        store.join(lease, &member(name)).await.expect("the lease lives");
        let owned = store.own(lease, &shard(region), &replica(name)).await;
        assert_eq!(owned.expect("the lease lives"), Ownership::Ours);
    }
    let full = store.roster().await.expect("the store works");
    let (leader, term) = full.leader.clone().expect("a leads");
    assert_eq!(leader, replica("a"));
    assert_eq!(full.members[&replica("b")], member("b"));
    assert_eq!((full.members.len(), full.owners.len()), (2, 2));
    store.revoke(ours).await.expect("the store works");
    store.revoke(ours).await.expect("no error if it has ended before");
    let left = store.roster().await.expect("the store works");
    assert_eq!(left.leader, None);
    assert_eq!(left.members.keys().collect::<Vec<_>>(), [&replica("b")]);
    assert_eq!(
        left.owners.into_iter().collect::<Vec<_>>(),
        [(shard("west"), replica("b"))]
    );
    fenced(store.commit(&commit(term, vec![Change::PutJob(job(1))])).await);
    assert!(load(&*store).await.records.is_empty());
    let next = store
        .campaign(other, &replica("b"))
        .await
        .expect("the store works");
    assert!(
        matches!(next, Candidacy::Elected(newer) if newer > term),
        "{next:?}"
    );
}

/// Taking it again is harmless, and only its owner lets go of it.
pub async fn a_shard_has_one_owner_at_a_time(bed: &dyn Bed) {
    let store = bed.open().await;
    let (ours, other) = (lease(&*store).await, lease(&*store).await);
    let east = shard("east");
    for _ in 0..2 {
        let owned = store
            .own(ours, &east, &replica("a"))
            .await
            .expect("the lease lives");
        assert_eq!(owned, Ownership::Ours);
    }
    store.disown(other, &east).await.expect("the store works");
    let owned = store
        .own(other, &east, &replica("b"))
        .await
        .expect("the lease lives");
    assert_eq!(owned, Ownership::Theirs(replica("a")));
    store.disown(ours, &east).await.expect("the store works");
    store.disown(ours, &east).await.expect("the store works");
    let owned = store
        .own(other, &east, &replica("b"))
        .await
        .expect("the lease lives");
    assert_eq!(owned, Ownership::Ours);
    let roster = store.roster().await.expect("the store works");
    assert_eq!(roster.owners[&east], replica("b"));
}

/// Nothing can be tied to a lease that has ended.
pub async fn an_ended_lease_carries_nothing(bed: &dyn Bed) {
    let store = bed.open().await;
    let ended = lease(&*store).await;
    assert!(store.renew(ended).await.is_ok());
    store.revoke(ended).await.expect("the store works");
    assert!(matches!(store.renew(ended).await, Err(LeaseError::Gone)));
    store
        .campaign(ended, &replica("a"))
        .await
        .expect_err("it has ended");
    store.join(ended, &member("a")).await.expect_err("it has ended");
    let own = store.own(ended, &shard("east"), &replica("a")).await;
    own.expect_err("it has ended");
    let roster = store.roster().await.expect("the store works");
    assert_eq!(
        (roster.leader, roster.members.len(), roster.owners.len()),
        (None, 0, 0)
    );
    lead(&*store).await;
}

/// Records do not wake who waits for another roster; a member does, also one that came before the wait began.
pub async fn a_waiter_hears_of_another_roster(bed: &dyn Bed) {
    let store = bed.open().await;
    let term = lead(&*store).await;
    let ours = lease(&*store).await;
    let before = store.roster().await.expect("the store works").revision;
    let mut waiting = pin!(store.roster_changed(before));
    let waits = |poll: Poll<_>| assert!(poll.is_pending(), "nothing has changed");
    waits(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    put(&*store, term, vec![Change::PutJob(job(1))]).await;
    waits(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    store.join(ours, &member("a")).await.expect("the lease lives");
    waiting.await.expect("the store works");
    store.roster_changed(before).await.expect("the store works");
}

/// What others hold stays, a term that is over is nobody's loss, and what the deposed leader still sends is refused.
pub async fn deposing_a_leader_ends_its_term_and_nothing_else(bed: &dyn Bed) {
    let store = bed.open().await;
    let (leads, carries) = (lease(&*store).await, lease(&*store).await);
    let elected = store.campaign(leads, &replica("a")).await;
    let Ok(Candidacy::Elected(term)) = elected else {
        panic!("nobody else leads, but {elected:?}");
    };
    store.join(carries, &member("a")).await.expect("the lease lives");
    let owned = store.own(carries, &shard("east"), &replica("a")).await;
    assert_eq!(owned.expect("the lease lives"), Ownership::Ours);
    for _ in 0..2 {
        store.depose(term).await.expect("no error if it is over");
    }
    let left = store.roster().await.expect("the store works");
    assert_eq!(left.leader, None);
    assert_eq!((left.members.len(), left.owners.len()), (1, 1));
    assert!(matches!(store.renew(leads).await, Err(LeaseError::Gone)));
    fenced(store.commit(&commit(term, vec![Change::PutJob(job(1))])).await);
    let next = lead(&*store).await;
    store.depose(term).await.expect("no error if it is over");
    put(&*store, next, vec![Change::PutJob(job(1))]).await;
}

/// Membership is never ended along with the lead.
pub async fn a_lease_that_carries_more_than_the_lead_is_left_alone(bed: &dyn Bed) {
    let store = bed.open().await;
    let both = lease(&*store).await;
    let elected = store.campaign(both, &replica("a")).await;
    let Ok(Candidacy::Elected(term)) = elected else {
        panic!("nobody else leads, but {elected:?}");
    };
    store.join(both, &member("a")).await.expect("the lease lives");
    store.depose(term).await.expect_err("a member hangs on it");
    put(&*store, term, vec![Change::PutJob(job(1))]).await;
    store.renew(both).await.expect("it lives");
}
