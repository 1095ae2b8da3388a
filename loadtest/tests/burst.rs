//! A small burst on real processes with simulated machines; `gust-loadtest burst` measures a large one.

use std::time::Duration;

use gust_loadtest::wire::{Burst, BurstOptions, Records, burst};

/// Short boots: nothing is measured here.
const LIMITS: &str = "demo";

async fn small(options: BurstOptions) -> Burst {
    let dir = tempfile::tempdir().expect("a directory");
    let mut say = |line| eprintln!("{line}");
    burst(&options, dir.path(), &mut say).await.expect("it ends")
}

fn options(jobs: usize, records: Records) -> BurstOptions {
    BurstOptions {
        jobs,
        default_quotas: false,
        limits: Some(LIMITS.into()),
        records,
        seed: 1,
        patience: Duration::from_secs(180),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_of_a_burst_gets_a_machine_runs_and_leaves_nothing_behind() {
    let run = small(options(30, Records::Embedded)).await;
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
