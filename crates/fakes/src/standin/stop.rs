//! Being told to stop: by signals from outside, or by a heartbeat that the service no longer accepts.

use std::time::Duration;

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::say;

/// How urgently the agent is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not at all.
    No,
    /// After the job; an acquire that is still tried is given up.
    AfterJob,
    /// At once: the job is canceled with reason `agent_stop`.
    Now,
}

/// The one switch; it only ever rises.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<Level>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(Level::No))
    }
}

impl Stop {
    /// Raises the level.
    pub fn raise(&self, to: Level) {
        self.0.send_if_modified(|level| {
            let rises = to > *level;
            *level = (*level).max(to);
            rises
        });
    }

    pub fn level(&self) -> Level {
        *self.0.borrow()
    }

    /// Returns once the level is at least `level`.
    pub async fn reached(&self, level: Level) {
        // The sender is in `self`, so the channel cannot close while this waits.
        let _ = self.0.subscribe().wait_for(|now| *now >= level).await;
    }
}

/// Turns signals into levels; returns the exit code where one ends the agent outright.
pub async fn on_signals(stop: &Stop, grace: Duration) -> std::io::Result<u8> {
    let mut term = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    // Held so that a hang-up does not end the process.
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut polite = 0;
    let mut at_latest = None;
    loop {
        tokio::select! {
            biased;
            _ = quit.recv() => stop.raise(Level::Now),
            _ = term.recv() => polite += 1,
            _ = interrupt.recv() => polite += 1,
            _ = hang_up.recv() => {}
            () = sleep_to(at_latest), if at_latest.is_some() => {
                say("not stopped within the grace, ending");
                return Ok(1);
            }
        }
        match polite {
            0 => {}
            1 => stop.raise(Level::AfterJob),
            2 => stop.raise(Level::Now),
            _ => return Ok(1),
        }
        if stop.level() == Level::Now && at_latest.is_none() {
            at_latest = Some(tokio::time::Instant::now() + grace + Duration::from_secs(1));
        }
    }
}

async fn sleep_to(at: Option<tokio::time::Instant>) {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
}
