//! Jobs whose turn it is but for a cap.

use std::sync::Arc;

use super::{
    place::{Placing, Seat, group_of},
    triage::Waiting,
};
use crate::{
    plan::Choice,
    reason::{Capped, Reason},
};

impl<'a> Placing<'a> {
    /// A later choice for which the caps have room: of a range of sizes a smaller one.
    pub fn within_caps(&mut self, job: &'a Waiting<'a>, plan: usize, pipeline: &'a str) -> Option<Reason> {
        let progress = &self.plans[plan];
        if progress
            .full_for
            .iter()
            .any(|known| std::ptr::eq(*known, pipeline))
        {
            return None;
        }
        let (plan_of, at) = (progress.plan, progress.at);
        for choice in plan_of.choices.get(at + 1..)? {
            if self.caps.full(pipeline, choice).is_some() {
                continue;
            }
            let Some(turn) = self.turn(choice).ok().filter(|turn| !turn.zones.is_probe()) else {
                continue;
            };
            for (row, amount) in &turn.needs {
                self.board.rows[*row].take(*amount);
            }
            self.caps.take(pipeline, choice);
            let group = group_of(&mut self.groups, &mut self.by_shape, choice, &turn.zones);
            let seat = Seat { job, plan: plan_of };
            self.groups[group].seats.push(seat);
            return Some(Reason::Creating(choice.placement.clone()));
        }
        // What is left of caps and quotas only shrinks in a pass.
        self.plans[plan].full_for.push(pipeline);
        None
    }

    /// Why a job waits whose turn it is but for a cap.
    pub fn capped(&mut self, pipeline: &'a str, choice: &Choice, plan: usize, overdue: bool) -> Reason {
        let hopeless = |full: Option<(usize, Capped)>| full.is_some_and(|(_, what)| what.is_hopeless());
        let (of, at) = (self.plans[plan].plan, self.plans[plan].at);
        if hopeless(self.caps.full(pipeline, choice)) && self.plans[plan].is_worth_waiting() {
            let before = &of.choices[..at];
            // A choice that comes first and is out at present is what it waits for.
            if before
                .iter()
                .any(|choice| !hopeless(self.caps.full(pipeline, choice)))
            {
                return self.obstructed(plan, overdue);
            }
        }
        // That nothing but a larger cap helps is true only if it does so for every choice.
        let mut rest = of.choices[at..].iter();
        let choice = rest
            .find(|choice| !hopeless(self.caps.full(pipeline, choice)))
            .unwrap_or(choice);
        match self.caps.refuses(pipeline, choice) {
            Some((cap, line)) => Reason::Capped {
                cap: Arc::new(cap),
                line,
            },
            None => self.obstructed(plan, overdue),
        }
    }
}
