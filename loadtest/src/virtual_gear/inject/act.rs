//! What people do: builds, and acts on their jobs.

use std::{collections::BTreeMap, time::Duration};

use gust_fakes::{buildkite::NewBuild, fault::Order};
use serde_json::json;
use uuid::Uuid;

use super::super::{machine::Attackers, scenario::Act};
use super::{Aim, Injector, state::Item};

/// The jobs of the steps that were created, by key; and the builds' numbers.
#[derive(Debug, Default)]
pub(super) struct Steps {
    jobs: BTreeMap<String, Vec<Uuid>>,
    builds: BTreeMap<usize, u64>,
}

impl Injector {
    pub(super) fn build(&self, index: usize, steps: &mut Steps) {
        let planned = &self.inner.scenario.builds[index];
        let build = NewBuild {
            pipeline: planned.slug.clone(),
            branch: "main".to_owned(),
            yaml: planned.pipeline.clone(),
            ..NewBuild::default()
        };
        let world = &self.inner.world;
        let created = world.call(|world, now, out| world.buildkite.create_build(now, &build, out));
        self.state().builds_left -= 1;
        match created {
            Ok(created) => {
                steps.builds.insert(index, created.number);
                for job in created.jobs {
                    if let Some(key) = job.key {
                        steps.jobs.entry(key).or_default().push(job.uuid);
                    }
                }
            }
            // A run with fewer jobs than its scenario says would prove less than it seems to.
            Err(refusal) => panic!("build {index} of the scenario is refused: {}", refusal.message),
        }
    }

    /// An act that is refused was too late or too early: people are told so, and no more happens.
    pub(super) fn act(&self, index: usize, steps: &Steps, attackers: &Attackers) {
        let act = &self.inner.scenario.acts[index].what;
        let world = &self.inner.world;
        let refused = match act {
            Act::CancelBuild { build } => steps.builds.get(build).and_then(|number| {
                world
                    .call(|world, now, out| world.buildkite.cancel_build(now, *number, out))
                    .err()
            }),
            Act::PauseQueue { lasting_ms } => {
                self.pause(index, *lasting_ms);
                None
            }
            Act::OperatorPause { .. } | Act::OperatorCordon { .. } | Act::OperatorCordonFamily { .. } => {
                self.operate(act, None, attackers);
                None
            }
            Act::OperatorCancel { step, index } => {
                let job = self.latest(steps, step, *index);
                if let Some(job) = job {
                    self.inner.witness.canceled(self.inner.world.elapsed(), job);
                }
                self.operate(act, job, attackers);
                None
            }
            Act::CancelJob { step, index } => self.latest(steps, step, *index).and_then(|job| {
                world
                    .call(|world, now, out| world.buildkite.cancel_job(now, job, out))
                    .err()
            }),
            Act::RetryJob { step, index } => self.latest(steps, step, *index).and_then(|job| {
                world
                    .call(|world, now, out| world.buildkite.retry_job(now, job, out))
                    .err()
            }),
            Act::PrioritizeJob {
                step,
                index,
                priority,
            } => self.latest(steps, step, *index).and_then(|job| {
                world
                    .call(|world, now, out| world.buildkite.reprioritize(now, job, *priority, out))
                    .err()
            }),
        };
        if let Some(refusal) = refused {
            tracing::debug!(?act, message = refusal.message, "act refused");
        }
    }

    fn pause(&self, act: usize, lasting_ms: u64) {
        let order = Order {
            kind: "buildkite.pause".to_owned(),
            aim: [("queue".to_owned(), json!("gust"))].into_iter().collect(),
            for_s: Some(Duration::from_millis(lasting_ms).as_secs_f64()),
            ..Order::default()
        };
        let set = self
            .inner
            .world
            .call(|world, now, _| world.faults.add(now, order));
        set.expect("the fakes know how to pause a queue");
        let item = self.inner.scenario.faults.len() + act;
        self.begin_pause(item);
        self.send(
            Item::Over(item),
            Duration::from_millis(lasting_ms),
            Aim::default(),
        );
    }

    /// The job that now stands for the `index`-th job of a step.
    fn latest(&self, steps: &Steps, step: &str, index: usize) -> Option<Uuid> {
        let mut job = *steps.jobs.get(step)?.get(index)?;
        self.inner.world.read(|world| {
            while let Some(next) = world.buildkite.retry_of(job) {
                job = next;
            }
        });
        Some(job)
    }
}
