//! Replicas restarted one by one with a small backlog; `gust-loadtest upgrade --to GUST` does it with another build.

use std::time::Duration;

use gust_loadtest::wire::{Programs, UpgradeOptions, upgrade};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_restarted_one_by_one_lose_double_and_leave_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let options = UpgradeOptions {
        to: Programs::find().expect("programs").gust(),
        backlog: 100,
        seed: 1,
        patience: Duration::from_secs(120),
    };
    let mut say = |line| eprintln!("{line}");
    let run = upgrade(&options, dir.path(), &mut say).await.expect("it runs");
    assert_eq!(run.verdict.violations, Vec::<String>::new());
    assert_eq!(run.steps.len(), 3);
    assert_eq!(run.versions.len(), 1, "{:?}", run.versions);
}
