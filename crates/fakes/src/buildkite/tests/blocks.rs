//! Block and input steps: what waits for a person, and what goes on when one comes.

use serde_json::{Map, Value, json};

use super::{Bench, State};
use crate::buildkite::ids::BuildKey;

impl Bench {
    /// The build as the REST API shows it.
    fn shown(&self) -> Value {
        self.model.rest_build(self.now(), BuildKey(0), true)
    }

    /// The job of the only block step.
    fn block_job(&self) -> uuid::Uuid {
        *self.model.blocks.keys().next().unwrap()
    }

    fn unblock(&mut self, fields: Value) -> Result<(), String> {
        let job = self.block_job();
        let fields: Map<String, Value> = fields.as_object().unwrap().clone();
        self.act(|model, now, out| model.unblock(now, job, &fields, out))
            .map_err(|refusal| refusal.to_string())
    }
}

#[test]
fn a_block_holds_up_what_is_behind_it_until_a_person_unblocks_it() {
    let mut bench = Bench::new();
    let yaml = "steps:\n- {command: a}\n- {block: Release, fields: [{text: Who, key: who}, {text: Why, key: why, required: false}]}\n- {command: b}";
    let build = bench.build(yaml);
    let [a, b] = [0, 1].map(|at| build.jobs[at].uuid);
    assert_eq!(
        bench.unblock(json!({"who": "me"})).unwrap_err(),
        "422: A waiting job cannot be unblocked"
    );
    bench.run_to(a, "0");
    assert_eq!(
        (bench.state(b), &bench.shown()["state"]),
        (State::Waiting, &json!("passed"))
    );
    let block = &bench.shown()["jobs"][2];
    assert_eq!(
        (&block["type"], &block["state"], &block["unblockable"]),
        (&json!("manual"), &json!("blocked"), &json!(true))
    );
    assert_eq!(
        bench.unblock(json!({})).unwrap_err(),
        "422: The field \"who\" is required"
    );
    assert_eq!(
        bench.unblock(json!({"x": 1})).unwrap_err(),
        "422: The step has no field \"x\""
    );
    bench.unblock(json!({"who": "me"})).unwrap();
    assert_eq!(bench.state(b), State::Scheduled);
    assert_eq!(bench.shown()["meta_data"], json!({"who": "me"}));
    assert_eq!(
        bench.unblock(json!({"who": "me"})).unwrap_err(),
        "422: A unblocked job cannot be unblocked"
    );
    bench.run_to(b, "0");
    assert_eq!(
        (&bench.shown()["state"], bench.events("build.finished").len()),
        (&json!("passed"), 1)
    );
    let told: Vec<usize> = ["step.blocked", "step.unblocked"]
        .map(|kind| bench.events(kind).len())
        .into();
    assert_eq!(told, [1, 1]);
}

#[test]
fn a_failure_ahead_of_a_block_ends_the_build_without_anybody() {
    let mut bench = Bench::new();
    let build = bench.build(
        "steps:\n- {command: a}\n- block\n- {command: b}"
            .replace("- block\n", "- {block: go}\n")
            .as_str(),
    );
    bench.run_to(build.jobs[0].uuid, "1");
    assert_eq!(
        (&bench.shown()["state"], bench.state(build.jobs[1].uuid)),
        (&json!("failed"), State::WaitingFailed)
    );
    assert_eq!(bench.shown()["jobs"][2]["state"], "blocked_failed");
}

#[test]
fn canceling_a_blocked_build_ends_it() {
    let mut bench = Bench::new();
    let build = bench.build("steps:\n- {block: go}\n- {command: b}");
    assert_eq!(bench.shown()["blocked"], true);
    bench
        .act(|model, now, out| model.cancel_build(now, 1, out))
        .unwrap();
    assert_eq!(
        (&bench.shown()["state"], bench.state(build.jobs[0].uuid)),
        (&json!("canceled"), State::Canceled)
    );
    assert_eq!(
        bench.unblock(json!({})).unwrap_err(),
        "422: Jobs from canceled builds cannot be unblocked"
    );
    assert_eq!(bench.events("build.finished").len(), 1);
}

#[test]
fn an_input_step_holds_up_only_what_depends_on_it() {
    let mut bench = Bench::new();
    let build =
        bench.build("steps:\n- {input: Name, key: name}\n- {command: a}\n- {command: b, depends_on: name}");
    assert_eq!(
        [0, 1].map(|at| bench.state(build.jobs[at].uuid)),
        [State::Scheduled, State::Waiting]
    );
    bench.unblock(json!({})).unwrap();
    assert_eq!(bench.state(build.jobs[1].uuid), State::Scheduled);
}
