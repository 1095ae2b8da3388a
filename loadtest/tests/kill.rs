//! Three kills of a real `gust serve`, in three phases; `gust-loadtest kill` does fifty.

use std::time::Duration;

use gust_loadtest::wire::{KillOptions, kill};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_loses_doubles_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = KillOptions {
        count: 3,
        seed: 3,
        patience: Duration::from_secs(120),
    };
    let killed = kill(&options, dir.path(), &mut |line| eprintln!("{line}"))
        .await
        .expect("it runs");
    assert_eq!(killed.phases.values().sum::<usize>(), 3);
    assert_eq!(killed.verdict.violations, Vec::<String>::new());
    assert_eq!(killed.verdict.jobs, 9);
}
