//! The loop: inputs, pass, commit, effects.

use std::{collections::BTreeMap, time::Duration};

use gust_core::{
    ids::{ReplicaId, Term},
    ports::{Commit, CommitError, Hello, StoreError},
    records::{Book, Change, Damage, Key},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::{error, info, warn};

use super::{
    Parts,
    input::{Handle, Input, Inputs},
    notes::Notes,
    pass::{PASS_GAP, PASS_TURN},
    poll,
    state::{Ask, Leader, ShardState},
    talk,
};
use crate::task::{Backoff, Tasks};

/// How a leadership ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// Asked to.
    #[error("asked to stop")]
    Stopped,
    /// Another replica leads.
    #[error("deposed: {0}")]
    Deposed(String),
    /// The store cannot be read.
    #[error("the records cannot be loaded")]
    Load(#[source] StoreError),
    /// A record cannot be read.
    #[error("a record cannot be read; gust decides nothing rather than guess")]
    Damaged(#[source] Damage),
}

/// Most inputs folded in before the next commit.
const BURST: usize = 2048;

/// Leads until `tasks` is cancelled or another replica took over. All tasks it started have ended when it
/// returns, and no effect leaves after that.
pub async fn lead(parts: Parts, term: Term, handle: &Handle, inputs: &mut Inputs, tasks: &Tasks) -> End {
    let own = tasks.child();
    let end = tokio::select! {
        biased;
        () = tasks.cancelled().cancelled() => End::Stopped,
        end = run(parts, term, handle, inputs, &own) => end,
    };
    own.stop().await;
    end
}

async fn run(parts: Parts, term: Term, handle: &Handle, inputs: &mut Inputs, tasks: &Tasks) -> End {
    let loaded = match parts.store.load().await {
        Ok(loaded) => loaded,
        Err(error) => return End::Load(error),
    };
    let records = loaded
        .records
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_slice()));
    let book = match Book::load(records) {
        Ok(book) => book,
        Err(damage) => return End::Damaged(damage),
    };
    info!(
        gust.term = term.0,
        jobs = book.jobs().len(),
        batches = book.batches().len(),
        machines = book.machines().len(),
        "leading"
    );
    let mut leader = start(parts, term, book, handle, tasks);
    leader.run(&mut inputs.0).await
}

/// Builds the leader and starts the tasks that feed it.
fn start(parts: Parts, term: Term, book: Book, handle: &Handle, tasks: &Tasks) -> Leader {
    let inputs = handle.inputs.clone();
    let mut shards = BTreeMap::new();
    let mut commands = Vec::new();
    for (worker, part) in parts.workers.iter().enumerate() {
        for (shard, _) in &part.shards {
            shards.insert(
                shard.clone(),
                ShardState {
                    worker,
                    ..ShardState::default()
                },
            );
        }
        let hello = Hello {
            term,
            leader: parts.replica.clone(),
            shards: part.shards.clone(),
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        commands.push(sender);
        let link = part.link.clone();
        tasks.spawn(
            "talk",
            talk::talk(worker, link, hello, receiver, inputs.clone(), parts.dice.clone()),
        );
    }
    let mut leader = Leader {
        term,
        tasks: tasks.clone(),
        inputs,
        book,
        known: BTreeMap::new(),
        plans: BTreeMap::new(),
        usages: BTreeMap::new(),
        backlog: BTreeMap::new(),
        reserving: Default::default(),
        paused: Default::default(),
        shards,
        holds: BTreeMap::new(),
        bulk_calls: Default::default(),
        registered: Default::default(),
        ready: Default::default(),
        commands,
        ask: BTreeMap::new(),
        notes: Notes::default(),
        note_sinks: BTreeMap::new(),
        steps: Vec::new(),
        effects: Vec::new(),
        claims: None,
        asked_for: true,
        parts,
    };
    for job in leader.book.jobs().keys().cloned().collect::<Vec<_>>() {
        leader.know(job);
    }
    leader.start_pollers();
    leader
}

impl Leader {
    fn start_pollers(&mut self) {
        for part in self.parts.sources.values() {
            let (ask, asked) = watch::channel(Ask::default());
            self.ask.insert(part.name.clone(), ask);
            let poller = poll::Poller {
                part: part.clone(),
                inputs: self.inputs.clone(),
                clock: self.parts.clock.clone(),
                dice: self.parts.dice.clone(),
            };
            self.tasks.spawn("poll", poller.begin(asked, self.tasks.clone()));
            let (notes, due) = mpsc::unbounded_channel();
            self.note_sinks.insert(part.name.clone(), notes);
            self.tasks.spawn("notify", poll::notify(part.clone(), due));
        }
    }

    async fn run(&mut self, inputs: &mut mpsc::Receiver<Input>) -> End {
        let now = Instant::now();
        let mut last_pass = now.checked_sub(PASS_TURN).unwrap_or(now);
        let mut complained = Instant::now();
        let mut dirty = true;
        self.publish_asks();
        loop {
            let gap = |dirty| if dirty { PASS_GAP } else { PASS_TURN };
            let mut next = tokio::select! {
                biased;
                input = inputs.recv() => input,
                () = tokio::time::sleep_until(last_pass + gap(dirty)) => None,
            };
            for _ in 0..BURST {
                let Some(input) = next else { break };
                dirty = true;
                if let Some(end) = self.on(input) {
                    return end;
                }
                next = inputs.try_recv().ok();
            }
            let now = Instant::now();
            if now >= last_pass + gap(dirty) {
                self.parts.clock.reanchor();
                self.pass_if_synced(&mut complained);
                (last_pass, dirty) = (now, false);
            }
            if let Err(end) = self.commit().await {
                return end;
            }
            self.publish_asks();
            self.send_notes();
            self.release();
        }
    }

    fn pass_if_synced(&mut self, complained: &mut Instant) {
        let missing = self.missing();
        if missing.is_empty() {
            self.pass();
        } else if complained.elapsed() >= Duration::from_secs(10) {
            *complained = Instant::now();
            warn!(
                gust.term = self.term.0,
                missing = missing.join(", "),
                "not yet deciding"
            );
        }
    }

    fn on(&mut self, input: Input) -> Option<End> {
        match input {
            Input::Registered(source) => {
                self.registered.insert(source);
            }
            Input::Listed {
                source,
                queue,
                jobs,
                paused,
            } => self.on_listed(source, queue, jobs, paused),
            Input::Reserved {
                source,
                asked,
                at,
                answer,
            } => self.on_reserved(&source, asked, at, answer),
            Input::Renewed {
                source,
                asked,
                at,
                answer,
            } => self.on_renewal(&source, asked, at, answer),
            Input::States {
                source,
                asked,
                states,
                at,
            } => self.on_states(&source, asked, states, at),
            Input::Finished { job, answer } => self.on_finished(&job, answer),
            Input::Worker { worker, event } => self.on_worker(worker, event),
            Input::WorkerDown { worker } => {
                self.ready.remove(&worker);
            }
            Input::Deposed { worker } => return Some(deposed(&worker)),
            Input::Claim { proof, reply } => self.on_claim(&proof, reply),
            Input::Done {
                machine,
                job,
                key,
                reply,
            } => self.on_done(&machine, job, &key, reply),
            Input::TokenRefused { job } => self.on_token_refused(&job),
        }
        None
    }

    /// Makes everything durable that has changed since the last commit. Repeats until it is, or until another
    /// replica leads: nothing is decided that cannot be recorded.
    async fn commit(&mut self) -> Result<(), End> {
        if self.steps.is_empty() {
            return Ok(());
        }
        let commit = self.gather();
        let mut backoff = Backoff::new(
            Duration::from_millis(100),
            Duration::from_secs(5),
            &self.parts.dice,
        );
        loop {
            match self.parts.store.commit(&commit).await {
                Ok(_) => return Ok(()),
                Err(fenced @ CommitError::Fenced { .. }) => return Err(End::Deposed(fenced.to_string())),
                Err(problem) => {
                    error!(
                        error = crate::error_chain(&problem),
                        "records cannot be written; gust decides nothing until they can"
                    );
                    tokio::time::sleep(backoff.step()).await;
                }
            }
        }
    }

    /// All steps as one commit: for each key the last change counts.
    fn gather(&mut self) -> Commit {
        let steps = std::mem::take(&mut self.steps);
        let mut phases: Vec<_> = steps.iter().map(|step| step.phase).collect();
        phases.sort_unstable();
        phases.dedup();
        let mut changes: BTreeMap<Key, Change> = BTreeMap::new();
        for change in steps.into_iter().flat_map(|step| step.changes) {
            changes.insert(change.key(), change);
        }
        Commit {
            term: self.term,
            at: self.now(),
            phases,
            changes: changes.into_values().collect(),
        }
    }

    fn send_notes(&mut self) {
        for (source, due) in self.notes.take() {
            if let Some(sink) = self.note_sinks.get(&source) {
                let _ = sink.send(due);
            }
        }
    }
}

fn deposed(worker: &ReplicaId) -> End {
    End::Deposed(format!("worker {worker} follows a newer term"))
}
