//! Creating the machines of one batch: the call, its operation, the fates.

use std::{sync::Arc, time::Duration};

use gust_core::{
    ids::{BatchId, MachineName},
    mutant,
    ports::{Cloud, CloudError, Creation, Event, MemberFate, OperationRef, OperationState, RefusalClass},
    records::BatchRecord,
};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{Session, lock};
use crate::task::Backoff;

/// A recorded call older than this is not repeated: Google forgets request ids after a time that it does not
/// state, and a call repeated after that would make its machines a second time.
const REPLAY: Duration = Duration::from_secs(1800);

/// A call that was taken has come to its end after so long, whatever its operation waited for.
const OPERATION: Duration = Duration::from_secs(600);

/// Whether the cloud may know a batch already.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    /// It is asked for the first time.
    Never,
    /// An earlier session, or another worker, may have asked for it.
    Perhaps,
}

/// What came of asking for a batch.
enum Called {
    /// It is being created, or was.
    Taken(OperationRef),
    /// Nothing of it was or will be created.
    Refused(RefusalClass, String),
    /// It may have been taken once, and is not under way any more: the machines themselves tell.
    Over,
}

impl Session {
    /// Runs one batch to its end and tells it. The same batch may be run again by a later session: its names
    /// and its request id are recorded, so the cloud answers with the same operation.
    pub(super) async fn create(self, cloud: Arc<dyn Cloud>, batch: Box<BatchRecord>, asked: Asked) {
        let shard = batch.shard();
        self.owned(&shard).await;
        let creation = Creation::from(&*batch);
        let settled = |fates| Event::Settled {
            batch: batch.id,
            fates,
        };
        // What was recorded in this term is fresh, whatever the clocks of two replicas say.
        let age = self.worker.clock.now().since(batch.created_at);
        let event = if batch.term < self.term && age >= REPLAY {
            // Whether or not it was asked for, nothing of it is under way any more.
            settled(self.fates(&*cloud, None, &creation).await)
        } else {
            let called = match self.worker.taken(&shard, self.membership.lease, batch.id) {
                Some(operation) => Called::Taken(operation),
                None => self.call(&*cloud, &creation, asked).await,
            };
            match called {
                Called::Taken(operation) => {
                    self.worker.took(&shard, batch.id, &operation);
                    self.tell(Event::Accepted { batch: batch.id }).await;
                    self.follow(&*cloud, &operation).await;
                    settled(self.fates(&*cloud, Some(&operation), &creation).await)
                }
                Called::Refused(class, message) => Event::Refused {
                    batch: batch.id,
                    class,
                    message,
                },
                Called::Over => settled(self.fates(&*cloud, None, &creation).await),
            }
        };
        if let Some(hand) = self.hand.shards.get(&shard) {
            hand.deletions.born(&creation.names);
        }
        {
            let mut unborn = lock(&self.hand.unborn);
            for name in &creation.names {
                unborn.remove(name);
            }
        }
        lock(&self.hand.creating).remove(&batch.id);
        self.tell(event).await;
        self.worker.settled(&shard, batch.id);
    }

    // Repeated under the same request id while the outcome is unknown. A refusal is final for this batch, if the
    // cloud looked at the call itself: rate and permission are judged before that, so to a call that may have been
    // taken earlier they say nothing of its machines.
    async fn call(&self, cloud: &dyn Cloud, creation: &Creation, asked: Asked) -> Called {
        let mut backoff = self.backoff();
        let mut creation = creation.clone();
        let mut taken_until = match asked {
            Asked::Never => None,
            Asked::Perhaps => Some(Instant::now()),
        };
        loop {
            let error = match cloud.create(&creation).await {
                Ok(operation) => {
                    info!(gust.batch = %creation.request_id, machines = creation.names.len(), operation = operation.name, "Google took the call");
                    return Called::Taken(operation);
                }
                Err(error) => error,
            };
            let is_fresh = taken_until.is_some_and(|at| at.elapsed() < OPERATION);
            match &error {
                CloudError::Unclear { .. }
                | CloudError::Refused {
                    class: RefusalClass::Internal,
                    ..
                } => taken_until = Some(Instant::now()),
                CloudError::Refused {
                    class: RefusalClass::Rate | RefusalClass::Denied,
                    ..
                } if is_fresh => {}
                CloudError::Refused {
                    class: RefusalClass::Rate | RefusalClass::Denied | RefusalClass::Exists,
                    ..
                } if taken_until.is_some() => return Called::Over,
                CloudError::Refused { class, message, .. } => {
                    return Called::Refused(class.clone(), message.clone());
                }
            }
            let error = crate::error_chain(&error);
            warn!(gust.batch = %creation.request_id, error, "outcome unknown; the call is repeated under the same request id");
            tokio::time::sleep(backoff.step()).await;
            if mutant!("request-id-renewed") {
                creation.request_id = BatchId::of(&format!("{}+", creation.request_id).as_str().into());
            }
        }
    }

    // Returns when the operation is over, or forgotten: then the instances themselves tell.
    async fn follow(&self, cloud: &dyn Cloud, operation: &OperationRef) {
        let mut backoff = self.backoff();
        loop {
            match cloud.operation(operation, self.worker.pace.patience).await {
                // The cloud may answer early; asking again at once would burn the budget.
                Ok(OperationState::Running) => tokio::time::sleep(Duration::from_millis(500)).await,
                Ok(OperationState::Succeeded | OperationState::Forgotten) => return,
                Ok(OperationState::Failed { class, message }) => {
                    debug!(
                        operation = operation.name,
                        class = class.as_str(),
                        message,
                        "operation failed"
                    );
                    return;
                }
                Err(error) => {
                    warn!(
                        operation = operation.name,
                        error = crate::error_chain(&error),
                        "operation cannot be read"
                    );
                    tokio::time::sleep(backoff.step()).await;
                }
            }
        }
    }

    async fn fates(
        &self,
        cloud: &dyn Cloud,
        operation: Option<&OperationRef>,
        creation: &Creation,
    ) -> Vec<(MachineName, MemberFate)> {
        let mut backoff = self.backoff();
        loop {
            match cloud.fates(operation, creation).await {
                Ok(fates) => return fates,
                Err(error) => {
                    warn!(
                        gust.batch = %creation.request_id,
                        error = crate::error_chain(&error),
                        "machines of a batch cannot be read"
                    );
                    tokio::time::sleep(backoff.step()).await;
                }
            }
        }
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff::new(
            Duration::from_millis(250),
            Duration::from_secs(20),
            &self.worker.dice,
        )
    }
}
