//! What etcd tells of the fleet, asked of its members without the network between.

use std::time::Duration;

use anyhow::Result;
use gust_store::etcd::{Etcd as _, Keys, Range};
use tokio::time::{Instant, sleep};

use super::{Fleet, key, watched::SeenAt};

impl Fleet {
    /// Which replica leads, as etcd tells.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn leader(&self) -> Result<Option<usize>> {
        Ok(self.lead().await?.map(|(leader, _)| leader))
    }

    /// Which replica leads, and in which term.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn lead(&self) -> Result<Option<(usize, u64)>> {
        let found = self.way.range(Range::all(Keys::one(key("leader")))).await?;
        let lead = found.kvs.first().and_then(|kv| {
            let name = String::from_utf8_lossy(&kv.value);
            Some((name.strip_prefix('r')?.parse().ok()?, kv.create_revision))
        });
        Ok(lead)
    }

    /// How many replicas are members.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn members(&self) -> Result<usize> {
        let keys = Keys::interval(key("members/"), key("members0"));
        Ok(self.way.range(Range::all(keys)).await?.kvs.len())
    }

    /// How many records of jobs, batches and machines there are.
    ///
    /// # Errors
    /// etcd does not answer.
    pub async fn records(&self) -> Result<usize> {
        let mut all = 0;
        for below in ["jobs", "batches", "machines"] {
            let keys = Keys::interval(key(&format!("{below}/")), key(&format!("{below}0")));
            all += self.way.range(Range::all(keys)).await?.kvs.len();
        }
        Ok(all)
    }

    /// Every change below the stack's prefix since etcd began, in order, with the time at which it was seen.
    ///
    /// # Errors
    /// etcd does not answer within 30 s.
    pub(in crate::wire) async fn history(&self) -> Result<Vec<SeenAt>> {
        let deadline = Instant::now() + Duration::from_secs(30);
        let revision = loop {
            let one = Range {
                limit: 1,
                ..Range::all(Keys::one(key("leader")))
            };
            match self.way.range(one).await {
                Ok(found) => break found.revision,
                Err(error) if Instant::now() >= deadline => return Err(error.into()),
                // After a fault, or on a busy machine, its members may still be electing one of them.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        };
        self.watched.up_to(revision, deadline).await
    }
}
