//! What the leader says to a worker.

use std::time::Duration;

use gust_core::{
    ids::{MachineName, ReplicaId, Shard, Term, Zone},
    ports::{Command, Hello},
};

use crate::{
    check::{Malformed, Problem, list, message, optional_text, text},
    v1,
    worker::place,
};

/// Any message of the leader: on the wire, the greeting and the commands share one stream.
#[derive(Clone, Debug, PartialEq)]
pub enum FromLeader {
    /// The first message, and only the first.
    Hello(Hello),
    /// Every other.
    Command(Command),
}

impl From<&Hello> for v1::Command {
    fn from(hello: &Hello) -> Self {
        let hello = v1::Hello {
            term: hello.term.0,
            leader: hello.leader.to_string(),
            session: hello.session,
            shards: hello
                .shards
                .iter()
                .map(|(shard, zones)| v1::ShardZones {
                    shard: Some(shard.into()),
                    zones: zones.iter().map(Zone::to_string).collect(),
                })
                .collect(),
        };
        Self {
            command: Some(v1::command::Command::Hello(hello)),
        }
    }
}

impl From<&Command> for v1::Command {
    fn from(command: &Command) -> Self {
        use v1::command::Command as Wire;
        let command = match command {
            Command::Create(batch) => Wire::Create((&**batch).into()),
            Command::Resume(batch) => Wire::Resume((&**batch).into()),
            Command::Delete {
                shard,
                zone,
                name,
                lists_after,
            } => Wire::Delete(v1::Delete {
                lists_after_ms: u64::try_from(lists_after.as_millis()).unwrap_or(u64::MAX),
                shard: Some(shard.into()),
                zone: zone.as_ref().map(Zone::to_string),
                name: name.to_string(),
            }),
            Command::Check { shard, zone, name } => Wire::Check(v1::Check {
                shard: Some(shard.into()),
                zone: zone.to_string(),
                name: name.to_string(),
            }),
            Command::Look { shard } => Wire::Look(v1::Look {
                shard: Some(shard.into()),
            }),
        };
        Self {
            command: Some(command),
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = Malformed;

    fn try_from(hello: v1::Hello) -> Result<Self, Malformed> {
        Ok(Self {
            term: Term(hello.term),
            leader: ReplicaId::new(text("leader", hello.leader)?),
            session: hello.session,
            shards: list("shards", hello.shards, place::shard_zones)?,
        })
    }
}

impl TryFrom<v1::Command> for FromLeader {
    type Error = Malformed;

    fn try_from(command: v1::Command) -> Result<Self, Malformed> {
        use v1::command::Command as Wire;
        let command = command
            .command
            .ok_or_else(|| Malformed::at("command", Problem::Missing))?;
        Ok(Self::Command(match command {
            Wire::Hello(hello) => {
                return Ok(Self::Hello(
                    Hello::try_from(hello).map_err(|e| e.within("hello"))?,
                ));
            }
            Wire::Create(batch) => Command::Create(Box::new(
                batch.try_into().map_err(|e: Malformed| e.within("create"))?,
            )),
            Wire::Resume(batch) => Command::Resume(Box::new(
                batch.try_into().map_err(|e: Malformed| e.within("resume"))?,
            )),
            Wire::Delete(order) => delete(order).map_err(|e| e.within("delete"))?,
            Wire::Check(order) => check(order).map_err(|e| e.within("check"))?,
            Wire::Look(order) => Command::Look {
                shard: message::<_, Shard>("shard", order.shard).map_err(|e| e.within("look"))?,
            },
        }))
    }
}

fn delete(order: v1::Delete) -> Result<Command, Malformed> {
    Ok(Command::Delete {
        lists_after: Duration::from_millis(order.lists_after_ms),
        shard: message("shard", order.shard)?,
        zone: optional_text("zone", order.zone)?.map(Zone::new),
        name: MachineName::new(text("name", order.name)?),
    })
}

fn check(order: v1::Check) -> Result<Command, Malformed> {
    Ok(Command::Check {
        shard: message("shard", order.shard)?,
        zone: Zone::new(text("zone", order.zone)?),
        name: MachineName::new(text("name", order.name)?),
    })
}
