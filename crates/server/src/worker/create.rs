//! Creating the machines of one batch: the call, its operation, the fates.

use std::{sync::Arc, time::Duration};

use gust_core::{
    ids::{BatchId, MachineName},
    mutant,
    ports::{Cloud, CloudError, Creation, Event, MemberFate, OperationRef, OperationState, RefusalClass},
    records::BatchRecord,
};
use tracing::{debug, info, warn};

use super::{Session, lock};
use crate::task::Backoff;

/// A recorded call older than this is not repeated: Google forgets request ids after a time that it does not
/// state, and a call repeated after that would make its machines a second time.
const REPLAY: Duration = Duration::from_secs(1800);

impl Session {
    /// Runs one batch to its end and tells it. The same batch may be run again by a later session: its names
    /// and its request id are recorded, so the cloud answers with the same operation.
    pub(super) async fn create(self, cloud: Arc<dyn Cloud>, batch: Box<BatchRecord>) {
        self.owned(&batch.shard()).await;
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
            match self.call(&*cloud, &creation).await {
                Ok(operation) => {
                    self.tell(Event::Accepted { batch: batch.id }).await;
                    self.follow(&*cloud, &operation).await;
                    settled(self.fates(&*cloud, Some(&operation), &creation).await)
                }
                Err((class, message)) => Event::Refused {
                    batch: batch.id,
                    class,
                    message,
                },
            }
        };
        {
            let mut unborn = lock(&self.hand.unborn);
            for name in &creation.names {
                unborn.remove(name);
            }
        }
        lock(&self.hand.creating).remove(&batch.id);
        self.tell(event).await;
    }

    // Repeated under the same request id while the outcome is unknown; a refusal is final for this batch.
    async fn call(
        &self,
        cloud: &dyn Cloud,
        creation: &Creation,
    ) -> Result<OperationRef, (RefusalClass, String)> {
        let mut backoff = self.backoff();
        let mut creation = creation.clone();
        loop {
            match cloud.create(&creation).await {
                Ok(operation) => {
                    info!(gust.batch = %creation.request_id, machines = creation.names.len(), operation = operation.name, "Google took the call");
                    return Ok(operation);
                }
                Err(CloudError::Refused {
                    class: RefusalClass::Internal,
                    message,
                    ..
                }) => {
                    warn!(gust.batch = %creation.request_id, message, "Google failed; the call is repeated");
                }
                Err(CloudError::Refused { class, message, .. }) => return Err((class, message)),
                Err(error @ CloudError::Unclear { .. }) => {
                    let error = crate::error_chain(&error);
                    warn!(gust.batch = %creation.request_id, error, "outcome unknown; the call is repeated under the same request id");
                }
            }
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
