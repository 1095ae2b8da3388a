//! What the demo knows: a fold over the event log of the stand-ins, and nothing else. What is shown is
//! therefore what Buildkite and Google saw, not what gust says about itself.

use std::collections::BTreeMap;

use serde_json::Value;

use super::pipeline::{Expect, Expected};

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its command ran and ended with this code.
    Exit(i64),
    /// Gust finished it, with this detail.
    Refused(String),
    /// It ended in this state of Buildkite's, with or without a run.
    State(String),
}

/// One job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// What people call it.
    pub(crate) name: String,
    /// The tags it carries, without the queue.
    pub(crate) asks: String,
    /// How it should end.
    pub(crate) expect: Expect,
    /// Buildkite's word for where it stands.
    pub(crate) state: String,
    /// The newest notification on its timeline.
    pub(crate) told: Option<String>,
    /// Seconds since the start at which it became eligible to run.
    pub(crate) runnable_at: Option<f64>,
    /// When an agent acquired it.
    pub(crate) acquired_at: Option<f64>,
    /// When it ended.
    pub(crate) ended_at: Option<f64>,
    /// How it ended.
    pub(crate) end: Option<End>,
    /// The machine it ran on.
    pub(crate) machine: Option<String>,
    /// Id of the agent that ran it.
    pub(crate) agent: Option<String>,
    /// A newer job took its place.
    pub(crate) retried: bool,
    key: Option<String>,
}

/// One machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Machine type.
    pub(crate) machine_type: String,
    /// Zone.
    pub(crate) zone: String,
    /// Whether Google may take it back.
    pub(crate) spot: bool,
    /// Local SSDs.
    pub(crate) local_ssd: u64,
    /// US dollars an hour.
    pub(crate) price: f64,
    /// Seconds since the start at which it came to be.
    pub(crate) inserted_at: f64,
    /// When it was gone.
    pub(crate) deleted_at: Option<f64>,
}

/// Something worth a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct News {
    /// Seconds since the start.
    pub(crate) at: f64,
    /// The job it is about, if any.
    pub(crate) job: Option<String>,
    /// What happened.
    pub(crate) text: String,
}

/// Everything seen so far.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Jobs by UUID.
    pub(crate) jobs: BTreeMap<String, Job>,
    /// UUIDs in the order the jobs were made.
    pub(crate) order: Vec<String>,
    /// Machines by name.
    pub(crate) machines: BTreeMap<String, Machine>,
    /// Calls to Google.
    pub(crate) cloud_calls: u64,
    /// Time of the newest event, in seconds.
    pub(crate) now: f64,
    /// True once somebody has asked Buildkite for waiting jobs.
    pub(crate) server_listens: bool,
    agents: BTreeMap<String, String>,
    expected: Vec<Expected>,
}

/// States of a job that never runs (again).
const DEAD: [&str; 8] = [
    "canceled",
    "timed_out",
    "expired",
    "skipped",
    "broken",
    "waiting_failed",
    "blocked_failed",
    "unblocked_failed",
];

impl State {
    /// A state that knows what the next build's jobs are called and how they should end. They are matched
    /// in the order in which the jobs come to be.
    pub(crate) fn expecting(expected: Vec<Expected>) -> Self {
        Self {
            expected,
            ..Self::default()
        }
    }

    /// True if every job has ended, and there was one.
    pub(crate) fn all_ended(&self) -> bool {
        !self.jobs.is_empty() && self.jobs.values().all(Job::is_over)
    }

    /// Machines that exist.
    pub(crate) fn machines_left(&self) -> impl Iterator<Item = (&String, &Machine)> {
        let live = |(_, machine): &(&String, &Machine)| machine.deleted_at.is_none();
        self.machines.iter().filter(live)
    }

    /// The agent program that ran a job, such as `buildkite-agent/3.136.3`.
    pub(crate) fn agent_of(&self, job: &Job) -> Option<&str> {
        self.agents.get(job.agent.as_ref()?).map(String::as_str)
    }

    /// Takes one line of the event log; tells what in it is news.
    pub(crate) fn apply(&mut self, event: &Value) -> Option<News> {
        let at = event["at"].as_f64().unwrap_or(self.now);
        self.now = self.now.max(at);
        match text(event, "kind") {
            "api.call" => self.on_call(event),
            "job.created" => self.on_created(event),
            "job.state" => return self.on_state(event, at),
            "job.notified" => return self.on_notified(event, at),
            "job.acquired" => return self.on_acquired(event, at),
            "job.finished" => return self.on_finished(event, at),
            "agent.registered" => {
                let program = text(event, "caller").split_whitespace().next();
                let program = program.unwrap_or("unknown").to_owned();
                self.agents.insert(text(event, "agent").to_owned(), program);
            }
            "instance.inserted" => return self.on_inserted(event, at),
            "instance.refused" => {
                return Some(News {
                    at,
                    job: None,
                    text: format!("a machine was refused: {}", text(event, "code")),
                });
            }
            "instance.deleted" => {
                if let Some(machine) = self.machines.get_mut(text(event, "name")) {
                    machine.deleted_at = Some(at);
                }
            }
            _ => {}
        }
        None
    }

    fn on_call(&mut self, event: &Value) {
        match text(event, "host") {
            "gce" => self.cloud_calls += 1,
            "buildkite" => self.server_listens |= text(event, "method").starts_with("stacks.list"),
            _ => {}
        }
    }

    fn on_created(&mut self, event: &Value) {
        let uuid = text(event, "job").to_owned();
        let key = event["key"].as_str().map(str::to_owned);
        let rules = event["rules"].as_array().map_or(&[][..], Vec::as_slice);
        let asks: Vec<&str> = rules
            .iter()
            .filter_map(Value::as_str)
            .filter(|rule| !rule.starts_with("queue="))
            .collect();
        let before = event["retry_of"].as_str().and_then(|old| self.jobs.get_mut(old));
        let (name, expect) = match before {
            Some(old) => {
                old.retried = true;
                (format!("{} (again)", old.name), old.expect)
            }
            None => self.expectation(key.as_deref()),
        };
        let job = Job {
            name,
            asks: asks.join(" "),
            expect,
            state: String::new(),
            told: None,
            runnable_at: None,
            acquired_at: None,
            ended_at: None,
            end: None,
            machine: None,
            agent: None,
            retried: false,
            key,
        };
        self.jobs.insert(uuid.clone(), job);
        self.order.push(uuid);
    }

    /// The name and expected end of a job that was just made: the next one in the file, or, for jobs that
    /// are not in it, the step's key and `pass`.
    fn expectation(&self, key: Option<&str>) -> (String, Expect) {
        let made = self.jobs.values().filter(|job| !job.retried).count();
        let same = self
            .jobs
            .values()
            .filter(|job| !job.retried && key.is_some() && job.key.as_deref() == key)
            .count();
        let in_order = self.expected.get(made).filter(|e| e.key.as_deref() == key);
        let of_key = || {
            self.expected
                .iter()
                .filter(|e| key.is_some() && e.key.as_deref() == key)
                .nth(same)
        };
        match in_order.or_else(of_key) {
            Some(expected) => (expected.name.clone(), expected.expect),
            None => (
                key.map_or_else(|| format!("job {}", made + 1), str::to_owned),
                Expect::Pass,
            ),
        }
    }

    fn on_state(&mut self, event: &Value, at: f64) -> Option<News> {
        let job = self.jobs.get_mut(text(event, "job"))?;
        let to = text(event, "to").to_owned();
        if event["runnable"] == Value::Bool(true) {
            job.runnable_at.get_or_insert(at);
        }
        let news = DEAD.contains(&to.as_str()) && job.end.is_none();
        if news {
            job.end = Some(End::State(to.clone()));
            job.ended_at = Some(at);
        }
        job.state = to;
        news.then(|| News {
            at,
            job: Some(job.name.clone()),
            text: job.state.replace('_', " "),
        })
    }

    fn on_notified(&mut self, event: &Value, at: f64) -> Option<News> {
        let job = self.jobs.get_mut(text(event, "job"))?;
        let detail = text(event, "detail").to_owned();
        if job.told.as_ref() == Some(&detail) {
            return None;
        }
        job.told = Some(detail.clone());
        Some(News {
            at,
            job: Some(job.name.clone()),
            text: detail,
        })
    }

    fn on_acquired(&mut self, event: &Value, at: f64) -> Option<News> {
        let job = self.jobs.get_mut(text(event, "job"))?;
        let machine = text(event, "agent_name").to_owned();
        job.acquired_at = Some(at);
        job.agent = Some(text(event, "agent").to_owned());
        job.machine = Some(machine.clone());
        Some(News {
            at,
            job: Some(job.name.clone()),
            text: format!("running on {machine}"),
        })
    }

    fn on_finished(&mut self, event: &Value, at: f64) -> Option<News> {
        let job = self.jobs.get_mut(text(event, "job"))?;
        let end = match text(event, "by") {
            "stack" => End::Refused(text(event, "detail").to_owned()),
            "agent" if !DEAD.contains(&job.state.as_str()) => {
                exit_code(event).map_or_else(|| End::State(job.state.clone()), End::Exit)
            }
            _ => End::State(job.state.clone()),
        };
        let known = job.end.replace(end);
        job.ended_at.get_or_insert(at);
        // A job that died is news when its state says so; this event only adds who ended it.
        known.is_none().then(|| News {
            at,
            job: Some(job.name.clone()),
            text: match &job.end {
                Some(End::Refused(detail)) => {
                    format!("refused: {}", detail.lines().next().unwrap_or_default())
                }
                _ => job.outcome(),
            },
        })
    }

    fn on_inserted(&mut self, event: &Value, at: f64) -> Option<News> {
        let name = text(event, "name").to_owned();
        let machine = Machine {
            machine_type: last_segment(text(event, "machine_type")).to_owned(),
            zone: last_segment(text(event, "zone")).to_owned(),
            spot: text(event, "model").eq_ignore_ascii_case("spot"),
            local_ssd: event["local_ssd"].as_u64().unwrap_or(0),
            price: event["price_usd_h"].as_f64().unwrap_or(0.0),
            inserted_at: at,
            deleted_at: None,
        };
        let news = News {
            at,
            job: None,
            text: format!("machine {name}: {}", machine.describe()),
        };
        self.machines.insert(name, machine);
        Some(news)
    }
}

impl Job {
    /// True if nothing will happen to it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// True if it ended as it should. A job that was retried is judged by its successor.
    pub(crate) fn as_expected(&self) -> bool {
        match (&self.end, self.expect) {
            _ if self.retried => true,
            (Some(End::Exit(0)), Expect::Pass) => true,
            (Some(End::Exit(code)), Expect::Exit(wanted)) => *code == wanted,
            (Some(End::Refused(_)), Expect::Refused) => true,
            _ => false,
        }
    }

    /// How it ended, or where it stands, in a word or two.
    pub(crate) fn outcome(&self) -> String {
        match &self.end {
            None if self.state.is_empty() => "not known yet".to_owned(),
            None => self.state.replace('_', " "),
            Some(End::Exit(0)) => "passed".to_owned(),
            Some(End::Exit(code)) => format!("exit {code}"),
            Some(End::Refused(_)) => "refused".to_owned(),
            Some(End::State(state)) => state.replace('_', " "),
        }
    }
}

impl Machine {
    /// Type, zone and price in one line.
    pub(crate) fn describe(&self) -> String {
        format!("{} in {}, ${:.4}/h", self.shape(), self.zone, self.price)
    }

    /// Machine type with what is special about it.
    pub(crate) fn shape(&self) -> String {
        let mut shape = self.machine_type.clone();
        if self.local_ssd > 0 {
            shape.push_str(&format!(" +{} ssd", self.local_ssd));
        }
        if self.spot {
            shape.push_str(" spot");
        }
        shape
    }
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_default()
}

fn last_segment(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The exit status, which the log gives as the agent sent it: as text.
fn exit_code(event: &Value) -> Option<i64> {
    match &event["exit_status"] {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    }
}
