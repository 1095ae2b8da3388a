//! What a stack (a scheduler) sees: registration, the list, reservations, states, finish, acquisition tokens.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use indexmap::IndexMap;
use uuid::Uuid;

use super::ids::{self, JobKey, QueueKey, Refusal};
use super::model::{MAX_LAG, Model};
use super::rate::{Standing, Windows};
use crate::now::Now;
use crate::stamp::rfc3339;

/// A registered stack.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) uuid: Uuid,
    pub(super) cluster: usize,
    pub(super) kind: String,
    pub(super) queue: QueueKey,
    pub(super) metadata: IndexMap<String, String>,
    pub(super) last_connected: Option<i128>,
    pub(super) windows: Windows,
}

/// What a stack registers with.
#[derive(Clone, Debug, Default)]
pub struct StackRegistration {
    /// Its key, unique in the organization.
    pub key: String,
    /// `kubernetes`, `elastic` or `custom`.
    pub kind: String,
    /// Its queue, by key or a spelling of the default one.
    pub queue_key: String,
    /// What it says of itself.
    pub metadata: IndexMap<String, String>,
}

/// A stack as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackInfo {
    /// Its UUID.
    pub uuid: Uuid,
    /// UUID of its organization.
    pub organization: Uuid,
    /// Its key.
    pub key: String,
    /// Its type.
    pub kind: String,
    /// Key of its queue, the real one.
    pub queue_key: String,
    /// What it says of itself.
    pub metadata: IndexMap<String, String>,
    /// When it last listed, RFC 3339.
    pub last_connected_on: Option<String>,
    /// Whether this registration made it.
    pub created: bool,
}

/// How the list looks beside the jobs in it: set by faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListView {
    /// The queue is paused.
    pub paused: bool,
    /// The list shows the past.
    pub lag: Duration,
    /// Pages are at most so long, and this many jobs slip from each page to the one before it while that is
    /// read already. `None`: as asked for.
    pub shift: Option<(usize, usize)>,
}

/// A page of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The jobs, by `scheduled_at`, oldest first.
    pub jobs: Vec<ListedJob>,
    /// Whether more follow.
    pub has_next_page: bool,
    /// Where the next page begins, opaque.
    pub end_cursor: Option<String>,
    /// UUID of the queue.
    pub queue: Uuid,
    /// Whether the queue is paused.
    pub paused: bool,
}

/// A job in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedJob {
    /// Its UUID.
    pub uuid: Uuid,
    /// Buildkite priority.
    pub priority: i64,
    /// What it asks for.
    pub rules: Vec<String>,
    /// Fixed at creation; RFC 3339.
    pub scheduled_at: String,
    /// When it first entered the list; RFC 3339.
    pub runnable_at: Option<String>,
    /// Slug and UUID of its pipeline.
    pub pipeline: (String, Uuid),
    /// Number, branch and UUID of its build.
    pub build: (u64, String, Uuid),
    /// Key of its step.
    pub step_key: Option<String>,
}

impl Model {
    /// Registers a stack, or registers it anew under the same key.
    pub fn register_stack(&mut self, cluster: usize, new: StackRegistration) -> Result<StackInfo, Refusal> {
        let key_ok = !new.key.is_empty()
            && new.key.len() <= 80
            && new
                .key
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if !key_ok {
            return Err(Refusal::unprocessable(
                "key must be 1 to 80 letters, digits, dashes or underscores",
            ));
        }
        if !["kubernetes", "elastic", "custom"].contains(&new.kind.as_str()) {
            return Err(Refusal::unprocessable(
                "type must be kubernetes, elastic or custom",
            ));
        }
        let too_long =
            |(key, value): (&String, &String)| key.chars().count() > 64 || value.chars().count() > 256;
        if new.metadata.len() > 100 || new.metadata.iter().any(too_long) {
            return Err(Refusal::unprocessable(
                "metadata must have at most 100 entries, keys of at most 64 and values of at most 256 characters",
            ));
        }
        let queue = self
            .queue(cluster, &new.queue_key)
            .ok_or_else(|| Refusal::not_found("queue"))?;
        let known = self.stacks.get(&new.key);
        if known.is_some_and(|stack| stack.cluster != cluster) {
            return Err(Refusal::unprocessable(
                "key is taken by a stack of another cluster",
            ));
        }
        let created = known.is_none();
        if created && self.stacks.len() >= self.limits.stacks_per_organization {
            return Err(Refusal::new(
                403,
                "The organization has reached its limit of stacks",
            ));
        }
        let uuid = known
            .map(|stack| stack.uuid)
            .unwrap_or_else(|| ids::uuid(&mut self.rng));
        let stack = self.stacks.entry(new.key.clone()).or_insert_with(|| Stack {
            uuid,
            cluster,
            kind: String::new(),
            queue,
            metadata: IndexMap::new(),
            last_connected: None,
            windows: Windows::default(),
        });
        (stack.kind, stack.queue, stack.metadata) = (new.kind.clone(), queue, new.metadata.clone());
        Ok(StackInfo {
            uuid,
            organization: self.organization,
            key: new.key,
            kind: new.kind,
            queue_key: self.queues[queue.0].key.clone(),
            metadata: new.metadata,
            last_connected_on: stack.last_connected.map(rfc3339),
            created,
        })
    }

    /// Forgets a stack. Its reservations run out by themselves.
    pub fn deregister_stack(&mut self, cluster: usize, key: &str) -> Result<(), Refusal> {
        self.stack(cluster, key)?;
        self.stacks.remove(key);
        Ok(())
    }

    pub(super) fn stack(&self, cluster: usize, key: &str) -> Result<&Stack, Refusal> {
        self.stacks
            .get(key)
            .filter(|stack| stack.cluster == cluster)
            .ok_or_else(|| Refusal::not_found("stack"))
    }

    /// Counts a call in its rate window. `None`: no limit. The call may go on if `exceeded_by` is `None`.
    pub(super) fn count_call(&mut self, now: Now, key: &str, scope: &'static str) -> Option<Standing> {
        let limit = self.limits.rates_per_second.get(scope).copied();
        self.stacks
            .get_mut(key)?
            .windows
            .count(now.since_start, scope, limit)
    }

    /// Whether a call of that scope is within its rate; counts it. For callers without a wire.
    pub fn within_rate(&mut self, now: Now, key: &str, scope: &'static str) -> bool {
        self.count_call(now, key, scope)
            .is_none_or(|standing| standing.exceeded_by.is_none())
    }

    /// A page of the jobs in a queue that wait for a stack.
    pub fn list_scheduled(
        &mut self,
        now: Now,
        cluster: usize,
        stack: &str,
        queue: &str,
        (limit, after): (usize, Option<&str>),
        view: ListView,
    ) -> Result<Page, Refusal> {
        self.stack(cluster, stack)?;
        let key = self
            .queue(cluster, queue)
            .ok_or_else(|| Refusal::not_found("queue"))?;
        if limit == 0 || limit > self.limits.batch_max {
            return Err(Refusal::bad(format!(
                "limit must be a positive integer up to {}",
                self.limits.batch_max
            )));
        }
        let after = after
            .filter(|after| !after.is_empty())
            .map(read_cursor)
            .transpose()?;
        let (size, skip) = view.shift.unwrap_or((limit, 0));
        let limit = limit.min(size.max(1));
        let skip = if after.is_some() { skip } else { 0 };
        if let Some(stack) = self.stacks.get_mut(stack) {
            stack.last_connected = Some(now.unix_ns);
        }
        self.queues[key.0].last_polled = Some(now.unix_ns);
        let mut found = self.listed(now, key, after, limit + 1 + skip, view.lag.min(MAX_LAG));
        found.drain(..skip.min(found.len()));
        let has_next_page = found.len() > limit;
        found.truncate(limit);
        let end_cursor = found
            .last()
            .map(|(at, job)| URL_SAFE_NO_PAD.encode(format!("{at}:{}", job.0)));
        Ok(Page {
            jobs: found.iter().map(|(_, job)| self.listed_job(*job)).collect(),
            has_next_page,
            end_cursor,
            queue: self.queues[key.0].uuid,
            paused: view.paused || self.queues[key.0].paused.is_some(),
        })
    }

    /// The list as it was `lag` ago: new jobs are hidden still, and those that left are shown still.
    fn listed(
        &self,
        now: Now,
        queue: QueueKey,
        after: Option<(i128, JobKey)>,
        limit: usize,
        lag: Duration,
    ) -> Vec<(i128, JobKey)> {
        let queue = &self.queues[queue.0];
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = queue.scheduled.range((from, std::ops::Bound::Unbounded)).copied();
        if lag.is_zero() {
            return range.take(limit).collect();
        }
        let then = now.since_start.saturating_sub(lag);
        let mut found: Vec<_> = range
            .filter(|(_, job)| self.jobs[job.0].entered <= then)
            .collect();
        let gone = queue
            .left
            .iter()
            .filter(|(left, entered, _)| *left > then && *entered <= then);
        found.extend(
            gone.map(|(.., job)| (self.jobs[job.0].scheduled_at, *job))
                .filter(|entry| after.is_none_or(|after| *entry > after)),
        );
        found.sort_unstable();
        found.dedup();
        found.truncate(limit);
        found
    }

    fn listed_job(&self, key: JobKey) -> ListedJob {
        let (job, build) = (&self.jobs[key.0], self.build_of(key));
        ListedJob {
            uuid: job.uuid,
            priority: job.priority,
            rules: job.rules.clone(),
            scheduled_at: rfc3339(job.scheduled_at),
            runnable_at: job.runnable_at.map(rfc3339),
            pipeline: (build.pipeline.clone(), build.pipeline_uuid),
            build: (build.number, build.branch.clone(), build.uuid),
            step_key: self.step_of(key).key.clone(),
        }
    }
}

fn read_cursor(text: &str) -> Result<(i128, JobKey), Refusal> {
    let read = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (at, job) = text.split_once(':')?;
        Some((at.parse().ok()?, JobKey(job.parse().ok()?)))
    };
    read().ok_or_else(|| Refusal::bad("after is not a cursor of this list"))
}
