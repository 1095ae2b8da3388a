//! Agents.

use serde_json::{Value, json};

use super::connection::{self, List};
use super::thing::{Answer, Args, Out, Site, Thing};
use super::{filter, places};
use crate::buildkite::agents::{Agent, AgentState};
use crate::buildkite::ids::{AgentKey, Refusal};
use crate::stamp::rfc3339;

impl Site<'_> {
    /// The agents that are connected, newest first.
    pub(super) fn agents(&self, args: Args<'_>) -> Answer {
        let model = self.model.borrow();
        let cluster = args.text("cluster").map(|id| filter::cluster(&model, id));
        let queues = args.texts("clusterQueue");
        let queues: Option<Vec<_>> = queues.map(|ids| {
            ids.into_iter()
                .filter_map(|id| filter::queue(&model, id))
                .collect()
        });
        let (running, paused) = (args.flag("isRunningJob"), args.flag("paused"));
        let search = args.text("search").unwrap_or_default();
        let tags = args.texts("metaData").unwrap_or_default();
        let clustered = args.flag("clustered").unwrap_or(true);
        let meets = |key: AgentKey, agent: &Agent| {
            matches!(agent.state, AgentState::Registered | AgentState::Connected)
                && clustered
                && cluster.is_none_or(|cluster| cluster == Some(agent.cluster))
                && queues.as_ref().is_none_or(|queues| queues.contains(&agent.queue))
                && running.is_none_or(|running| running == agent.job.is_some())
                && paused.is_none_or(|paused| paused == model.agent_pause(self.now, key).is_some())
                && agent.name.contains(search)
                && tags.iter().all(|tag| agent.tags.iter().any(|known| known == tag))
        };
        let all = model
            .agents
            .iter()
            .enumerate()
            .map(|(at, agent)| (AgentKey(at), agent));
        let found = all.filter(|(key, agent)| meets(*key, agent));
        let found = found.map(|(key, _)| (key.0 as u128, Thing::Agent(key)));
        List::newest_first(connection::AGENTS, found).page(args)
    }

    pub(super) fn agent(&self, key: AgentKey, field: &str, args: Args<'_>) -> Result<Option<Out>, Refusal> {
        if field == "jobs" {
            return self
                .jobs(args, |_, job| job.agent == Some(key), |_, _| false)
                .map(Some);
        }
        let model = self.model.borrow();
        let agent = &model.agents[key.0];
        let pause = model.agent_pause(self.now, key);
        Ok(Some(match field {
            "id" => Out::id("Agent", agent.uuid),
            "organization" => Out::One(Thing::Organization),
            "clusterQueue" => Out::One(Thing::Queue(agent.queue)),
            "job" => Out::maybe(agent.job.map(Thing::Job)),
            "paused" => Out::leaf(pause.is_some()),
            "pausedAt" => Out::time(pause.map(|(pause, _)| pause.at)),
            "pausedBy" => Out::maybe(pause.map(|_| Thing::User(0))),
            "permissions" => places::agent_permissions(),
            "operatingSystem" => match agent.os.as_str() {
                "" => Out::null(),
                os => Out::record("OperatingSystem", [("name", json!(os))]),
            },
            "pausedNote" => Out::leaf(pause.and_then(|(pause, _)| pause.note.clone())),
            "pausedTimeoutInMinutes" => Out::leaf(pause.map_or(0, |(_, minutes)| *minutes)),
            _ => return Ok(leaf(agent, field).map(Out::Leaf)),
        }))
    }
}

fn leaf(agent: &Agent, field: &str) -> Option<Value> {
    let ended = |state: AgentState| {
        let at = agent.ended_at.filter(|_| agent.state == state);
        json!(at.map(rfc3339))
    };
    Some(match field {
        "uuid" => json!(agent.uuid),
        "name" => json!(agent.name),
        "hostname" => json!(agent.hostname),
        "version" => json!(agent.version),
        "userAgent" => json!(agent.user_agent()),
        "metaData" => json!(agent.tags),
        "connectionState" => json!(match agent.state {
            AgentState::Registered | AgentState::Connected => "connected",
            AgentState::Disconnected => "disconnected",
            AgentState::Lost => "lost",
        }),
        "createdAt" | "connectedAt" => json!(rfc3339(agent.registered_at)),
        "heartbeatAt" | "pingedAt" => json!(rfc3339(agent.heartbeat_at)),
        "disconnectedAt" => ended(AgentState::Disconnected),
        "lostAt" => ended(AgentState::Lost),
        "isRunningJob" => json!(agent.job.is_some()),
        "isDeprecated" | "public" | "versionHasKnownIssues" => json!(false),
        "ipAddress" => json!(agent.ip_address),
        "pid"
        | "stopForcedAt"
        | "stopForcedBy"
        | "stoppedAt"
        | "stoppedGracefullyAt"
        | "stoppedGracefullyBy" => Value::Null,
        "priority" => json!(0),
        _ => return None,
    })
}
