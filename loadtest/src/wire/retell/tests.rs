//! A history of one replica without faults, told as real processes leave it behind, whole and spoiled.

use gust_store::etcd::Event;
use serde_json::json;

use super::*;
use crate::virtual_gear::check::Invariant;

/// When the fakes started.
const STARTED: u64 = 1_800_000_000_000_000_000;
/// Between two things that happened.
const APART: u64 = 10_000_000;

/// Traces that can be spoiled.
struct Left {
    events: Vec<Value>,
    journal: Vec<Value>,
    history: Vec<SeenAt>,
}

impl Left {
    /// The history that the checker's own tests use, with 10 ms between any two lines of it: it has virtual time.
    fn behind() -> Self {
        let (mut events, mut journal, mut history) = (Vec::new(), Vec::new(), Vec::new());
        let text = include_str!("../../virtual_gear/check/data/history.jsonl");
        // The run was cut when the world was empty; the last record goes a moment later.
        let last = r#"{"kind":"commit","term":1,"revision":99,"writes":[["machines/gust-4dtzna6k2jgodp6g45tzdu5k6u-1",null]]}"#;
        for (nth, line) in text.lines().chain([last]).enumerate() {
            let mut line: Value = serde_json::from_str(line).expect("a line of JSON");
            let at = nth as u64 * APART;
            if line["kind"] != "commit" {
                line["at"] = json!(at as f64 / 1e9);
                events.push(line);
                continue;
            }
            let revision = line["revision"].as_u64().expect("a revision");
            let write = |below: &str, value: Option<Vec<u8>>| {
                let event = Event {
                    revision,
                    key: key(below),
                    value: value.map(Into::into),
                };
                (STARTED + at + 3_000_000, event)
            };
            for pair in line["writes"].as_array().expect("writes") {
                let value = match &pair[1] {
                    Value::Null => None,
                    Value::String(text) => Some(text.clone().into_bytes()),
                    value => Some(value.to_string().into_bytes()),
                };
                history.push(write(pair[0].as_str().expect("a key"), value));
            }
            if line["term"] != 0 {
                history.push(write(
                    "commits",
                    Some(format!("{}-{nth}", line["term"]).into_bytes()),
                ));
                journal
                    .push(json!({"unix_ns": STARTED + at + 2_000_000, "replica": "a", "revision": revision}));
            }
        }
        Self {
            events,
            journal,
            history,
        }
    }

    fn retold(&self) -> Verdict {
        let traces = Traces {
            events: &self.events,
            journal: &self.journal,
            history: &self.history,
            deeds: &[],
            started_unix_ns: STARTED,
        };
        retell(&traces, expectations(&["never"], "gust-demo", &["us-central1"])).expect("good traces")
    }

    /// The first violation, which must be of this invariant.
    fn breaks(&self, invariant: Invariant) -> String {
        let violation = self.retold().violation.expect("it is found");
        assert_eq!(violation.invariant, invariant, "{violation}");
        violation.what
    }

    /// The revision that recorded the first batch.
    fn first_batch(&self) -> u64 {
        let batches = key("batches/");
        let mut events = self.history.iter().map(|(_, event)| event);
        let first = events.find(|event| event.key.starts_with(&batches));
        first.expect("there is a batch").revision
    }
}

#[test]
fn a_good_run_is_good_when_it_is_told_again() {
    let left = Left::behind();
    let verdict = left.retold();
    assert_eq!(verdict.violation, None);
    assert_eq!(verdict.counts.events, left.events.len() as u64);
    assert!(
        verdict.counts.jobs > 5 && verdict.counts.commits > 20,
        "{:?}",
        verdict.counts
    );
    assert!(verdict.left.is_empty(), "{:?}", verdict.left);
}

#[test]
fn a_line_that_a_frozen_replica_wrote_late_delays_nothing() {
    let mut left = Left::behind();
    for line in &mut left.journal {
        line["unix_ns"] = json!(u64::MAX);
    }
    assert_eq!(left.retold().violation, None);
    // Nor does a watch that broke: the next revision's line says that all before it had happened.
    let mut left = Left::behind();
    let (revision, late) = (left.first_batch(), STARTED + 3_600_000_000_000);
    for (seen, _) in left
        .history
        .iter_mut()
        .filter(|(_, event)| event.revision <= revision)
    {
        *seen = late;
    }
    assert_eq!(left.retold().violation, None);
}

#[test]
fn a_commit_without_a_line_has_the_time_at_which_it_was_seen() {
    let mut left = Left::behind();
    left.journal.clear();
    assert_eq!(left.retold().violation, None);
}

#[test]
fn an_effect_older_than_its_record_is_found() {
    let mut left = Left::behind();
    let revision = left.first_batch();
    // From there on all comes a second later in etcd than it did.
    for (seen, _) in left
        .history
        .iter_mut()
        .filter(|(_, event)| event.revision >= revision)
    {
        *seen += 1_000_000_000;
    }
    for line in left
        .journal
        .iter_mut()
        .filter(|line| line["revision"].as_u64() >= Some(revision))
    {
        line["unix_ns"] = json!(line["unix_ns"].as_u64().expect("a time") + 1_000_000_000);
    }
    // That revision also records that a job is refused, which comes first.
    let what = left.breaks(Invariant::Terms);
    assert!(
        what.contains("was finished by the stack before that was durable"),
        "{what}"
    );
}

#[test]
fn a_write_of_another_term_or_by_another_replica_is_found() {
    let mut left = Left::behind();
    for line in &mut left.journal {
        line["replica"] = json!("b");
    }
    let what = left.breaks(Invariant::Terms);
    assert!(what.contains("b wrote records while"), "{what}");
    let mut left = Left::behind();
    let commits = key("commits");
    for (_, event) in left.history.iter_mut().filter(|(_, event)| event.key == commits) {
        event.value = Some(b"7-1".as_slice().into());
    }
    let what = left.breaks(Invariant::Terms);
    assert!(what.contains("of term 7 while term 1 leads"), "{what}");
}

#[test]
fn what_is_left_behind_is_found() {
    let mut left = Left::behind();
    left.events.retain(|event| event["kind"] != "instance.deleted");
    left.breaks(Invariant::Leak);
}

#[test]
fn traces_that_make_no_sense_say_which_line() {
    let mut left = Left::behind();
    left.events[3] = json!({"kind": "job.created"});
    let traces = Traces {
        events: &left.events,
        journal: &left.journal,
        history: &left.history,
        deeds: &[],
        started_unix_ns: STARTED,
    };
    let error = retell(&traces, expectations(&[], "p", &[])).expect_err("no host");
    assert_eq!(
        error.to_string(),
        r#"an event of the fakes: {"kind":"job.created"}"#
    );
}
