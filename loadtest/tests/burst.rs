//! A small burst on real processes with simulated machines; `gust-loadtest burst` measures a large one.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use gust_fakes::limits::Limits;
use gust_loadtest::wire::{Burst, BurstOptions, Records, burst};

/// Short boots: nothing is measured here. Buildkite counts a second's calls when they come and gust when they go, so a
/// machine that stalls lets more than ten of those for tokens come in one: that limit is out of the way.
fn limits(dir: &Path) -> PathBuf {
    let mut limits = Limits::demo();
    let rates = &mut limits.buildkite.rates_per_second;
    rates.insert("job-acquisition-token".to_owned(), 1000);
    let path = dir.join("limits.toml");
    let text = toml::to_string(&limits).expect("limits are made of what TOML can hold");
    std::fs::write(&path, text).expect("a writable directory");
    path
}

async fn small(jobs: usize, records: Records) -> Burst {
    let dir = tempfile::tempdir().expect("a directory");
    let options = BurstOptions {
        jobs,
        default_quotas: false,
        limits: Some(limits(dir.path())),
        records,
        seed: 1,
        patience: Duration::from_secs(180),
    };
    let mut say = |line| eprintln!("{line}");
    burst(&options, dir.path(), &mut say).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_of_a_burst_gets_a_machine_runs_and_leaves_nothing_behind() {
    let run = small(30, Records::Embedded).await;
    assert_eq!(run.verdict.violations, Vec::<String>::new());
    assert_eq!((run.verdict.jobs, run.verdict.machines), (30, 30));
    assert_eq!(run.ends.get("0 by agent"), Some(&30), "{:?}", run.ends);
    assert_eq!(run.rejected.values().sum::<u64>(), 0, "{:?}", run.rejected);
    let machines: u64 = run.creates.values().map(|(_, machines)| machines).sum();
    assert_eq!(machines, 30, "{:?}", run.creates);
    let deletes = run
        .calls
        .iter()
        .filter(|(kind, _)| kind.method == "compute.instances.delete");
    assert_eq!(deletes.map(|(_, calls)| calls).sum::<u64>(), 30);
    assert!(run.until_end > 0.0 && run.until_gone >= run.until_end);
}
