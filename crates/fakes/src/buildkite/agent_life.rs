//! How an agent is told to stop or to pause, is watched, and is lost.

use std::time::Duration;

use super::agents::AgentState;
use super::due::Due;
use super::end::End;
use super::ids::{AgentKey, JobKey, Refusal};
use super::job::State;
use super::model::{Model, Pause};
use crate::event::{Effects, Event, Host};
use crate::now::Now;

impl Model {
    /// `stop`, by session or job token. A forced stop of an agent with a job cancels the job.
    pub fn stop_agent(
        &mut self,
        now: Now,
        token: &str,
        force: bool,
        out: &mut Effects,
    ) -> Result<(), Refusal> {
        let key = self.agent_of_any(token)?;
        self.stop_agent_by_key(now, key, force, out);
        Ok(())
    }

    pub(super) fn stop_agent_by_key(&mut self, now: Now, key: AgentKey, force: bool, out: &mut Effects) {
        let first = !std::mem::replace(&mut self.agents[key.0].stopping, true);
        if first {
            self.tell_agent(now, key, "agent.stopping", out);
        }
        if let Some(job) = self.agents[key.0].job
            && force
        {
            self.stop_job(now, job, "agent stopped", out);
        }
    }

    /// `pause`: until resumed, or for so many minutes (5 where the request says nothing).
    pub fn pause_agent(&mut self, now: Now, token: &str, minutes: Option<u32>) -> Result<(), Refusal> {
        let key = self.agent_of_any(token)?;
        self.pause_agent_by_key(now, key, minutes, None);
        Ok(())
    }

    pub(super) fn pause_agent_by_key(
        &mut self,
        now: Now,
        key: AgentKey,
        minutes: Option<u32>,
        note: Option<String>,
    ) {
        let minutes = minutes.unwrap_or(5);
        let agent = &mut self.agents[key.0];
        agent.paused_until = Some(now.since_start + Duration::from_secs(u64::from(minutes) * 60));
        agent.pause = Some((
            Pause {
                at: now.unix_ns,
                note,
            },
            minutes,
        ));
    }

    /// The pause of an agent and its length in minutes, while it lasts.
    pub(super) fn agent_pause(&self, now: Now, key: AgentKey) -> Option<&(Pause, u32)> {
        let agent = &self.agents[key.0];
        let lasts = agent.paused_until.is_some_and(|until| until > now.since_start);
        agent.pause.as_ref().filter(|_| lasts)
    }

    /// `resume`.
    pub fn resume_agent(&mut self, token: &str) -> Result<(), Refusal> {
        let key = self.agent_of_any(token)?;
        self.resume_agent_by_key(key);
        Ok(())
    }

    pub(super) fn resume_agent_by_key(&mut self, key: AgentKey) {
        self.agents[key.0].paused_until = None;
    }

    /// Looks at the agent again when it would be lost without another heartbeat.
    pub(super) fn watch_agent(&mut self, now: Now, key: AgentKey) {
        let agent = &self.agents[key.0];
        if !matches!(agent.state, AgentState::Registered | AgentState::Connected) {
            return;
        }
        let silent_until = agent.last_heartbeat + self.seconds(self.limits.agent_lost_after_s);
        // The server looks around every so often, on full rounds.
        let sweep = self.seconds(self.limits.agent_lost_sweep_s).as_nanos();
        let at = match sweep {
            0 => silent_until,
            sweep => Duration::from_nanos((silent_until.as_nanos().div_ceil(sweep) * sweep) as u64),
        };
        self.at(at.max(now.since_start), Due::Agent(key));
    }

    pub(super) fn check_agent(&mut self, now: Now, key: AgentKey, out: &mut Effects) {
        let agent = &self.agents[key.0];
        if !matches!(agent.state, AgentState::Registered | AgentState::Connected) {
            return;
        }
        if agent.last_heartbeat + Duration::from_secs(self.limits.agent_lost_after_s.into()) > now.since_start
        {
            self.watch_agent(now, key);
            return;
        }
        self.lose_agent(now, key, out);
    }

    /// The agent is lost, and with it the job it has.
    pub(super) fn lose_agent(&mut self, now: Now, key: AgentKey, out: &mut Effects) {
        let agent = &mut self.agents[key.0];
        agent.state = AgentState::Lost;
        agent.ended_at = Some(now.unix_ns);
        let job = agent.job;
        let mut event = Event::new(Host::Buildkite, "agent.lost")
            .with("agent", agent.uuid.to_string())
            .with("agent_name", agent.name.clone());
        if let Some(job) = job {
            event = event.with("job", self.jobs[job.0].uuid.to_string());
        }
        out.push(event);
        self.tell_agent(now, key, "agent.lost", out);
        if let Some(job) = job {
            self.abandon_job(now, job, "agent lost", out);
        }
    }

    /// The agent is gone, the job with it: exit status −1, no signal reason.
    pub(super) fn abandon_job(&mut self, now: Now, job: JobKey, cause: &str, out: &mut Effects) {
        let state = match self.jobs[job.0].state {
            State::Canceling => State::Canceled,
            State::TimingOut => State::TimedOut,
            _ => State::Finished,
        };
        let mut end = End::by_server(state, cause);
        end.exit_status = Some("-1".into());
        self.end_job(now, job, end, out);
    }
}
