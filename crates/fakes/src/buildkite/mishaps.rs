//! What happens to jobs and lists without anybody asking: reservations that lapse early, agents that are given
//! up, jobs that disappear, states of later versions, lists that lag and pages that shift. And the looks into the tables that whoever causes these needs.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use uuid::Uuid;

use super::ids::Refusal;
use super::job::{Job, State};
use super::model::Model;
use super::stacks::ListView;
use crate::event::Effects;
use crate::fault::Faults;
use crate::now::Now;

impl ListView {
    /// What the faults that are set do to the list of a queue.
    pub fn under(faults: &mut Faults, now: Now, queue: &str, out: &mut Effects) -> Self {
        let paused = Self::is_paused(faults, now, queue, out);
        Self {
            paused,
            ..Self::of_list(faults, now, "stacks.list", queue, out)
        }
    }

    /// What the faults that are set do to a list that a method gives, of one queue or (empty) of several.
    pub(super) fn of_list(
        faults: &mut Faults,
        now: Now,
        method: &str,
        queue: &str,
        out: &mut Effects,
    ) -> Self {
        let mut view = Self::default();
        if faults.any("list.") {
            let subject = BTreeMap::from([("host", "buildkite"), ("method", method), ("queue", queue)]);
            if let Some(fault) = faults.standing(now, "list.lag", &subject, out) {
                let lag = fault.number("lag_s").unwrap_or(5.0);
                view.lag = Duration::try_from_secs_f64(lag).unwrap_or_default();
            }
            if let Some(fault) = faults.check(now, "list.shift", &subject, out) {
                // The casts saturate.
                let count = |name| fault.number(name).map(|number| number as usize);
                view.shift = Some((count("size").unwrap_or(usize::MAX), count("skip").unwrap_or(0)));
            }
        }
        view
    }

    /// Whether a fault pauses the queue.
    pub(super) fn is_paused(faults: &mut Faults, now: Now, queue: &str, out: &mut Effects) -> bool {
        let subject = BTreeMap::from([("queue", queue)]);
        faults.any("buildkite.pause") && faults.standing(now, "buildkite.pause", &subject, out).is_some()
    }
}

/// States in Buildkite's words. A fault may put a word there that no client knows.
pub fn state_words(
    states: IndexMap<String, State>,
    faults: &mut Faults,
    now: Now,
    out: &mut Effects,
) -> IndexMap<String, String> {
    const KIND: &str = "buildkite.unknown-state";
    let odd = faults.any(KIND);
    let mut word = |job: &str| {
        let subject = BTreeMap::from([("job", job)]);
        let fault = odd.then(|| faults.standing(now, KIND, &subject, out)).flatten()?;
        Some(fault.text("word").unwrap_or_else(|| "hibernating".to_owned()))
    };
    let worded = states.into_iter().map(|(job, state)| {
        let word = word(&job).unwrap_or_else(|| state.name().to_owned());
        (job, word)
    });
    worded.collect()
}

impl Model {
    /// All jobs, in the order they were created.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &Job> {
        self.jobs.iter()
    }

    /// Names of the agents that have run a job's own code: what it left behind can go on for as long as its
    /// machine does.
    pub fn have_worked(&self) -> impl Iterator<Item = &str> {
        let begun = self.jobs.iter().filter(|job| job.started_at.is_some());
        begun.filter_map(|job| Some(self.agents[job.agent?.0].name.as_str()))
    }

    /// The job that took the place of this one when it was retried, if it was.
    pub fn retry_of(&self, job: Uuid) -> Option<Uuid> {
        let next = self.job(job)?.retried_in?;
        Some(self.jobs[next.0].uuid)
    }

    /// The reservation of a job runs out now, whatever was promised.
    pub fn lapse_reservation(&mut self, now: Now, job: Uuid, out: &mut Effects) -> Result<(), Refusal> {
        let key = self.job_key(job)?;
        let job = &mut self.jobs[key.0];
        if job.state != State::Reserved {
            return Err(Refusal::unprocessable(format!(
                "A {} job has no reservation",
                job.state.name()
            )));
        }
        job.reservation = None;
        self.set_state(now, key, State::Scheduled, "reservation expired", out);
        Ok(())
    }

    /// The job disappears, as with its pipeline: the log says that it was canceled, and nobody who asks for it by its UUID
    /// finds it any more.
    ///
    /// # Errors
    /// 422 if an agent has it, or if it is over.
    pub fn delete_job(&mut self, now: Now, job: Uuid, out: &mut Effects) -> Result<(), Refusal> {
        let key = self.job_key(job)?;
        let state = self.jobs[key.0].state;
        if state.is_terminal() || state.is_with_agent() {
            return Err(Refusal::unprocessable(format!(
                "A {} job cannot be deleted",
                state.name()
            )));
        }
        self.stop_job(now, key, "deleted", out);
        self.jobs_by_uuid.remove(&job);
        Ok(())
    }

    /// The agent that has this job is taken for lost now, though it may live.
    pub fn give_up_agent_of(&mut self, now: Now, job: Uuid, out: &mut Effects) -> Result<(), Refusal> {
        let key = self.job_key(job)?;
        let state = self.jobs[key.0].state;
        match self.jobs[key.0].agent {
            Some(agent) if state.is_with_agent() => {
                self.lose_agent(now, agent, out);
                Ok(())
            }
            _ => Err(Refusal::unprocessable(format!(
                "No agent has the {} job",
                state.name()
            ))),
        }
    }
}
