//! What webhooks are told of, and what not.

use serde_json::Value;

use super::Bench;
use crate::buildkite::JobEnd;
use crate::buildkite::model::Model;
use crate::buildkite::webhooks::{Scheme, Webhook};
use crate::event::Effects;
use crate::now::Now;

impl Bench {
    fn hook(&mut self) {
        let webhook = Webhook {
            url: "http://127.0.0.1:1/".into(),
            token: "secret".into(),
            scheme: Scheme::Token,
            events: Vec::new(),
            pipelines: Vec::new(),
            branches: String::new(),
        };
        self.act(|model, _, out| model.add_webhook(webhook, out)).unwrap();
    }

    /// The events that an act told, with the state of what they are about.
    fn told(&mut self, act: impl FnOnce(&mut Model, Now, &mut Effects)) -> String {
        let now = self.now();
        let mut out = Effects::default();
        act(&mut self.model, now, &mut out);
        let told: Vec<String> = out
            .take_deliveries()
            .into_iter()
            .map(|delivery| {
                let body: Value = serde_json::from_str(&delivery.body).unwrap();
                assert_eq!(body["event"], delivery.event.as_str());
                let about = delivery.event.split('.').next().unwrap_or_default().to_owned();
                let state = body[&about].get("state").or(body[&about].get("connection_state"));
                format!(
                    "{} {}",
                    delivery.event,
                    state.and_then(Value::as_str).unwrap_or("-")
                )
            })
            .collect();
        self.log.append(now, &mut out);
        told.join(", ")
    }
}

#[test]
fn a_reservation_that_runs_out_schedules_nothing_anew_and_a_cancel_is_an_end() {
    let mut bench = Bench::new();
    bench.hook();
    let job = bench.build("steps:\n- {command: a}").jobs[0].uuid;
    let jobs = [job.to_string()];
    let reserved = bench.told(|model, now, out| {
        model.reserve(now, 0, "g", &jobs, Some(10), out).unwrap();
    });
    bench.at += std::time::Duration::from_secs(11);
    let lapsed = bench.told(|model, now, out| model.tick(now, out));
    let canceled = bench.told(|model, now, out| model.cancel_job(now, job, out).unwrap());
    assert_eq!((reserved.as_str(), lapsed.as_str()), ("", ""));
    assert_eq!(canceled, "job.finished canceled, build.finished failed");
    let retried = bench.told(|model, now, out| {
        model.retry_job(now, job, out).unwrap();
    });
    assert_eq!(retried, "job.scheduled scheduled");
}

#[test]
fn agents_tell_that_they_come_stop_and_go_and_are_lost() {
    let mut bench = Bench::new();
    bench.hook();
    let session = bench.agent("bkct_fake");
    let told = [
        bench.told(|model, now, out| model.connect(now, &session, out).unwrap()),
        bench.told(|model, now, out| model.stop_agent(now, &session, false, out).unwrap()),
        bench.told(|model, now, out| model.stop_agent(now, &session, false, out).unwrap()),
        bench.told(|model, now, out| model.disconnect(now, &session, out).unwrap()),
    ];
    assert_eq!(
        told,
        [
            "",
            "agent.stopping stopping",
            "",
            "agent.stopped stopped, agent.disconnected stopped"
        ]
    );
    bench.agent("bkct_fake");
    bench.at += std::time::Duration::from_secs(300);
    assert_eq!(
        bench.told(|model, now, out| model.tick(now, out)),
        "agent.lost lost"
    );
}

#[test]
fn a_webhook_hears_of_its_pipelines_and_branches_only() {
    for (pipelines, branches, wanted) in [
        ("p", "", true),
        ("q", "", false),
        ("", "main !x", true),
        ("", "release/*", false),
    ] {
        let mut bench = Bench::new();
        let webhook = Webhook {
            url: "http://127.0.0.1:1/".into(),
            token: "secret".into(),
            scheme: Scheme::Token,
            events: Vec::new(),
            pipelines: pipelines.split_whitespace().map(str::to_owned).collect(),
            branches: branches.into(),
        };
        bench
            .act(|model, _, out| model.add_webhook(webhook, out))
            .unwrap();
        let new = crate::buildkite::NewBuild {
            pipeline: "p".into(),
            yaml: "steps: [{command: a}]".into(),
            ..crate::buildkite::NewBuild::default()
        };
        let told = bench.told(|model, now, out| {
            model.create_build(now, &new, out).unwrap();
        });
        assert_eq!(told.starts_with("build.scheduled"), wanted, "{told}");
        assert_eq!(told.is_empty(), !wanted, "{told}");
    }
}

#[test]
fn the_end_of_a_job_that_is_left_out_is_told() {
    let mut bench = Bench::new();
    bench.hook();
    let new = crate::buildkite::NewBuild {
        yaml: "steps: [{command: a, if: 'false'}]".into(),
        ..crate::buildkite::NewBuild::default()
    };
    let told = bench.told(|model, now, out| {
        model.create_build(now, &new, out).unwrap();
    });
    assert_eq!(
        told,
        "build.scheduled scheduled, job.finished broken, build.finished not_run"
    );
}

#[test]
fn a_build_that_a_person_must_carry_on_is_told_of_as_finished_and_again_at_its_end() {
    let mut bench = Bench::new();
    bench.hook();
    let build = bench.build("steps:\n- {command: a}\n- {block: go}\n- {command: b}");
    let [a, b] = [0, 1].map(|at| build.jobs[at].uuid);
    let token = bench.run(a);
    let stopped = bench.told(|model, now, out| {
        let end = JobEnd {
            exit_status: "0".into(),
            ..JobEnd::default()
        };
        model.finish_job(now, &token, a, end, out).unwrap();
    });
    assert!(stopped.ends_with("build.finished passed"), "{stopped}");
    let block = *bench.model.blocks.keys().next().unwrap();
    bench.told(|model, now, out| model.unblock(now, block, &serde_json::Map::new(), out).unwrap());
    let canceled = bench.told(|model, now, out| model.cancel_job(now, b, out).unwrap());
    assert!(canceled.ends_with("build.finished failed"), "{canceled}");
}
