//! What is printed of a run. Each function tells whether nothing was violated.

#![expect(clippy::print_stdout, reason = "the report is this program's product")]

use std::{collections::BTreeMap, fmt::Display};

use gust_loadtest::wire::{Failovers, Upgraded, Verdict};

/// Gaps by cause, beside their goals.
pub fn failovers(run: &Failovers) -> bool {
    println!("cause      losses  gap P50    P99    max   goal (P99), all in seconds");
    for (cause, row) in &run.rows {
        let (p99, goal) = (row.percentile(99), cause.goal());
        println!(
            "{:<9} {:>7}   {:>6.3} {p99:>6.3} {:>6.3} {goal:>6.2}{}",
            cause.name(),
            row.gaps.len(),
            row.percentile(50),
            row.max(),
            if p99 > goal { "  missed" } else { "" }
        );
    }
    println!(
        "without a loss: {:.3} s between creates (P99 {:.3}), {:.3} s between commits (P99 {:.3}); the median is taken off each gap",
        run.usual.0, run.usual.1, run.usual_writes.0, run.usual_writes.1
    );
    counted::<&str>(&BTreeMap::new(), "", &run.verdict)
}

/// Holes by replica.
pub fn upgraded(run: &Upgraded) -> bool {
    for step in &run.steps {
        let role = if step.led { "led" } else { "followed" };
        println!(
            "r{} {role:<9} longest time without a create {:.3} s",
            step.replica, step.hole
        );
    }
    println!(
        "without a restart: {:.3} s between creates (P99 {:.3}); the median is taken off each; versions {:?}",
        run.usual.0, run.usual.1, run.versions
    );
    counted::<&str>(&BTreeMap::new(), "", &run.verdict)
}

/// What was done, how often, and the verdict.
pub fn counted<K: Display>(counts: &BTreeMap<K, usize>, what: &str, verdict: &Verdict) -> bool {
    for (name, count) in counts {
        println!("{name:<48} {count:>3} {what}");
    }
    println!(
        "{} jobs, {} machines, {} tokens issued anew to the machine that had claimed, {} violations",
        verdict.jobs,
        verdict.machines,
        verdict.reissued,
        verdict.violations.len()
    );
    for violation in &verdict.violations {
        println!("violation: {violation}");
    }
    verdict.violations.is_empty()
}
