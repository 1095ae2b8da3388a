//! The beginning of a leadership: records are taken up, and the tasks that feed the loop are started.

use std::{collections::BTreeMap, sync::Arc};

use gust_core::{
    evolve::Step,
    flow::Flow,
    ids::Term,
    memory::Memory,
    ports::{CommitPhase, Store},
    records::{Book, Change, Format, Unreadable},
    time::Timestamp,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    End, Leading,
    input::Input,
    notes::Notes,
    poll,
    state::{Ask, FRESH, Leader, ShardState},
    tokens::Issuer,
    workers,
};
use crate::task::Tasks;

/// All records, if this build can lead over them.
pub(crate) async fn load(store: &dyn Store, ours: Format) -> Result<Book, End> {
    let loaded = store.load().await.map_err(End::Load)?;
    let records = loaded
        .records
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_slice()));
    Book::load(records, ours).map_err(|unreadable| match unreadable {
        Unreadable::Damaged(damage) => End::Damaged(damage),
        Unreadable::TooNew(format) => End::TooNew(format),
    })
}

/// Whether another leader decided until shortly before.
fn follows(book: &Book, now: Timestamp) -> bool {
    book.latest().is_some_and(|latest| now.since(latest) < FRESH)
}

/// Builds the leader and starts the tasks that feed it.
pub(super) fn start(
    leading: Leading,
    term: Term,
    book: Book,
    inputs: mpsc::Sender<Input>,
    tasks: &Tasks,
) -> Leader {
    let Leading {
        parts,
        links,
        held,
        timing,
        config,
    } = leading;
    tasks.spawn(
        "roster",
        workers::watch(parts.store.clone(), inputs.clone(), timing),
    );
    let shards = parts
        .shards
        .iter()
        .map(|(shard, _)| (shard.clone(), ShardState::default()));
    let mut leader = Leader {
        term,
        tasks: tasks.clone(),
        inputs,
        links,
        held,
        config,
        begun: Instant::now(),
        began: parts.clock.now(),
        follows: follows(&book, parts.clock.now()),
        since: book
            .machines()
            .keys()
            .map(|name| (name.clone(), Instant::now()))
            .collect(),
        book,
        known: BTreeMap::new(),
        usages: BTreeMap::new(),
        backlog: BTreeMap::new(),
        reserving: Default::default(),
        paused: Default::default(),
        shards: shards.collect(),
        memory: Memory::default(),
        flow: Flow::default(),
        bulk_calls: Default::default(),
        registered: Default::default(),
        trouble: BTreeMap::new(),
        listed: Default::default(),
        roster_seen: false,
        workers: BTreeMap::new(),
        strangers: Default::default(),
        sessions: 0,
        ask: BTreeMap::new(),
        wakes: BTreeMap::new(),
        issues_tokens: BTreeMap::new(),
        notes: Notes::default(),
        note_sinks: BTreeMap::new(),
        token_sinks: BTreeMap::new(),
        steps: Vec::new(),
        effects: Vec::new(),
        claims: None,
        asked_for: true,
        picture: None,
        shown: Arc::default(),
        roster: Default::default(),
        took: Default::default(),
        feed: Default::default(),
        retrying: Default::default(),
        retires: false,
        retiring: None,
        parts,
    };
    for job in leader.book.jobs().keys().cloned().collect::<Vec<_>>() {
        leader.know(job);
    }
    leader.notes.inherit(leader.book.jobs().keys());
    leader.say_format();
    leader.start_pollers();
    leader
}

impl Leader {
    /// With the first commit, if records of this form are new here.
    fn say_format(&mut self) {
        let newest = self.book.format().map_or(0, |format| format.version);
        if newest < self.parts.format.version {
            self.step(Step {
                phase: CommitPhase::Format,
                changes: vec![Change::PutFormat(self.parts.format)],
            });
        }
    }

    fn start_pollers(&mut self) {
        for part in self.parts.sources.values() {
            let (ask, asked) = watch::channel(Ask::default());
            self.ask.insert(part.name.clone(), ask);
            let wakes = poll::Wakes::of(&part.queues);
            self.wakes.insert(part.name.clone(), wakes.clone());
            let poller = poll::Poller {
                part: part.clone(),
                wakes,
                inputs: self.inputs.clone(),
                clock: self.parts.clock.clone(),
                dice: self.parts.dice.clone(),
            };
            self.tasks
                .spawn("poll", poller.begin(asked, self.tasks.clone(), self.follows));
            let (notes, due) = mpsc::unbounded_channel();
            self.note_sinks.insert(part.name.clone(), notes);
            let notify = poll::notify(part.clone(), due, self.inputs.clone());
            self.tasks.spawn("notify", notify);
            let (wants, wanted) = mpsc::unbounded_channel();
            self.token_sinks.insert(part.name.clone(), wants);
            let issuer = Issuer {
                part: part.clone(),
                inputs: self.inputs.clone(),
                clock: self.parts.clock.clone(),
                lifetime: self.parts.settings.acquire_timeout,
                tasks: self.tasks.clone(),
            };
            self.tasks.spawn("tokens", issuer.run(wanted));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::ToldStore;

    #[tokio::test]
    async fn over_records_of_a_build_too_new_nobody_leads() {
        let ahead = Format {
            version: Format::OURS.version + 2,
            readable_by: Format::OURS.version + 1,
        };
        let format = Change::PutFormat(ahead);
        let value = format.value().expect("it is written");
        let store = ToldStore {
            records: vec![(format.key().to_string(), value)],
            ..ToldStore::default()
        };
        let end = load(&store, Format::OURS).await.expect_err("too new");
        assert!(matches!(end, End::TooNew(_)), "{end}");
        load(&ToldStore::default(), Format::OURS)
            .await
            .expect("there are no records");
    }
}
