//! The web pages: what a developer sees of a build.

use bytes::Bytes;

use crate::buildkite::extras::NewAnnotation;
use crate::buildkite::notify::Notification;
use crate::buildkite::running::Chunk;
use crate::buildkite::tests::Bench;
use crate::buildkite::wire;
use crate::fault::Faults;
use crate::wire::{Outcome, Request};

impl Bench {
    /// The part of a page that is its own.
    fn page(&mut self, path: &str) -> String {
        let request = Request {
            method: "GET".into(),
            path: path.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            peer: "test".into(),
        };
        let mut faults = Faults::new(1);
        let Outcome::Now(reply) =
            self.act(|model, now, out| wire::handle(model, &mut faults, now, &request, out))
        else {
            panic!("pages are answered at once");
        };
        assert_eq!(reply.status, 200);
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        let (_, main) = text.split_once("<main>\n").unwrap();
        main.to_owned()
    }
}

#[test]
fn a_build_shows_jobs_timelines_annotations_and_logs() {
    let mut bench = Bench::new();
    let yaml = "steps:\n- {label: 'Unit <tests>', command: make test, key: unit, agents: {queue: gust, cpu: 8}, priority: 5, retry: {automatic: [{exit_status: 3, limit: 1}]}}\n- wait\n- command: deploy";
    let build = bench.build(yaml);
    let job = build.jobs[0].uuid;
    bench.pass(1.5);
    assert!(bench.reserve("g", job, 600));
    let told = |detail: &str| Notification {
        job: job.to_string(),
        detail: detail.into(),
        timestamp: None,
    };
    bench.pass(1.0);
    let notes = [told("Waiting for <quota> in us-central1")];
    bench
        .act(|model, now, out| model.notify(now, 0, "g", &notes, out))
        .unwrap();
    bench.pass(60.0);
    let token = bench.run(job);
    let chunk = Chunk {
        offset: 0,
        bytes: Bytes::from_static(b"\x1b[32mok\x1b[0m <b>\n"),
    };
    bench
        .act(|model, _, _| model.append_log(&token, job, chunk))
        .unwrap();
    for (scope, body) in [("build", "**3** of `7` failed"), ("job", "<script>x</script>")] {
        let note = NewAnnotation {
            body: Some(body.into()),
            style: Some("error".into()),
            scope: Some(scope.into()),
            ..NewAnnotation::default()
        };
        bench
            .act(|model, now, out| model.annotate(now, &token, job, note, out))
            .unwrap();
    }
    bench.pass(10.0);
    bench.finish(job, &token, "3").unwrap();
    let page = bench.page("/gust-demo/p/builds/1");
    assert!(
        page.contains("setInterval"),
        "it looks again while the build runs"
    );
    insta::assert_snapshot!(page.split("</main>").next().unwrap());
    insta::assert_snapshot!("list_of_builds", bench.page("/").split("</main>").next().unwrap());

    bench
        .act(|model, now, out| model.cancel_build(now, 1, out))
        .unwrap();
    assert!(!bench.page("/gust-demo/p/builds/1").contains("setInterval"));
}
