//! Leaders lost with a small backlog (hand-overs are in the test of upgrades); `gust-loadtest failover` does all ways a hundred times.

use std::time::Duration;

use gust_loadtest::wire::{Cause, FailoverOptions, failover};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_leader_is_followed_by_another_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().expect("a directory");
    let causes = vec![Cause::Host, Cause::Process];
    let options = FailoverOptions {
        causes: causes.clone(),
        count: causes.len(),
        backlog: 100,
        seed: 1,
        patience: Duration::from_secs(120),
    };
    let mut say = |line| eprintln!("{line}");
    let run = failover(&options, dir.path(), &mut say).await.expect("it runs");
    assert_eq!(run.verdict.violations, Vec::<String>::new());
    for cause in causes {
        // How long a gap is depends on what else the machine does: the command measures it.
        assert_eq!(run.rows[&cause].gaps.len(), 1, "{}", cause.name());
    }
    // Supervisor and replica died together: nobody but a peer could end that lease before it lapsed.
    let by_a_peer = (0..3).any(|nth| {
        let log = dir.path().join(format!("r{nth}/gust.log"));
        let log = std::fs::read_to_string(log).expect("its log");
        log.contains("its process is dead, and its lease is ended")
    });
    assert!(by_a_peer, "a follower sees its redial refused");
}
