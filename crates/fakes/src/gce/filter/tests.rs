use proptest::prelude::*;
use serde_json::{Value, json};

use super::Filter;

fn vm() -> Value {
    json!({
        "name": "gust-0a1b", "status": "RUNNING", "id": "42", "canIpForward": false,
        "zone": "https://www.googleapis.com/compute/v1/projects/p/zones/us-east4-a",
        "creationTimestamp": "2026-11-01T03:10:00.123-08:00",
        "labels": {"gust-owner": "prod", "team": ""},
        "networkInterfaces": [{"networkIP": "10.0.0.2"}, {"networkIP": "10.0.0.3"}],
    })
}

fn passes(filter: &str) -> bool {
    Filter::parse(Some(filter))
        .unwrap_or_else(|error| panic!("{filter}: {}", error.message))
        .unwrap()
        .passes(&vm())
}

#[test]
fn comparisons_follow_the_field() {
    for filter in [
        r#"labels.gust-owner = "prod""#,
        "labels.gust-owner=prod",
        "labels.gust-owner:*",
        "labels.team:*",
        "labels:team",
        "status != TERMINATED",
        "status = RUNNING AND name = gust-0a1b",
        "(status = STAGING) OR (status = RUNNING)",
        "(status = RUNNING) (labels.gust-owner = prod)",
        "status = RUNNING name:gust",
        "zone = us-east4-a",
        r#"zone="https://www.googleapis.com/compute/v1/projects/p/zones/us-east4-a""#,
        "creationTimestamp > 2026-11-01T11:09:59Z",
        r#"creationTimestamp <= "2026-11-01T11:10:00.123Z""#,
        "id = 42 AND id >= 41",
        "canIpForward = false",
        "NOT status = STOPPING",
        "-labels.other:*",
        "networkInterfaces.networkIP = 10.0.0.3",
        "labels.missing != x",
        // OR binds tighter than AND.
        "status = STAGING OR status = RUNNING AND name = gust-0a1b",
    ] {
        assert!(passes(filter), "{filter}");
    }
    for filter in [
        "labels.gust-owner = pro",
        "labels.missing:*",
        "labels.missing = x",
        "status = RUNNING AND name = other",
        "status = RUNNING OR name = gust-0a1b AND id = 1",
        "creationTimestamp < 2026-11-01T11:09:59Z",
        "zone = a",
    ] {
        assert!(!passes(filter), "{filter}");
    }
}

#[test]
fn regular_expressions_match_the_whole_text() {
    assert!(passes("name eq gust-.*"));
    assert!(passes("name eq 'gust-(0a1b|0a1c)'"));
    assert!(passes(r#"(name eq "gust-.*") (status eq RUNNING)"#));
    assert!(passes(
        "(name eq gust-.*) AND (creationTimestamp > 2026-01-01T00:00:00Z)"
    ));
    assert!(passes("status ne STOPPING"));
    assert!(!passes("name eq gust"));
    assert!(!passes("name ne gust-.*"));
}

#[test]
fn nonsense_is_refused_with_400() {
    for filter in [
        "name",
        "name =",
        "= x",
        "(name = x",
        "name = x)",
        "name eq a status eq b",
        "name eq [",
        "AND",
        "name ~ x",
        "name = \"x",
        "a b c",
        "name = x AND",
    ] {
        let error = Filter::parse(Some(filter)).map(|_| ()).expect_err(filter);
        assert_eq!((error.status, error.reason), (400, "invalid"), "{filter}");
    }
    assert!(Filter::parse(Some("  ")).unwrap().is_none());
    assert!(Filter::parse(Some(&"(".repeat(10_000))).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,80}") {
        if let Ok(Some(filter)) = Filter::parse(Some(&text)) {
            filter.passes(&vm());
        }
    }
}
