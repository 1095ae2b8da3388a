use super::*;

fn at(seconds: u64) -> Now {
    Now::at(0, Duration::from_secs(seconds))
}

fn order(body: Value) -> Order {
    serde_json::from_value(body).unwrap()
}

#[test]
fn a_fault_applies_within_its_window_and_count_only() {
    let mut faults = Faults::new(1);
    let mut out = Effects::default();
    let aim = json!({"zone": ["us-a", "us-b*"], "family": "n2d"});
    faults
        .add(
            at(10),
            order(json!({"kind":"gce.stockout","match":aim,"from_s":5,"for_s":10,"count":2})),
        )
        .unwrap();
    let subject = BTreeMap::from([("zone", "us-b1"), ("family", "n2d"), ("size", "16")]);
    assert!(faults.check(at(14), "gce.stockout", &subject, &mut out).is_none());
    assert!(faults.check(at(15), "gce.stockout", &subject, &mut out).is_some());
    let elsewhere = BTreeMap::from([("zone", "us-c"), ("family", "n2d")]);
    assert!(
        faults
            .check(at(15), "gce.stockout", &elsewhere, &mut out)
            .is_none()
    );
    assert!(faults.check(at(16), "gce.stockout", &subject, &mut out).is_some());
    assert!(
        faults.check(at(17), "gce.stockout", &subject, &mut out).is_none(),
        "the count is used up"
    );
    let events = out.take();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].fields["fault"], "f1");
    assert_eq!(events[0].fields["subject"]["zone"], "us-b1");
}

#[test]
fn what_is_not_built_or_not_understood_is_refused() {
    let mut faults = Faults::new(1);
    let mut refused = |body: Value| faults.add(at(0), order(body)).unwrap_err().to_string();
    insta::assert_snapshot!(refused(json!({"kind":"gce.earthquake"})), @"fault gce.earthquake is not built");
    insta::assert_snapshot!(refused(json!({"kind":"reply.lost","match":{"host":"run"}})), @"fault reply.lost on host run is not built");
    insta::assert_snapshot!(refused(json!({"kind":"buildkite.pause","match":{"que":"x"}})), @r#"fault buildkite.pause: unknown match key "que"; it takes queue"#);
    insta::assert_snapshot!(refused(json!({"kind":"reply.lost","probability":2})), @"fault reply.lost: probability 2 is not between 0 and 1");
}

#[test]
fn a_standing_fault_is_told_once_and_ends_when_deleted() {
    let mut faults = Faults::new(1);
    let mut out = Effects::default();
    let id = faults
        .add(
            at(0),
            order(json!({"kind":"buildkite.pause","match":{"queue":"gust"}})),
        )
        .unwrap();
    let subject = BTreeMap::from([("queue", "gust")]);
    assert!(
        faults
            .standing(at(1), "buildkite.pause", &subject, &mut out)
            .is_some()
    );
    assert!(
        faults
            .standing(at(2), "buildkite.pause", &subject, &mut out)
            .is_some()
    );
    assert_eq!(out.take().len(), 1);
    assert!(faults.remove(&id));
    assert!(!faults.remove(&id));
    assert!(
        faults
            .standing(at(3), "buildkite.pause", &subject, &mut out)
            .is_none()
    );
}
