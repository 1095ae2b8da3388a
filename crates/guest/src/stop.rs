//! What makes a machine stop before its job has ended: a signal, or Google that takes it back.

use std::time::Duration;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use crate::metadata::Metadata;

/// Why the machine must go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host shuts down, or somebody ends the guest.
    Signal,
    /// Google reclaims a Spot machine, in 30 s.
    Preempted,
}

impl Cause {
    /// The word in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Preempted => "preempted",
        }
    }
}

/// Waits for either.
#[derive(Debug)]
pub struct Stop {
    term: Signal,
    interrupt: Signal,
    /// Listened to above all for the agent's sake: who starts us may ignore SIGQUIT, as a shell does for what it starts in
    /// the background, children inherit that, and by SIGQUIT the agent is told to stop. A signal that is listened to is no
    /// longer ignored in them.
    quit: Signal,
    metadata: Metadata,
    cause: Option<Cause>,
}

impl Stop {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system's, if signals cannot be listened to.
    pub fn new(metadata: Metadata) -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            metadata,
            cause: None,
        })
    }

    /// Waits for the first cause; afterwards it answers at once.
    pub async fn asked(&mut self) -> Cause {
        if let Some(cause) = self.cause {
            return cause;
        }
        let cause = tokio::select! {
            biased;
            _ = self.term.recv() => Cause::Signal,
            _ = self.interrupt.recv() => Cause::Signal,
            _ = self.quit.recv() => Cause::Signal,
            () = preempted(&self.metadata) => Cause::Preempted,
        };
        tracing::warn!(cause = cause.as_str(), "the machine is to stop");
        *self.cause.insert(cause)
    }
}

/// Ends when the metadata server says that the instance is being preempted.
///
/// Each question waits at the server until the value changes. One that fails is asked again: this only gains
/// time, the signal of the host's shutdown follows.
async fn preempted(metadata: &Metadata) {
    const POLL: u64 = 300;
    const AGAIN: Duration = Duration::from_secs(5);
    let mut path = "instance/preempted".to_owned();
    loop {
        let value = metadata.get(&path, Duration::from_secs(POLL + 30)).await;
        match value {
            Ok(Some(value)) if value.text.trim() == "TRUE" => return,
            Ok(Some(value)) => {
                let etag = value.etag.unwrap_or_default();
                path = format!("instance/preempted?wait_for_change=true&timeout_sec={POLL}");
                if etag.is_empty() {
                    // A server without versions may answer at once each time.
                    sleep(AGAIN).await;
                } else {
                    path.push_str("&last_etag=");
                    path.push_str(&etag);
                }
            }
            Ok(None) | Err(_) => sleep(AGAIN).await,
        }
    }
}
