//! Invariant 4: what our records promise stays within quota; bulk operations stay within their slots and rate.
//!
//! The promise is looked at in each transaction that adds a batch, for the metrics that batch uses: a quota that
//! was cut below what runs already is nobody's fault.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use gust_core::{
    ids::ProjectId,
    quota::{Footprint, Metric, Usage},
    records::{BatchRecord, Call, Change},
};
use gust_fakes::event::Event;
use serde_json::Value;

use super::{Checker, Expectations, Invariant, Limit, seen::text};

/// Metrics of one place: a project, and a region where the metric is regional.
type Place = (String, Option<String>);

/// What the world's quotas were, and how bulk operations go.
#[derive(Debug)]
pub(super) struct Quotas {
    /// Values with the time from which they held.
    limits: BTreeMap<Place, BTreeMap<String, VecDeque<(Duration, u64)>>>,
    usages: BTreeMap<Footprint, Usage>,
    /// Bulk operations that are not over, with their project.
    bulk: BTreeMap<Box<str>, String>,
    running: BTreeMap<String, u32>,
    /// Arrivals of new bulk operations, by project.
    arrivals: BTreeMap<String, VecDeque<Duration>>,
    /// When bulk batches were decided, by project, in wall milliseconds.
    decided: BTreeMap<ProjectId, VecDeque<i64>>,
    /// Project of the call whose operation comes next.
    project: String,
}

/// Google's region and project show this quota. Those by family of machines they do not: such a limit is
/// learned from refusals, so a promise may exceed it.
fn is_shown(metric: &Metric) -> bool {
    !metric.as_str().contains("_PER_VM_FAMILY:")
}

/// Values kept of one limit: a run changes it a few times.
const KEPT: usize = 64;

impl Quotas {
    pub fn new(expect: &Expectations) -> Self {
        let mut quotas = Self {
            limits: BTreeMap::new(),
            usages: BTreeMap::new(),
            bulk: BTreeMap::new(),
            running: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            decided: BTreeMap::new(),
            project: String::new(),
        };
        for limit in &expect.limits {
            quotas.notice(Duration::ZERO, limit);
        }
        quotas
    }

    /// A limit is now this.
    pub fn notice(&mut self, at: Duration, limit: &Limit) {
        let place = (limit.project.clone(), limit.region.clone());
        let values = self
            .limits
            .entry(place)
            .or_default()
            .entry(limit.metric.clone())
            .or_default();
        if values.back().is_some_and(|(_, value)| *value == limit.value) {
            return;
        }
        values.push_back((at, limit.value));
        if values.len() > KEPT {
            values.pop_front();
        }
    }

    /// The fakes tell the limit with each use.
    pub fn event(&mut self, at: Duration, event: &Event) {
        let (Some(project), Some(metric)) = (text(event, "project"), text(event, "metric")) else {
            return;
        };
        let Some(value) = event.fields.get("limit").and_then(Value::as_f64) else {
            return;
        };
        let value = value.max(0.0) as u64;
        let region = text(event, "region");
        // The same as before, nearly always: looked up without a copy.
        let place = (project.to_owned(), region.map(str::to_owned));
        let known = self.limits.get(&place).and_then(|metrics| metrics.get(metric));
        if known
            .and_then(VecDeque::back)
            .is_some_and(|(_, last)| *last == value)
        {
            return;
        }
        let (project, region) = place;
        self.notice(
            at,
            &Limit {
                project,
                region,
                metric: metric.to_owned(),
                value,
            },
        );
    }

    /// Values that a limit had at `from` or later; none if it was never told.
    fn values(&self, place: &Place, metric: &str, from: Duration) -> Option<impl Iterator<Item = u64>> {
        let values = self.limits.get(place)?.get(metric)?;
        let first = values.iter().rposition(|(since, _)| *since <= from).unwrap_or(0);
        Some(values.iter().skip(first).map(|(_, value)| *value))
    }

    /// Whether some region (or the project, for `region` none) had this limit at `from` or later; none if the
    /// metric was never told there.
    pub fn had(&self, region: Option<&str>, metric: &str, limit: u64, from: Duration) -> Option<bool> {
        let places = self.limits.keys().filter(|(_, at)| at.as_deref() == region);
        let mut told = places
            .filter_map(|place| self.values(place, metric, from))
            .peekable();
        told.peek()?;
        Some(told.any(|mut values| values.any(|value| value == limit)))
    }

    /// A call was answered; the event of its operation comes next.
    pub fn called(&mut self, event: &Event) {
        if text(event, "method").is_some_and(|method| method.ends_with("bulkInsert"))
            && let Some(project) = text(event, "project")
            && project != self.project
        {
            self.project = project.to_owned();
        }
    }
}

impl Checker {
    /// An operation of Google's began, went on or ended.
    pub(super) fn operation_state(&mut self, at: Duration, event: &Event) {
        if !text(event, "method").is_some_and(|method| method.ends_with("bulkInsert")) {
            return;
        }
        let Some(name) = text(event, "operation") else {
            return;
        };
        if text(event, "to") == Some("DONE") {
            if let Some(project) = self.quotas.bulk.remove(name)
                && let Some(running) = self.quotas.running.get_mut(&project)
            {
                *running -= 1;
            }
        } else if text(event, "from").is_none() {
            self.bulk_begins(at, name);
        }
    }

    fn bulk_begins(&mut self, at: Duration, name: &str) {
        let project = self.quotas.project.clone();
        self.quotas.bulk.insert(name.into(), project.clone());
        let running = self.quotas.running.entry(project.clone()).or_default();
        *running += 1;
        let running = *running;
        let arrivals = self.quotas.arrivals.entry(project.clone()).or_default();
        arrivals.push_back(at);
        // Messages overtake each other by less than half a second while nothing is wrong, so that what was
        // sent within a second arrives within one and a half; half a second can hold no more than a second's.
        while arrivals
            .front()
            .is_some_and(|first| *first + Duration::from_millis(500) <= at)
        {
            arrivals.pop_front();
        }
        let burst = arrivals.len() as u32;
        if running > self.expect.bulk_slots {
            let what = format!(
                "{running} bulk operations run in project {project}, {} may",
                self.expect.bulk_slots
            );
            self.violate(at, Invariant::Quota, what, &[], &[]);
        }
        if burst > self.expect.bulk_per_second && self.calm.lasts(at, Duration::ZERO) {
            let what = format!("{burst} bulk requests reached project {project} within half a second");
            self.violate(at, Invariant::Quota, what, &[], &[]);
        }
    }

    /// Looks at promises and slots after a transaction.
    pub(super) fn quota_after(&mut self, at: Duration, changes: &[Change]) {
        let batches: Vec<&BatchRecord> = changes
            .iter()
            .filter_map(|change| match change {
                Change::PutBatch(batch) => Some(&**batch),
                _ => None,
            })
            .collect();
        if batches.is_empty() {
            return;
        }
        for batch in &batches {
            if batch.call == Call::Bulk {
                self.bulk_decided(at, batch);
            }
        }
        let projects: BTreeSet<&ProjectId> = batches.iter().map(|batch| &batch.shape.project).collect();
        for project in projects {
            let mine = |batch: &&BatchRecord| batch.call == Call::Bulk && batch.shape.project == *project;
            let bulk = self.store.book.batches().values().filter(mine).count();
            if bulk > self.expect.bulk_slots as usize {
                let what = format!(
                    "{bulk} bulk batches of project {project} are recorded, {} may be",
                    self.expect.bulk_slots
                );
                self.violate(at, Invariant::Quota, what, &[], &[]);
            }
        }
        self.promises(at, &batches);
    }

    fn bulk_decided(&mut self, at: Duration, batch: &BatchRecord) {
        let now = batch.created_at.0;
        let project = &batch.shape.project;
        let decided = self.quotas.decided.entry(project.clone()).or_default();
        // Clocks of replicas differ, and may step: what lies in the future of this one does not count.
        decided.retain(|then| (now - 999..=now).contains(then));
        decided.push_back(now);
        let count = decided.len() as u32;
        if count > self.expect.bulk_per_second {
            let what = format!("{count} bulk requests were decided for project {project} within a second");
            self.violate(at, Invariant::Quota, what, &[], &[]);
        }
    }

    /// As many bulk requests as may be were decided within the last second.
    pub(super) fn bulk_rate_is_out(&self, project: &ProjectId) -> bool {
        let decided = self.quotas.decided.get(project);
        decided.is_some_and(|decided| decided.len() >= self.expect.bulk_per_second as usize)
    }

    fn promises(&mut self, at: Duration, batches: &[&BatchRecord]) {
        let usages = &mut self.quotas.usages;
        let mut asked: BTreeSet<(Place, Metric)> = BTreeSet::new();
        for batch in batches {
            let footprint = Footprint::from(&batch.shape);
            let usage = usages
                .entry(footprint)
                .or_insert_with_key(|footprint| (self.expect.usage)(footprint));
            let shape = &batch.shape;
            let shown = usage.0.iter().filter(|(metric, _)| is_shown(metric));
            let keys = shown.map(|(metric, _)| {
                let region = (!metric.is_project_wide()).then(|| shape.region.to_string());
                ((shape.project.to_string(), region), metric.clone())
            });
            asked.extend(keys);
        }
        let mut sums: BTreeMap<(Place, Metric), u64> = BTreeMap::new();
        for (footprint, count) in self.store.book.footprints() {
            let shard = &footprint.shard;
            if !usages.contains_key(footprint) {
                usages.insert(footprint.clone(), (self.expect.usage)(footprint));
            }
            for (metric, amount) in &usages[footprint].0 {
                let region = (!metric.is_project_wide()).then(|| shard.region.to_string());
                let key = ((shard.project.to_string(), region), metric.clone());
                if asked.contains(&key) {
                    *sums.entry(key).or_default() += amount * count;
                }
            }
        }
        let from = self.quota_since(at);
        for ((place, metric), promised) in sums {
            let most = self
                .quotas
                .values(&place, metric.as_str(), from)
                .and_then(Iterator::max);
            if let Some(most) = most.filter(|most| promised > *most) {
                let (project, region) = &place;
                let region = region.as_deref().unwrap_or("all regions");
                let what = format!(
                    "{promised} of {metric} in {project}, {region} are promised, the quota is {most}"
                );
                let members = batches.iter().flat_map(|batch| &batch.members).take(4);
                let names: Vec<_> = members.map(|member| member.name.clone()).collect();
                let machines: Vec<_> = names
                    .iter()
                    .map(|name| self.seen.machine(name.as_str()))
                    .collect();
                self.violate(at, Invariant::Quota, what, &[], &machines);
            }
        }
    }

    /// From when on a limit may be remembered: while calls fail, all that was ever read may be the latest.
    pub(super) fn quota_since(&self, at: Duration) -> Duration {
        if self.calm.lasts(at, self.expect.quota_memory) {
            at.saturating_sub(self.expect.quota_memory)
        } else {
            Duration::ZERO
        }
    }
}
