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
    signalled: bool,
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
            signalled: false,
            cause: None,
        })
    }

    /// Waits for the first cause; afterwards it answers at once. A signal because of a preemption is told as that. One
    /// that is dropped loses nothing.
    pub async fn asked(&mut self) -> Cause {
        if let Some(cause) = self.cause {
            return cause;
        }
        if !self.signalled {
            tokio::select! {
                biased;
                _ = self.term.recv() => {}
                _ = self.interrupt.recv() => {}
                _ = self.quit.recv() => {}
                () = preempted(&self.metadata) => return self.found(Cause::Preempted),
            }
            // A signal is received once.
            self.signalled = true;
        }
        match self.is_preempted().await {
            true => self.found(Cause::Preempted),
            false => self.found(Cause::Signal),
        }
    }

    /// Whether Google takes the machine back. The signal of the host's shutdown may overtake that news, and end the agent
    /// before it, too: gust would take the job's end for its own.
    pub async fn is_preempted(&self) -> bool {
        // The time to end is short, and the server is on the same host.
        const PATIENCE: Duration = Duration::from_secs(1);
        let value = self.metadata.get("instance/preempted", PATIENCE).await;
        matches!(value, Ok(Some(value)) if says_so(&value.text))
    }

    fn found(&mut self, cause: Cause) -> Cause {
        tracing::warn!(cause = cause.as_str(), "the machine is to stop");
        *self.cause.insert(cause)
    }
}

fn says_so(text: &str) -> bool {
    text.trim() == "TRUE"
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
            Ok(Some(value)) if says_so(&value.text) => return,
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
