use proptest::prelude::{ProptestConfig, prop, prop_assert, proptest};

use super::*;

const S: fn(u64) -> Duration = Duration::from_millis;

#[tokio::test(start_paused = true)]
async fn a_fresh_gate_lets_the_limit_through_and_then_spreads() {
    let start = Instant::now();
    let mut gate = RateGate::default();
    let at: Vec<_> = (0..17).map(|_| gate.take(Scope::List, start) - start).collect();
    assert!(at[..8].iter().all(Duration::is_zero));
    assert!(at[8..16].iter().all(|at| *at == SPAN));
    assert_eq!(at[16], SPAN * 2);
}

#[tokio::test(start_paused = true)]
async fn scopes_do_not_disturb_each_other() {
    let start = Instant::now();
    let mut gate = RateGate::default();
    for _ in 0..8 {
        gate.take(Scope::List, start);
    }
    assert_eq!(gate.earliest(Scope::Reserve, start), start);
    assert_eq!(gate.earliest(Scope::List, start), start + SPAN);
}

#[tokio::test(start_paused = true)]
async fn a_429_without_any_word_costs_one_window_and_with_one_what_it_says() {
    let start = Instant::now();
    let mut gate = RateGate::default();
    gate.observe(Scope::Finish, 429, &RateHeaders::default(), start);
    assert_eq!(gate.earliest(Scope::Finish, start), start + S(1000));
    let told = RateHeaders {
        retry_after: Some(S(2500)),
        reset: Some(S(100)),
        ..RateHeaders::default()
    };
    gate.observe(Scope::Finish, 429, &told, start);
    assert_eq!(gate.earliest(Scope::Finish, start), start + S(2500));
    // A later, shorter word does not shorten an earlier, longer one.
    gate.observe(
        Scope::Finish,
        429,
        &RateHeaders {
            reset: Some(S(100)),
            ..told
        },
        start,
    );
    assert_eq!(gate.earliest(Scope::Finish, start), start + S(2500));
}

#[tokio::test(start_paused = true)]
async fn a_spent_window_is_waited_out_even_when_the_call_succeeded() {
    let start = Instant::now();
    let mut gate = RateGate::default();
    let spent = RateHeaders {
        limit: Some(20),
        remaining: Some(0),
        reset: Some(S(700)),
        ..RateHeaders::default()
    };
    gate.observe(Scope::States, 200, &spent, start);
    assert_eq!(gate.earliest(Scope::States, start), start + S(700));
    let left = RateHeaders {
        remaining: Some(1),
        ..spent
    };
    let mut gate = RateGate::default();
    gate.observe(Scope::States, 200, &left, start);
    assert_eq!(gate.earliest(Scope::States, start), start);
}

#[tokio::test(start_paused = true)]
async fn the_limit_follows_the_replies() {
    let start = Instant::now();
    let mut gate = RateGate::default();
    gate.observe(
        Scope::Reserve,
        200,
        &RateHeaders {
            limit: Some(2),
            ..RateHeaders::default()
        },
        start,
    );
    let at: Vec<_> = (0..3).map(|_| gate.take(Scope::Reserve, start) - start).collect();
    assert_eq!(at, [S(0), S(0), SPAN]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_window_holds_more_calls_than_the_limit(gaps in prop::collection::vec(0_u64..400, 1..200)) {
        let start = Instant::now();
        let mut gate = RateGate::default();
        let mut now = start;
        let mut sent = Vec::new();
        for gap in gaps {
            now += S(gap);
            sent.push(gate.take(Scope::List, now));
        }
        sent.sort();
        for (i, at) in sent.iter().enumerate() {
            prop_assert!(*at >= start);
            if i >= 8 {
                prop_assert!(*at >= sent[i - 8] + SPAN);
            }
        }
    }
}
