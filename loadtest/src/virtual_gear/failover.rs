//! How long nobody leads, by what became of the leader.

use std::time::Duration;

use super::{
    Keep, Profile, Scenario, run,
    scenario::{Planned, What, When, Who},
};

/// The leader is struck at this moment.
const AT_MS: u64 = 30_000;

/// A change of the leader's key after the fault: when, by whom, and whether it was taken.
#[derive(Debug)]
struct Turn {
    after: Duration,
    by: String,
    taken: bool,
}

/// Strikes the leader of three replicas, and returns what became of its key then.
fn strike(seed: u64, what: What) -> Vec<Turn> {
    let mut scenario = Scenario::draw(seed, Profile::Trickle, 3, 0.0);
    let when = When::At { at_ms: AT_MS };
    scenario.faults.push(Planned { when, what });
    let outcome = run(&scenario, Keep::Timeline);
    assert_eq!(outcome.failure(), None);
    let lines = outcome.timeline.iter();
    let mut struck = lines.skip_while(|line| !line.contains("FAULT")).peekable();
    let at = |line: &str| {
        let seconds = line.split_whitespace().next().expect("a time");
        Duration::from_secs_f64(seconds.parse().expect("seconds"))
    };
    let start = at(struck.peek().expect("the fault met something"));
    let turns = struck.filter_map(|line| {
        let (head, writes) = line.split_once(": ")?;
        let taken = writes
            .split_whitespace()
            .any(|write| write.starts_with("+leader"));
        let lost = writes.split_whitespace().any(|write| write == "-leader");
        (taken || lost).then(|| Turn {
            after: at(line) - start,
            by: head.split_once(" by ").expect("an author").1.to_owned(),
            taken,
        })
    });
    turns.collect()
}

fn crash(host: bool) -> What {
    What::ReplicaCrash {
        replica: Who::Leader,
        down_ms: 20_000,
        host,
    }
}

#[test]
fn who_died_alone_is_replaced_at_once_by_a_peer() {
    for seed in 1..4 {
        let turns = strike(seed, crash(false));
        let [lost, taken, ..] = &turns[..] else {
            panic!("seed {seed}: {turns:?}");
        };
        assert!(!lost.taken && lost.by != "itself", "seed {seed}: {turns:?}");
        assert!(
            taken.taken && taken.after < Duration::from_secs(1),
            "seed {seed}: {turns:?}"
        );
    }
}

#[test]
fn who_died_with_the_host_is_waited_for_until_the_lease_lapses() {
    for seed in 1..4 {
        let turns = strike(seed, crash(true));
        let [lost, taken, ..] = &turns[..] else {
            panic!("seed {seed}: {turns:?}");
        };
        assert!(!lost.taken && lost.by == "itself", "seed {seed}: {turns:?}");
        assert!(
            taken.taken && taken.after > Duration::from_secs(3) && taken.after < Duration::from_secs(7),
            "seed {seed}: {turns:?}"
        );
    }
}

#[test]
fn who_is_only_cut_off_from_the_others_leads_on() {
    let cuts = [(0, 1), (1, 2), (0, 2)];
    let mut scenario = Scenario::draw(1, Profile::Trickle, 3, 0.0);
    scenario.faults = cuts
        .map(|(a, b)| Planned {
            when: When::At { at_ms: AT_MS },
            what: What::LinkCut {
                a,
                b,
                lasting_ms: 20_000,
            },
        })
        .into();
    let outcome = run(&scenario, Keep::Timeline);
    assert_eq!(outcome.failure(), None);
    assert!(outcome.timeline.iter().any(|line| line.contains("FAULT")));
    let taken = outcome.timeline.iter().filter(|line| line.contains("+leader"));
    assert_eq!(taken.count(), 1);
}

#[test]
fn a_wrong_guess_costs_one_change_of_leaders() {
    let turns = strike(
        1,
        What::PortClosed {
            replica: Who::Leader,
            lasting_ms: 40_000,
        },
    );
    assert_eq!(turns.iter().filter(|turn| turn.taken).count(), 1, "{turns:?}");
}
