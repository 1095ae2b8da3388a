//! What etcd tells of the fleet, asked of its members without the network between.

use std::time::Duration;

use anyhow::{Context as _, Result};
use gust_store::etcd::{Etcd as _, Event, Keys, Range};
use tokio::time::{Instant, sleep, timeout};

use super::{Fleet, STACK, key};

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

    /// Every change below the stack's prefix since etcd began, in order.
    ///
    /// # Errors
    /// etcd does not answer within 30 s.
    pub async fn history(&self) -> Result<Vec<Event>> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.read_history().await {
                Ok(history) => return Ok(history),
                Err(error) if Instant::now() >= deadline => return Err(error),
                // After a fault, or on a busy machine, its members may still be electing one of them.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn read_history(&self) -> Result<Vec<Event>> {
        let keys = || Keys::interval(key(""), format!("/gust/v1/{STACK}0"));
        let now = self
            .way
            .range(Range {
                limit: 1,
                ..Range::all(keys())
            })
            .await?
            .revision;
        let mut watch = self.way.watch(vec![keys()], 1).await?;
        let mut all: Vec<Event> = Vec::new();
        // Before the first change the revision is 1.
        while now > 1 && all.last().is_none_or(|event| event.revision < now) {
            let events = timeout(Duration::from_secs(10), watch.next()).await;
            all.extend(events.context("etcd's history breaks off")??);
        }
        Ok(all)
    }
}
