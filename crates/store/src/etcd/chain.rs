//! The chain of a term's transactions, as values: what is to be written next, and what an answer means.

use std::collections::VecDeque;

use gust_core::{ids::Term, mutant, ports::Revision, time::Timestamp};

use super::{
    layout::Layout,
    pack::Writes,
    trim::Trimmer,
    wire::{Compare, Keys, Op, Range, Txn, TxnAnswer},
};
use crate::HistoryBounds;

/// Commits whose callers never heard that they are written, kept for their repeats.
const MOST_UNTOLD: usize = 64;

/// A commit that is not wholly written, as far as is known.
#[derive(Debug)]
pub(super) struct Open {
    at: Timestamp,
    /// How many writes each part was asked to have. More of them, and more parts, are what is trimmed along.
    asked: Vec<usize>,
    parts: Vec<Writes>,
    written: usize,
}

impl Open {
    fn is(&self, at: Timestamp, parts: &[Writes]) -> bool {
        self.at == at
            && self.asked.len() == parts.len()
            && parts
                .iter()
                .zip(&self.asked)
                .zip(&self.parts)
                .all(|((part, asked), ours)| {
                    part.len() == *asked && part.iter().all(|(key, value)| ours.get(key) == Some(value))
                })
    }
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The part is written, by this message or by an earlier one.
    Written,
    /// The term is over; the store knows this one.
    Over(Term),
    /// `commits` is where nothing that this store sent can have moved it.
    Foreign,
}

/// Where the transactions of one term stand.
#[derive(Debug)]
pub(super) struct Chain {
    pub term: Term,
    /// The mod revision of `commits`, as far as is known.
    commits: u64,
    /// The number of the part that is written next. It stays with that part until it is written.
    next: u64,
    /// True if a message with that number may be under way.
    doubt: bool,
    open: VecDeque<Open>,
    untold: VecDeque<(Open, Revision)>,
    pub trimmer: Trimmer,
}

impl Chain {
    /// The chain of a term in which this store has sent nothing; `commits` is that key's mod revision, read
    /// when the term had begun.
    pub fn new(term: Term, commits: u64) -> Self {
        Self {
            term,
            commits,
            next: 1,
            doubt: false,
            open: VecDeque::new(),
            untold: VecDeque::new(),
            trimmer: Trimmer::default(),
        }
    }

    /// Adds a commit at the end; with it goes the history that exceeds its bounds.
    pub fn push(&mut self, layout: &Layout, bounds: HistoryBounds, at: Timestamp, mut parts: Vec<Writes>) {
        let asked = parts.iter().map(Writes::len).collect();
        self.trimmer.trim(layout, bounds, at, &mut parts);
        self.open.push_back(Open {
            at,
            asked,
            parts,
            written: 0,
        });
    }

    /// True if this commit was begun before, and may be partly written.
    pub fn knows(&self, at: Timestamp, parts: &[Writes]) -> bool {
        self.open.iter().any(|open| open.is(at, parts))
    }

    /// The revision of a commit that was begun before and is written, once.
    pub fn take_untold(&mut self, at: Timestamp, parts: &[Writes]) -> Option<Revision> {
        let found = self.untold.iter().position(|(open, _)| open.is(at, parts))?;
        self.untold.remove(found).map(|(_, revision)| revision)
    }

    /// Takes back the last commit, if nothing of it can be written or under way.
    pub fn take_back(&mut self) -> bool {
        let clean = match self.open.back() {
            Some(open) => open.written == 0 && (self.open.len() > 1 || !self.doubt),
            None => false,
        };
        if clean {
            self.open.pop_back();
            self.trimmer = Trimmer::default();
        }
        clean
    }

    /// The last commit that was written; its caller will be told.
    pub fn take_last(&mut self) -> Option<Revision> {
        self.untold.pop_back().map(|(_, revision)| revision)
    }

    /// The transaction that comes next; nothing if all is written. The same until it is known to be written.
    pub fn next(&self, layout: &Layout) -> Option<Txn> {
        let open = self.open.front()?;
        let writes = open.parts.get(open.written)?;
        let (leader, commits) = (layout.leader(), layout.commits());
        let mut success = Vec::with_capacity(writes.len() + 1);
        success.push(Op::Put {
            key: commits.clone(),
            value: self.mark().as_bytes().into(),
            lease: 0,
        });
        success.extend(writes.iter().map(|(key, value)| match value {
            Some(value) => Op::Put {
                key: key.clone(),
                value: value.clone(),
                lease: 0,
            },
            None => Op::Delete(key.clone()),
        }));
        let failure = [&leader, &commits].map(|key| Op::Range(Range::all(Keys::one(key))));
        let mut compares = Vec::new();
        if !mutant!("commits-not-chained") {
            compares.push(Compare::ModRevision(commits, self.commits));
        }
        if !mutant!("guard-skipped") {
            compares.push(Compare::CreateRevision(leader, self.term.0));
        }
        Some(Txn {
            compares,
            success,
            failure: failure.into(),
        })
    }

    fn mark(&self) -> String {
        format!("{}-{}", self.term, self.next)
    }

    /// The next transaction is about to be sent; returns whether it may be under way already.
    pub fn sending(&mut self) -> bool {
        std::mem::replace(&mut self.doubt, true)
    }

    /// The message that was just sent had no effect for certain; `before` is what [`Chain::sending`] returned.
    pub fn not_sent(&mut self, before: bool) {
        self.doubt = before;
    }

    /// What the answer to the next transaction means. Moves on if it is written.
    pub fn judge(&mut self, answer: &TxnAnswer) -> Meaning {
        if answer.succeeded {
            self.written(answer.revision);
            return Meaning::Written;
        }
        let mut found = answer.found.iter().map(|found| found.kvs.first());
        let (leader, commits) = (found.next().flatten(), found.next().flatten());
        if let Some(commits) = commits
            && *commits.value == *self.mark().as_bytes()
        {
            // Even if the term is over by now: that part was written while it lasted.
            self.written(commits.mod_revision);
            return Meaning::Written;
        }
        match leader {
            Some(leader) if leader.create_revision == self.term.0 => Meaning::Foreign,
            Some(leader) => Meaning::Over(Term(leader.create_revision)),
            // Nobody leads. Whoever will has a higher term than this.
            None => Meaning::Over(Term(answer.revision)),
        }
    }

    fn written(&mut self, revision: u64) {
        self.commits = revision;
        self.next += 1;
        self.doubt = false;
        let Some(open) = self.open.front_mut() else {
            return;
        };
        open.written += 1;
        if open.written == open.parts.len()
            && let Some(open) = self.open.pop_front()
        {
            self.untold.push_back((open, Revision(revision)));
            if self.untold.len() > MOST_UNTOLD {
                self.untold.pop_front();
            }
        }
    }
}
