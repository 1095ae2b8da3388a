//! What an agent sees, and how it gets lost.

use super::{Bench, State};
use crate::buildkite::Registration;

const ONE: &str = "steps:\n- {command: a, key: a}";

fn token_for(bench: &mut Bench, job: uuid::Uuid, seconds: i64) -> String {
    let jobs = [job.to_string()];
    let tokens = bench
        .act(|model, now, out| model.issue_acquisition_tokens(now, 0, "g", &jobs, Some(seconds), out))
        .unwrap();
    tokens.issued[0].token.clone()
}

#[test]
fn of_two_agents_exactly_one_acquires_the_job() {
    let mut bench = Bench::new();
    let job = bench.build(ONE).jobs[0].uuid;
    let (one, two) = (bench.agent("bkct_fake"), bench.agent("bkct_fake"));
    assert!(
        bench
            .act(|model, now, out| model.acquire(now, &one, job, out))
            .is_ok()
    );
    for session in [&two, &one] {
        let refusal = bench
            .act(|model, now, out| model.acquire(now, session, job, out))
            .unwrap_err();
        assert_eq!(refusal.status, 422);
    }
    assert_eq!(bench.events("job.acquired").len(), 1);
}

#[test]
fn a_waiting_job_is_locked_and_an_unknown_one_is_not_found() {
    let mut bench = Bench::new();
    let build = bench.build("steps:\n- {command: a, key: a}\n- wait\n- {command: b, key: b}");
    let session = bench.agent("bkct_fake");
    let status = |bench: &mut Bench, job| {
        bench
            .act(|model, now, out| model.acquire(now, &session, job, out))
            .unwrap_err()
            .status
    };
    assert_eq!(status(&mut bench, build.jobs[1].uuid), 423);
    assert_eq!(status(&mut bench, build.uuid), 404);
    bench.cancel(build.jobs[0].uuid).unwrap();
    assert_eq!(status(&mut bench, build.jobs[0].uuid), 422);
    let other = bench.act(|model, now, out| model.acquire(now, "bkct_fake", build.jobs[0].uuid, out));
    assert_eq!(other.unwrap_err().status, 401);
}

#[test]
fn an_acquisition_token_opens_a_session_for_its_job_only_and_only_while_it_is_reserved() {
    let mut bench = Bench::new();
    let build = bench.build("steps:\n- {command: a, key: a}\n- {command: b, key: b}");
    let (job, other) = (build.jobs[0].uuid, build.jobs[1].uuid);
    assert!(bench.reserve("g", job, 60));
    let token = token_for(&mut bench, job, 900);
    let session = bench.agent(&token);
    let refusal = bench
        .act(|model, now, out| model.acquire(now, &session, other, out))
        .unwrap_err();
    assert_eq!(refusal.status, 422);
    bench
        .act(|model, now, out| model.acquire(now, &session, job, out))
        .unwrap();
    let again = bench.act(|model, now, out| model.register_agent(now, &token, Registration::default(), out));
    assert_eq!(again.unwrap_err().status, 422, "the job is no longer reserved");
    let registered = &bench.events("agent.registered")[0].fields();
    assert_eq!(registered["token_kind"], "acquisition");
    assert_eq!(registered["job"], job.to_string().as_str());
    assert_eq!(
        registered["token_id"],
        bench.events("token.issued")[0].fields()["token_id"]
    );
}

#[test]
fn an_acquisition_token_expires_by_its_lifetime_and_with_the_reservation() {
    let mut bench = Bench::new();
    let job = bench.build(ONE).jobs[0].uuid;
    assert!(bench.reserve("g", job, 60));
    let (short, long) = (token_for(&mut bench, job, 10), token_for(&mut bench, job, 900));
    let status = |bench: &mut Bench, token: &str| {
        bench
            .act(|model, now, out| model.register_agent(now, token, Registration::default(), out))
            .map_or_else(|refusal| refusal.status, |_| 200)
    };
    bench.pass(10.0);
    assert_eq!(status(&mut bench, &short), 401);
    assert_eq!(status(&mut bench, &long), 200);
    bench.pass(50.0);
    assert_eq!(status(&mut bench, &long), 422);
    assert_eq!(status(&mut bench, "bkjat_none"), 401);
    assert_eq!(status(&mut bench, "bkua_fake"), 401);
}

#[test]
fn a_silent_agent_is_lost_on_the_next_sweep_and_takes_its_job_with_it() {
    let mut bench = Bench::new();
    let job = bench
        .build("steps:\n- {command: a, key: a, retry: {automatic: [{exit_status: -1, limit: 1}]}}")
        .jobs[0]
        .uuid;
    bench.pass(10.0);
    bench.run(job);
    bench.pass(229.9);
    assert_eq!(
        bench.state(job),
        State::Running,
        "3 minutes are over, the sweep is not there yet"
    );
    bench.pass(0.2);
    assert_eq!(bench.state(job), State::Finished);
    let end = &bench.events("job.finished")[0].fields();
    assert_eq!(
        (end["by"].as_str(), end["exit_status"].as_str()),
        (Some("server"), Some("-1"))
    );
    assert!(end["signal_reason"].is_null());
    assert_eq!(bench.events("agent.lost").len(), 1);
    assert_eq!(
        bench.jobs_of("a").len(),
        2,
        "a rule for exit status -1 covers a lost machine"
    );
}

#[test]
fn heartbeats_keep_an_agent_alive() {
    let mut bench = Bench::new();
    let session = bench.agent("bkct_fake");
    for _ in 0..20 {
        bench.pass(60.0);
        bench.act(|model, now, _| model.heartbeat(now, &session)).unwrap();
    }
    assert!(bench.events("agent.lost").is_empty());
    bench
        .act(|model, now, out| model.disconnect(now, &session, out))
        .unwrap();
    bench
        .act(|model, now, out| model.disconnect(now, &session, out))
        .unwrap();
    assert_eq!(bench.events("agent.disconnected").len(), 1);
    assert_eq!(
        bench
            .act(|model, now, _| model.heartbeat(now, &session))
            .unwrap_err()
            .status,
        401
    );
}

#[test]
fn a_job_accepted_but_not_started_goes_back_and_its_token_dies() {
    let mut bench = Bench::with_patient_agents();
    let job = bench.build(ONE).jobs[0].uuid;
    let token = bench.acquire(job).token;
    bench.pass(300.0);
    assert_eq!(bench.state(job), State::Scheduled);
    assert_eq!(
        bench
            .act(|model, now, out| model.start(now, &token, job, out))
            .unwrap_err()
            .status,
        401
    );
    bench.run_to(job, "0");
}

#[test]
fn an_empty_name_is_invented_and_a_queue_must_exist() {
    let mut bench = Bench::new();
    let mut register = |name: &str, tags: &[&str]| {
        let new = Registration {
            name: name.into(),
            hostname: "host".into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Registration::default()
        };
        bench.act(|model, now, out| model.register_agent(now, "bkct_fake", new, out))
    };
    assert_eq!(register("", &[]).unwrap().name, "host-1");
    assert_eq!(register("vm-7", &["queue=other"]).unwrap().name, "vm-7");
    assert_eq!(register("x", &["queue=nowhere"]).unwrap_err().status, 422);
}
