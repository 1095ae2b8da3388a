//! Two seeds of chaos with real processes; `gust-loadtest chaos` does a hundred.

use std::time::Duration;

use gust_loadtest::wire::{ChaosOptions, chaos};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_die_and_freeze_lose_double_and_leave_nothing() {
    for seed in [1, 2] {
        let dir = tempfile::tempdir().expect("a directory");
        let options = ChaosOptions {
            seed,
            replicas: 3,
            members: if seed == 1 { 1 } else { 3 },
            faults: 3,
            patience: Duration::from_secs(180),
        };
        let run = chaos(&options, dir.path()).await.expect("it runs");
        for line in &run.done {
            eprintln!("{line}");
        }
        assert_eq!(run.verdict.violations, Vec::<String>::new());
        assert_eq!(run.verdict.jobs, 8);
    }
}
