//! What Buildkite may answer of a job and seldom does: it is another stack's, it is in a state of a later version, it has
//! disappeared.

use std::time::Duration;

use gust_fakes::{
    buildkite::{Job, Model, Refusal, StackRegistration, State},
    event::Effects,
    fault::Order,
    now::Now,
};
use serde_json::json;
use uuid::Uuid;

use super::super::{check::Subject, scenario::What};
use super::{Aim, Injector};

/// The stack that takes what is ours.
const THIEF: &str = "another-stack";

impl Injector {
    /// Makes one of them happen to the job that triggered it, or else to the `pick`-th that fits.
    pub(super) fn odd(&self, fault: usize, aim: &Aim, pick: u64) {
        let what = self.what(fault);
        let fits = |job: &Job| match what {
            What::StateUnknown { .. } => !job.state.is_terminal(),
            _ => matches!(job.state, State::Scheduled | State::Reserved),
        };
        let Some(job) = self.pick_job(aim, pick, fits) else {
            return;
        };
        let lasting = self.until_quiet(what.lasting_ms().unwrap_or_default());
        if matches!(what, What::StateUnknown { .. }) {
            return self.say_an_unknown_state(fault, job, lasting);
        }
        let happened = self.inner.world.call(|world, now, out| match what {
            What::JobGone { .. } => world.buildkite.delete_job(now, job, out),
            _ => take(&mut world.buildkite, now, job, lasting, out),
        });
        if happened.is_ok() {
            self.met(what.kind(), Subject::Job(job), "");
        }
    }

    /// It is met once the state is asked for.
    fn say_an_unknown_state(&self, fault: usize, job: Uuid, lasting: Duration) {
        let aim = json!({ "job": job.to_string(), "word": "hibernating" });
        let order = Order {
            kind: "buildkite.unknown-state".to_owned(),
            aim: aim.as_object().cloned().unwrap_or_default(),
            for_s: Some(lasting.as_secs_f64()),
            ..Order::default()
        };
        self.give(fault, order);
    }
}

/// Another stack reserves a job; if it is ours, our reservation lapses first.
fn take(model: &mut Model, now: Now, job: Uuid, lasting: Duration, out: &mut Effects) -> Result<(), Refusal> {
    let thief = StackRegistration {
        key: THIEF.to_owned(),
        kind: "custom".to_owned(),
        queue_key: "gust".to_owned(),
        metadata: Default::default(),
    };
    model.register_stack(0, thief)?;
    if model.job(job).is_some_and(|job| job.state == State::Reserved) {
        model.lapse_reservation(now, job, out)?;
    }
    let seconds = i64::try_from(lasting.as_secs().max(1)).ok();
    model.reserve(now, 0, THIEF, &[job.to_string()], seconds, out)?;
    Ok(())
}
