//! The store here grants five seconds at a time; a holder stops one second earlier.

use std::collections::VecDeque;

use gust_core::time::Timestamp;

use super::*;
use crate::{
    task::Tasks,
    testing::{
        Renewal::{self, After, Gone, Silence, Unclear},
        ToldStore,
    },
};

const LEASE: LeaseId = LeaseId(1);

/// A lease that was granted just now, and the store that is asked for more.
fn granted(renewals: impl Into<VecDeque<Renewal>>) -> (Held, Arc<ToldStore>) {
    let clock = Clock::starting_at(Timestamp(0));
    let timing = Timing::default();
    let store = ToldStore::default();
    *store.renewals.lock().unwrap() = renewals.into();
    let held = Held::new(&clock, timing, clock.elapsed(), timing.ttl);
    (held, Arc::new(store))
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// When the keeper gave up, since the grant.
async fn kept_for(held: &Held, store: &ToldStore) -> Duration {
    let start = tokio::time::Instant::now();
    held.keep(store, LEASE).await;
    assert!(!held.is_valid(), "who keeps a lease gives it up at the end");
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_holder_whom_nobody_answers_stops_before_the_lease_can_lapse() {
    let (held, store) = granted([Silence; 20]);
    assert_eq!(kept_for(&held, &store).await, ms(4000));
    // The store counts its five seconds from the grant.
    assert!(held.clock.elapsed() < ms(5000));
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_from_when_it_was_asked_for() {
    // Asked for at 1 s, answered at 1.9 s: it holds until 1 s + 5 s - 1 s, not until 5.9 s.
    let mut renewals = VecDeque::from([After(ms(900))]);
    renewals.extend([Silence; 20]);
    let (held, store) = granted(renewals);
    assert_eq!(kept_for(&held, &store).await, ms(5000));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_every_second_for_as_long_as_the_store_answers() {
    let (held, store) = granted([After(ms(300)); 600]);
    let tasks = Tasks::default();
    let (keeper, asked) = (held.clone(), Arc::clone(&store));
    tasks.spawn("keep", async move { keeper.keep(&*asked, LEASE).await });
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(held.is_valid());
    let renewed = store.renewed.lock().unwrap().clone();
    assert!((595..=600).contains(&renewed.len()), "{} renewals", renewed.len());
    let gaps = renewed.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.clone().all(|gap| gap == ms(1000)), "{:?}", gaps.max());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_has_lapsed_is_given_up_at_once_by_all_who_hold_it() {
    let (held, store) = granted([After(ms(0)), Gone]);
    let other = held.clone();
    let waiting = timeout(Duration::from_secs(60), other.lapsed());
    let (took, lapsed) = tokio::join!(kept_for(&held, &store), waiting);
    assert_eq!(took, ms(2000));
    assert!(lapsed.is_ok() && !other.is_valid());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_while_costs_nothing() {
    // Two and a half seconds of refusals, and a call that is never answered.
    let mut renewals = VecDeque::from([Unclear; 7]);
    renewals.extend([Silence, After(ms(0)), Gone]);
    let (held, store) = granted(renewals);
    // 1 s; seven tries each 0.2 s apart; 1 s without an answer; then it is granted, and a second later it is gone.
    assert_eq!(kept_for(&held, &store).await, ms(1000 + 7 * 200 + 1000 + 1000));
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_was_frozen_knows_at_its_first_look_that_its_time_is_over() {
    let (held, _store) = granted([]);
    assert!(held.is_valid());
    held.permit().await;
    // Nobody is polled meanwhile.
    tokio::time::advance(Duration::from_secs(30)).await;
    assert!(!held.is_valid());
    let permit = timeout(Duration::from_secs(3600), held.permit());
    assert!(permit.await.is_err(), "what waits for a permit waits to be ended");
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_given_again_when_a_late_answer_shows_that_the_lease_lives() {
    // Asked for at 3.2 s, before the time is over at 4 s, and answered at 4.1 s.
    let (held, store) = granted([Unclear, Silence, Silence, After(ms(900)), Gone]);
    let permitted = async {
        tokio::time::sleep(ms(4050)).await;
        assert!(!held.is_valid());
        held.permit().await;
        held.clock.elapsed()
    };
    let (kept, permitted) = tokio::join!(kept_for(&held, &store), permitted);
    assert_eq!((permitted, kept), (ms(4100), ms(4200)));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_end_waits_as_long_as_the_lease_is_renewed() {
    let (held, store) = granted([After(ms(0)); 30]);
    store.renewals.lock().unwrap().extend([Silence; 20]);
    let waiting = async {
        held.lapsed().await;
        held.clock.elapsed()
    };
    let (kept, lapsed) = tokio::join!(kept_for(&held, &store), waiting);
    assert_eq!((kept, lapsed), (ms(34_000), ms(34_000)));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_alone_holds_for_ever() {
    let held = Held::always(&Clock::starting_at(Timestamp(0)));
    tokio::time::advance(Duration::from_secs(365 * 86_400)).await;
    assert!(held.is_valid());
    held.give_up();
    held.lapsed().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_stood_in_line_does_not_go_out_once_the_time_is_over() {
    let (held, _store) = granted([]);
    let mut sent = false;
    let call = async {
        tokio::time::sleep(ms(4500)).await;
        sent = true;
    };
    let call = timeout(Duration::from_secs(3600), held.within(call));
    assert!(call.await.is_err(), "it waits to be ended");
    assert!(!sent);
    // Nor does one of a process that stood still, although its turn has come long since.
    let (held, _store) = granted([]);
    let turns = std::cell::Cell::new(0);
    let call = poll_fn(|_| {
        turns.set(turns.get() + 1);
        Poll::<()>::Pending
    });
    let mut call = pin!(held.within(call));
    assert!(timeout(ms(1), call.as_mut()).await.is_err());
    let before = turns.get();
    assert!(before > 0);
    tokio::time::advance(Duration::from_secs(30)).await;
    assert!(timeout(ms(1), call).await.is_err());
    assert_eq!(turns.get(), before, "it was not polled again");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_stood_in_line_goes_on_when_a_late_answer_shows_that_the_lease_lives() {
    // As above: over at 4 s, and renewed by an answer at 4.1 s.
    let (held, store) = granted([Unclear, Silence, Silence, After(ms(900)), Gone]);
    let call = async {
        tokio::time::sleep(ms(4050)).await;
        held.clock.elapsed()
    };
    let (_, sent) = tokio::join!(kept_for(&held, &store), held.within(call));
    assert_eq!(sent, ms(4100));
}
