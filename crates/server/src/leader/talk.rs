//! The task that keeps a session with one worker open.

use std::{sync::Arc, time::Duration};

use gust_core::{
    ids::ReplicaId,
    ports::{Command, Hello, Link, LinkError, Session},
};
use tokio::sync::mpsc;
use tracing::warn;

use super::input::Input;
use crate::{
    replica::Held,
    task::{Backoff, Dice},
};

/// Which worker's session, the how-manieth.
#[derive(Clone)]
pub(super) struct Talk {
    pub worker: ReplicaId,
    pub session: u64,
    pub link: Arc<dyn Link>,
    pub held: Held,
    pub inputs: mpsc::Sender<Input>,
    pub dice: Dice,
}

/// Opens the session, and again whenever it breaks. Commands of a broken session are dropped: when the next
/// one is ready the leader says everything again.
pub(super) async fn talk(talk: Talk, mut hello: Hello, mut commands: mpsc::UnboundedReceiver<Command>) {
    let fresh = || Backoff::new(Duration::from_millis(50), Duration::from_secs(2), &talk.dice);
    let mut backoff = fresh();
    // Those of one talk follow each other, and all of a later talk come after them.
    hello.session = talk.session << 32;
    loop {
        hello.session += 1;
        while commands.try_recv().is_ok() {}
        talk.held.permit().await;
        let error = match talk.link.open(&hello).await {
            Ok(session) => {
                backoff = fresh();
                match talk.pump(session, &mut commands).await {
                    Some(error) => error,
                    None => return,
                }
            }
            Err(error) => error,
        };
        let worker = talk.worker.clone();
        metrics::counter!("gust_worker_sessions_ended_total").increment(1);
        warn!(gust.worker = %worker, error = crate::error_chain(&error), "session with a worker ended");
        let input = match &error {
            LinkError::Deposed { .. } => Input::Deposed { worker },
            LinkError::Late { .. } | LinkError::Down { .. } | LinkError::Nonsense { .. } => {
                Input::WorkerDown {
                    worker,
                    session: talk.session,
                }
            }
        };
        if talk.inputs.send(input).await.is_err() {
            return;
        }
        tokio::time::sleep(backoff.step()).await;
    }
}

impl Talk {
    // None when the leader has gone.
    async fn pump(
        &self,
        mut session: Session,
        commands: &mut mpsc::UnboundedReceiver<Command>,
    ) -> Option<LinkError> {
        loop {
            tokio::select! {
                biased;
                event = session.events.next() => match event {
                    Ok(event) => {
                        let (worker, session) = (self.worker.clone(), self.session);
                        let input = Input::Worker { worker, session, event };
                        self.inputs.send(input).await.ok()?;
                    }
                    Err(error) => return Some(error),
                },
                command = commands.recv() => {
                    self.held.permit().await;
                    if let Err(error) = session.commands.send(command?).await {
                        return Some(error);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
