//! What a scenario cannot be, told with the place in its file and a hint.

use std::fmt;

use super::{Act, Planned, Scenario, What, When};

/// Kinds of events that the fakes log, as triggers name them.
pub const EVENTS: [&str; 25] = [
    "agent.disconnected",
    "agent.lost",
    "agent.registered",
    "api.call",
    "build.created",
    "build.finished",
    "fault.applied",
    "guest.state",
    "identity.minted",
    "instance.deleted",
    "instance.inserted",
    "instance.refused",
    "instance.state",
    "job.acquired",
    "job.annotated",
    "job.created",
    "job.finished",
    "job.notified",
    "job.reprioritized",
    "job.reserved",
    "job.state",
    "machine.claimed",
    "operation.state",
    "quota.used",
    "token.issued",
];

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the file; empty for the whole.
    pub path: String,
    /// What, and what to do about it.
    pub what: String,
}

impl Problem {
    /// A problem.
    pub fn at(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            what: what.into(),
        }
    }
}

/// A scenario that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Bad {
    /// The file.
    pub file: String,
    /// Everything that is wrong with it.
    pub problems: Vec<Problem>,
}

impl Bad {
    pub(super) fn new(file: &str, problems: Vec<Problem>) -> Self {
        Self {
            file: file.to_owned(),
            problems,
        }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scenario {} is refused", self.file)?;
        for Problem { path, what } in &self.problems {
            match path.as_str() {
                "" => write!(f, "\n  {what}")?,
                path => write!(f, "\n  {path}: {what}")?,
            }
        }
        Ok(())
    }
}

impl Scenario {
    /// Refuses what cannot be run.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn check(&self, name: &str) -> Result<(), Bad> {
        match self.problems() {
            problems if problems.is_empty() => Ok(()),
            problems => Err(Bad::new(name, problems)),
        }
    }

    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut wrong = |path: String, what: String| found.push(Problem { path, what });
        if self.replicas == 0 || self.replicas > MOST_REPLICAS {
            wrong(
                "replicas".into(),
                format!("is from 1 to {MOST_REPLICAS}, not {}", self.replicas),
            );
        }
        if self.latency_ms.0 > self.latency_ms.1 {
            let (from, to) = self.latency_ms;
            wrong(
                "latency_ms".into(),
                format!("is [shortest, longest], not [{from}, {to}]"),
            );
        }
        if self.quiet_after_ms >= self.patience_ms {
            let patience = self.patience_ms;
            let hint =
                format!("must be before patience_ms ({patience}): the world needs time to come to its end");
            wrong("quiet_after_ms".into(), hint);
        }
        if let Err(why) = self.limits.limits() {
            wrong("limits".into(), why);
        }
        if self.builds.is_empty() {
            wrong("builds".into(), "is empty: a run needs at least one build".into());
        }
        for (index, build) in self.builds.iter().enumerate() {
            if build.at_ms >= self.patience_ms {
                wrong(
                    format!("builds[{index}].at_ms"),
                    late(build.at_ms, "patience_ms", self.patience_ms),
                );
            }
            if let Err(why) = build.steps() {
                wrong(format!("builds[{index}].pipeline"), why);
            }
        }
        for (index, act) in self.acts.iter().enumerate() {
            self.check_when(
                &format!("acts[{index}]"),
                &act.when,
                self.patience_ms,
                "patience_ms",
                &mut wrong,
            );
            if let Act::CancelBuild { build } = act.what
                && build >= self.builds.len()
            {
                let count = self.builds.len();
                wrong(
                    format!("acts[{index}].what.build"),
                    format!("there is no build {build}: {count} are listed"),
                );
            }
        }
        for (index, fault) in self.faults.iter().enumerate() {
            self.check_fault(&format!("faults[{index}]"), fault, &mut wrong);
        }
        found
    }

    fn check_when(
        &self,
        path: &str,
        when: &When,
        end_ms: u64,
        end: &str,
        wrong: &mut impl FnMut(String, String),
    ) {
        match when {
            When::At { at_ms } if *at_ms >= end_ms => {
                wrong(format!("{path}.when.at_ms"), late(*at_ms, end, end_ms));
            }
            When::Point { nth: 0, .. } | When::Event { nth: 0, .. } => {
                wrong(format!("{path}.when.nth"), "counts from 1; 0 never comes".into());
            }
            When::Event { event, .. } if !EVENTS.contains(&event.as_str()) => {
                wrong(format!("{path}.when.event"), unknown("event", event, &EVENTS));
            }
            When::Event { delay_ms, .. } if *delay_ms >= end_ms => {
                wrong(format!("{path}.when.delay_ms"), late(*delay_ms, end, end_ms));
            }
            _ => {}
        }
    }

    fn check_fault(
        &self,
        path: &str,
        Planned { when, what }: &Planned<What>,
        wrong: &mut impl FnMut(String, String),
    ) {
        self.check_when(path, when, self.quiet_after_ms, "quiet_after_ms", wrong);
        let mut of = |field: &str, why: String| wrong(format!("{path}.what.{field}"), why);
        for replica in what.replicas() {
            if replica >= self.replicas {
                let last = self.replicas.saturating_sub(1);
                of(
                    "replica",
                    format!("there is no replica {replica}: they count from 0 to {last}"),
                );
            }
        }
        if let Some(lasting) = what.lasting_ms()
            && lasting >= self.patience_ms
        {
            of("lasting_ms", late(lasting, "patience_ms", self.patience_ms));
        }
        if what.kind().is_reply() {
            if what.count() == 0 {
                of(
                    "count",
                    "is at least 1: a fault that meets nothing is none".into(),
                );
            }
            if what.point().is_none() && !matches!(when, When::Point { .. }) {
                of("point", "is needed where `when` names no point".into());
            }
        }
        match what {
            What::LinkCut { a, b, .. } | What::LinkHalfOpen { a, b, .. } if a == b => {
                of(
                    "b",
                    format!("a link is between two replicas, not from {a} to itself"),
                );
            }
            What::QuotaCut { limit, .. } if !(limit.is_finite() && *limit >= 0.0) => {
                of("limit", format!("is a number from 0, not {limit}"));
            }
            What::QuotaRaised { factor } if !(factor.is_finite() && *factor >= 1.0) => {
                of(
                    "factor",
                    format!("raises, so it is a number from 1, not {factor}"),
                );
            }
            What::Reply4xx { says, .. } if !(400..500).contains(&says.status) => {
                of("says.status", format!("is from 400 to 499, not {}", says.status));
            }
            What::Reply5xx { says, .. } if !(500..600).contains(&says.status) => {
                of("says.status", format!("is from 500 to 599, not {}", says.status));
            }
            _ => {}
        }
    }
}

/// Most replicas of a run. More would say nothing more.
pub const MOST_REPLICAS: usize = 7;

fn late(at: u64, end: &str, end_ms: u64) -> String {
    format!("{at} ms never comes: {end} is {end_ms}")
}

/// Words for a name that is not known, with the nearest one that is.
pub(super) fn unknown(noun: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("there is no {noun} {name:?}; did you mean {near:?}?"),
        None => format!("there is no {noun} {name:?}; there are {}", known.join(", ")),
    }
}

/// For a message of the reader that lists what it expected: the nearest of them.
pub(super) fn hint_in(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let near = quoted.next().and_then(|name| {
        let known: Vec<&str> = quoted.collect();
        nearest(name, &known).map(str::to_owned)
    });
    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"))
}

fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let best = known.iter().map(|known| (distance(name, known), *known)).min()?;
    // Two letters changed places count as two.
    (best.0 <= (name.len() / 3).max(2) && best.0 < name.len()).then_some(best.1)
}

/// How many letters to change, add or take away.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = corner + usize::from(from != *to);
            corner = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
