//! Hints on their way to the leader, whichever replica that is.

use std::{fmt, time::Duration};

use gust_core::{
    ids::{JobId, QueueKey},
    ports::Hint,
};
use gust_proto::v1::{HintRequest, hint_request::Hint as Said, peer_service_client::PeerServiceClient};
use tokio::{sync::mpsc, time::timeout};
use tracing::debug;

use super::forward::{Forward, marked};
use crate::{leader::Handle, task::Tasks};

/// How many hints may wait for the way to another replica. What is more is lost, as any hint may be.
const DEPTH: usize = 1024;
/// Longest wait for the leader's answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Takes hints and passes them to the leader. Cheap to clone.
#[derive(Clone)]
pub struct Hints {
    leader: Handle,
    others: Option<mpsc::Sender<Hint>>,
}

impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hints").finish_non_exhaustive()
    }
}

impl Hints {
    /// To `leader`, or over `forward` while another replica leads.
    pub fn begin(leader: Handle, forward: Option<Forward>, tasks: &Tasks) -> Self {
        let others = forward.map(|forward| {
            let (others, waiting) = mpsc::channel(DEPTH);
            tasks.spawn("hints", pass_on(forward, waiting));
            others
        });
        Self { leader, others }
    }

    /// Gives a hint, and waits for nothing.
    pub fn give(&self, hint: Hint) {
        if !self.leader.hint(hint.clone())
            && let Some(others) = &self.others
        {
            let _ = others.try_send(hint);
        }
    }
}

/// Passes hints on for ever. Of those that waited together each is passed on once.
async fn pass_on(forward: Forward, mut waiting: mpsc::Receiver<Hint>) {
    while let Some(first) = waiting.recv().await {
        let mut hints = vec![first];
        while let Ok(more) = waiting.try_recv() {
            if !hints.contains(&more) {
                hints.push(more);
            }
        }
        for hint in hints {
            if let Err(why) = timeout(PATIENCE, to_leader(&forward, hint))
                .await
                .unwrap_or(Err("no answer in time".to_owned()))
            {
                debug!(why, "a hint did not reach the leader");
            }
        }
    }
}

async fn to_leader(forward: &Forward, hint: Hint) -> Result<(), String> {
    let leader = forward
        .leader(false)
        .await
        .map_err(|status| status.message().to_owned())?;
    // Nobody: this replica has just begun to lead, and lists everything anyway.
    let Some(leader) = leader else {
        return Ok(());
    };
    let request = marked(write_hint(hint));
    let answer = PeerServiceClient::new(leader).hint(request).await;
    answer.map(|_| ()).map_err(|status| status.message().to_owned())
}

fn write_hint(hint: Hint) -> HintRequest {
    let text = |id: Option<String>| id.unwrap_or_default();
    let said = match hint {
        Hint::Scheduled(queue) => Said::ScheduledQueue(text(queue.map(|queue| queue.to_string()))),
        Hint::Ended(job) => Said::EndedJob(text(job.map(|job| job.to_string()))),
    };
    HintRequest { hint: Some(said) }
}

/// The hint of a request; nothing if it makes no sense.
pub(super) fn read_hint(request: HintRequest) -> Option<Hint> {
    let named = |text: &String| !text.is_empty();
    Some(match request.hint? {
        Said::ScheduledQueue(queue) => Hint::Scheduled(
            Some(queue)
                .filter(named)
                .map(|queue| QueueKey::from(queue.as_str())),
        ),
        Said::EndedJob(job) if job.is_empty() => Hint::Ended(None),
        Said::EndedJob(job) => Hint::Ended(Some(JobId(uuid::Uuid::parse_str(&job).ok()?))),
    })
}

#[cfg(test)]
mod tests;
