//! What the history of etcd proves: which term wrote what, and that nobody wrote after its term.

use std::collections::{BTreeMap, BTreeSet};

use gust_store::etcd::Event;
use serde_json::json;

use super::{
    fleet::{SeenAt, key},
    verdict::{Evidence, Verdict},
};

/// A replica that was killed between a commit and its line left the line out; etcd has the commit. Its time is not
/// known, so it only shows that there was a record. The first line that names such a batch, if any, is of a successor.
pub(super) fn add_unwritten(evidence: &mut Evidence, history: &[Event]) {
    let mut written: BTreeMap<&str, u64> = BTreeMap::new();
    for commit in &evidence.journal {
        let term = commit["term"].as_u64().unwrap_or_default();
        for key in commit["keys"].as_array().into_iter().flatten() {
            let first = written.entry(key.as_str().unwrap_or_default()).or_insert(term);
            *first = term.min(*first);
        }
    }
    let unwritten: Vec<String> = batch_terms(history)
        .into_iter()
        .map(|(batch, term)| (key(&format!("batches/{batch}")), term))
        .filter(|(key, term)| written.get(key.as_str()) != Some(term))
        .map(|(key, _)| key)
        .collect();
    for name in unwritten {
        evidence.journal.push(json!({"unix_ns": 0, "keys": [name]}));
    }
}

/// Each commit says which term wrote it: none may come after one of a later term, and each term is that of a leader
/// that etcd had elected. Returns how many terms wrote something.
pub(super) fn terms(history: &[Event], verdict: &mut Verdict) -> usize {
    let (leader, commits) = (key("leader"), key("commits"));
    let mut elected = BTreeSet::new();
    let mut newest: Option<u64> = None;
    let mut wrote: BTreeMap<u64, usize> = BTreeMap::new();
    let mut leads = None;
    for event in history {
        if event.key == leader {
            leads = event.value.as_ref().map(|_| event.revision);
            elected.extend(leads);
        }
        let Some(value) = event.value.as_ref().filter(|_| event.key == commits) else {
            continue;
        };
        let Some(term) = mark(value) else {
            verdict.violations.push(format!(
                "revision {}: `{}` is no commit",
                event.revision,
                String::from_utf8_lossy(value)
            ));
            continue;
        };
        if leads != Some(term) || !elected.contains(&term) {
            verdict.violations.push(format!(
                "revision {}: term {term} wrote, and {leads:?} leads",
                event.revision
            ));
        }
        if newest.is_some_and(|newest| term < newest) {
            verdict
                .violations
                .push(format!("revision {}: deposed term {term} wrote", event.revision));
        }
        newest = newest.max(Some(term));
        *wrote.entry(term).or_default() += 1;
    }
    wrote.len()
}

/// How many terms wrote something.
pub(super) fn writers(history: &[SeenAt]) -> usize {
    let commits = key("commits");
    let marks = history.iter().filter(|(_, event)| event.key == commits);
    let terms: BTreeSet<u64> = marks
        .filter_map(|(_, event)| mark(event.value.as_ref()?))
        .collect();
    terms.len()
}

/// The term that recorded each batch, by the request id of its call.
pub(super) fn batch_terms(history: &[Event]) -> BTreeMap<String, u64> {
    let (commits, batches) = (key("commits"), key("batches/"));
    // All keys of one commit have one revision.
    let mut terms = BTreeMap::new();
    for event in history.iter().filter(|event| event.key == commits) {
        terms.extend(
            event
                .value
                .as_deref()
                .and_then(mark)
                .map(|term| (event.revision, term)),
        );
    }
    let mut found = BTreeMap::new();
    for event in history.iter().filter(|event| event.value.is_some()) {
        if let (Some(batch), Some(term)) = (event.key.strip_prefix(&batches), terms.get(&event.revision)) {
            found.entry(batch.to_owned()).or_insert(*term);
        }
    }
    found
}

/// The term in the mark that every commit leaves.
pub(super) fn mark(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: u64, below: &str, value: Option<&str>) -> Event {
        Event {
            revision,
            key: key(below),
            value: value.map(|value| value.as_bytes().into()),
        }
    }

    #[test]
    fn a_write_by_who_does_not_lead_is_seen_in_etcds_history() {
        let history = |last: &str| {
            vec![
                event(2, "leader", Some("r0")),
                event(3, "commits", Some("2-1")),
                event(4, "leader", None),
                event(5, "leader", Some("r1")),
                event(6, "commits", Some("5-1")),
                event(7, "commits", Some(last)),
            ]
        };
        let judged = |last| {
            let mut verdict = Verdict::default();
            let wrote = terms(&history(last), &mut verdict);
            (wrote, verdict.violations.len())
        };
        assert_eq!(judged("5-2"), (2, 0));
        assert_eq!(judged("2-2"), (2, 2));
        assert_eq!(judged("nonsense"), (2, 1));
    }

    #[test]
    fn a_batch_that_only_etcd_knows_from_its_own_term_was_recorded() {
        let line = |unix_ns: u64, term: u64, batch: &str| {
            let keys = [key(&format!("batches/{batch}"))];
            json!({"unix_ns": unix_ns, "term": term, "keys": keys})
        };
        let mut evidence = Evidence {
            // The successor's line of `c` is of a later commit than the one that recorded it.
            journal: vec![line(5, 2, "a"), line(9, 7, "c")],
            ..Evidence::default()
        };
        let history = [
            event(3, "batches/a", Some("")),
            event(3, "commits", Some("2-1")),
            event(4, "batches/b", Some("")),
            event(4, "batches/c", Some("")),
            event(4, "commits", Some("2-2")),
            event(8, "batches/c", None),
            event(8, "commits", Some("7-1")),
        ];
        add_unwritten(&mut evidence, &history);
        let added: Vec<_> = evidence.journal[2..]
            .iter()
            .map(|line| line["keys"][0].clone())
            .collect();
        assert_eq!(added, [key("batches/b"), key("batches/c")]);
    }

    #[test]
    fn a_batch_is_of_the_term_that_recorded_it_first() {
        let history = [
            event(3, "commits", Some("2-1")),
            event(3, "batches/a", Some("")),
            event(6, "batches/a", Some("")),
            event(6, "commits", Some("5-1")),
            event(7, "batches/b", None),
            event(7, "commits", Some("5-2")),
        ];
        let terms = batch_terms(&history);
        assert_eq!(terms.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 2)]);
    }
}
