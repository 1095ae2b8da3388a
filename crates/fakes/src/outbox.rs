//! Webhook deliveries between the model that made them and the network: what faults do to them, and when they go.
//!
//! Pure. The skin sends what is due and tells how it went; in virtual time a simulation takes the due deliveries and
//! hands them on itself:
//!
//! ```text
//! world.post(now, &mut effects);            // behind every act that may have made deliveries
//! for due in world.outbox.due(now) { … }     // when world.outbox.next_due() has come
//! world.outbox.sent(now, due, outcome, …);  // what came of it
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::buildkite::Delivery;
use crate::event::{Effects, Event, Host};
use crate::fault::Faults;
use crate::now::Now;

/// A delivery that is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// What is sent.
    pub delivery: Delivery,
    /// The signature's time is so much older than the time of dispatch.
    pub stale: Duration,
    /// 1 for the first attempt.
    pub attempt: u32,
}

impl Parcel {
    /// The headers when it is sent now.
    pub fn headers(&self, now: Now) -> Vec<(&'static str, String)> {
        let unix_s = now.unix_ns / 1_000_000_000 - i128::from(self.stale.as_secs());
        self.delivery.headers(unix_s as i64)
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The receiver answered with this status.
    Status(u16),
    /// It did not answer.
    Failed(String),
}

/// Deliveries by the time they are due.
#[derive(Debug, Default)]
pub struct Outbox {
    parcels: BTreeMap<(Duration, u64), Parcel>,
    queued: u64,
    /// One that is to go behind the next of its webhook.
    held: BTreeMap<String, Parcel>,
    removed: BTreeSet<String>,
}

/// How long a reordered delivery waits for another one to overtake it.
const OVERTAKEN_WITHIN: Duration = Duration::from_secs(5);

impl Outbox {
    /// Takes deliveries in; faults may drop, double, delay or reorder them.
    pub fn take_in(&mut self, now: Now, deliveries: Vec<Delivery>, faults: &mut Faults, out: &mut Effects) {
        for delivery in deliveries {
            let job = delivery.job.map(|job| job.to_string()).unwrap_or_default();
            let subject = BTreeMap::from([
                ("webhook", delivery.webhook.as_str()),
                ("event", delivery.event.as_str()),
                ("url", delivery.url.as_str()),
                ("job", job.as_str()),
            ]);
            let (mut delay, mut stale, mut copies, mut overtaken) =
                (Duration::ZERO, Duration::ZERO, 1, false);
            if faults.any("webhook.") {
                let seconds = |fault: &crate::fault::Fault, name: &str, default: f64| {
                    Duration::try_from_secs_f64(fault.number(name).unwrap_or(default)).unwrap_or_default()
                };
                if faults.check(now, "webhook.lost", &subject, out).is_some() {
                    continue;
                }
                if let Some(fault) = faults.check(now, "webhook.late", &subject, out) {
                    (delay, stale) = (seconds(fault, "delay_s", 5.0), seconds(fault, "stale_s", 0.0));
                }
                if let Some(fault) = faults.check(now, "webhook.doubled", &subject, out) {
                    // The cast saturates.
                    copies = fault
                        .number("copies")
                        .map_or(2, |copies| copies as usize)
                        .clamp(1, 100);
                }
                overtaken = faults.check(now, "webhook.reordered", &subject, out).is_some();
            }
            let parcel = Parcel {
                delivery,
                stale,
                attempt: 1,
            };
            self.route(now.since_start + delay, parcel, copies, overtaken);
        }
    }

    fn route(&mut self, due: Duration, parcel: Parcel, copies: usize, overtaken: bool) {
        let webhook = parcel.delivery.webhook.clone();
        if overtaken && !self.held.contains_key(&webhook) {
            self.held.insert(webhook, parcel.clone());
            // Nobody may come to overtake it.
            self.push(due + OVERTAKEN_WITHIN, parcel);
            return;
        }
        for _ in 0..copies {
            self.push(due, parcel.clone());
        }
        if let Some(held) = self.held.remove(&webhook) {
            self.parcels
                .retain(|_, known| known.delivery.id != held.delivery.id);
            self.push(due, held);
        }
    }

    fn push(&mut self, due: Duration, parcel: Parcel) {
        self.queued += 1;
        self.parcels.insert((due, self.queued), parcel);
    }

    /// When something is due next, since start.
    pub fn next_due(&self) -> Option<Duration> {
        self.parcels.keys().next().map(|(due, _)| *due)
    }

    /// Takes what is due, in order.
    pub fn due(&mut self, now: Now) -> Vec<Parcel> {
        let later = self
            .parcels
            .split_off(&(now.since_start + Duration::from_nanos(1), 0));
        let due = std::mem::replace(&mut self.parcels, later);
        for parcel in due.values() {
            let held = self.held.get(&parcel.delivery.webhook);
            if held.is_some_and(|held| held.delivery.id == parcel.delivery.id) {
                self.held.remove(&parcel.delivery.webhook);
            }
        }
        due.into_values()
            .filter(|parcel| !self.removed.contains(&parcel.delivery.webhook))
            .collect()
    }

    /// What is on its way to a webhook that was removed is not sent any more.
    pub fn forget(&mut self, webhook: &str) {
        self.removed.insert(webhook.to_owned());
    }

    /// Tells how an attempt ended; one that failed is made again while `attempts` are left, after 1, 2, 4 … s.
    pub fn sent(&mut self, now: Now, parcel: Parcel, sent: &Sent, attempts: u32, out: &mut Effects) {
        let delivery = &parcel.delivery;
        let mut event = Event::new(Host::Buildkite, "webhook.sent")
            .with("delivery", delivery.id)
            .with("webhook", delivery.webhook.clone())
            .with("event", delivery.event.clone())
            .with("job", delivery.job.map(|job| job.to_string()))
            .with("attempt", parcel.attempt);
        event = match sent {
            Sent::Status(status) => event.with("status", *status),
            Sent::Failed(reason) => event
                .with("status", serde_json::Value::Null)
                .with("reason", reason.as_str()),
        };
        out.push(event);
        let accepted = matches!(sent, Sent::Status(200..300));
        if !accepted && parcel.attempt < attempts {
            let pause = Duration::from_secs(1 << (parcel.attempt - 1).min(6));
            let again = Parcel {
                attempt: parcel.attempt + 1,
                ..parcel
            };
            self.push(now.since_start + pause, again);
        }
    }
}
