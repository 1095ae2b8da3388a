//! Which other machine types a bulk call names, for Google to take where it has none of the first: what the next pass
//! would ask for after a refusal, without the round trip.
//!
//! Until Google has told which types it took, the record promises the quota of all of them. So only what nobody waits for is
//! promised twice.

use super::{
    gates,
    place::{Group, Placing, Seat},
};
use crate::{
    plan::{Choice, Plan},
    quota::Usage,
    shape::{Alternative, Shape},
};

impl<'a> Placing<'a> {
    /// The alternatives of a bulk call for these seats, best first. Their quota is taken off the board.
    pub fn alternatives(&mut self, group: usize, seats: &[Seat<'a>]) -> Vec<Alternative> {
        let most = self.snapshot.settings.alternatives;
        let Group {
            choice: own, zones, ..
        } = &self.groups[group];
        let (own, probe, asked) = (*own, zones.is_probe(), zones.all());
        if most == 0 || probe || is_prepaid(own) {
            return Vec::new();
        }
        let mut found: Vec<Alternative> = Vec::new();
        let mut promised = own.usage.clone();
        for next in after(own, seats) {
            let Some(alternative) = alternative(&own.shape, next) else {
                break;
            };
            if found.len() == most {
                break;
            }
            let is_new = found.iter().all(|it| it.machine_type != alternative.machine_type);
            let is_open = || {
                let open = gates::zones(self.snapshot, next, &self.probed).ok();
                open.is_some_and(|zones| {
                    !zones.is_probe() && zones.open.iter().any(|zone| asked.contains(zone))
                })
            };
            if is_prepaid(next) || !is_new || !is_open() {
                continue;
            }
            if let Some(all) = self.promise_too(own, &promised, next, seats.len() as u64) {
                promised = all;
                found.push(alternative);
            }
        }
        found
    }

    /// Takes off the board what the machines need more if they may be of this choice as well, and tells what one of
    /// them may use now. `None`, with nothing taken, if there is less than twice that, or somebody waits for it.
    fn promise_too(
        &mut self,
        own: &'a Choice,
        promised: &Usage,
        next: &'a Choice,
        count: u64,
    ) -> Option<Usage> {
        let all = promised.clone().or(&next.usage);
        let mut more = Vec::new();
        let mut board = self.board.of(self.snapshot, &own.shard);
        for (metric, amount) in &next.usage.0 {
            let already = promised.0.iter().find(|(known, _)| known == metric);
            let extra = amount.saturating_sub(already.map_or(0, |(_, known)| *known)) * count;
            let Some(row) = board.row(metric) else {
                continue;
            };
            let row_left = &board.rows[row];
            if extra > 0 && (row_left.line > 0 || row_left.left() / 2 < extra) {
                return None;
            }
            more.push((row, extra));
        }
        for (row, extra) in more {
            self.board.rows[row].take(extra);
        }
        Some(all)
    }
}

/// What comes after a choice in the plan of all these seats, as far as it is in the same shard. Where their plans differ,
/// what suits one need not suit another.
fn after<'a>(own: &'a Choice, seats: &[Seat<'a>]) -> impl Iterator<Item = &'a Choice> + use<'a> {
    let plan: Option<&'a Plan> = seats.first().map(|seat| seat.plan);
    let plan = plan.filter(|plan| seats.iter().all(|seat| seat.plan.key == plan.key));
    let choices = plan.map_or(&[][..], |plan| &plan.choices);
    let at = choices
        .iter()
        .position(|choice| choice.price == own.price && choice.shape == own.shape);
    let rest = at.map_or(&[][..], |at| &choices[at + 1..]);
    rest.iter().take_while(|choice| choice.shard == own.shard)
}

fn is_prepaid(choice: &Choice) -> bool {
    choice.usage.0.iter().any(|(metric, _)| metric.is_prepaid())
}

/// The choice as an alternative to a shape; `None` if more than the type differs.
fn alternative(own: &Shape, choice: &Choice) -> Option<Alternative> {
    let other = &*choice.shape;
    if own.local_ssds > 0 || own.gpus.is_some() {
        return None;
    }
    let alternative = Alternative {
        machine_type: other.machine_type.clone(),
        family: other.family.clone(),
        memory_mib: other.memory_mib,
        price: choice.price,
    };
    let mut same = own.with(&alternative);
    same.zones.clone_from(&other.zones);
    (same == *other).then_some(alternative)
}
