//! What a stack sees.

use super::{Bench, State};
use crate::buildkite::{ListView, Notification, Registration, StackFinish};

const THREE: &str =
    "steps:\n- {command: a, key: a}\n- {command: b, key: b, priority: 9}\n- {command: c, key: c}";

#[test]
fn the_list_is_by_scheduled_at_and_reserved_jobs_are_hidden() {
    let mut bench = Bench::new();
    let first = bench.build(THREE);
    bench.pass(1.0);
    let second = bench.build(THREE);
    let all: Vec<_> = first
        .jobs
        .iter()
        .chain(&second.jobs)
        .map(|job| job.uuid)
        .collect();
    assert_eq!(bench.listed(), all);
    assert!(bench.reserve("g", all[0], 60));
    assert_eq!(bench.listed(), all[1..]);
    let page = bench
        .model
        .list_scheduled(bench.now(), 0, "g", "~", (2, None), ListView::default())
        .unwrap();
    assert!(page.has_next_page);
    let cursor = page.end_cursor.unwrap();
    let rest = bench
        .model
        .list_scheduled(
            bench.now(),
            0,
            "g",
            "gust",
            (1000, Some(&cursor)),
            ListView::default(),
        )
        .unwrap();
    assert_eq!(rest.jobs.iter().map(|job| job.uuid).collect::<Vec<_>>(), all[3..]);
    assert!(!rest.has_next_page);
    assert_eq!(rest.jobs[0].priority, 0);
}

#[test]
fn a_reservation_is_owned_by_its_key_prolonged_by_it_and_runs_out() {
    let mut bench = Bench::new();
    bench.register("h");
    let job = bench.build("steps:\n- {command: a, key: a}").jobs[0].uuid;
    assert!(bench.reserve("g", job, 60));
    assert!(!bench.reserve("h", job, 60));
    bench.pass(50.0);
    assert!(
        bench.reserve("g", job, 60),
        "the same key holds it, so it is prolonged"
    );
    bench.pass(59.0);
    assert_eq!(bench.state(job), State::Reserved);
    bench.pass(1.0);
    assert_eq!(bench.state(job), State::Scheduled);
    assert_eq!(bench.listed(), [job]);
    assert!(bench.reserve("h", job, 60));
    assert_eq!(
        bench.path(job),
        "->scheduled scheduled>reserved reserved>scheduled scheduled>reserved"
    );
    let refusal = bench
        .act(|model, now, out| model.reserve(now, 0, "g", &[], Some(3601), out))
        .unwrap_err();
    assert_eq!(refusal.status, 422);
}

#[test]
fn a_lagging_list_hides_new_jobs_and_shows_reserved_ones_still() {
    let mut bench = Bench::new();
    bench.pass(100.0);
    let job = bench.build("steps:\n- {command: a, key: a}").jobs[0].uuid;
    let lag = ListView {
        lag: std::time::Duration::from_secs(5),
        paused: false,
        shift: None,
    };
    let seen = |bench: &mut Bench| {
        bench
            .model
            .list_scheduled(bench.now(), 0, "g", "gust", (10, None), lag)
            .unwrap()
            .jobs
            .len()
    };
    bench.pass(4.0);
    assert_eq!(seen(&mut bench), 0);
    bench.pass(1.0);
    assert_eq!(seen(&mut bench), 1);
    assert!(bench.reserve("g", job, 60));
    bench.pass(4.0);
    assert_eq!(seen(&mut bench), 1);
    bench.pass(1.0);
    assert_eq!(seen(&mut bench), 0);
}

#[test]
fn a_stack_finishes_a_job_once_and_its_retry_rules_apply() {
    let mut bench = Bench::new();
    let yaml = "steps:\n- {command: a, key: a, retry: {automatic: [{signal_reason: stack_error, limit: 1}]}}";
    let job = bench.build(yaml).jobs[0].uuid;
    let finish = StackFinish {
        exit_status: -1,
        detail: "no such machine".into(),
        signal_reason: None,
    };
    let text = job.to_string();
    let act = |bench: &mut Bench, text: &str| {
        bench.act(|model, now, out| model.finish(now, 0, "g", text, &finish, out))
    };
    act(&mut bench, &text).unwrap();
    assert_eq!(act(&mut bench, &text).unwrap_err().status, 422);
    let end = &bench.events("job.finished")[0].fields();
    assert_eq!(end["signal_reason"], "stack_error");
    assert_eq!(
        (end["by"].as_str(), end["exit_status"].as_str()),
        (Some("stack"), Some("-1"))
    );
    let jobs = bench.jobs_of("a");
    assert_eq!(jobs.len(), 2, "the rule made one retry");
    act(&mut bench, &jobs[1].to_string()).unwrap();
    assert_eq!(bench.jobs_of("a").len(), 2, "and the limit no more");
    assert_eq!(bench.events("job.finished").len(), 2);
    assert_eq!(act(&mut bench, "nonsense").unwrap_err().status, 404);
}

#[test]
fn wrong_notifications_are_reported_by_place_and_the_others_kept() {
    let mut bench = Bench::new();
    let job = bench.build("steps:\n- {command: a, key: a}").jobs[0]
        .uuid
        .to_string();
    let note = |job: &str, detail: &str, timestamp: Option<&str>| Notification {
        job: job.into(),
        detail: detail.into(),
        timestamp: timestamp.map(str::to_owned),
    };
    bench.pass(10.0);
    let long = "x".repeat(257);
    let batch = [
        note(&job, "fine", Some("2026-08-01T00:00:05.123456789Z")),
        note(&job, "", None),
        note(&job, &long, None),
        note(&job, "future", Some("2026-08-01T00:00:11Z")),
        note(&job, "before", Some("2026-07-31T23:59:59Z")),
        note("6f0c6f0e-0000-4000-8000-000000000000", "x", None),
        note(&job, "", None),
        note(&job, "when", Some("yesterday")),
        note(&job, &"é".repeat(256), None),
    ];
    let errors = bench
        .act(|model, now, out| model.notify(now, 0, "g", &batch, out))
        .unwrap();
    let shown: Vec<String> = errors
        .iter()
        .map(|error| format!("{}: {:?}", error.error, error.indexes))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    detail is required: [1, 6]
    detail is too long (maximum is 256 characters): [2]
    timestamp must not be in the future: [3]
    timestamp must not be before the job was created: [4]
    job not found: [5]
    timestamp is not an ISO 8601 timestamp: [7]
    ");
    assert_eq!(bench.events("job.notified").len(), 2);
    let many = vec![note(&job, "again", None); 99];
    let errors = bench
        .act(|model, now, out| model.notify(now, 0, "g", &many, out))
        .unwrap();
    assert_eq!(errors[0].error, "job stack notification count exceeded");
    assert_eq!(errors[0].indexes, [98]);
}

#[test]
fn a_job_takes_no_notifications_long_after_its_end() {
    let mut bench = Bench::new();
    let job = bench.build("steps:\n- {command: a, key: a}").jobs[0].uuid;
    bench.run_to(job, "0");
    let note = [Notification {
        job: job.to_string(),
        detail: "late".into(),
        timestamp: None,
    }];
    bench.pass(300.0);
    assert!(
        bench
            .act(|model, now, out| model.notify(now, 0, "g", &note, out))
            .unwrap()
            .is_empty()
    );
    bench.pass(0.1);
    assert_eq!(
        bench
            .act(|model, now, out| model.notify(now, 0, "g", &note, out))
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn acquisition_tokens_are_for_jobs_this_stack_has_reserved() {
    let mut bench = Bench::new();
    bench.register("h");
    let jobs: Vec<String> = bench
        .build(THREE)
        .jobs
        .iter()
        .map(|job| job.uuid.to_string())
        .collect();
    bench
        .act(|model, now, out| model.reserve(now, 0, "g", &jobs[..1], None, out))
        .unwrap();
    bench
        .act(|model, now, out| model.reserve(now, 0, "h", &jobs[1..2], None, out))
        .unwrap();
    let issue = |bench: &mut Bench, jobs: &[String], seconds| {
        bench.act(|model, now, out| model.issue_acquisition_tokens(now, 0, "g", jobs, seconds, out))
    };
    let tokens = issue(&mut bench, &jobs, None).unwrap();
    assert_eq!(tokens.issued.len(), 1);
    assert_eq!(tokens.not_issued, jobs[1..]);
    assert_eq!(tokens.issued[0].expires_at, "2026-08-01T00:15:00.000Z");
    assert_eq!(issue(&mut bench, &jobs, Some(0)).unwrap_err().status, 422);
    assert_eq!(issue(&mut bench, &jobs, Some(3601)).unwrap_err().status, 422);
    assert_eq!(issue(&mut bench, &[], None).unwrap_err().status, 422);
}

#[test]
fn a_reservation_that_is_forgotten_early_puts_the_job_back_into_the_list() {
    let mut bench = Bench::new();
    let job = bench.build("steps:\n- {command: a, key: a}").jobs[0].uuid;
    assert!(
        bench
            .act(|model, now, out| model.lapse_reservation(now, job, out))
            .is_err()
    );
    assert!(bench.reserve("g", job, 600));
    bench
        .act(|model, now, out| model.lapse_reservation(now, job, out))
        .unwrap();
    assert_eq!((bench.state(job), bench.listed()), (State::Scheduled, vec![job]));
    assert!(bench.reserve("g", job, 600), "it can be reserved again");
    bench.pass(601.0);
    assert_eq!(bench.state(job), State::Scheduled);
}

#[test]
fn shifting_pages_lose_what_slips_to_a_page_that_was_read() {
    let mut bench = Bench::new();
    let all: Vec<_> = bench.build(THREE).jobs.iter().map(|job| job.uuid).collect();
    let view = ListView {
        shift: Some((1, 1)),
        ..ListView::default()
    };
    let mut page = |after: Option<&str>| {
        let now = bench.now();
        bench
            .model
            .list_scheduled(now, 0, "g", "gust", (1000, after), view)
            .unwrap()
    };
    let first = page(None);
    let cursor = first.end_cursor.expect("there is more");
    let second = page(Some(&cursor));
    let seen: Vec<_> = first
        .jobs
        .iter()
        .chain(&second.jobs)
        .map(|job| job.uuid)
        .collect();
    assert_eq!(seen, [all[0], all[2]]);
    assert!(!second.has_next_page);
}

#[test]
fn a_job_that_is_deleted_is_canceled_in_the_log_and_nowhere_to_be_found() {
    let mut bench = Bench::new();
    let jobs = bench.build(THREE).jobs;
    let gone = jobs[1].uuid;
    assert!(bench.reserve("g", gone, 60));
    bench
        .act(|model, now, out| model.delete_job(now, gone, out))
        .unwrap();
    assert_eq!(bench.listed(), [jobs[0].uuid, jobs[2].uuid]);
    let texts: Vec<String> = jobs.iter().map(|job| job.uuid.to_string()).collect();
    let states = bench.model.get_states(0, "g", &texts).unwrap();
    assert_eq!(states.len(), 2);
    assert_eq!(bench.model.show_job(gone).unwrap_err().status, 404);
    let again = bench.act(|model, now, out| model.delete_job(now, gone, out));
    assert_eq!(again.unwrap_err().status, 404);
}

#[test]
fn an_acquisition_token_ends_with_the_reservation_that_it_was_issued_for() {
    let mut bench = Bench::new();
    bench.register("h");
    let job = bench.build("steps:\n- {command: a, key: a}").jobs[0].uuid;
    let jobs = [job.to_string()];
    let token = |bench: &mut Bench, stack: &str| {
        let tokens =
            bench.act(|model, now, out| model.issue_acquisition_tokens(now, 0, stack, &jobs, Some(600), out));
        tokens.unwrap().issued.remove(0).token
    };
    let register = |bench: &mut Bench, token: &str| {
        let new = Registration::default();
        let reply = bench.act(|model, now, out| model.register_agent(now, token, new, out));
        reply.map(drop).map_err(|refusal| refusal.status)
    };
    assert!(bench.reserve("g", job, 10));
    let first = token(&mut bench, "g");
    bench.pass(9.0);
    assert!(bench.reserve("g", job, 10));
    bench.pass(9.0);
    assert_eq!(register(&mut bench, &first), Ok(()), "prolonged, it goes on");
    bench.pass(1.0);
    assert!(bench.reserve("h", job, 60));
    assert_eq!(
        register(&mut bench, &first),
        Err(422),
        "another stack has the job now"
    );
    let second = token(&mut bench, "h");
    assert_eq!(register(&mut bench, &second), Ok(()));
}
