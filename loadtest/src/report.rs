//! What is printed of a run. Each function tells whether nothing was violated.

#![expect(clippy::print_stdout, reason = "the report is this program's product")]

use std::{collections::BTreeMap, fmt::Display};

use gust_loadtest::wire::{Burst, Course, Failovers, GOAL, Upgraded, Verdict, Waits};

/// The same jobs in each way; true if all ended as they must.
pub fn sources(runs: &[Course]) -> bool {
    println!(
        "{:<18} {:>7} {:>8} {:>8} {:>9} {:>7}  ended",
        "way", "seconds", "told P50", "told P99", "machines", "wrong"
    );
    for run in runs {
        let (middle, late) = run.latency.map_or((f64::NAN, f64::NAN), |found| found);
        let ends: Vec<String> = run
            .ends
            .iter()
            .map(|(end, count)| format!("{end}: {count}"))
            .collect();
        println!(
            "{:<18} {:>7.1} {middle:>8.3} {late:>8.3} {:>9} {:>7}  {}",
            run.way.name(),
            run.took_s,
            run.verdict.machines,
            run.wrong.len(),
            ends.join(", ")
        );
    }
    println!(
        "told: seconds from when a job could be listed until gust did something about it that shows in Buildkite"
    );
    let mut good = true;
    for run in runs {
        println!("{}: calls to Buildkite {:?}", run.way.name(), run.calls);
        for (why, count) in &run.rejected {
            println!("  refused: {count:>5} {why}");
        }
        for line in run.wrong.iter().chain(&run.verdict.violations).take(20) {
            println!("  violation: {line}");
        }
        good &= run.wrong.is_empty() && run.verdict.violations.is_empty();
    }
    println!(
        "{}",
        if good {
            "all ended the same"
        } else {
            "NOT all ended as they must"
        }
    );
    good
}

/// Time, calls and what was refused, beside their goals.
pub fn burst(run: &Burst) -> bool {
    let jobs: usize = run.groups.iter().sum();
    println!("limits: {}", run.limits);
    println!("{jobs} jobs in {} groups: {:?}", run.groups.len(), run.groups);
    for (method, (calls, machines)) in &run.creates {
        println!("{method:<44} {calls:>7} calls accepted, {machines} machines");
    }
    let first: Vec<String> = run
        .bulk
        .iter()
        .take(40)
        .map(|(at, machines)| format!("{machines} at {at:.2}"))
        .collect();
    println!(
        "bulk calls accepted, seconds after all jobs were listed: {}",
        first.join(", ")
    );
    let missed = |is_missed: bool| if is_missed { "  missed" } else { "" };
    // Where most jobs wait for quota, the bound says nothing, and small calls are the right ones.
    let for_speed = run.waits.is_none();
    let bound = &run.bound;
    if for_speed {
        println!(
            "bound: {:.2} s, with {} bulk calls and {} single inserts",
            bound.seconds, bound.bulk_calls, bound.singles
        );
        let took = format!("from jobs listed to the last create accepted: {:.2} s", run.took);
        match run.ratio() {
            Some(ratio) => println!(
                "{took}, {ratio:.3} of the bound (goal {GOAL:.2}){}",
                missed(ratio > GOAL)
            ),
            None => println!("{took}"),
        }
    }
    println!(
        "to the last job's end {:.1} s, until the last machine was gone {:.1} s",
        run.until_end, run.until_gone
    );
    println!("calls to Google a job, by group:");
    for (kind, calls) in &run.calls {
        let each = *calls as f64 / jobs.max(1) as f64;
        println!("  {:<40} {:<44} {calls:>7} {each:>8.4}", kind.group, kind.method);
    }
    let each = run.calls_per_job();
    match for_speed {
        true => println!(
            "all: {each:.4} calls a job (goal {GOAL:.2}){}",
            missed(each > GOAL)
        ),
        false => println!("all: {each:.4} calls a job"),
    }
    let rejected: u64 = run.rejected.values().sum();
    println!("rejected calls: {rejected} (goal 0){}", missed(rejected > 0));
    for (why, count) in &run.rejected {
        println!("  {count:>7} {why}");
    }
    let stacks: u64 = run.buildkite.values().sum();
    println!("calls to Buildkite's Stacks API: {stacks} {:?}", run.buildkite);
    for (how, count) in &run.ends {
        println!("jobs that ended with exit status {how}: {count}");
    }
    let told = run.waits.as_ref().is_none_or(waited);
    counted::<&str>(&BTreeMap::new(), "", &run.verdict) && told
}

/// What waiting jobs were told. True if all of it was so.
fn waited(waits: &Waits) -> bool {
    println!(
        "{} jobs were placed at once; {} notes told of quotas",
        waits.at_once, waits.notes
    );
    for (metric, jobs) in &waits.by_metric {
        println!("waited first for {metric}: {jobs} jobs");
    }
    println!("not true: {}", waits.untrue.len());
    for untrue in waits.untrue.iter().take(20) {
        println!("violation: {untrue}");
    }
    waits.untrue.is_empty()
}

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
