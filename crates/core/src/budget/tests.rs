use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;

/// Calls that go out at a moment.
fn burst(account: &mut Account, at: i64, urgency: Urgency) -> u32 {
    let mut calls = 0;
    while account.take(Timestamp(at), urgency).is_ok() {
        calls += 1;
    }
    calls
}

#[test]
fn a_burst_takes_a_tenth_of_the_minute_at_once_and_then_its_share() {
    let mut account = Account::new(600);
    assert_eq!(burst(&mut account, 0, Urgency::First), 60);
    assert_eq!(account.take(Timestamp(0), Urgency::First), Err(Timestamp(1)));
    assert_eq!(burst(&mut account, SECOND, Urgency::First), 10);
    // What the first half left over is still there in the second.
    assert_eq!(burst(&mut account, 30 * SECOND, Urgency::First), 290);
    assert_eq!(burst(&mut account, 59 * SECOND, Urgency::First), 240);
    assert_eq!(
        account.take(Timestamp(59 * SECOND), Urgency::First),
        Err(Timestamp(MINUTE + PAUSE as i64))
    );
}

#[test]
fn creations_leave_a_fifth_to_deletions() {
    let mut account = Account::new(600);
    let last = MINUTE - 1;
    assert_eq!(burst(&mut account, last, Urgency::Normal), 480);
    assert_eq!(burst(&mut account, last, Urgency::First), 120);
    let mut account = Account::new(600);
    assert_eq!(burst(&mut account, last, Urgency::First), 600);
    assert_eq!(
        burst(&mut account, last, Urgency::Normal),
        0,
        "deletions go first"
    );
}

#[test]
fn a_new_owner_counts_what_the_old_one_may_have_spent() {
    let at = 30 * SECOND;
    let mut account = Account::new(600);
    account.begin(Timestamp(at));
    assert_eq!(burst(&mut account, at, Urgency::First), 0);
    // And goes on at once at the pace of the minute, creations as well.
    assert_eq!(burst(&mut account, at + SECOND, Urgency::Normal), 8);
    assert_eq!(burst(&mut account, at + SECOND, Urgency::First), 2);
}

#[test]
fn after_a_refusal_nothing_goes_out_in_this_minute_and_less_in_the_next() {
    let mut account = Account::new(600);
    for _ in 0..40 {
        account
            .take(Timestamp(0), Urgency::First)
            .expect("within the limit");
    }
    account.refused(Timestamp(SECOND));
    assert_eq!(
        account.take(Timestamp(SECOND), Urgency::First),
        Err(Timestamp(MINUTE + PAUSE as i64))
    );
    assert_eq!(
        burst(&mut account, 2 * MINUTE - 1, Urgency::First),
        60,
        "the least"
    );
    assert_eq!(
        burst(&mut account, 3 * MINUTE - 1, Urgency::First),
        120,
        "and rising"
    );
    assert_eq!(
        burst(&mut account, 30 * MINUTE - 1, Urgency::First),
        600,
        "to what it was"
    );
}

#[test]
fn the_smallest_account_makes_a_call_a_minute() {
    let mut account = Account::new(0);
    account.refused(Timestamp(0));
    for minute in 1..5 {
        let at = minute * MINUTE + PAUSE as i64;
        assert_eq!(burst(&mut account, at, Urgency::Normal), 1);
    }
}

// What leaves at the begin of a minute by our clock may arrive at the end of the one before by Google's, which is spent.
#[test]
fn after_a_minute_that_was_spent_nothing_goes_out_until_google_has_begun_another_as_well() {
    let mut account = Account::new(600);
    assert_eq!(burst(&mut account, 59 * SECOND, Urgency::First), 600);
    let opens = Timestamp(MINUTE + PAUSE as i64);
    assert_eq!(account.take(Timestamp(MINUTE), Urgency::First), Err(opens));
    assert!(burst(&mut account, opens.0, Urgency::First) > 0);
    // After a quiet minute there is nothing to wait for.
    assert!(burst(&mut account, 2 * MINUTE, Urgency::First) > 0);
    assert!(burst(&mut account, 9 * MINUTE, Urgency::First) > 0);
}

/// Something that happens after so many milliseconds.
#[derive(Clone, Debug)]
enum Act {
    Take(Urgency),
    Refused,
    Begin,
}

fn acts() -> impl Strategy<Value = Vec<(i64, Act)>> {
    let act = prop_oneof![
        8 => Just(Act::Take(Urgency::First)),
        8 => Just(Act::Take(Urgency::Normal)),
        1 => Just(Act::Refused),
        1 => Just(Act::Begin),
    ];
    // Now and then the clock is set back.
    let step = prop_oneof![9 => 0_i64..2_000, 1 => -3_000_i64..90_000];
    proptest::collection::vec((step, act), 1..400)
}

proptest! {
    #[test]
    fn never_more_than_the_limit_in_a_minute(limit in 1_u32..50, begun in 0..MINUTE, acts in acts()) {
        let mut account = Account::new(limit);
        let (mut now, mut latest) = (begun, 0);
        let mut taken: BTreeMap<i64, u32> = BTreeMap::new();
        for (step, act) in acts {
            now += step;
            match act {
                Act::Take(urgency) => match account.take(Timestamp(now), urgency) {
                    Ok(()) => {
                        latest = now.max(latest);
                        *taken.entry(latest / MINUTE).or_default() += 1;
                    }
                    Err(at) => prop_assert!(at > Timestamp(now) || now < latest, "{at:?} is not after {now}"),
                },
                Act::Refused => account.refused(Timestamp(now)),
                Act::Begin => account.begin(Timestamp(now)),
            }
            latest = now.max(latest);
        }
        prop_assert!(taken.values().all(|calls| *calls <= limit), "{taken:?}");
    }

    #[test]
    fn who_waits_as_told_may_call_then(limit in 1_u32..3_000, at in 0..MINUTE, calls in 0..3_000) {
        let mut account = Account::new(limit);
        for _ in 0..calls {
            let _ = account.take(Timestamp(at), Urgency::Normal);
        }
        if let Err(then) = account.clone().take(Timestamp(at), Urgency::Normal) {
            prop_assert_eq!(account.take(then, Urgency::Normal), Ok(()));
        }
    }

    #[test]
    fn owners_one_after_another_keep_the_limit_together(
        limit in 1_u32..200,
        turns in proptest::collection::vec((0_i64..20_000, 0_u32..300), 1..8),
    ) {
        let (mut now, mut taken) = (0, BTreeMap::<i64, u32>::new());
        for (pause, wanted) in turns {
            let mut owner = Account::new(limit);
            owner.begin(Timestamp(now));
            now += pause;
            for _ in 0..wanted {
                *taken.entry(now / MINUTE).or_default() +=
                    u32::from(owner.take(Timestamp(now), Urgency::First).is_ok());
            }
        }
        prop_assert!(taken.values().all(|calls| *calls <= limit), "{taken:?}");
    }
}
