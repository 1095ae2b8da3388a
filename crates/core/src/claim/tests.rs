//! Who gets which job, and who gets none.

use super::{CLOCK_SKEW, Proof};
use crate::{
    decide::tests::world::{START, World},
    ports::JobState,
    records::{KeyHash, MachinePhase},
    time::Timestamp,
};

/// Job 1 with a machine that exists.
fn booting() -> World {
    let mut world = World::small();
    world.job(1, "small");
    world.pass();
    world.all_created();
    world
}

#[test]
fn a_claim_gives_the_machine_its_job_in_one_step() {
    let mut world = booting();
    assert_eq!(world.claim("m1.1", "k"), "job 1");
    assert_eq!(world.phase(1), "claimed");
    let MachinePhase::Claimed(claim) = &world.book.machines()[&world.name("m1.1")].phase else {
        panic!("claimed")
    };
    assert_eq!(claim.key, KeyHash("k".into()));
}

#[test]
fn the_same_key_gets_the_same_job_again_until_it_is_accepted() {
    let mut world = booting();
    world.job(2, "small");
    world.claim("m1.1", "k");
    let before = world.book.clone();
    assert_eq!(world.claim("m1.1", "k"), "job 1", "the answer may have been lost");
    world.state(1, JobState::Accepted);
    assert_eq!(
        world.claim("m1.1", "k"),
        "no job: an agent already has this machine's job"
    );
    assert_eq!(world.book, before, "repeats change nothing");
    world.state(1, JobState::Finished);
    world.done("m1.1", "k");
    assert_eq!(world.pass()[0], "close 1: ran");
    assert_eq!(world.claim("m1.1", "k"), "no job: this machine is being removed");
}

#[test]
fn a_machine_whose_job_is_over_gets_no_other_one() {
    let mut world = booting();
    world.claim("m1.1", "k");
    world.job(2, "small");
    world.state(1, JobState::Canceled);
    let close = crate::decide::Action::Close {
        job: crate::decide::tests::world::job(1),
        outcome: crate::records::Outcome::Ran,
    };
    let step = crate::evolve::record(&world.book, &close, world.now).expect("a booked job");
    world.step(step);
    assert_eq!(world.claim("m1.1", "k"), "no job: this machine's job is over");
    assert_eq!(world.phase(2), "booked");
}

#[test]
fn another_key_is_refused_for_good() {
    let mut world = booting();
    world.claim("m1.1", "k");
    let before = world.book.clone();
    assert!(
        world
            .claim("m1.1", "thief")
            .ends_with("was claimed with another key")
    );
    assert_eq!(world.book, before);
}

#[test]
fn what_the_token_proves_must_be_what_the_record_says() {
    let lie = |change: fn(&mut Proof)| {
        let mut world = booting();
        let mut proof = world.proof("m1.1", "k");
        change(&mut proof);
        let before = world.book.clone();
        let answer = world.present(&proof);
        assert_eq!(world.book, before, "a refused claim changes nothing");
        answer.replace(world.name("m1.1").as_str(), "<machine>")
    };
    let answers = [
        lie(|proof| proof.project = "other".into()),
        lie(|proof| proof.zone = "r1-b".into()),
        lie(|proof| proof.email = "root@ci.iam".into()),
        lie(|proof| proof.instance_id = 78),
        lie(|proof| proof.machine = "gust-nobody-1".into()),
    ];
    insta::assert_snapshot!(answers.join("\n"));
}

/// Job 1 whose machine is still being made: zone and id are not known.
fn creating() -> World {
    let mut world = World::small();
    world.job(1, "small");
    world.job(2, "small");
    world.pass();
    world
}

#[test]
fn the_first_claim_pins_what_the_record_does_not_know() {
    let mut world = creating();
    let proof = Proof {
        zone: "r1-b".into(),
        instance_id: 5,
        ..world.proof("m1.1", "k")
    };
    assert_eq!(world.present(&proof), "job 1");
    let machine = &world.book.machines()[&world.name("m1.1")];
    assert_eq!(
        (machine.zone.as_ref().map(|z| z.as_str()), machine.instance_id),
        (Some("r1-b"), Some(5))
    );
    let other = Proof {
        instance_id: 6,
        ..proof
    };
    assert!(world.present(&other).contains("instance id is 6"));
}

#[test]
fn a_machine_older_than_its_intent_is_an_impostor() {
    let mut world = creating();
    let early = Timestamp(START.0 - CLOCK_SKEW.as_millis() as i64);
    let too_old = Proof {
        created_at: Timestamp(early.0 - 1),
        ..world.proof("m1.1", "k")
    };
    assert!(world.present(&too_old).contains("creation is"));
    let skewed = Proof {
        created_at: early,
        ..too_old
    };
    assert_eq!(world.present(&skewed), "job 1");
}

#[test]
fn a_machine_in_another_region_is_an_impostor() {
    let mut world = creating();
    let proof = Proof {
        zone: "r2-a".into(),
        ..world.proof("m1.1", "k")
    };
    assert!(world.present(&proof).contains("region is r2, the record says r1"));
}

#[test]
fn a_more_urgent_job_of_the_same_request_wins() {
    let mut world = booting();
    world.kind("b", &[]);
    world.plan("b", &[("b", "r1")]);
    world.job_with(2, "small", |facts| facts.priority = 1);
    world.job_with(3, "small", |facts| {
        facts.priority = 1;
        facts.runnable_at = START;
    });
    world.job_with(4, "b", |facts| facts.priority = 9);
    assert_eq!(world.claim("m1.1", "k"), "job 3");
    assert_eq!(
        (world.phase(1), world.phase(2), world.phase(4)),
        ("booked", "booked", "booked")
    );
}

#[test]
fn a_job_is_given_once_though_two_machines_claim() {
    let mut world = creating();
    world.state(2, JobState::Canceled);
    assert_eq!(world.claim("m2.1", "k2"), "job 1");
    assert_eq!(
        world.claim("m1.1", "k1"),
        "no job: no job is left for this machine"
    );
    let MachinePhase::Deleting { claim: None, .. } = &world.book.machines()[&world.name("m1.1")].phase else {
        panic!("deleted at once, with what the claim proved")
    };
    world.job(3, "small");
    assert!(
        world.claim("m1.1", "k1").starts_with("no job"),
        "its right to claim does not come back"
    );
}

#[test]
fn jobs_that_cannot_run_now_are_given_to_nobody() {
    let mut world = booting();
    world.state(1, JobState::Held("limited".into()));
    assert_eq!(
        world.claim("m1.1", "k"),
        "no job: no job is left for this machine"
    );

    let mut world = booting();
    world.seen(1).reservation_lost = true;
    assert_eq!(
        world.claim("m1.1", "k"),
        "no job: no job is left for this machine"
    );

    let mut world = booting();
    world.seen(1).missing = 2;
    assert_eq!(
        world.claim("m1.1", "k"),
        "no job: no job is left for this machine"
    );
}

#[test]
fn a_paused_queue_makes_only_its_own_machines_wait() {
    let mut world = booting();
    world.kind("b", &[]);
    world.plan("b", &[("b", "r1")]);
    world.job_with(2, "b", |facts| facts.queue = "other".into());
    world.pass();
    world.all_created();
    world.paused.insert(("bk".into(), "main".into()));
    assert_eq!(
        world.claim("m1.1", "k"),
        "not yet: the queue is paused in Buildkite"
    );
    assert_eq!(
        world.pass(),
        ["1: paused main", "2: booting m2.1"],
        "its machine is kept"
    );
    world.state(2, JobState::Canceled);
    assert_eq!(
        world.claim("m2.1", "k2"),
        "no job: no job is left for this machine"
    );
    world.paused.clear();
    assert_eq!(world.claim("m1.1", "k"), "job 1");
}
