//! Many short seeds with faults: the whole shell, several replicas of it, held to every invariant of the design.

use std::time::Duration;

use gust_loadtest::virtual_gear::{Profile, Sweep};
use strum::VariantArray as _;

/// Seeds of the smoke. `GUST_SMOKE_SEEDS` changes it, for a quick look or a long one.
const SEEDS: u64 = 2_000;

#[test]
fn seeds_with_faults_break_nothing() {
    let seeds = std::env::var("GUST_SMOKE_SEEDS").map_or(SEEDS, |seeds| {
        seeds.parse().expect("GUST_SMOKE_SEEDS is a number")
    });
    let sweep = Sweep {
        from: 1,
        seeds,
        profiles: Profile::VARIANTS.to_vec(),
        replicas: vec![1, 3],
        all: false,
        plain: false,
        jobs: None,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        most_violations: 3,
    };
    let clock = tokio::time::Instant::now();
    let sum = sweep.run(&|sum| {
        if sum.runs.is_multiple_of(200) {
            eprintln!(
                "{} of {seeds} runs, {:.0} s",
                sum.runs,
                clock.elapsed().as_secs_f64()
            );
        }
    });
    let seconds = clock.elapsed().max(Duration::from_millis(1)).as_secs_f64();
    eprintln!(
        "{} runs in {seconds:.0} s: {} jobs ({:.0}/s), {} machines, {} faults met ({:.0}/s), {:.1} a run",
        sum.runs,
        sum.jobs,
        sum.jobs as f64 / seconds,
        sum.machines,
        sum.faults,
        sum.faults as f64 / seconds,
        sum.faults as f64 / sum.runs as f64,
    );
    for failure in &sum.failures {
        let scenario = &failure.scenario;
        eprintln!(
            "seed {}: {}\n  again: cargo run -p gust-loadtest -- sim --seed {} --profile {} --replicas {} --trace",
            scenario.seed,
            failure.what,
            scenario.seed,
            <&str>::from(scenario.profile),
            scenario.replicas
        );
    }
    assert!(sum.failures.is_empty(), "{} runs failed", sum.failures.len());
    assert_eq!(sum.runs, seeds);
    assert!(sum.fewest_jobs >= 20, "a run of {} jobs", sum.fewest_jobs);
    // Faults that meet nothing prove nothing.
    assert!(
        sum.faults >= 5 * sum.runs,
        "{} faults met in {} runs",
        sum.faults,
        sum.runs
    );
}
