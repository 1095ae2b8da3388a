//! Tests of the model: no wire, no runtime, time as a value.

mod agents;
mod blocks;
mod conditions;
mod graphql;
mod invariants;
mod jobs;
mod matrix;
mod pages;
mod stacks;
mod steps;
mod triggers;
mod webhooks;

use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::config::{Cluster, Config};
use super::{Acquired, CreatedBuild, JobEnd, Model, NewBuild, Registration, StackRegistration, State};
use crate::event::{Effects, Entry, EventLog};
use crate::limits::Limits;
use crate::now::Now;

/// A model, its log, and the time.
struct Bench {
    model: Model,
    log: EventLog,
    at: Duration,
}

/// 2026-08-01T00:00:00Z.
const START_NS: i128 = 1_785_542_400_000_000_000;

impl Bench {
    fn new() -> Self {
        Self::seeded(7)
    }

    /// Agents here are lost only after a day, so that other deadlines show.
    fn with_patient_agents() -> Self {
        let mut bench = Self::new();
        bench.model.limits.agent_lost_after_s = 86_400;
        bench
    }

    fn seeded(seed: u64) -> Self {
        let config = Config {
            clusters: vec![Cluster {
                name: "main".into(),
                queues: vec!["gust".into(), "other".into()],
                tokens: vec!["bkct_fake".into()],
            }],
            secrets: [("KEY".to_owned(), "value".to_owned())].into(),
            ..Config::default()
        };
        let model = Model::new(seed, Limits::standard().buildkite, config);
        let mut bench = Self {
            model,
            log: EventLog::default(),
            at: Duration::ZERO,
        };
        bench.register("g");
        bench
    }

    fn now(&self) -> Now {
        Now::at(START_NS, self.at)
    }

    /// One call of the model; its events go into the log.
    fn act<T>(&mut self, act: impl FnOnce(&mut Model, Now, &mut Effects) -> T) -> T {
        let now = self.now();
        let mut out = Effects::default();
        let value = act(&mut self.model, now, &mut out);
        self.log.append(now, &mut out);
        value
    }

    /// Lets time pass, stopping wherever something is due.
    fn pass(&mut self, seconds: f64) {
        let end = self.at + Duration::from_secs_f64(seconds);
        while let Some(due) = self.model.next_due().filter(|due| *due <= end) {
            self.at = self.at.max(due);
            self.act(|model, now, out| model.tick(now, out));
        }
        self.at = end;
    }

    fn register(&mut self, key: &str) {
        let new = StackRegistration {
            key: key.into(),
            kind: "custom".into(),
            queue_key: "gust".into(),
            ..StackRegistration::default()
        };
        self.model.register_stack(0, new).unwrap();
    }

    fn build(&mut self, yaml: &str) -> CreatedBuild {
        let new = NewBuild {
            pipeline: "p".into(),
            yaml: yaml.into(),
            ..NewBuild::default()
        };
        self.act(|model, now, out| model.create_build(now, &new, out))
            .unwrap()
    }

    fn refused(&mut self, yaml: &str) -> String {
        let new = NewBuild {
            yaml: yaml.into(),
            ..NewBuild::default()
        };
        let before = self.log.len();
        let refusal = self
            .act(|model, now, out| model.create_build(now, &new, out))
            .unwrap_err();
        assert_eq!(self.log.len(), before, "a refused build leaves no trace");
        refusal.to_string()
    }

    fn state(&self, job: Uuid) -> State {
        self.model.job(job).unwrap().state
    }

    fn reserve(&mut self, stack: &str, job: Uuid, seconds: i64) -> bool {
        let jobs = [job.to_string()];
        let answer = self
            .act(|model, now, out| model.reserve(now, 0, stack, &jobs, Some(seconds), out))
            .unwrap();
        answer.reserved == [job]
    }

    /// A connected agent; its session.
    fn agent(&mut self, token: &str) -> String {
        let new = Registration {
            name: "vm".into(),
            ..Registration::default()
        };
        let agent = self
            .act(|model, now, out| model.register_agent(now, token, new, out))
            .unwrap();
        self.act(|model, now, out| model.connect(now, &agent.access_token, out))
            .unwrap();
        agent.access_token
    }

    fn acquire(&mut self, job: Uuid) -> Acquired {
        let session = self.agent("bkct_fake");
        self.act(|model, now, out| model.acquire(now, &session, job, out))
            .unwrap()
    }

    /// A job with an agent, running; its token.
    fn run(&mut self, job: Uuid) -> String {
        let token = self.acquire(job).token;
        self.act(|model, now, out| model.start(now, &token, job, out))
            .unwrap();
        token
    }

    fn finish(&mut self, job: Uuid, token: &str, exit_status: &str) -> Result<(), super::Refusal> {
        let end = JobEnd {
            exit_status: exit_status.into(),
            ..JobEnd::default()
        };
        self.act(|model, now, out| model.finish_job(now, token, job, end, out))
    }

    fn run_to(&mut self, job: Uuid, exit_status: &str) {
        let token = self.run(job);
        self.finish(job, &token, exit_status).unwrap();
    }

    fn cancel(&mut self, job: Uuid) -> Result<(), super::Refusal> {
        self.act(|model, now, out| model.cancel_job(now, job, out))
    }

    fn retry(&mut self, job: Uuid) -> Result<Uuid, super::Refusal> {
        self.act(|model, now, out| model.retry_job(now, job, out))
    }

    /// Jobs in the list.
    fn listed(&mut self) -> Vec<Uuid> {
        let page = self
            .act(|model, now, _| {
                model.list_scheduled(now, 0, "g", "gust", (1000, None), super::ListView::default())
            })
            .unwrap();
        page.jobs.iter().map(|job| job.uuid).collect()
    }

    fn events(&self, kind: &str) -> Vec<&Entry> {
        self.log
            .after(0)
            .iter()
            .filter(|entry| entry.kind == kind)
            .collect()
    }

    /// All jobs of a step, retries included, in the order they were made.
    fn jobs_of(&self, key: &str) -> Vec<Uuid> {
        let jobs = self
            .events("job.created")
            .into_iter()
            .filter(|entry| entry.fields()["key"] == key);
        jobs.map(|entry| Uuid::parse_str(entry.fields()["job"].as_str().unwrap()).unwrap())
            .collect()
    }

    /// `from>to` of one job.
    fn path(&self, job: Uuid) -> String {
        let name = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let job = job.to_string();
        let states = self
            .events("job.state")
            .into_iter()
            .filter(|entry| entry.fields()["job"] == job.as_str());
        states
            .map(|entry| {
                format!(
                    "{}>{}",
                    name(&entry.fields()["from"]),
                    name(&entry.fields()["to"])
                )
            })
            .collect::<Vec<_>>()
            .join(" ")
    }
}
