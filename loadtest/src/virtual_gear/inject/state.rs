//! What the injector remembers: how often what passed, which faults hang on it, which rules stand.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use strum::VariantArray as _;

use super::super::{
    net::Point,
    scenario::{Scenario, Side, When},
};

/// What is planned, by its place in the scenario's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Build(usize),
    Act(usize),
    Fault(usize),
    /// A cut of a quota, or a pause, is over.
    Over(usize),
}

/// A reply fault that stands for the next messages at a point.
#[derive(Debug)]
pub(super) struct Rule {
    pub point: Point,
    pub fault: usize,
    pub left: u32,
}

/// A trigger on events of one kind.
#[derive(Debug, Default)]
struct Count {
    seen: u64,
    waiting: BTreeMap<u64, Vec<(Item, Duration)>>,
}

#[derive(Debug)]
pub(super) struct State {
    rng: ChaCha8Rng,
    latency_ms: (u64, u64),
    passages: Vec<u64>,
    served: Vec<u64>,
    at_points: BTreeMap<(Point, Side, u64), Vec<Item>>,
    at_events: BTreeMap<String, Count>,
    pub rules: Vec<Rule>,
    /// The last replica that called Buildkite: only a leader does.
    pub leader: usize,
    /// Faults set in the fakes, by the id that the fakes gave them.
    pub set: BTreeMap<String, usize>,
    /// Cuts of quotas that stand: fault, metric, limit.
    pub cuts: Vec<(usize, String, f64)>,
    /// Pauses that stand; acts count from the end of the faults.
    pub pauses: Vec<usize>,
    /// Raised quotas that nobody has read yet.
    pub raised: Vec<usize>,
    /// Buildkite does not take gust's token: which fault, and until when.
    pub revoked: Option<(usize, Duration)>,
    /// Builds that are still to come.
    pub builds_left: usize,
    /// What the driver's calendar holds, or is about to.
    pub errands_left: usize,
}

impl State {
    pub fn new(scenario: &Scenario) -> Self {
        let mut state = Self {
            rng: ChaCha8Rng::seed_from_u64(scenario.seed ^ 0x696e_6a65_6374),
            latency_ms: scenario.latency_ms,
            passages: vec![0; Point::VARIANTS.len()],
            served: vec![0; Point::VARIANTS.len()],
            at_points: BTreeMap::new(),
            at_events: BTreeMap::new(),
            rules: Vec::new(),
            leader: 0,
            set: BTreeMap::new(),
            cuts: Vec::new(),
            pauses: Vec::new(),
            raised: Vec::new(),
            revoked: None,
            builds_left: scenario.builds.len(),
            errands_left: 0,
        };
        for (at, act) in scenario.acts.iter().enumerate() {
            state.arm(Item::Act(at), &act.when);
        }
        for (at, fault) in scenario.faults.iter().enumerate() {
            state.arm(Item::Fault(at), &fault.when);
        }
        state
    }

    /// The fault for which Buildkite refuses a call at this point now, if it takes no token of gust's.
    pub fn revoked_at(&self, point: Point, now: Duration) -> Option<usize> {
        let (fault, until) = self.revoked?;
        (is_source(point) && now < until).then_some(fault)
    }

    fn arm(&mut self, item: Item, when: &When) {
        match when {
            // The driver has a calendar of its own.
            When::At { .. } => {}
            When::Point { point, nth, side } => {
                self.at_points
                    .entry((*point, *side, *nth))
                    .or_default()
                    .push(item);
            }
            When::Event { event, nth, delay_ms } => {
                let count = self.at_events.entry(event.clone()).or_default();
                let delay = Duration::from_millis(*delay_ms);
                count.waiting.entry(*nth).or_default().push((item, delay));
            }
        }
    }

    /// How long a message is on its way.
    pub fn latency(&mut self) -> Duration {
        let (from, to) = self.latency_ms;
        Duration::from_millis(if from < to {
            self.rng.random_range(from..=to)
        } else {
            from
        })
    }

    /// Counts a message, and tells what hangs on it.
    pub fn count(&mut self, point: Point, side: Side) -> Vec<Item> {
        let counts = match side {
            Side::Before => &mut self.passages,
            Side::After => &mut self.served,
        };
        // The enum has no gaps.
        let count = &mut counts[point as usize];
        *count += 1;
        let key = (point, side, *count);
        if self.at_points.is_empty() {
            return Vec::new();
        }
        self.at_points.remove(&key).unwrap_or_default()
    }

    /// Counts an event, and tells what hangs on it and how much later.
    pub fn count_event(&mut self, kind: &str) -> Vec<(Item, Duration)> {
        let Some(count) = self.at_events.get_mut(kind) else {
            return Vec::new();
        };
        count.seen += 1;
        count.waiting.remove(&count.seen).unwrap_or_default()
    }

    /// The reply fault that stands for this message, counted down.
    pub fn rule_at(&mut self, point: Point) -> Option<usize> {
        let at = self.rules.iter().position(|rule| rule.point == point)?;
        let fault = self.rules[at].fault;
        self.rules[at].left -= 1;
        if self.rules[at].left == 0 {
            self.rules.remove(at);
        }
        Some(fault)
    }
}

/// Whether it is a call to Buildkite.
pub(super) fn is_source(point: Point) -> bool {
    matches!(
        point,
        Point::SourceRegister
            | Point::SourceList
            | Point::SourceReserve
            | Point::SourceStates
            | Point::SourceFinish
            | Point::SourceNotify
            | Point::SourceTokens
    )
}
