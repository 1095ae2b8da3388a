//! The loop: inputs, pass, commit, effects.

use std::{sync::Arc, time::Duration};

use gust_core::{
    ids::{ReplicaId, Term},
    ports::{Commit, CommitError, StoreError},
    records::{Damage, TooNew},
};
use tokio::{sync::mpsc, time::Instant};
use tracing::{error, info, warn};

use super::{
    Leading, Picture, begin,
    guard::Guarded,
    input::{Handle, Input},
    pass::{PASS_GAP, PASS_TURN},
    state::Leader,
};
use crate::{
    clock::Clock,
    task::{Backoff, Tasks},
};

/// How a leadership ended.
#[derive(Debug, thiserror::Error)]
pub enum End {
    /// Asked to.
    #[error("asked to stop")]
    Stopped,
    /// Another replica leads.
    #[error("deposed: {0}")]
    Deposed(String),
    /// The lease could not be renewed in time: another replica may lead.
    #[error("the leader's lease could not be renewed in time")]
    Lapsed,
    /// The store cannot be read.
    #[error("the records cannot be loaded")]
    Load(#[source] StoreError),
    /// A record cannot be read.
    #[error("a record cannot be read; gust decides nothing rather than guess")]
    Damaged(#[source] Damage),
    /// Another build wrote records that this one must not lead over.
    #[error(transparent)]
    TooNew(TooNew),
}

/// Most inputs folded in before the next commit.
const BURST: usize = 2048;
/// So many jobs that are being reserved are a burst, which is decided upon whole: what comes first would else take all slots
/// for bulk operations with small calls, and most of it would wait for the next ones.
const ARRIVING: usize = 200;
/// And is waited for so long at the most.
const ARRIVAL: Duration = Duration::from_secs(2);
/// While records cannot be written, this is said so often.
const TELL: Duration = Duration::from_secs(5);

/// Leads until `tasks` is cancelled, the lease is lost, or another replica took over. All tasks it started have
/// ended when it returns, and no effect leaves after that.
pub async fn lead(mut leading: Leading, term: Term, handle: &Handle, tasks: &Tasks) -> End {
    let own = tasks.child();
    let held = leading.held.clone();
    // Also when this is dropped half-way, as when the lease lapses: nobody must be sent to a leader that is gone.
    let open = handle.closed_at_last();
    // One term, one clock: whoever sets the host's right must not move a deadline.
    leading.parts.clock = Clock::starting_at(leading.parts.clock.now());
    for part in leading.parts.sources.values_mut() {
        part.source = Arc::new(Guarded {
            source: Arc::clone(&part.source),
            held: held.clone(),
        });
    }
    let end = tokio::select! {
        biased;
        () = tasks.cancelled().cancelled() => End::Stopped,
        () = held.lapsed() => End::Lapsed,
        end = begun(leading, term, handle, &own) => end,
    };
    drop(open);
    own.stop().await;
    end
}

/// Takes up the records and leads.
async fn begun(leading: Leading, term: Term, handle: &Handle, tasks: &Tasks) -> End {
    let book = match begin::load(&*leading.parts.store, leading.parts.format).await {
        Ok(book) => book,
        Err(end) => return end,
    };
    info!(
        gust.term = term.0,
        jobs = book.jobs().len(),
        batches = book.batches().len(),
        machines = book.machines().len(),
        "leading"
    );
    let (sender, mut inputs) = handle.open();
    let mut leader = begin::start(leading, term, book, sender, tasks);
    leader.run(&mut inputs, handle).await
}

impl Leader {
    async fn run(&mut self, inputs: &mut mpsc::Receiver<Input>, handle: &Handle) -> End {
        let now = Instant::now();
        let mut last_pass = now.checked_sub(PASS_TURN).unwrap_or(now);
        let mut complained = Instant::now();
        let mut dirty = true;
        let mut synced = false;
        self.publish_asks();
        loop {
            // Until all is loaded, whatever comes may have been the last that was missing.
            let arriving = self.reserving.len() >= ARRIVING;
            let gap = |dirty, synced| match (dirty, synced) {
                (_, true) if arriving => ARRIVAL,
                (true, true) => PASS_GAP,
                (true, false) => Duration::ZERO,
                (false, _) => PASS_TURN,
            };
            let first = tokio::select! {
                biased;
                input = inputs.recv() => input,
                () = tokio::time::sleep_until(last_pass + gap(dirty, synced)) => None,
            };
            for input in burst(first, inputs) {
                // Who only looks does not change what is to be decided.
                dirty |= match &input {
                    Input::Visit(visit) => !visit.reads,
                    Input::Hint(_)
                    | Input::Probed { .. }
                    | Input::Troubled { .. }
                    | Input::NotTold { .. } => false,
                    _ => true,
                };
                if let Some(end) = self.on(input) {
                    return end;
                }
            }
            let now = Instant::now();
            let passes = now >= last_pass + gap(dirty, synced);
            if passes {
                synced = self.pass_if_synced(&mut complained);
                (last_pass, dirty) = (now, false);
            }
            if gust_core::mutant!("effect-before-commit") {
                self.release();
            }
            if let Err(end) = self.commit().await {
                return end;
            }
            if !self.held.is_valid() {
                // What is recorded but not yet done is the successor's to do.
                return End::Lapsed;
            }
            // The pollers ask a few times a second: in a burst of inputs once a pass is enough.
            if passes {
                self.publish_asks();
            }
            self.send_notes();
            self.release();
            self.tell_watchers();
            self.retire();
            if let Some(picture) = self.picture.take() {
                handle.show(picture);
            }
        }
    }

    /// True if all was there to decide upon.
    fn pass_if_synced(&mut self, complained: &mut Instant) -> bool {
        let missing = self.missing();
        if missing.is_empty() {
            let begun = Instant::now();
            self.pass();
            self.took.pass = begun.elapsed();
            metrics::histogram!("gust_pass_seconds").record(self.took.pass);
            return true;
        }
        if complained.elapsed() >= Duration::from_secs(10) {
            *complained = Instant::now();
            warn!(
                gust.term = self.term.0,
                missing = missing.join(", "),
                "not yet deciding"
            );
        }
        self.shows(Picture {
            term: self.term,
            at: self.now(),
            missing,
            ..Picture::default()
        });
        false
    }

    fn on(&mut self, input: Input) -> Option<End> {
        match input {
            Input::Registered(source) => {
                self.trouble.remove(&(source.clone(), None));
                self.registered.insert(source);
            }
            Input::Troubled { source, queue, why } => self.on_troubled(source, queue, why),
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
            Input::Roster(roster) => self.on_roster(&roster),
            Input::Worker {
                worker,
                session,
                event,
            } => self.on_worker(&worker, session, event),
            Input::WorkerDown { worker, session } => self.on_worker_down(&worker, session),
            Input::Deposed { worker } => return Some(deposed(&worker)),
            Input::Claim { proof, reply } => self.on_claim(&proof, reply),
            Input::Done {
                machine,
                job,
                key,
                reply,
            } => self.on_done(&machine, job, &key, reply),
            Input::Retried { job, answer } => self.on_retried(&job, answer),
            Input::Reclaimed { machine, key, reply } => self.on_reclaimed(&machine, &key, reply),
            Input::Visit(visit) => self.on_visit(visit),
            Input::Retire { reply } => (self.retires, self.retiring) = (true, Some(reply)),
            Input::Hint(hint) => self.on_hint(&hint),
            Input::Probed { source, tokens } => drop(self.issues_tokens.insert(source, tokens)),
            Input::NotTold {
                source,
                notes,
                unclear,
            } => self.notes.lost(&source, &notes, unclear, self.parts.clock.now()),
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
        let begun = Instant::now();
        // Never long: etcd elects a leader within a second or two, and nothing is placed until this is written.
        let mut backoff = Backoff::new(
            Duration::from_millis(50),
            Duration::from_millis(250),
            &self.parts.dice,
        );
        let mut told = None::<Instant>;
        loop {
            match self.parts.store.commit(&commit).await {
                Ok(_) => {
                    self.took.commit = begun.elapsed();
                    metrics::histogram!("gust_store_commit_seconds").record(self.took.commit);
                    return Ok(());
                }
                Err(fenced @ CommitError::Fenced { .. }) => return Err(End::Deposed(fenced.to_string())),
                Err(problem) => {
                    metrics::counter!("gust_store_commit_failures_total").increment(1);
                    if told.is_none_or(|told| told.elapsed() >= TELL) {
                        told = Some(Instant::now());
                        error!(
                            error = crate::error_chain(&problem),
                            "records cannot be written; gust decides nothing until they can"
                        );
                    }
                    tokio::time::sleep(backoff.step()).await;
                }
            }
        }
    }

    /// All steps since the last commit.
    fn gather(&mut self) -> Commit {
        Commit {
            term: self.term,
            at: self.now(),
            steps: std::mem::take(&mut self.steps),
        }
    }

    /// Tells who waits for it that this replica may end.
    fn retire(&mut self) {
        if self.retiring.is_none() || !self.is_relieved() {
            return;
        }
        if let Some(reply) = self.retiring.take() {
            let _ = reply.send(());
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

/// The first input and those that wait behind it, up to [`BURST`]; what is not yielded stays in the channel.
fn burst<T>(first: Option<T>, waiting: &mut mpsc::Receiver<T>) -> impl Iterator<Item = T> {
    // `take` asks for nothing beyond the last: an input that was received and not looked at would be lost.
    first
        .into_iter()
        .chain(std::iter::from_fn(|| waiting.try_recv().ok()))
        .take(BURST)
}

fn deposed(worker: &ReplicaId) -> End {
    End::Deposed(format!("worker {worker} follows a newer term"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_bounded_and_loses_nothing() {
        let count = 2 * BURST + 1;
        let (sender, mut waiting) = mpsc::channel(count);
        for n in 0..count {
            sender.try_send(n).unwrap();
        }
        let mut seen = Vec::new();
        while let Ok(first) = waiting.try_recv() {
            let inputs: Vec<usize> = burst(Some(first), &mut waiting).collect();
            assert!(inputs.len() <= BURST);
            seen.extend(inputs);
        }
        assert!(seen.into_iter().eq(0..count));
    }
}
