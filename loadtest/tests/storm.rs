//! One build on real processes while replies are lost, delayed, cut and refused.

use std::time::Duration;

use gust_loadtest::wire::storm;

#[tokio::test(flavor = "multi_thread")]
async fn bad_replies_of_every_kind_cost_time_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory");
    let weathered = storm(dir.path(), 5, Duration::from_secs(180))
        .await
        .expect("it ends");
    assert_eq!(weathered.verdict.violations, Vec::<String>::new());
    assert_eq!((weathered.verdict.jobs, weathered.verdict.machines), (6, 5));
    assert_eq!(weathered.refused.len(), 1, "{:?}", weathered.refused);
    assert!(weathered.refused[0].contains("memory"), "{:?}", weathered.refused);
    // Faults that met nothing would prove nothing.
    assert!(weathered.faults.len() >= 13, "{:#?}", weathered.faults);
}
