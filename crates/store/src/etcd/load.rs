//! Reading records and history, page by page.

use gust_core::ports::{Loaded, Revision, StoreError};

use super::{
    EtcdStore, failed,
    onto::Snapshot,
    wire::{EtcdError, Found, KeyValue, Keys, Range},
};

/// What the last load found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// At which revision.
    pub revision: Revision,
    /// The mod revision of `commits` then; 0 if it was not there.
    pub commits: u64,
}

impl EtcdStore {
    /// All records but history, at one revision.
    pub(super) async fn read_all(&self) -> Result<Loaded, StoreError> {
        let mut last = self.loaded.lock().await;
        let snapshot = self.read_snapshot(last.as_ref()).await;
        let snapshot = snapshot.map_err(|error| failed("loading the records", error))?;
        let loaded = self.told(&snapshot);
        *last = Some(snapshot);
        Ok(loaded)
    }

    async fn read_snapshot(&self, before: Option<&Snapshot>) -> Result<Snapshot, EtcdError> {
        if let Some(before) = before
            && let Some(snapshot) = self.read_changes(before).await?
        {
            return Ok(snapshot);
        }
        let mut outcome = self.read_at_one_revision().await;
        // Begins again when the revision is compacted between two pages.
        for _ in 1..self.config.tries {
            match outcome {
                Err(EtcdError::Compacted { .. }) => outcome = self.read_at_one_revision().await,
                _ => break,
            }
        }
        outcome
    }

    fn told(&self, snapshot: &Snapshot) -> Loaded {
        let revision = Revision(snapshot.revision);
        let commits = snapshot.keys.get(&self.layout.commits());
        self.saw(Seen {
            revision,
            commits: commits.map_or(0, |(modified, _)| *modified),
        });
        let records = snapshot.keys.iter();
        let records = records
            .filter(|(key, _)| self.layout.is_record(key))
            .map(|(key, (_, value))| (self.layout.below(key).to_owned(), value.to_vec()))
            .collect();
        Loaded { revision, records }
    }

    async fn read_at_one_revision(&self) -> Result<Snapshot, EtcdError> {
        let mut snapshot = Snapshot::default();
        for keys in self.layout.records() {
            let mut next = Some(keys);
            while let Some(keys) = next {
                let page = self
                    .page(keys.clone(), snapshot.revision, self.config.page)
                    .await?;
                if snapshot.revision == 0 {
                    snapshot.revision = page.revision;
                }
                next = rest(keys, &page).filter(|_| !gust_core::mutant!("records-half-loaded"));
                page.kvs.into_iter().for_each(|kv| snapshot.put(kv));
            }
        }
        Ok(snapshot)
    }

    /// Up to `limit` summaries above `after`. Pages may be of different revisions.
    pub(super) async fn read_history(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut keys = self.layout.history();
        if let Some(after) = after {
            keys.from = after_key(&self.layout.key(after)).max(keys.from);
        }
        let mut summaries = Vec::new();
        let mut next = Some(keys);
        while let Some(keys) = next.take_if(|_| summaries.len() < limit) {
            let most = self.config.page.min(limit - summaries.len());
            let page = self
                .page(keys.clone(), 0, most)
                .await
                .map_err(|error| failed("reading history", error))?;
            next = rest(keys, &page);
            summaries.extend(page.kvs.into_iter().map(|kv| self.named(kv)));
        }
        Ok(summaries)
    }

    async fn page(&self, keys: Keys, revision: u64, limit: usize) -> Result<Found, EtcdError> {
        let range = Range {
            limit,
            revision,
            ..Range::all(keys)
        };
        self.again(|| self.etcd.range(range.clone())).await
    }

    fn named(&self, kv: KeyValue) -> (String, Vec<u8>) {
        (self.layout.below(&kv.key).to_owned(), kv.value.to_vec())
    }
}

/// What a page left out.
fn rest(keys: Keys, page: &Found) -> Option<Keys> {
    let last = page.kvs.last().filter(|_| page.more)?;
    Some(Keys {
        from: after_key(&last.key),
        ..keys
    })
}

/// The first key that sorts after this one.
fn after_key(key: &str) -> String {
    format!("{key}\0")
}
