//! Whatever is done in whatever order, the log keeps its promises.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::Bench;
use crate::buildkite::{JobEnd, NewBuild, Registration, StackFinish};

const PIPELINES: [&str; 6] = [
    "steps:\n- {command: a, key: a, retry: {automatic: true}}\n- wait\n- {command: b, parallelism: 2}",
    "steps:\n- {command: a, key: a, timeout_in_minutes: 1}\n- {command: b, depends_on: a, soft_fail: true}",
    "steps:\n- {command: a, parallelism: 3, concurrency: 2, concurrency_group: x}\n- {command: s, skip: true}",
    "steps:\n- group: g\n  key: g\n  steps:\n  - {command: a, retry: {automatic: [{exit_status: -1, limit: 2}]}}\n- {command: b, depends_on: [{step: g, allow_failure: true}]}",
    "steps:\n- {command: a, key: a, if: build.branch == 'x'}\n- {command: b, key: b, depends_on: a, branches: '!x'}\n- {wait: ~, branches: x}\n- {command: c, depends_on: b}",
    "steps:\n- {trigger: x, key: t}\n- {command: b, depends_on: t}\n- {trigger: nobody, soft_fail: true}",
];

/// One act; numbers choose among what exists.
#[derive(Clone, Debug)]
enum Act {
    Build(usize),
    Reserve(usize, bool, i64),
    Acquire(usize, usize, bool),
    Start(usize),
    Finish(usize, i64),
    StackFinish(usize),
    Cancel(usize),
    CancelBuild(usize),
    Retry(usize),
    Upload(usize, bool),
    Disconnect(usize),
    Pass(u32),
}

fn act() -> impl Strategy<Value = Act> {
    let job = 0_usize..12;
    prop_oneof![
        2 => (0_usize..PIPELINES.len()).prop_map(Act::Build),
        4 => (job.clone(), any::<bool>(), 1_i64..200).prop_map(|(job, h, s)| Act::Reserve(job, h, s)),
        6 => (job.clone(), 0_usize..4, any::<bool>()).prop_map(|(job, agent, token)| Act::Acquire(job, agent, token)),
        6 => job.clone().prop_map(Act::Start),
        6 => (job.clone(), -1_i64..3).prop_map(|(job, status)| Act::Finish(job, status)),
        1 => job.clone().prop_map(Act::StackFinish),
        2 => job.clone().prop_map(Act::Cancel),
        1 => (0_usize..3).prop_map(Act::CancelBuild),
        2 => job.clone().prop_map(Act::Retry),
        1 => (job.clone(), any::<bool>()).prop_map(|(job, replace)| Act::Upload(job, replace)),
        1 => (0_usize..4).prop_map(Act::Disconnect),
        3 => (0_u32..400).prop_map(Act::Pass),
    ]
}

struct Run {
    bench: Bench,
    sessions: Vec<String>,
    tokens: BTreeMap<Uuid, String>,
}

impl Run {
    fn prepare(&mut self) {
        self.bench.register("h");
        let yaml = "steps:\n- {command: c, key: c}\n- {trigger: y, async: true}";
        self.bench.model.store_steps("x", None, yaml).unwrap();
        self.bench
            .model
            .store_steps("y", None, "steps: [{command: d, matrix: [1, 2]}]")
            .unwrap();
    }

    /// Jobs that exist; the newest are the likeliest to be chosen.
    fn job(&self, index: usize) -> Option<Uuid> {
        let created = self.bench.events("job.created");
        let entry = created.iter().rev().nth(index)?;
        Uuid::parse_str(entry.fields()["job"].as_str()?).ok()
    }

    /// Refusals are as good as grants here: only the log counts.
    fn act(&mut self, act: &Act) {
        match *act {
            Act::Build(index) => {
                let new = NewBuild {
                    yaml: PIPELINES[index].into(),
                    ..NewBuild::default()
                };
                self.bench
                    .act(|model, now, out| model.create_build(now, &new, out))
                    .unwrap();
            }
            Act::Reserve(job, h, seconds) => {
                let Some(job) = self.job(job) else { return };
                self.bench.reserve(if h { "h" } else { "g" }, job, seconds);
            }
            Act::Acquire(job, agent, by_token) => {
                let Some(job) = self.job(job) else { return };
                let session = if by_token {
                    self.session_by_token(job)
                } else {
                    self.session(agent)
                };
                let acquired = self
                    .bench
                    .act(|model, now, out| model.acquire(now, &session, job, out));
                if let Ok(acquired) = acquired {
                    self.tokens.insert(job, acquired.token);
                }
            }
            Act::Start(job) => {
                let Some((job, token)) = self
                    .job(job)
                    .and_then(|job| Some((job, self.tokens.get(&job)?.clone())))
                else {
                    return;
                };
                let _ = self
                    .bench
                    .act(|model, now, out| model.start(now, &token, job, out));
            }
            Act::Finish(job, status) => {
                let Some((job, token)) = self
                    .job(job)
                    .and_then(|job| Some((job, self.tokens.get(&job)?.clone())))
                else {
                    return;
                };
                let end = JobEnd {
                    exit_status: status.to_string(),
                    ..JobEnd::default()
                };
                let _ = self
                    .bench
                    .act(|model, now, out| model.finish_job(now, &token, job, end, out));
            }
            Act::StackFinish(job) => {
                let Some(job) = self.job(job) else { return };
                let finish = StackFinish {
                    exit_status: -1,
                    detail: "x".into(),
                    signal_reason: None,
                };
                let _ = self
                    .bench
                    .act(|model, now, out| model.finish(now, 0, "g", &job.to_string(), &finish, out));
            }
            Act::Cancel(job) => {
                let Some(job) = self.job(job) else { return };
                let _ = self.bench.cancel(job);
            }
            Act::CancelBuild(number) => {
                let _ = self
                    .bench
                    .act(|model, now, out| model.cancel_build(now, number as u64 + 1, out));
            }
            Act::Retry(job) => {
                let Some(job) = self.job(job) else { return };
                let _ = self.bench.retry(job);
            }
            Act::Upload(job, replace) => {
                let Some((job, token)) = self
                    .job(job)
                    .and_then(|job| Some((job, self.tokens.get(&job)?.clone())))
                else {
                    return;
                };
                let what = (
                    serde_json::json!({"steps": [{"command": "u"}, "wait", {"command": "v"}]}),
                    replace,
                );
                let id = Uuid::from_u128(self.bench.log.len().into());
                let _ = self
                    .bench
                    .act(|model, now, _| model.upload_pipeline(now, &token, job, id, what));
            }
            Act::Disconnect(agent) => {
                let session = self.session(agent);
                let _ = self
                    .bench
                    .act(|model, now, out| model.disconnect(now, &session, out));
            }
            Act::Pass(seconds) => self.bench.pass(seconds.into()),
        }
    }

    fn session(&mut self, index: usize) -> String {
        while self.sessions.len() <= index {
            let session = self.bench.agent("bkct_fake");
            self.sessions.push(session);
        }
        // A lost or disconnected agent comes back as a new one.
        let now = self.bench.now();
        if self.bench.model.heartbeat(now, &self.sessions[index]).is_err() {
            self.sessions[index] = self.bench.agent("bkct_fake");
        }
        self.sessions[index].clone()
    }

    fn session_by_token(&mut self, job: Uuid) -> String {
        let jobs = [job.to_string()];
        let tokens = self
            .bench
            .act(|model, now, out| model.issue_acquisition_tokens(now, 0, "g", &jobs, None, out))
            .unwrap();
        let Some(token) = tokens.issued.first().map(|token| token.token.clone()) else {
            return String::new();
        };
        let new = Registration {
            name: "one".into(),
            ..Registration::default()
        };
        let agent = self
            .bench
            .act(|model, now, out| model.register_agent(now, &token, new, out))
            .unwrap();
        agent.access_token
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn check(bench: &Bench) {
    let mut states: BTreeMap<String, String> = BTreeMap::new();
    let mut ended = BTreeSet::new();
    let mut created = BTreeSet::new();
    let mut last_at = 0;
    for (index, entry) in bench.log.after(0).iter().enumerate() {
        assert_eq!(entry.seq, index as u64 + 1);
        assert!(entry.at_ms >= last_at);
        last_at = entry.at_ms;
        let fields = &entry.fields();
        let job = fields.get("job").and_then(text).unwrap_or_default();
        match entry.kind {
            "job.created" => assert!(created.insert(job), "a job is created once"),
            "job.state" => {
                assert!(created.contains(&job), "a job is created before it has a state");
                assert!(!ended.contains(&job), "an ended job changes no more");
                assert_eq!(
                    text(&fields["from"]),
                    states.get(&job).cloned(),
                    "from is the to before it"
                );
                let to = text(&fields["to"]).unwrap();
                assert_eq!(fields.contains_key("runnable"), to == "scheduled");
                states.insert(job, to);
            }
            "job.finished" => {
                assert!(ended.insert(job.clone()), "a job ends once");
                assert_eq!(text(&fields["state"]), states.get(&job).cloned());
            }
            "job.acquired" => assert_eq!(states[&job], "accepted"),
            "job.reserved" => assert_eq!(states[&job], "reserved"),
            _ => {}
        }
    }
    for (job, state) in &states {
        let is_over = ["finished", "canceled", "timed_out", "skipped", "broken"].contains(&state.as_str());
        assert_eq!(is_over, ended.contains(job), "{job} is {state}");
        let job = Uuid::parse_str(job).unwrap();
        assert_eq!(bench.state(job).name(), state);
    }
    let active = |job: &&String| {
        [
            "scheduled",
            "reserved",
            "accepted",
            "running",
            "canceling",
            "timing_out",
        ]
        .contains(&states[*job].as_str())
    };
    let limited = states.keys().filter(|job| {
        let job = bench.model.job_key(Uuid::parse_str(job).unwrap()).unwrap();
        bench.model.group_of(bench.model.jobs[job.0].step).is_some()
    });
    assert!(
        limited.filter(active).count() <= 2,
        "a concurrency group is never over its limit"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_state_follows_from_the_one_before_and_every_job_ends_once(
        acts in proptest::collection::vec(act(), 1..120),
    ) {
        let mut run = Run { bench: Bench::new(), sessions: Vec::new(), tokens: BTreeMap::new() };
        run.prepare();
        for act in &acts {
            run.act(act);
        }
        check(&run.bench);
        // With time, everything that an agent or a reservation held comes to an end or back to the list.
        run.bench.pass(4000.0);
        check(&run.bench);
    }

    #[test]
    fn one_seed_gives_one_log(acts in proptest::collection::vec(act(), 1..60)) {
        let logs: Vec<String> = (0..2)
            .map(|_| {
                let mut run = Run { bench: Bench::seeded(11), sessions: Vec::new(), tokens: BTreeMap::new() };
                run.prepare();
                for act in &acts {
                    run.act(act);
                }
                run.bench.log.text_after(0, usize::MAX).0
            })
            .collect();
        prop_assert_eq!(&logs[0], &logs[1]);
    }
}
