//! Orders of the operator.

use gust_core::{
    decide::Action,
    evolve::{self, Step},
    ids::JobId,
    ports::CommitPhase,
    records::{Change, Cordon, JobPhase, Order, Orders, Place},
};
use tracing::info;

use super::{
    super::{
        input::{Handle, LeaderGone},
        state::Leader,
    },
    JobInfo,
    info::may_come,
};

/// Who orders something, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// As the server knows the caller.
    pub by: String,
    /// In the operator's words; may be empty.
    pub note: String,
}

/// Why a job is not canceled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CancelRefused {
    /// No such job waits or runs.
    #[error("gust has no such job")]
    Unknown,
    /// It has its machine.
    #[error(
        "the job has a machine and may be running: cancel it in Buildkite, gust sees that and removes the machine"
    )]
    Claimed,
}

impl Handle {
    /// Pauses gust.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn pause(&self, ordered: Ordered) -> Result<Order, LeaderGone> {
        self.visit(false, move |leader| {
            let order = leader.order(ordered);
            info!(by = order.by, note = order.note, "paused");
            leader.change_orders(|orders| orders.paused = Some(order.clone()));
            order
        })
        .await
    }

    /// Ends the pause. False if there was none.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn resume(&self, by: String) -> Result<bool, LeaderGone> {
        self.visit(false, move |leader| {
            let was = leader.book.orders().paused.is_some();
            if was {
                info!(by, "resumed");
                leader.change_orders(|orders| orders.paused = None);
            }
            was
        })
        .await
    }

    /// Takes a place out of service. The second value is how many machines are there, or are asked for and may come there.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn cordon(
        &self,
        place: Place,
        drain: bool,
        ordered: Ordered,
    ) -> Result<(Cordon, u64), LeaderGone> {
        self.visit(false, move |leader| {
            let order = leader.order(ordered);
            info!(by = order.by, note = order.note, %place, drain, "cordoned");
            let cordon = Cordon { place, drain, order };
            leader.change_orders(|orders| orders.cordon(cordon.clone()));
            let machines = leader.machines_in(&cordon.place);
            (cordon, machines)
        })
        .await
    }

    /// Takes a place into service again. False if it was not out of it.
    ///
    /// # Errors
    /// [`LeaderGone`]
    pub async fn uncordon(&self, place: Place, by: String) -> Result<bool, LeaderGone> {
        self.visit(false, move |leader| {
            let mut was = false;
            leader.change_orders(|orders| was = orders.uncordon(&place));
            if was {
                info!(by, %place, "uncordoned");
            }
            was
        })
        .await
    }

    /// Finishes a job that waits.
    ///
    /// # Errors
    /// [`LeaderGone`], or why the job is not canceled.
    pub async fn cancel(
        &self,
        id: JobId,
        ordered: Ordered,
    ) -> Result<Result<JobInfo, CancelRefused>, LeaderGone> {
        self.visit(false, move |leader| leader.cancel(id, &ordered)).await
    }
}

impl Leader {
    fn order(&self, ordered: Ordered) -> Order {
        Order {
            by: ordered.by,
            at: self.now(),
            note: ordered.note,
        }
    }

    fn change_orders(&mut self, change: impl FnOnce(&mut Orders)) {
        let mut orders = self.book.orders().clone();
        change(&mut orders);
        if orders != *self.book.orders() {
            self.step(Step {
                phase: CommitPhase::Ordered,
                changes: vec![Change::PutOrders(Box::new(orders))],
            });
        }
    }

    /// Machines that are in a place, or are asked for and may come there: none means that it is empty and stays so.
    pub(super) fn machines_in(&self, place: &Place) -> u64 {
        let coming = self.creating().filter(|(batch, _)| may_come(batch, place));
        let machines = self.book.machines().values();
        let there = machines.filter(|machine| match place {
            Place::Shard(shard) => machine.shard == *shard,
            Place::Zone(zone) => machine.zone.as_ref() == Some(zone),
            Place::Family { family, zone } => {
                let theirs = machine.footprint.as_ref().map(|footprint| &footprint.family);
                theirs == Some(family) && (zone.is_none() || machine.zone == *zone)
            }
        });
        (there.count() + coming.count()) as u64
    }

    fn cancel(&mut self, id: JobId, ordered: &Ordered) -> Result<JobInfo, CancelRefused> {
        let record = self.job_by_id(id).ok_or(CancelRefused::Unknown)?;
        let job = record.job.clone();
        match record.phase {
            JobPhase::Claimed { .. } => return Err(CancelRefused::Claimed),
            JobPhase::Refusing { .. } => {}
            JobPhase::Booked => {
                info!(by = ordered.by, note = ordered.note, gust.job.id = %id, "canceled");
                let detail = match &*ordered.note {
                    "" => format!("canceled in gust by {}", ordered.by),
                    note => format!("canceled in gust by {}: {note}", ordered.by),
                };
                let action = Action::Refuse {
                    job: job.clone(),
                    detail,
                };
                if let Some(step) = evolve::record(&self.book, &action, self.now()) {
                    self.step(step);
                }
            }
        }
        let record = self.book.jobs().get(&job).ok_or(CancelRefused::Unknown)?;
        Ok(self.job_info(record, &self.reasons()))
    }
}
