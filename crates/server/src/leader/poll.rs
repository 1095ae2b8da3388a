//! The tasks that ask Buildkite: what is scheduled, and how booked jobs stand.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gust_core::{
    ids::{JobId, QueueKey},
    ports::{JobState, Listing, Notification, RejectedNote, Remedy, SourceError},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

use tracing::{error, warn};

use super::{SourcePart, effect::CALL_LIMIT, input::Input, on_source::report, state::Ask};
use crate::{
    clock::Clock,
    task::{Backoff, Dice, Tasks},
};

/// So soon after a list a hint is followed at the latest, however seldom lists are wanted.
const HINTED: Duration = Duration::from_secs(1);
/// How often waiting jobs' states are read, and after how many such turns those of running jobs too.
const STATES_TURN: Duration = Duration::from_millis(1000);
const RUNNING_EVERY: u32 = 5;

/// Wakes the tasks that ask one source, before their time. However often, it comes to one time more.
#[derive(Clone, Debug, Default)]
pub(super) struct Wakes {
    lists: BTreeMap<QueueKey, Arc<Notify>>,
    states: Arc<Notify>,
}

impl Wakes {
    /// For a source that serves these queues.
    pub fn of(queues: &[QueueKey]) -> Self {
        Self {
            lists: queues
                .iter()
                .map(|queue| (queue.clone(), Arc::default()))
                .collect(),
            states: Arc::default(),
        }
    }

    /// A queue is worth listing, or each of them. Queues that are not served are others' business.
    pub fn list(&self, queue: Option<&QueueKey>) {
        let named = |key: &QueueKey| queue.is_none_or(|queue| queue == key);
        let lists = self.lists.iter().filter(|(key, _)| named(key));
        lists.for_each(|(_, wake)| wake.notify_one());
    }

    /// States are worth reading, those of running jobs too.
    pub fn states(&self) {
        self.states.notify_one();
    }

    fn of_queue(&self, queue: &QueueKey) -> Arc<Notify> {
        self.lists.get(queue).cloned().unwrap_or_default()
    }
}

/// Asks one source, in several tasks.
pub(super) struct Poller {
    pub part: SourcePart,
    pub wakes: Wakes,
    pub inputs: mpsc::Sender<Input>,
    pub clock: Clock,
    pub dice: Dice,
}

impl Poller {
    /// Registers the stack, then lists its queues and reads states: Buildkite knows nobody who has not registered. Whoever
    /// led just before has registered it: then nothing waits for that.
    pub async fn begin(self, asked: watch::Receiver<Ask>, tasks: Tasks, is_registered: bool) {
        let Self {
            part,
            wakes,
            inputs,
            clock,
            dice,
        } = self;
        let registered = register(part.clone(), inputs.clone(), dice.clone());
        let probed = probe(part.clone(), inputs.clone(), dice.clone());
        if is_registered {
            tasks.spawn("register", async move {
                registered.await;
                probed.await;
            });
        } else {
            registered.await;
            tasks.spawn("probe", probed);
        }
        for queue in part.queues.clone() {
            let wake = wakes.of_queue(&queue);
            tasks.spawn(
                "list",
                list(part.clone(), queue, wake, inputs.clone(), dice.clone()),
            );
        }
        tasks.spawn("states", states(part, asked, wakes.states, inputs, clock, dice));
    }
}

/// Registers the stack, again and again until Buildkite takes it.
async fn register(part: SourcePart, inputs: mpsc::Sender<Input>, dice: Dice) {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15), &dice);
    while let Err(error) = part.source.register().await {
        report(&part.name, &error);
        let _ = inputs.send(troubled(&part, None, &error)).await;
        tokio::time::sleep(wait_for(&error, &mut backoff)).await;
    }
    let _ = inputs.send(Input::Registered(part.name)).await;
}

/// Asks whether the source issues tokens for single jobs. Without them no machine can run a job, unless the operator lets
/// machines have the agent token: that is better told at the start than by machines that wait.
async fn probe(part: SourcePart, inputs: mpsc::Sender<Input>, dice: Dice) {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60), &dice);
    let tokens = loop {
        match part.source.issues_tokens().await {
            Ok(tokens) => break tokens,
            Err(error) => {
                report(&part.name, &error);
                tokio::time::sleep(wait_for(&error, &mut backoff)).await;
            }
        }
    };
    match (tokens, &part.agent_token) {
        (true, None) => {}
        (true, Some(_)) => warn!(
            gust.source = %part.name,
            "agent_token_fallback is not needed: Buildkite issues job acquisition tokens here; without it no job can ever see the \
             agent token"
        ),
        (false, Some(_)) => warn!(
            gust.source = %part.name,
            "Buildkite issues no job acquisition tokens here, so machines get the agent token, as agent_token_fallback permits: a job \
             can read it, and run any other job of the cluster with it"
        ),
        (false, None) => error!(
            gust.source = %part.name,
            "Buildkite issues no job acquisition tokens here, so no machine can run a job; ask Buildkite to enable them, or set \
             agent_token_fallback = true in this [[source]], which hands the agent token to machines: a job can then read it"
        ),
    }
    let source = part.name;
    let _ = inputs.send(Input::Probed { source, tokens }).await;
}

fn troubled(part: &SourcePart, queue: Option<QueueKey>, error: &SourceError) -> Input {
    let words = crate::error_chain(error);
    let why = match error.remedy {
        Remedy::Unauthorized => format!("{words}: put a token in place that Buildkite accepts"),
        _ => words,
    };
    Input::Troubled {
        source: part.name.clone(),
        queue,
        why,
    }
}

fn wait_for(error: &SourceError, backoff: &mut Backoff) -> Duration {
    match error.remedy {
        Remedy::RetryLater(wait) => wait.max(backoff.step()),
        _ => backoff.step(),
    }
}

/// Lists one queue for ever: often while there is something, seldom while there is nothing, and at once when woken.
async fn list(part: SourcePart, queue: QueueKey, wake: Arc<Notify>, inputs: mpsc::Sender<Input>, dice: Dice) {
    let (shortest, longest) = part.poll;
    let mut gap = shortest;
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15), &dice);
    loop {
        let begun = Instant::now();
        match pages(&part, &queue).await {
            Ok(listing) => {
                backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(15), &dice);
                gap = if listing.jobs.is_empty() {
                    (gap * 5 / 4).min(longest)
                } else {
                    shortest
                };
                let (source, queue) = (part.name.clone(), queue.clone());
                let input = Input::Listed {
                    source,
                    queue,
                    jobs: listing.jobs,
                    paused: listing.paused,
                };
                if inputs.send(input).await.is_err() {
                    return;
                }
                tokio::select! {
                    biased;
                    () = wake.notified() => {
                        // The list may show it a moment later: it is read often for a while.
                        gap = shortest;
                        tokio::time::sleep_until(begun + shortest.min(HINTED)).await;
                    }
                    () = tokio::time::sleep(gap) => {}
                }
            }
            Err(error) => {
                report(&part.name, &error);
                let queue = Some(queue.clone());
                if inputs.send(troubled(&part, queue, &error)).await.is_err() {
                    return;
                }
                // The stack may have been forgotten: registering is idempotent and cheap.
                if error.remedy == Remedy::Gone {
                    register(part.clone(), inputs.clone(), dice.clone()).await;
                }
                tokio::time::sleep(wait_for(&error, &mut backoff)).await;
            }
        }
    }
}

async fn pages(part: &SourcePart, queue: &QueueKey) -> Result<Listing, SourceError> {
    let mut all = part.source.list(queue, None).await?;
    let mut pages = 1;
    while let Some(cursor) = all.next.take()
        && pages < part.source.pages()
    {
        let page = part.source.list(queue, Some(&cursor)).await?;
        all.jobs.extend(page.jobs);
        (all.next, all.paused) = (page.next, all.paused || page.paused);
        pages += 1;
    }
    Ok(all)
}

/// Reads states for ever: of jobs that wait each turn (and at once when the set changes), of running ones seldom, and of
/// all at once when woken.
async fn states(
    part: SourcePart,
    mut ask: watch::Receiver<Ask>,
    wake: Arc<Notify>,
    inputs: mpsc::Sender<Input>,
    clock: Clock,
    dice: Dice,
) {
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5), &dice);
    let mut turn = 0_u32;
    let mut woken = false;
    loop {
        let begun = Instant::now();
        let wanted = ask.borrow_and_update().clone();
        let mut ids: Vec<JobId> = wanted.waiting.to_vec();
        if std::mem::take(&mut woken) || turn.is_multiple_of(RUNNING_EVERY) {
            ids.extend(wanted.running.iter());
        }
        turn += 1;
        for asked in ids.chunks(CALL_LIMIT) {
            let at = clock.now();
            match part.source.states(asked).await {
                Ok(states) => {
                    let states: Vec<(JobId, JobState)> = states.into_iter().collect();
                    let input = Input::States {
                        source: part.name.clone(),
                        asked: asked.to_vec(),
                        states,
                        at,
                    };
                    if inputs.send(input).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    report(&part.name, &error);
                    tokio::time::sleep(wait_for(&error, &mut backoff)).await;
                }
            }
        }
        // A change wakes early, but never more than a few times a second.
        tokio::time::sleep(STATES_TURN / 4).await;
        tokio::select! {
            biased;
            changed = ask.changed() => if changed.is_err() { return },
            () = wake.notified() => woken = true,
            () = tokio::time::sleep_until(begun + STATES_TURN) => {}
        }
    }
}

/// Sends notes for ever, gathered for a short while. The leader hears of those that are lost, and tells anew what still is so.
pub(super) async fn notify(
    part: SourcePart,
    mut notes: mpsc::UnboundedReceiver<Vec<Notification>>,
    inputs: mpsc::Sender<Input>,
) {
    while let Some(mut due) = notes.recv().await {
        tokio::time::sleep(Duration::from_millis(100)).await;
        while let Ok(more) = notes.try_recv() {
            due.extend(more);
        }
        for chunk in due.chunks(CALL_LIMIT) {
            if let Some(lost) = send_chunk(&part, chunk).await
                && inputs.send(lost).await.is_err()
            {
                return;
            }
        }
    }
}

/// What was lost, of those that go in one call.
async fn send_chunk(part: &SourcePart, chunk: &[Notification]) -> Option<Input> {
    let rejected = match send(part, chunk).await {
        Ok(rejected) => rejected,
        Err(error) => return lost(part, chunk.to_vec(), &error),
    };
    // Buildkite takes no note from the future, and whose clock is wrong is not for us to say: so once more,
    // at Buildkite's own time. What it rejects for any other reason it would reject again.
    let dated: Vec<Notification> = rejected
        .iter()
        .filter_map(|note| chunk.get(note.index))
        .filter(|note| note.at.is_some())
        .cloned()
        .collect();
    if dated.is_empty() {
        return None;
    }
    let undated = |note: &Notification| Notification {
        at: None,
        ..note.clone()
    };
    let again: Vec<Notification> = dated.iter().map(undated).collect();
    match send(part, &again).await {
        Ok(_) => None,
        Err(error) => lost(part, dated, &error),
    }
}

/// What the leader hears of notes that were not taken; nothing where Buildkite refuses them as they are.
fn lost(part: &SourcePart, notes: Vec<Notification>, error: &SourceError) -> Option<Input> {
    let unclear = error.remedy == Remedy::Unclear;
    (error.remedy != Remedy::Refused).then(|| Input::NotTold {
        source: part.name.clone(),
        notes,
        unclear,
    })
}

/// Returns those that were rejected.
async fn send(part: &SourcePart, notes: &[Notification]) -> Result<Vec<RejectedNote>, SourceError> {
    let rejected = part.source.notify(notes).await;
    match &rejected {
        Ok(rejected) => {
            for note in rejected {
                tracing::debug!(gust.source = %part.name, index = note.index, reason = note.reason, "note rejected");
            }
        }
        Err(error) => report(&part.name, error),
    }
    rejected
}

#[cfg(test)]
mod tests;
