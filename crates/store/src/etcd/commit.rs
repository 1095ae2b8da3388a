//! Writing commits: one after another, each exactly once.

use std::sync::Arc;

use gust_core::{
    ids::Term,
    mutant,
    ports::{Commit, CommitError, Revision},
};

use super::{
    EtcdStore,
    chain::{Chain, Meaning},
    pack::{Writes, pack},
    trim,
    wire::{Compare, EtcdError, Keys, Op, Range, Txn},
};

/// Why what is open could not be written.
enum Stuck {
    /// The term is over.
    Over(Term),
    /// The message that comes next had no effect.
    Refused(EtcdError),
    /// It may have had one, or has it later.
    Unclear(EtcdError),
    /// Somebody else moves `commits`.
    Foreign,
}

impl EtcdStore {
    pub(super) async fn write(&self, commit: &Commit) -> Result<Revision, CommitError> {
        let parts = pack(&self.layout, commit);
        let mut slot = self.chain.lock().await;
        let chain = self.chain_of(&mut slot, commit.term).await?;
        // What was begun comes first, even if its caller does not ask any more: the order of commits holds.
        if let Err(stuck) = self.drive(chain).await {
            let begun = chain.knows(commit.at, &parts);
            return Err(stuck.told(commit.term, begun));
        }
        if let Some(revision) = chain.take_untold(commit.at, &parts) {
            return Ok(revision);
        }
        self.look(chain, commit, &parts).await;
        chain.push(&self.layout, self.config.history, commit.at, parts);
        match self.drive(chain).await {
            Ok(()) => Ok(chain.take_last().expect("the last commit was just written")),
            Err(Stuck::Unclear(_)) if mutant!("unclear-taken-for-written") => Ok(Revision::default()),
            Err(stuck) => {
                let begun = !(matches!(stuck, Stuck::Refused(_)) && chain.take_back());
                Err(stuck.told(commit.term, begun))
            }
        }
    }

    /// Writes all that is open, in order.
    async fn drive(&self, chain: &mut Chain) -> Result<(), Stuck> {
        while let Some(txn) = chain.next(&self.layout) {
            self.send(chain, Arc::new(txn)).await?;
        }
        Ok(())
    }

    /// Sends the next transaction until it is clear what became of it. Sending it again is also how to find out:
    /// it has its effect only if it had none before, and otherwise tells where things stand.
    async fn send(&self, chain: &mut Chain, txn: Arc<Txn>) -> Result<(), Stuck> {
        let mut unclear = None;
        for _ in 0..self.config.tries {
            let before = chain.sending();
            match self.etcd.txn(Arc::clone(&txn)).await {
                Ok(answer) => {
                    return match chain.judge(&answer) {
                        Meaning::Written => Ok(()),
                        Meaning::Over(theirs) => Err(Stuck::Over(theirs)),
                        Meaning::Foreign => Err(Stuck::Foreign),
                    };
                }
                Err(error @ EtcdError::Unclear(_)) => unclear = Some(error),
                Err(error) => {
                    chain.not_sent(before);
                    return Err(Stuck::Refused(error));
                }
            }
        }
        let never = || EtcdError::Unclear("it was not asked".to_owned());
        Err(Stuck::Unclear(unclear.unwrap_or_else(never)))
    }

    /// The chain of this term. Begins it if this store has written nothing in that term yet.
    async fn chain_of<'a>(
        &self,
        slot: &'a mut Option<Chain>,
        term: Term,
    ) -> Result<&'a mut Chain, CommitError> {
        match slot {
            Some(chain) if chain.term == term => {}
            Some(chain) if chain.term > term => {
                let (ours, theirs) = (term, chain.term);
                return Err(CommitError::Fenced { ours, theirs });
            }
            _ => *slot = Some(Chain::new(term, self.first_link(term).await?)),
        }
        Ok(slot.as_mut().expect("just filled"))
    }

    /// The mod revision of `commits` when nothing was written in this term yet; 0 if it is not there.
    async fn first_link(&self, term: Term) -> Result<u64, CommitError> {
        if let Some(seen) = self.seen()
            && seen.revision.0 >= term.0
        {
            return Ok(seen.commits);
        }
        let read = |key: String| vec![Op::Range(Range::all(Keys::one(key)))];
        let txn = Arc::new(Txn {
            compares: vec![Compare::CreateRevision(self.layout.leader(), term.0)],
            success: read(self.layout.commits()),
            failure: read(self.layout.leader()),
        });
        let answer = self
            .again(|| self.etcd.txn(Arc::clone(&txn)))
            .await
            .map_err(|error| Stuck::Refused(error).told(term, false))?;
        let kv = answer.found.first().and_then(|found| found.kvs.first());
        if answer.succeeded {
            Ok(kv.map_or(0, |commits| commits.mod_revision))
        } else {
            let theirs = kv.map_or(answer.revision, |leader| leader.create_revision);
            Err(Stuck::Over(Term(theirs)).told(term, false))
        }
    }

    /// Reads what must be known to trim the history. If that fails, it is trimmed another time.
    async fn look(&self, chain: &mut Chain, commit: &Commit, parts: &[Writes]) {
        let keys = parts.iter().flat_map(|part| part.keys());
        let adding = keys.filter(|key| self.layout.parse_by_end(key).is_some()).count();
        let bounds = self.config.history;
        if adding == 0 || !chain.trimmer.must_look(bounds, commit.at, adding as u64) {
            return;
        }
        let Ok(found) = self.etcd.range(trim::oldest(&self.layout)).await else {
            return;
        };
        if found.kvs.is_empty() {
            chain.trimmer.looked(&self.layout, &found, &[]);
            return;
        }
        let summaries = Arc::new(trim::summaries(&self.layout, &found));
        if let Ok(summaries) = self.etcd.txn(summaries).await {
            chain.trimmer.looked(&self.layout, &found, &summaries.found);
        }
    }
}

impl Stuck {
    /// What the caller is told of a commit; `begun` if something of it may be written, now or later.
    fn told(self, ours: Term, begun: bool) -> CommitError {
        let (hint, source) = match self {
            Self::Over(theirs) => return CommitError::Fenced { ours, theirs },
            Self::Foreign => (
                "another process writes under our term: look for a second gust that runs as the same replica, or an \
                 etcd that was restored from a backup, and restart this replica",
                EtcdError::Refused("`commits` was moved by somebody else".to_owned()),
            ),
            Self::Refused(error @ EtcdError::WentBack { .. }) => (
                "see that etcd has the right data, then restart all replicas",
                error,
            ),
            Self::Unclear(error) | Self::Refused(error) => (
                "etcd does not take writes now; look at its members, gust tries again",
                error,
            ),
        };
        if begun {
            CommitError::Unclear(Box::new(source))
        } else {
            CommitError::Refused {
                hint: hint.to_owned(),
                source: Box::new(source),
            }
        }
    }
}
