//! Whether what jobs were told of the quota they wait for is true, by the fake cloud's own account.

use std::collections::BTreeMap;

use gust_fakes::{gce::limit_of, limits::Gce};
use serde_json::Value;

/// What gust shows is as old as its last pass, and its promises are ahead of Google's account: within so many seconds
/// before and after a note the account must have been as full as the note says.
const AROUND: f64 = 10.0;
/// A sixth of the usual `aging`, in seconds: from then on what is freed is kept for a job.
const LONG: f64 = 300.0;

/// What a note says: `waiting for N2D_CPUS in us-central1: 192 of 200 used, 3rd in line`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    metric: String,
    region: String,
    used: u64,
    limit: u64,
    /// Kept for a job ahead that has waited long.
    kept: u64,
}

impl Said {
    /// Of a note about a quota; nothing if it is about something else.
    fn read(detail: &str) -> Option<Self> {
        let (what, figures) = detail.strip_prefix("waiting for ")?.split_once(": ")?;
        let (used, rest) = figures.split_once(" of ")?;
        let (limit, rest) = rest.split_once(" used")?;
        let kept = rest
            .strip_prefix(", ")
            .and_then(|rest| rest.split_once(" kept for a job ahead"));
        let (metric, region) = what.split_once(" in ").unwrap_or((what, ""));
        let number = |text: &str| text.replace(',', "").parse().ok();
        Some(Self {
            metric: metric.to_owned(),
            region: region.to_owned(),
            used: number(used)?,
            limit: number(limit)?,
            kept: kept.map_or(Some(0), |(kept, _)| number(kept))?,
        })
    }
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// Jobs that got a machine with the first calls, and were told nothing of waiting.
    pub at_once: usize,
    /// Jobs that were told that they wait, by the metric and region of their first note.
    pub by_metric: BTreeMap<String, usize>,
    /// Notes about quotas, all together.
    pub notes: usize,
    /// Notes that were not true, and jobs that waited without a word.
    pub untrue: Vec<String>,
}

/// The usage of each metric of a region, by time.
type Accounts = BTreeMap<(String, String), Vec<(f64, u64)>>;

/// Holds notes against the account. `needs` tells the vCPUs of each job, `silent_after` by when (in seconds since the fakes
/// began) a job must have its machine or a note.
pub(super) fn waits(
    events: &[Value],
    limits: &Gce,
    needs: &BTreeMap<String, u64>,
    silent_after: f64,
) -> Waits {
    let accounts = accounts(events);
    let mut found = Waits::default();
    let mut told: BTreeMap<&str, String> = BTreeMap::new();
    let mut placed: BTreeMap<&str, f64> = BTreeMap::new();
    for event in events {
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        let at = event["at"].as_f64().unwrap_or_default();
        let (job, detail) = (text("job"), text("detail"));
        if event["kind"] != "job.notified" {
            continue;
        }
        if detail.starts_with("placed on ") {
            placed.entry(job).or_insert(at);
        }
        let Some(said) = Said::read(detail) else {
            if detail.starts_with("waiting") {
                told.entry(job)
                    .or_insert_with(|| "something else than a quota".to_owned());
            }
            continue;
        };
        found.notes += 1;
        told.entry(job).or_insert_with(|| match said.region.as_str() {
            // Google counts it over all regions.
            "" => said.metric.clone(),
            region => format!("{} in {region}", said.metric),
        });
        let needed = needs.get(job).copied().unwrap_or_default();
        if let Some(why) = untrue(&said, needed, at, &accounts, limits) {
            found
                .untrue
                .push(format!("job {job} at {at:.1} s: `{detail}`: {why}"));
        }
    }
    for job in needs.keys() {
        match (told.get(job.as_str()), placed.get(job.as_str())) {
            (Some(metric), _) => *found.by_metric.entry(metric.clone()).or_default() += 1,
            (None, Some(at)) if *at <= silent_after => found.at_once += 1,
            (None, _) => found
                .untrue
                .push(format!("job {job} waited and was told nothing")),
        }
    }
    found
}

/// What is wrong with a note, if anything is.
fn untrue(said: &Said, needed: u64, at: f64, accounts: &Accounts, limits: &Gce) -> Option<String> {
    let limit = limit_of(limits, &said.region, &said.metric);
    if said.limit as f64 != limit {
        return Some(format!("the limit is {limit}"));
    }
    let is_vcpus = said.metric.ends_with("CPUS") || said.metric.starts_with("CPUS_");
    if !is_vcpus {
        return Some("a job of this burst needs little but vCPUs".to_owned());
    }
    if said.kept > 0 && at < LONG {
        return Some(format!("nobody has waited for {LONG} s"));
    }
    if said.used + said.kept + needed <= said.limit {
        return Some(format!("a machine of {needed} vCPUs would fit"));
    }
    let key = (said.region.clone(), said.metric.clone());
    let account = accounts.get(&key).map(Vec::as_slice).unwrap_or_default();
    let most = fullest(account, at - AROUND, at + AROUND);
    (most + said.kept + needed <= said.limit).then(|| {
        format!(
            "Google's account had at most {most} of {limit} in use around then, and the job needs {needed}"
        )
    })
}

/// The most that was in use between two moments.
fn fullest(account: &[(f64, u64)], from: f64, to: f64) -> u64 {
    let begin = account.partition_point(|(at, _)| *at < from);
    let before = begin.checked_sub(1).map(|before| account[before].1);
    let within = account[begin..]
        .iter()
        .take_while(|(at, _)| *at <= to)
        .map(|(_, used)| *used);
    within.chain(before).max().unwrap_or_default()
}

fn accounts(events: &[Value]) -> Accounts {
    let mut accounts = Accounts::new();
    for event in events.iter().filter(|event| event["kind"] == "quota.used") {
        let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let at = event["at"].as_f64().unwrap_or_default();
        let usage = event["usage"].as_u64().unwrap_or_default();
        accounts
            .entry((text("region"), text("metric")))
            .or_default()
            .push((at, usage));
    }
    accounts
}

#[cfg(test)]
mod tests {
    use gust_fakes::limits::Limits;
    use serde_json::json;

    use super::*;

    fn used(at: f64, usage: u64) -> Value {
        json!({"kind": "quota.used", "region": "us-east1", "metric": "N2_CPUS", "usage": usage, "limit": 200, "at": at})
    }

    fn note(at: f64, detail: &str) -> Value {
        json!({"kind": "job.notified", "job": "j", "detail": detail, "at": at})
    }

    fn judged(events: &[Value]) -> Waits {
        let needs = BTreeMap::from([("j".to_owned(), 16)]);
        waits(events, &Limits::standard().gce, &needs, 5.0)
    }

    #[test]
    fn a_true_note_is_counted_by_its_metric() {
        let said = "waiting for N2_CPUS in us-east1: 192 of 200 used, 3rd in line, about 4 min";
        let found = judged(&[used(1.0, 100), used(3.0, 192), note(2.0, said), used(4.0, 0)]);
        assert_eq!((found.notes, found.untrue.len()), (1, 0), "{found:?}");
        assert_eq!(
            found.by_metric,
            BTreeMap::from([("N2_CPUS in us-east1".to_owned(), 1)])
        );
    }

    #[test]
    fn a_job_that_is_placed_at_once_needs_no_note_and_a_silent_one_is_found() {
        let placed = |at| judged(&[note(at, "placed on n2-standard-16 in us-east1, $0.7/h")]);
        assert_eq!((placed(4.0).at_once, placed(4.0).untrue.len()), (1, 0));
        assert_eq!(placed(6.0).untrue.len(), 1);
        assert_eq!(judged(&[]).untrue.len(), 1);
    }

    #[test]
    fn every_kind_of_lie_is_found() {
        for (detail, why) in [
            (
                "waiting for N2_CPUS in us-east1: 992 of 1,000 used",
                "the limit is 200",
            ),
            ("waiting for N2_CPUS in us-east1: 100 of 200 used", "would fit"),
            (
                "waiting for N2D_CPUS in us-east1: 190 of 200 used",
                "at most 0 of 200",
            ),
            (
                "waiting for INSTANCES in us-east1: 720 of 720 used",
                "little but vCPUs",
            ),
        ] {
            let found = judged(&[used(1.0, 192), note(2.0, detail)]).untrue;
            assert!(found.len() == 1 && found[0].contains(why), "{detail}: {found:?}");
        }
        // What is kept is named, and by nobody who has just come.
        let kept =
            "waiting for N2_CPUS in us-east1: 180 of 200 used, 20 kept for a job ahead that has waited long";
        for (at, is_true) in [(310.0, true), (3.0, false)] {
            let found = judged(&[used(1.0, 180), note(at, kept)]).untrue;
            assert_eq!(found.is_empty(), is_true, "{at}: {found:?}");
        }
        // It was full once, long ago.
        let late = note(60.0, "waiting for N2_CPUS in us-east1: 192 of 200 used");
        assert_eq!(judged(&[used(1.0, 192), used(2.0, 8), late]).untrue.len(), 1);
    }
}
