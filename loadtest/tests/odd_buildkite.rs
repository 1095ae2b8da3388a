//! What Buildkite answers seldom: each alone and often, over the Stacks API and over GraphQL, must harm nothing.

use gust_loadtest::virtual_gear::{
    INTENSITY, Keep, Profile, Scenario, SourceOf, run,
    scenario::{Planned, What, When},
};

/// Each with an event that it hangs on in both ways.
fn oddities() -> Vec<(&'static str, &'static str, What)> {
    let (pick, lasting_ms) = (0, 40_000);
    vec![
        (
            "reservation-taken",
            "job.state",
            What::ReservationTaken { pick, lasting_ms },
        ),
        (
            "reservation-taken",
            "instance.inserted",
            What::ReservationTaken { pick, lasting_ms },
        ),
        (
            "state-unknown",
            "job.state",
            What::StateUnknown { pick, lasting_ms },
        ),
        ("job-gone", "job.state", What::JobGone { pick }),
        ("job-gone", "instance.inserted", What::JobGone { pick }),
        ("token-revoked", "job.created", What::TokenRevoked { lasting_ms }),
        (
            "token-revoked",
            "instance.inserted",
            What::TokenRevoked { lasting_ms },
        ),
    ]
}

/// A few of a kind, spread over what happens.
fn world(seed: u64, source: SourceOf, event: &str, what: &What) -> Scenario {
    let faults = [2, 5, 11, 17].map(|nth| Planned {
        when: When::Event {
            event: event.to_owned(),
            nth,
            delay_ms: nth * 40,
        },
        what: what.clone(),
    });
    Scenario {
        source,
        faults: faults.to_vec(),
        ..Scenario::draw(seed, Profile::Burst, 3, 0.0)
    }
}

#[test]
fn whatever_buildkite_answers_of_a_job_nothing_is_violated() {
    let mut never = Vec::new();
    for (name, event, what) in oddities() {
        for source in [SourceOf::Stacks, SourceOf::Graphql] {
            let outcome = run(&world(5, source, event, &what), Keep::Nothing);
            assert_eq!(outcome.failure(), None, "{name} at {event}, {source:?}");
            if !outcome.cover.met().keys().any(|pair| pair.kind == name) {
                never.push(format!("{name} at {event}, {source:?}"));
            }
        }
    }
    assert!(never.is_empty(), "never met: {never:?}");
}

#[test]
fn over_graphql_all_that_goes_wrong_violates_nothing() {
    for (seed, profile) in [
        Profile::Trickle,
        Profile::Burst,
        Profile::MassCancel,
        Profile::Monorepo,
    ]
    .into_iter()
    .enumerate()
    {
        let scenario = Scenario {
            source: SourceOf::Graphql,
            ..Scenario::draw(seed as u64 + 1, profile, 3, INTENSITY)
        };
        let outcome = run(&scenario, Keep::Nothing);
        assert_eq!(outcome.failure(), None, "{profile:?}");
    }
}

/// Not the checker's word, but a plain count in the log.
#[test]
fn over_graphql_nothing_is_reserved_and_what_cannot_run_is_canceled_with_the_reason() {
    let scenario = Scenario {
        source: SourceOf::Graphql,
        ..Scenario::draw(11, Profile::Trickle, 1, 0.0)
    };
    let outcome = run(&scenario, Keep::Log);
    assert_eq!(outcome.failure(), None);
    let count = |what: &str| outcome.log.lines().filter(|line| line.contains(what)).count();
    assert_eq!(count(r#""kind":"job.reserved""#), 0);
    assert_eq!(count(r#""kind":"token.issued""#), 0);
    let refused = outcome
        .log
        .lines()
        .filter(|line| line.contains(r#""kind":"job.finished""#) && line.contains(r#""state":"canceled""#));
    assert_eq!(refused.count(), 3, "the impossible requests");
    assert_eq!(
        count(r#""kind":"instance.inserted""#),
        count(r#""kind":"job.acquired""#)
    );
}
