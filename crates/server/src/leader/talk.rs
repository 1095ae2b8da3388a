//! The task that keeps a session with one worker open.

use std::{sync::Arc, time::Duration};

use gust_core::ports::{Command, Hello, Link, LinkError, Session};
use tokio::sync::mpsc;
use tracing::warn;

use super::input::Input;
use crate::task::{Backoff, Dice};

/// Opens the session, and again whenever it breaks. Commands of a broken session are dropped: when the next
/// one is ready the leader says everything again.
pub(super) async fn talk(
    worker: usize,
    link: Arc<dyn Link>,
    hello: Hello,
    mut commands: mpsc::UnboundedReceiver<Command>,
    inputs: mpsc::Sender<Input>,
    dice: Dice,
) {
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2), &dice);
    loop {
        while commands.try_recv().is_ok() {}
        let error = match link.open(&hello).await {
            Ok(session) => {
                backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2), &dice);
                match pump(worker, session, &mut commands, &inputs).await {
                    Some(error) => error,
                    None => return,
                }
            }
            Err(error) => error,
        };
        warn!(gust.worker = %link.worker(), error = crate::error_chain(&error), "session with a worker ended");
        let input = match &error {
            LinkError::Deposed { .. } => Input::Deposed {
                worker: link.worker().clone(),
            },
            LinkError::Down { .. } | LinkError::Nonsense { .. } => Input::WorkerDown { worker },
        };
        if inputs.send(input).await.is_err() {
            return;
        }
        tokio::time::sleep(backoff.step()).await;
    }
}

// None when the leader has gone.
async fn pump(
    worker: usize,
    mut session: Session,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    inputs: &mpsc::Sender<Input>,
) -> Option<LinkError> {
    loop {
        tokio::select! {
            biased;
            event = session.events.next() => match event {
                Ok(event) => {
                    let input = Input::Worker { worker, event };
                    inputs.send(input).await.ok()?;
                }
                Err(error) => return Some(error),
            },
            command = commands.recv() => {
                if let Err(error) = session.commands.send(command?).await {
                    return Some(error);
                }
            }
        }
    }
}
