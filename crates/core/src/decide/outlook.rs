//! How a plan stands at present: what of each choice could be had right now, for people who ask.

use super::{
    board::Board,
    gates::{Closed, Probed, zones},
};
use crate::{
    ids::Zone,
    plan::{Choice, Plan},
    quota::Metric,
    reason::Reason,
    snapshot::Snapshot,
};

/// One choice of a plan, as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// The choice.
    pub choice: Choice,
    /// Zones that may be asked now.
    pub zones: Vec<Zone>,
    /// How many such machines quota leaves room for, and the metric that leaves least; nothing if no quota limits it.
    pub room: Option<(u64, Metric)>,
    /// What stands against it whatever its quota, in the words of reasons.
    pub blocked: Option<String>,
}

/// How each choice of a plan stands, in the order in which they are tried. What waits already is not taken off.
pub fn outlook(snapshot: &Snapshot<'_>, plan: &Plan) -> Vec<Outlook> {
    let mut board = Board::default();
    let choices = plan.choices.iter();
    choices
        .map(|choice| {
            let (zones, blocked) = asked(snapshot, choice);
            let mut room: Option<(u64, Metric)> = None;
            let mut board = board.of(snapshot, &choice.shard);
            for (metric, needed) in &choice.usage.0 {
                let Some(row) = board.row(metric) else {
                    continue;
                };
                let fits = board.rows[row].room(*needed);
                if room.as_ref().is_none_or(|(least, _)| fits < *least) {
                    room = Some((fits, metric.clone()));
                }
            }
            Outlook {
                choice: choice.clone(),
                zones,
                room,
                blocked,
            }
        })
        .collect()
}

fn asked(snapshot: &Snapshot<'_>, choice: &Choice) -> (Vec<Zone>, Option<String>) {
    if !snapshot.shards.contains_key(&choice.shard) {
        let reason = Reason::Unowned(choice.shard.region.clone());
        return (Vec::new(), Some(reason.to_string()));
    }
    match zones(snapshot, choice, &Probed::new()) {
        Ok(zones) => (zones.all(), None),
        Err(Closed::Cordoned) => (Vec::new(), Some("closed by the operator".to_owned())),
        Err(Closed::Held(hold)) => (Vec::new(), Some(hold.to_string())),
    }
}
