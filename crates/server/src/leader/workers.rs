//! The leader's workers: who is there, which shards each looks after, and the session with each.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gust_core::{
    assign::assign,
    ids::{ReplicaId, Shard},
    mutant,
    ports::{Command, Hello, Member, Roster, Store},
    tenure::Timing,
};
use tokio::{sync::mpsc, time::timeout};
use tracing::{info, warn};

use super::{ShardZones, effect::Effect, input::Input, state::Leader, talk};
use crate::task::Tasks;

/// A worker with its session.
pub(super) struct WorkerState {
    pub session: u64,
    pub ready: bool,
    shards: ShardZones,
    address: String,
    commands: mpsc::UnboundedSender<Command>,
    tasks: Tasks,
}

impl WorkerState {
    /// Sends a command; one that cannot be sent now is repeated when a session is ready.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

/// Looks at the roster whenever it changes, and now and then anyway.
pub(super) async fn watch(store: Arc<dyn Store>, inputs: mpsc::Sender<Input>, timing: Timing) {
    loop {
        let since = match timeout(timing.call, store.roster()).await {
            Ok(Ok(roster)) => {
                let revision = roster.revision;
                if inputs.send(Input::Roster(roster)).await.is_err() {
                    return;
                }
                revision
            }
            Ok(Err(error)) => {
                warn!(error = crate::error_chain(&error), "the roster cannot be read");
                tokio::time::sleep(timing.retry).await;
                continue;
            }
            Err(_) => continue,
        };
        match timeout(timing.trusted(), store.roster_changed(since)).await {
            Ok(Ok(())) | Err(_) => {}
            // A watch that breaks at once must not make us ask without a pause.
            Ok(Err(_)) => tokio::time::sleep(timing.retry).await,
        }
    }
}

impl Leader {
    /// Replicas came or went: shards move as little as possible.
    pub(super) fn on_roster(&mut self, roster: &Roster) {
        self.roster_seen = true;
        self.roster = roster.clone();
        self.tell_of_strangers(roster);
        let members: BTreeMap<ReplicaId, Member> = roster
            .members
            .iter()
            .filter(|(_, member)| member.config == self.config)
            .map(|(name, member)| (name.clone(), member.clone()))
            .collect();
        let parts = self.parts.shards.clone();
        let assigned = assign(parts.iter().map(|(shard, _)| shard), &members);
        let mut wanted: BTreeMap<&ReplicaId, ShardZones> =
            members.keys().map(|name| (name, Vec::new())).collect();
        for (shard, zones) in &parts {
            if let Some(shards) = assigned.get(shard).and_then(|owner| wanted.get_mut(owner)) {
                shards.push((shard.clone(), zones.clone()));
            }
        }
        self.workers.retain(|name, worker| {
            let stays = members.contains_key(name);
            if !stays {
                info!(gust.worker = %name, "worker is gone");
                worker.tasks.cancelled().cancel();
            }
            stays
        });
        for (shard, state) in &mut self.shards {
            let owner = assigned.get(shard).copied();
            if state.worker.as_ref() != owner {
                info!(gust.shard = %shard, owner = owner.map(ReplicaId::as_str), "shard passes on");
                state.passes_to(owner.cloned());
            }
        }
        for (name, shards) in wanted {
            let member = &members[name];
            let same = self
                .workers
                .get(name)
                .is_some_and(|worker| worker.shards == shards && worker.address == member.address);
            if !same {
                self.open(member, shards);
            }
        }
    }

    /// Says who is there and gets no work, whenever that changes.
    fn tell_of_strangers(&mut self, roster: &Roster) {
        let others = roster
            .members
            .iter()
            .filter(|(_, member)| member.config != self.config);
        let strangers: BTreeSet<ReplicaId> = others.map(|(name, _)| name.clone()).collect();
        if strangers == self.strangers {
            return;
        }
        if !strangers.is_empty() {
            let who: Vec<String> = strangers
                .iter()
                .map(|name| format!("{name} at {}", roster.members[name].address))
                .collect();
            warn!(
                replicas = who.join(", "),
                "replicas of another configuration get no work: if no change is being rolled out, two deployments share \
                 this `stack` and etcd"
            );
        }
        self.strangers = strangers;
    }

    /// Opens a session; an earlier one ends.
    fn open(&mut self, member: &Member, shards: ShardZones) {
        self.sessions += 1;
        let tasks = self.tasks.child();
        let (commands, receiver) = mpsc::unbounded_channel();
        let hello = Hello {
            term: self.term,
            session: 0,
            leader: self.parts.replica.clone(),
            shards: shards.clone(),
        };
        let talk = talk::Talk {
            worker: member.replica.clone(),
            session: self.sessions,
            link: self.links.to(member),
            held: self.held.clone(),
            inputs: self.inputs.clone(),
            dice: self.parts.dice.clone(),
        };
        tasks.spawn("talk", talk::talk(talk, hello, receiver));
        let worker = WorkerState {
            session: self.sessions,
            ready: false,
            shards,
            address: member.address.clone(),
            commands,
            tasks,
        };
        if let Some(earlier) = self.workers.insert(member.replica.clone(), worker) {
            earlier.tasks.cancelled().cancel();
        }
    }

    /// A session is open: the worker is told again all that the records ask of it. Repeats are harmless.
    pub(super) fn on_ready(&mut self, name: &ReplicaId) {
        if let Some(worker) = self.workers.get_mut(name) {
            worker.ready = true;
        }
        let theirs = |shard: &Shard| {
            self.shards
                .get(shard)
                .is_some_and(|state| state.worker.as_ref() == Some(name))
        };
        let create = self
            .book
            .batches()
            .values()
            .filter(|batch| theirs(&batch.shard()));
        let delete = self
            .book
            .machines()
            .values()
            .filter(|machine| machine.is_deleting() && theirs(&machine.shard));
        let commands: Vec<Command> = create
            .map(|batch| {
                let batch = Box::new(batch.clone());
                if gust_core::mutant!("resumed-as-new") {
                    return Command::Create(batch);
                }
                Command::Resume(batch)
            })
            .chain(delete.map(|machine| self.deletion(machine)))
            .filter(|_| !mutant!("state-not-repeated"))
            .collect();
        info!(gust.worker = %name, commands = commands.len(), "worker is ready");
        self.effects
            .extend(commands.into_iter().map(|command| Effect::Command {
                worker: name.clone(),
                command,
            }));
    }

    pub(super) fn on_worker_down(&mut self, name: &ReplicaId, session: u64) {
        if let Some(worker) = self.workers.get_mut(name)
            && worker.session == session
        {
            worker.ready = false;
        }
    }
}

#[cfg(test)]
mod tests;
