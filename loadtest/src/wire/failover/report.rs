//! The table of gaps by cause.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::{
    super::verdict::Verdict,
    cause::Cause,
    gaps::{Course, Loss, percentile},
};

/// The outcome.
#[derive(Debug)]
pub struct Failovers {
    /// By cause.
    pub rows: BTreeMap<Cause, Row>,
    /// Times between accepted creates away from all losses, in seconds: the median and the 99th percentile. The
    /// median was taken off every gap.
    pub usual: (f64, f64),
    /// The same between commits.
    pub usual_writes: (f64, f64),
    /// What the judge says.
    pub verdict: Verdict,
}

/// The losses of one cause.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Gaps in seconds, in the order of the losses; of writes where a member of etcd was lost.
    pub gaps: Vec<f64>,
}

impl Row {
    /// The gap that so many per cent do not exceed.
    pub fn percentile(&self, per_cent: usize) -> f64 {
        percentile(&self.gaps, per_cent)
    }

    /// The longest gap.
    pub fn max(&self) -> f64 {
        self.gaps.iter().copied().fold(0.0, f64::max)
    }
}

pub(super) fn of(losses: &[(Cause, Loss)], course: &Course, verdict: Verdict) -> Result<Failovers> {
    let all: Vec<Loss> = losses.iter().map(|(_, loss)| *loss).collect();
    let both = |values: &[f64]| (percentile(values, 50), percentile(values, 99));
    let (usual, usual_writes) = (both(&course.usual(&all)), both(&course.usual_writes(&all)));
    let mut rows: BTreeMap<Cause, Row> = BTreeMap::new();
    for (nth, (cause, loss)) in losses.iter().enumerate() {
        let (gap, usual) = match cause {
            Cause::Member => (course.write_gap(*loss, all.get(nth + 1).copied()), usual_writes.0),
            _ => (course.gap(*loss), usual.0),
        };
        let gap =
            gap.with_context(|| format!("nothing was placed around {} at {:.3} s", cause.name(), loss.at))?;
        rows.entry(*cause).or_default().gaps.push((gap - usual).max(0.0));
    }
    Ok(Failovers {
        rows,
        usual,
        usual_writes,
        verdict,
    })
}
