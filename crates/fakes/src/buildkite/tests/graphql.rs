//! The GraphQL API against the model: nothing in the schema is without an answer.

use crate::buildkite::agents::Registration;
use crate::buildkite::extras::{NewAnnotation, NewArtifact};
use crate::buildkite::notify::Notification;
use crate::buildkite::stack_jobs::StackFinish;
use crate::buildkite::tests::Bench;
use crate::buildkite::wire::graphql::document::schema;
use crate::buildkite::wire::graphql::whole;

#[test]
fn every_field_of_the_schema_has_an_answer() {
    let mut bench = Bench::new();
    let yaml = "steps:\n- {command: a, key: a, concurrency: 1, concurrency_group: g, retry: {manual: {permit_on_passed: true}}}\n- {command: b}\n- {command: c}\n- {block: stop}\n- {trigger: other}";
    let build = bench.build(yaml);
    let [a, b, c] = [0, 1, 2].map(|at| build.jobs[at].uuid);
    let token = bench.run(a);
    let note = NewAnnotation {
        body: Some("*x*".into()),
        scope: Some("job".into()),
        ..NewAnnotation::default()
    };
    bench
        .act(|model, now, out| model.annotate(now, &token, a, note, out))
        .unwrap();
    bench
        .act(|model, _, _| {
            let pair = ("k".to_owned(), "v".to_owned());
            model.set_meta_data(&token, crate::buildkite::MetaDataOf::Job(a), vec![pair])
        })
        .unwrap();
    let told = Notification {
        job: a.to_string(),
        detail: "d".into(),
        timestamp: None,
    };
    bench
        .act(|model, now, out| model.notify(now, 0, "g", &[told], out))
        .unwrap();
    let artifact = NewArtifact {
        path: "out".into(),
        ..NewArtifact::default()
    };
    bench
        .act(|model, _, _| model.create_artifacts(&token, a, a, vec![artifact], false))
        .unwrap();
    bench.finish(a, &token, "0").unwrap();
    bench.retry(a).unwrap();
    bench
        .act(|model, now, out| model.reprioritize(now, b, 7, out))
        .unwrap();
    bench.cancel(b).unwrap();
    for (job, reason) in [(c, None), (bench.retry(b).unwrap(), Some("other".to_owned()))] {
        let finish = StackFinish {
            detail: "no".into(),
            exit_status: -1,
            signal_reason: reason,
        };
        let job = job.to_string();
        bench
            .act(|model, now, out| model.finish(now, 0, "g", &job, &finish, out))
            .unwrap();
    }
    let agent = Registration {
        os: "linux".into(),
        ..Registration::default()
    };
    let agent = bench
        .act(|model, now, out| model.register_agent(now, "bkct_fake", agent, out))
        .unwrap();
    bench
        .act(|model, now, out| model.connect(now, &agent.access_token, out))
        .unwrap();

    let now = bench.now();
    let met = whole::walk(&mut bench.model, now, &a.to_string());
    let objects = schema().types.values().filter_map(|ty| ty.as_object());
    let missed: Vec<String> = objects
        .map(|object| object.name.to_string())
        .filter(|name| !met.contains(name) && !name.starts_with("__"))
        .collect();
    let payloads = missed.iter().filter(|name| name.ends_with("Payload")).count();
    assert_eq!(payloads, 12, "they are met where mutations are made");
    let rest: Vec<&str> = missed
        .iter()
        .map(String::as_str)
        .filter(|name| !name.ends_with("Payload"))
        .collect();
    // What this fake never makes.
    assert_eq!(
        rest.join(" "),
        "Mutation UnregisteredUser PipelineTag JobTypeWait StepWait JobEventAssigned JobEventTimedOut"
    );
}
