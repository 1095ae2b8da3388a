//! A job with its agent: log, cancel, timeout, finish, and what the job can call.

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use super::{Bench, State};
use crate::buildkite::{Chunk, MetaDataOf, NewAnnotation, NewArtifact, UploadState};

const ONE: &str = "env: {TOP: 1}\nsteps:\n- {command: a, key: a, env: {MINE: 2.50, FLAG: true}, agents: {queue: gust, cpu: 8}}";

#[test]
fn a_job_runs_from_the_list_to_its_end() {
    let mut bench = Bench::new();
    let job = bench.build(ONE).jobs[0].uuid;
    assert!(bench.reserve("g", job, 60));
    let token = bench.run(job);
    bench
        .act(|model, now, out| model.start(now, &token, job, out))
        .expect("a repeated start changes nothing");
    bench.finish(job, &token, "0").unwrap();
    assert_eq!(bench.finish(job, &token, "0").unwrap_err().status, 422);
    assert_eq!(bench.model.job_state(&token, job).unwrap_err().status, 401);
    assert_eq!(
        bench.path(job),
        "->scheduled scheduled>reserved reserved>accepted accepted>running running>finished"
    );
    assert_eq!(bench.events("job.finished").len(), 1);
    assert_eq!(bench.events("build.finished")[0].fields()["state"], "passed");
}

#[test]
fn the_environment_is_text_and_carries_what_the_agent_insists_on() {
    let mut bench = Bench::new();
    let job = bench.build(ONE).jobs[0].uuid;
    let env = bench.acquire(job).env;
    for name in [
        "BUILDKITE_JOB_ID",
        "BUILDKITE_REPO",
        "BUILDKITE_COMMIT",
        "BUILDKITE_BRANCH",
        "BUILDKITE_AGENT_NAME",
        "BUILDKITE_ORGANIZATION_SLUG",
        "BUILDKITE_PIPELINE_SLUG",
        "BUILDKITE_PIPELINE_PROVIDER",
    ] {
        assert!(env.get(name).is_some_and(|value| !value.is_empty()), "{name}");
    }
    assert_eq!(
        (env["TOP"].as_str(), env["MINE"].as_str(), env["FLAG"].as_str()),
        ("1", "2.5", "true")
    );
    assert_eq!(env["BUILDKITE_SKIP_CHECKOUT"], "true");
    assert_eq!(env["BUILDKITE_AGENT_NAME"], "vm");
    assert_eq!(env["BUILDKITE_COMMAND"], "a");
}

#[test]
fn a_log_is_put_together_by_offset_whatever_arrives_when_and_how_often() {
    let mut bench = Bench::new();
    let job = bench.build(ONE).jobs[0].uuid;
    let token = bench.run(job);
    let text = "grüße, log\n".as_bytes();
    for (from, to) in [(5, 11), (0, 3), (5, 11), (3, 5), (11, text.len()), (0, 3)] {
        let chunk = Chunk {
            offset: from as u64,
            bytes: Bytes::copy_from_slice(&text[from..to]),
        };
        bench.model.append_log(&token, job, chunk).unwrap();
    }
    assert_eq!(bench.model.show_job(job).unwrap()["log"], "grüße, log\n");
    let large = Chunk {
        offset: 100,
        bytes: vec![b'x'; 102_401].into(),
    };
    assert_eq!(
        bench.model.append_log(&token, job, large).unwrap_err().status,
        413
    );
}

#[test]
fn a_cancel_is_immediate_without_an_agent_and_waits_for_the_agent_with_one() {
    let mut bench = Bench::with_patient_agents();
    let build = bench.build("steps:\n- {command: a, key: a}\n- {command: b, key: b}\n- {command: c, key: c}");
    let [scheduled, accepted, running] = [build.jobs[0].uuid, build.jobs[1].uuid, build.jobs[2].uuid];
    bench.cancel(scheduled).unwrap();
    assert_eq!(bench.state(scheduled), State::Canceled);
    assert_eq!(bench.cancel(scheduled).unwrap_err().status, 422);
    let end = &bench.events("job.finished")[0].fields();
    assert_eq!(end["by"], "server");
    assert!(end["exit_status"].is_null());

    let token = bench.acquire(accepted).token;
    bench.cancel(accepted).unwrap();
    assert_eq!(bench.state(accepted), State::Canceling);
    assert_eq!(
        bench
            .act(|model, now, out| model.start(now, &token, accepted, out))
            .unwrap_err()
            .status,
        422
    );

    let token = bench.run(running);
    bench.cancel(running).unwrap();
    assert_eq!(bench.model.job_state(&token, running).unwrap(), State::Canceling);
    bench.finish(running, &token, "-1").unwrap();
    assert_eq!(bench.state(running), State::Canceled);

    bench.pass(300.0);
    assert_eq!(bench.state(accepted), State::Canceled, "the agent never answered");
    assert_eq!(bench.events("job.finished").len(), 3);
}

#[test]
fn a_job_over_its_time_is_told_and_ends_as_timed_out() {
    let mut bench = Bench::with_patient_agents();
    let job = bench
        .build("steps:\n- {command: a, key: a, timeout_in_minutes: 2}")
        .jobs[0]
        .uuid;
    bench.pass(60.0);
    let token = bench.run(job);
    bench.pass(60.0);
    bench
        .act(|model, now, _| model.set_timeout(now, &token, job, 3))
        .unwrap();
    bench.pass(119.0);
    assert_eq!(bench.state(job), State::Running);
    bench.pass(1.0);
    assert_eq!(bench.state(job), State::TimingOut);
    bench.finish(job, &token, "-1").unwrap();
    assert_eq!(bench.state(job), State::TimedOut);
    assert_eq!(bench.events("build.finished")[0].fields()["state"], "failed");
}

#[test]
fn job_calls_take_the_token_of_that_job_only() {
    let mut bench = Bench::new();
    let build = bench.build("steps:\n- {command: a, key: a}\n- {command: b, key: b}");
    let (one, two) = (build.jobs[0].uuid, build.jobs[1].uuid);
    let token = bench.run(one);
    bench.run(two);
    for wrong in [token.as_str(), "bkct_fake", "bkaj_none"] {
        let refusal = bench.finish(two, wrong, "0").unwrap_err();
        assert_eq!(refusal.status, 401);
        let annotated =
            bench.act(|model, now, out| model.annotate(now, wrong, two, NewAnnotation::default(), out));
        assert_eq!(annotated.unwrap_err().status, 401);
    }
}

#[test]
fn annotations_append_by_context_and_show_on_the_job() {
    let mut bench = Bench::new();
    let job = bench.build(ONE).jobs[0].uuid;
    let token = bench.run(job);
    let annotate = |bench: &mut Bench, body: &str, append, style: Option<&str>| {
        let new = NewAnnotation {
            body: Some(body.into()),
            context: Some("gust".into()),
            style: style.map(str::to_owned),
            append,
            ..NewAnnotation::default()
        };
        bench.act(|model, now, out| model.annotate(now, &token, job, new, out))
    };
    annotate(&mut bench, "one", false, Some("info")).unwrap();
    annotate(&mut bench, " two", true, None).unwrap();
    assert_eq!(
        annotate(&mut bench, "x", false, Some("loud")).unwrap_err().status,
        422
    );
    let shown = bench.model.show_job(job).unwrap();
    assert_eq!(
        shown["annotations"],
        json!([{"context":"gust","style":"info","body":"one two","scope":"build"}])
    );
    bench
        .act(|model, _, out| model.remove_annotation(&token, job, "gust", "build", out))
        .unwrap();
    assert_eq!(bench.model.show_job(job).unwrap()["annotations"], json!([]));
}

#[test]
fn meta_data_is_shared_by_the_build_and_read_by_its_id_too() {
    let mut bench = Bench::new();
    let build = bench.build("steps:\n- {command: a, key: a}\n- {command: b, key: b}");
    let (one, two) = (bench.run(build.jobs[0].uuid), bench.run(build.jobs[1].uuid));
    let of = |index: usize| MetaDataOf::Job(build.jobs[index].uuid);
    bench
        .model
        .set_meta_data(&one, of(0), vec![("k".into(), "v".into())])
        .unwrap();
    assert_eq!(
        bench.model.meta_data(&two, of(1), "k").unwrap().as_deref(),
        Some("v")
    );
    assert_eq!(
        bench
            .model
            .meta_data(&two, MetaDataOf::Build(build.uuid), "k")
            .unwrap()
            .as_deref(),
        Some("v")
    );
    assert_eq!(bench.model.meta_data(&two, of(1), "x").unwrap(), None);
    assert_eq!(bench.model.meta_data_keys(&one, of(0)).unwrap(), ["k"]);
    assert_eq!(
        bench
            .model
            .set_meta_data(&one, of(0), vec![("k".into(), String::new())])
            .unwrap_err()
            .status,
        422
    );
}

#[test]
fn an_upload_is_applied_a_little_later_and_its_jobs_inherit_the_place_in_the_list() {
    let mut bench = Bench::new();
    let build = bench.build("steps:\n- {command: up, key: up}\n- wait\n- {command: after, key: after}");
    let (up, after) = (build.jobs[0].uuid, build.jobs[1].uuid);
    let token = bench.run(up);
    bench.pass(5.0);
    let upload = Uuid::from_u128(1);
    let pipeline =
        json!({"steps": [{"command": "new", "key": "new", "agents": {"cpu": 8, "big": true, "r": 1.1}}]});
    for _ in 0..2 {
        let what = (pipeline.clone(), false);
        bench
            .act(|model, now, _| model.upload_pipeline(now, &token, up, upload, what))
            .unwrap();
    }
    assert_eq!(
        bench.model.upload_state(&token, up, upload).unwrap(),
        UploadState::Pending
    );
    bench.pass(0.2);
    assert_eq!(
        bench.model.upload_state(&token, up, upload).unwrap(),
        UploadState::Applied
    );
    let new = bench.jobs_of("new");
    assert_eq!(new.len(), 1, "the repeat was the same upload");
    assert_eq!(
        bench.model.job(new[0]).unwrap().rules,
        ["cpu=8", "big=true", "r=1.1"]
    );
    assert_eq!(
        bench.model.job(new[0]).unwrap().scheduled_at,
        bench.model.job(up).unwrap().scheduled_at
    );
    bench.finish(up, &token, "0").unwrap();
    assert_eq!(
        bench.state(after),
        State::Waiting,
        "the wait step waits for what was uploaded before it"
    );
    bench.run_to(new[0], "0");
    assert_eq!(bench.state(after), State::Scheduled);
}

#[test]
fn an_upload_that_cannot_be_applied_is_rejected_with_the_reason() {
    let mut bench = Bench::new();
    let job = bench.build(ONE).jobs[0].uuid;
    let token = bench.run(job);
    let what = (json!({"steps": [{"wait": null, "command": "stop"}]}), false);
    bench
        .act(|model, now, _| model.upload_pipeline(now, &token, job, Uuid::from_u128(2), what))
        .unwrap();
    bench.pass(1.0);
    let state = bench.model.upload_state(&token, job, Uuid::from_u128(2)).unwrap();
    assert_eq!(
        state,
        UploadState::Rejected("`command` is not a valid property on the wait step".into())
    );
}

#[test]
fn artifacts_are_found_once_uploaded_and_downloaded_as_they_were() {
    let mut bench = Bench::new();
    let build = bench.build(ONE);
    let job = build.jobs[0].uuid;
    let token = bench.run(job);
    let new = NewArtifact {
        path: "out/a.txt".into(),
        file_size: 2,
        ..NewArtifact::default()
    };
    let batch = Uuid::from_u128(3);
    let created = bench
        .model
        .create_artifacts(&token, job, batch, vec![new], true)
        .unwrap();
    assert!(!created[0].1, "a small file goes by form");
    bench
        .model
        .upload_form(batch, "out/a.txt", Bytes::from("hi"))
        .unwrap();
    bench
        .model
        .update_artifacts(&token, job, vec![(created[0].0, "finished".into())])
        .unwrap();
    let found = bench
        .model
        .search_artifacts(&token, build.uuid, "out/*", (Some("finished"), None), false)
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        bench.model.artifact_content(created[0].0).unwrap().1,
        Bytes::from("hi")
    );
    let elsewhere = bench
        .model
        .search_artifacts(&token, Uuid::from_u128(9), "*", (None, None), false);
    assert_eq!(elsewhere.unwrap_err().status, 404);
}

#[test]
fn more_artifacts_than_buildkite_takes_are_refused_and_none_of_them_is_kept() {
    let mut bench = Bench::new();
    let build = bench.build(ONE);
    let job = build.jobs[0].uuid;
    let token = bench.run(job);
    let of = |gib: u64, count: usize| {
        let one = NewArtifact {
            path: "core.dump".into(),
            file_size: gib << 30,
            ..NewArtifact::default()
        };
        vec![one; count]
    };
    let mut announce = |new| {
        let answer = bench
            .model
            .create_artifacts(&token, job, Uuid::from_u128(3), new, true);
        answer
            .map(|created| created.len())
            .map_err(|refusal| refusal.status)
    };
    assert_eq!(announce(of(11, 1)), Err(422));
    assert_eq!(announce(of(0, 31)), Err(422));
    assert_eq!(announce(of(10, 6)), Err(422));
    let huge = NewArtifact {
        path: "huge".into(),
        file_size: u64::MAX,
        ..NewArtifact::default()
    };
    assert_eq!(announce(vec![huge]), Err(422));
    assert_eq!(announce(of(10, 5)), Ok(5));
    assert_eq!(announce(of(1, 1)), Err(422), "50 GiB a job");
    assert_eq!(announce(of(0, 1)), Ok(1));
}

#[test]
fn secrets_steps_and_tokens_answer_a_running_job() {
    let mut bench = Bench::new();
    let job = bench.build(ONE).jobs[0].uuid;
    let token = bench.run(job);
    assert_eq!(bench.model.secret(&token, job, "KEY").unwrap().0, "value");
    assert_eq!(bench.model.secret(&token, job, "NONE").unwrap_err().status, 404);
    assert_eq!(
        bench
            .model
            .step_attribute(&token, None, "a", Some("state"))
            .unwrap(),
        "ready"
    );
    bench
        .model
        .update_step(&token, None, "a", ("label", "new"), false)
        .unwrap();
    assert_eq!(
        bench
            .model
            .step_attribute(&token, None, "a", Some("label"))
            .unwrap(),
        "new"
    );
    let now = bench.now();
    assert_eq!(
        bench
            .model
            .oidc_token(now, &token, job, None, 0)
            .unwrap()
            .split('.')
            .count(),
        3
    );
}
