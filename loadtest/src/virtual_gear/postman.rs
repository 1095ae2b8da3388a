//! Webhooks in virtual time: of what happens at Buildkite replicas are told some, late, twice, in another order, and sometimes
//! of what did not happen.

use std::time::Duration;

use gust_core::{
    ids::{JobId, QueueKey},
    ports::Hint,
};
use gust_fakes::event::Event;
use gust_server::task::{Dice, Tasks};
use serde_json::Value;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{machine::Doors, world::Watcher};

/// The longest way of a webhook.
const LONGEST: Duration = Duration::from_secs(3);
/// Of so many webhooks one is lost, and one is sent twice.
const ODD: f64 = 0.2;
/// After so many comes one that nothing is behind.
const FALSE: f64 = 0.1;

/// Sees what Buildkite would tell.
pub(super) struct Postman(mpsc::UnboundedSender<Hint>);

impl Watcher for Postman {
    fn saw(&self, _at: Duration, event: &Event) {
        let text = |field| event.fields.get(field).and_then(Value::as_str);
        let hint = match (event.kind, text("to")) {
            ("job.state", Some("scheduled")) => Hint::Scheduled(Some(QueueKey::from("gust"))),
            ("job.state", Some("finished" | "canceled" | "timed_out")) => {
                let job = text("job").and_then(|job| Uuid::parse_str(job).ok());
                Hint::Ended(job.map(JobId))
            }
            _ => return,
        };
        let _ = self.0.send(hint);
    }
}

impl Postman {
    /// Delivers at these doors, as the seed has it.
    pub fn begin(doors: Doors, dice: Dice, tasks: &Tasks) -> Self {
        let (sender, hints) = mpsc::unbounded_channel();
        tasks.spawn("postman", deliver(hints, doors, dice, tasks.clone()));
        Self(sender)
    }
}

async fn deliver(mut hints: mpsc::UnboundedReceiver<Hint>, doors: Doors, dice: Dice, tasks: Tasks) {
    while let Some(hint) = hints.recv().await {
        let copies = match dice.fraction() {
            roll if roll < ODD => 0,
            roll if roll < 2.0 * ODD => 2,
            _ => 1,
        };
        let mut letters = vec![hint; copies];
        if dice.fraction() < FALSE {
            letters.push(Hint::Ended(None));
            letters.push(Hint::Ended(Some(JobId(Uuid::nil()))));
            letters.push(Hint::Scheduled(Some(QueueKey::from("another"))));
        }
        for letter in letters {
            let (doors, way) = (doors.clone(), LONGEST.mul_f64(dice.fraction()));
            tasks.spawn("webhook", async move {
                tokio::time::sleep(way).await;
                let mut open = (0..doors.count()).filter_map(|door| doors.get(door));
                // Whoever takes it passes it on to the leader, where there is one.
                let _ = open.any(|door| door.hint(letter.clone()));
            });
        }
    }
}
