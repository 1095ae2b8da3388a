//! Nothing is made where the operator closed it, and what is said of orders is true.

use std::time::Duration;

use gust_core::{
    ids::Zone,
    records::{BatchRecord, Call, Change, Orders},
};

use super::{Checker, Invariant};

impl Checker {
    /// A leader knows its orders before it decides, and one that gets another one decides by it: batches follow the
    /// orders that are durable. Looked at before a transaction is applied.
    pub(super) fn orders_obeyed(&mut self, at: Duration, changes: &[Change]) {
        // Which came first within a transaction cannot be told.
        if changes
            .iter()
            .any(|change| matches!(change, Change::PutOrders(_)))
        {
            return;
        }
        let orders = self.store.book.orders();
        let new = changes.iter().filter_map(|change| match change {
            Change::PutBatch(batch) if !self.store.book.batches().contains_key(&batch.id) => Some(batch),
            _ => None,
        });
        let broken = new.into_iter().find_map(|batch| {
            let why = broken(orders, batch)?;
            Some((
                format!("batch {} is asked for although {why}", batch.id),
                batch.members.clone(),
            ))
        });
        if let Some((what, members)) = broken {
            let machines: Vec<_> = members
                .iter()
                .map(|member| self.seen.machine(member.name.as_str()))
                .collect();
            self.violate(at, Invariant::Orders, what, &[], &machines);
        }
    }

    /// Whether gust was paused just now, as far as a picture of this moment can know.
    pub(super) fn was_stopped(&self, at: Duration) -> bool {
        self.orders_lately(at).any(|orders| orders.paused.is_some())
    }

    /// Whether a place was closed just now.
    pub(super) fn was_cordoned(&self, at: Duration) -> bool {
        self.orders_lately(at).any(|orders| !orders.cordons.is_empty())
    }

    fn orders_lately(&self, at: Duration) -> impl Iterator<Item = &Orders> {
        let before = self.store.ordered.as_ref();
        let before = before.filter(|(since, _)| at < *since + self.expect.reason);
        [self.store.book.orders()]
            .into_iter()
            .chain(before.map(|(_, orders)| orders))
    }
}

fn broken(orders: &Orders, batch: &BatchRecord) -> Option<String> {
    if orders.paused.is_some() {
        return Some("the operator paused gust".to_owned());
    }
    if orders.closes(&batch.shard()) {
        return Some(format!("the operator closed {}", batch.shard()));
    }
    let single = match &batch.call {
        Call::Insert { zone } => Some(zone),
        Call::Bulk => None,
    };
    let mut zones = batch.shape.zones.iter().chain(single);
    let family = &batch.shape.family;
    let closed: Option<&Zone> =
        zones.find(|zone| orders.closes_zone(zone) || orders.closes_family(family, zone));
    closed.map(|zone| format!("the operator closed {zone}"))
}
