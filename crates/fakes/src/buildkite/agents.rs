//! Agents: register, connect, heartbeats, ping, acquire, and how they get lost.

use std::time::Duration;

use uuid::Uuid;

use super::due::Due;
use super::ids::{self, AgentKey, JobKey, QueueKey, Refusal};
use super::job::{Acquired, Reservation, State};
use super::model::{Model, Pause};
use crate::event::{Effects, Event, Host};
use crate::now::Now;
use crate::stamp::rfc3339;

/// A job acquisition token, as the server knows it.
#[derive(Debug)]
pub(super) struct AcquisitionToken {
    pub(super) uuid: Uuid,
    pub(super) job: JobKey,
    pub(super) cluster: usize,
    pub(super) expires: Duration,
    /// Number of the reservation that it was issued for, and ends with.
    pub(super) reservation: u64,
}

/// What an agent registered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// An agent token of the cluster.
    Cluster,
    /// A job acquisition token.
    Acquisition,
}

/// How an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentState {
    /// It has a session.
    Registered,
    /// It said so.
    Connected,
    /// It said goodbye.
    Disconnected,
    /// It fell silent.
    Lost,
}

impl AgentState {
    /// The name in `GET /state`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Lost => "lost",
        }
    }
}

/// One agent.
#[derive(Debug)]
pub struct Agent {
    /// Its UUID.
    pub uuid: Uuid,
    /// The name it gave, or one invented.
    pub name: String,
    /// `key=value`.
    pub tags: Vec<String>,
    /// How it stands.
    pub state: AgentState,
    /// What it registered with.
    pub token_kind: TokenKind,
    pub(super) token_id: Uuid,
    pub(super) only_job: Option<JobKey>,
    pub(super) cluster: usize,
    pub(super) queue: QueueKey,
    pub(super) version: String,
    pub(super) hostname: String,
    /// What it runs on, `linux` and `amd64`; empty where it did not say.
    pub(super) os: String,
    pub(super) arch: String,
    pub(super) ip_address: Option<String>,
    /// Wall times, nanoseconds since the epoch: `register`, the last heartbeat, disconnected or lost.
    pub(super) registered_at: i128,
    pub(super) heartbeat_at: i128,
    pub(super) ended_at: Option<i128>,
    pub(super) last_heartbeat: Duration,
    pub(super) job: Option<JobKey>,
    pub(super) paused_until: Option<Duration>,
    /// The last pause and its length in minutes.
    pub(super) pause: Option<(Pause, u32)>,
    pub(super) stopping: bool,
}

impl Agent {
    /// What it calls itself: `buildkite-agent/3.136.3 (linux; amd64)`.
    pub(super) fn user_agent(&self) -> String {
        let name = format!("buildkite-agent/{}", self.version);
        match (self.os.is_empty(), self.arch.is_empty()) {
            (false, false) => format!("{name} ({}; {})", self.os, self.arch),
            _ => name,
        }
    }
}

/// What an agent tells when it registers.
#[derive(Clone, Debug, Default)]
pub struct Registration {
    /// Its name; an empty one is invented.
    pub name: String,
    /// Name of its host.
    pub hostname: String,
    /// `key=value`.
    pub tags: Vec<String>,
    /// Its version.
    pub version: String,
    /// Its operating system, `linux`.
    pub os: String,
    /// Its architecture, `amd64`.
    pub arch: String,
    /// Where it called from.
    pub ip_address: Option<String>,
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its UUID.
    pub uuid: Uuid,
    /// Its name.
    pub name: String,
    /// The secret of its session.
    pub access_token: String,
    /// Its tags, as kept.
    pub tags: Vec<String>,
}

impl Model {
    /// Opens a session for an agent: with a token of the cluster or a job acquisition token.
    pub fn register_agent(
        &mut self,
        now: Now,
        token: &str,
        new: Registration,
        out: &mut Effects,
    ) -> Result<Registered, Refusal> {
        let (cluster, token_kind, token_id, only_job) = self.token_of_registration(now, token)?;
        let queue = self.queue_of_rules(cluster, &new.tags)?;
        let key = AgentKey(self.agents.len());
        let name = match (new.name.is_empty(), new.hostname.is_empty()) {
            (false, _) => new.name.clone(),
            (true, false) => format!("{}-{}", new.hostname, key.0 + 1),
            (true, true) => format!("agent-{}", key.0 + 1),
        };
        let uuid = ids::uuid(&mut self.rng);
        let access_token = ids::token(&mut self.rng, "bkaa_");
        let mut event = Event::new(Host::Buildkite, "agent.registered")
            .with("agent", uuid.to_string())
            .with("agent_name", name.clone())
            .with("tags", new.tags.clone())
            .with(
                "token_kind",
                match token_kind {
                    TokenKind::Cluster => "cluster",
                    TokenKind::Acquisition => "acquisition",
                },
            )
            .with("token_id", token_id.to_string());
        if let Some(job) = only_job {
            event = event.with("job", self.jobs[job.0].uuid.to_string());
        }
        out.push(event);
        self.sessions.insert(access_token.clone(), key);
        self.agents.push(Agent {
            uuid,
            name: name.clone(),
            tags: new.tags.clone(),
            state: AgentState::Registered,
            token_kind,
            token_id,
            only_job,
            cluster,
            queue,
            version: new.version,
            last_heartbeat: now.since_start,
            job: None,
            paused_until: None,
            pause: None,
            hostname: new.hostname,
            os: new.os,
            arch: new.arch,
            ip_address: new.ip_address,
            registered_at: now.unix_ns,
            heartbeat_at: now.unix_ns,
            ended_at: None,
            stopping: false,
        });
        self.watch_agent(now, key);
        Ok(Registered {
            uuid,
            name,
            access_token,
            tags: new.tags,
        })
    }

    fn token_of_registration(
        &self,
        now: Now,
        token: &str,
    ) -> Result<(usize, TokenKind, Uuid, Option<JobKey>), Refusal> {
        for (index, cluster) in self.clusters.iter().enumerate() {
            if let Some((_, uuid)) = cluster.tokens.iter().find(|(known, _)| known == token) {
                return Ok((index, TokenKind::Cluster, *uuid, None));
            }
        }
        let Some(known) = self.acquisition_tokens.get(token) else {
            return Err(Refusal::unauthorized("The registration token is not valid"));
        };
        let job = &self.jobs[known.job.0];
        let lasts = |held: &Reservation| held.number == known.reservation;
        if job.state != State::Reserved || !job.reservation.as_ref().is_some_and(lasts) {
            return Err(Refusal::unprocessable(
                "Job is not eligible for job acquisition registration",
            ));
        }
        if known.expires <= now.since_start {
            return Err(Refusal::unauthorized("The job acquisition token has expired"));
        }
        Ok((known.cluster, TokenKind::Acquisition, known.uuid, Some(known.job)))
    }

    /// An agent that is still there, by its session.
    fn live_agent(&self, session: &str) -> Result<AgentKey, Refusal> {
        let key = self.agent_of_session(session)?;
        match self.agents[key.0].state {
            AgentState::Registered | AgentState::Connected => Ok(key),
            AgentState::Disconnected => Err(Refusal::unauthorized("The agent has disconnected")),
            AgentState::Lost => Err(Refusal::unauthorized("The agent is lost")),
        }
    }

    /// The agent is ready.
    pub fn connect(&mut self, now: Now, session: &str, out: &mut Effects) -> Result<(), Refusal> {
        let key = self.live_agent(session)?;
        let first = self.agents[key.0].state == AgentState::Registered;
        self.agents[key.0].state = AgentState::Connected;
        self.agents[key.0].last_heartbeat = now.since_start;
        self.agents[key.0].heartbeat_at = now.unix_ns;
        if first {
            self.tell_agent(now, key, "agent.connected", out);
        }
        Ok(())
    }

    /// The agent lives.
    pub fn heartbeat(&mut self, now: Now, session: &str) -> Result<(), Refusal> {
        let key = self.live_agent(session)?;
        self.agents[key.0].last_heartbeat = now.since_start;
        self.agents[key.0].heartbeat_at = now.unix_ns;
        Ok(())
    }

    /// The UUID of the cluster token that an agent (by its UUID) registered with; none if it was a job
    /// acquisition token.
    pub fn cluster_token_of(&self, agent: &str) -> Option<Uuid> {
        let agent = Uuid::parse_str(agent).ok()?;
        // The agent that acquires is most likely a young one.
        let agent = self.agents.iter().rev().find(|known| known.uuid == agent)?;
        (agent.token_kind == TokenKind::Cluster).then_some(agent.token_id)
    }

    /// What a fault can aim at when this session sends a heartbeat: agent, its name, its job.
    pub(super) fn describe_session(&self, session: &str) -> Option<(String, String, Option<String>, String)> {
        let agent = &self.agents[self.agent_of_session(session).ok()?.0];
        let job = agent.job.map(|job| self.jobs[job.0].uuid.to_string());
        Some((
            agent.uuid.to_string(),
            agent.name.clone(),
            job,
            self.queues[agent.queue.0].key.clone(),
        ))
    }

    /// What the agent is to do: `None`, `pause` or `disconnect`.
    pub fn ping(&mut self, now: Now, session: &str) -> Result<Option<&'static str>, Refusal> {
        let key = self.live_agent(session)?;
        let agent = &self.agents[key.0];
        Ok(match agent.paused_until {
            _ if agent.stopping => Some("disconnect"),
            Some(until) if until > now.since_start => Some("pause"),
            _ => None,
        })
    }

    /// The agent says goodbye. A repeat changes nothing.
    pub fn disconnect(&mut self, now: Now, session: &str, out: &mut Effects) -> Result<(), Refusal> {
        let key = self.agent_of_session(session)?;
        let agent = &mut self.agents[key.0];
        if matches!(agent.state, AgentState::Disconnected | AgentState::Lost) {
            return Ok(());
        }
        agent.state = AgentState::Disconnected;
        agent.ended_at = Some(now.unix_ns);
        out.push(
            Event::new(Host::Buildkite, "agent.disconnected")
                .with("agent", agent.uuid.to_string())
                .with("agent_name", agent.name.clone()),
        );
        let job = agent.job;
        if agent.stopping {
            self.tell_agent(now, key, "agent.stopped", out);
        }
        self.tell_agent(now, key, "agent.disconnected", out);
        // A job that was accepted and never started waits for its own deadline.
        if let Some(job) = job
            && self.jobs[job.0].state != State::Accepted
        {
            self.abandon_job(now, job, "the agent disconnected", out);
        }
        Ok(())
    }

    /// An agent takes a job. Its rules are not compared with the agent's tags.
    pub fn acquire(
        &mut self,
        now: Now,
        session: &str,
        job: Uuid,
        out: &mut Effects,
    ) -> Result<Acquired, Refusal> {
        let agent = self.live_agent(session)?;
        let key = self.job_key(job)?;
        let cluster = self.agents[agent.0].cluster;
        if self.build_of(key).cluster != cluster {
            return Err(Refusal::not_found("job"));
        }
        if self.agents[agent.0].only_job.is_some_and(|only| only != key) {
            return Err(Refusal::unprocessable(
                "The agent's token is good for another job only",
            ));
        }
        if self.agents[agent.0].job.is_some() {
            return Err(Refusal::unprocessable("The agent has a job already"));
        }
        match self.jobs[key.0].state {
            State::Scheduled | State::Reserved => {}
            State::Waiting | State::Limited => {
                return Err(Refusal::new(
                    423,
                    format!("Job {job} is not yet eligible to be assigned"),
                ));
            }
            _ => {
                return Err(Refusal::unprocessable(format!(
                    "Job {job} is no longer eligible to be assigned an agent"
                )));
            }
        }
        let token = ids::token(&mut self.rng, "bkaj_");
        self.job_tokens.insert(token.clone(), key);
        let until = now.since_start + self.seconds(self.limits.accepted_expiry_s);
        self.at(until, Due::Accepted(key));
        let job = &mut self.jobs[key.0];
        job.reservation = None;
        job.agent = Some(agent);
        job.token = Some(token.clone());
        job.accepted_until = Some(until);
        let (uuid, priority, runnable_at) = (job.uuid, job.priority, job.runnable_at.map(rfc3339));
        self.agents[agent.0].job = Some(key);
        self.set_state(now, key, State::Accepted, "acquired", out);
        let holder = &self.agents[agent.0];
        out.push(
            Event::new(Host::Buildkite, "job.acquired")
                .with("job", uuid.to_string())
                .with("agent", holder.uuid.to_string())
                .with("agent_name", holder.name.clone()),
        );
        Ok(Acquired {
            job: uuid,
            token,
            env: self.env_for_agent(key, agent),
            step: self.step_json(key),
            matrix: self.matrix_permutation(key),
            chunk_max_bytes: self.limits.chunk_max_bytes,
            log_max_bytes: self.limits.log_max_bytes,
            runnable_at,
            priority,
        })
    }
}
