//! Operations: what a call started, and how far it is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::error::OpError;
use super::method::Method;
use super::plan::Planned;

/// Where an operation lives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// A zone, by name.
    Zone(Arc<str>),
    /// A region, by name.
    Region(Arc<str>),
    /// The project.
    Global,
}

impl Scope {
    /// `zones/us-central1-a`, `regions/us-central1`, `global`.
    pub fn path(&self) -> String {
        match self {
            Self::Zone(zone) => format!("zones/{zone}"),
            Self::Region(region) => format!("regions/{region}"),
            Self::Global => "global".into(),
        }
    }

    /// The region it counts in; empty for the project's.
    pub fn region(&self) -> &str {
        match self {
            Self::Zone(zone) => super::catalog::region_of(zone),
            Self::Region(region) => region,
            Self::Global => "",
        }
    }
}

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Accepted.
    Pending,
    /// At work.
    Running,
    /// Over, well or not.
    Done,
}

impl Progress {
    /// `PENDING`, `RUNNING`, `DONE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Done => "DONE",
        }
    }
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `bulkInsert`, zonal or regional.
    BulkInsert,
    /// `insert`, by itself or as part of a bulk insert.
    Insert,
    /// `delete`.
    Delete,
    /// `stop`.
    Stop,
    /// `start`.
    Start,
    /// `reset`.
    Reset,
    /// `setLabels`.
    SetLabels,
    /// `setMetadata`.
    SetMetadata,
    /// `simulateMaintenanceEvent`.
    SimulateMaintenance,
    /// Something Google did by itself: `compute.instances.preempted`.
    System(&'static str),
}

impl Kind {
    /// `operationType`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BulkInsert => "bulkInsert",
            Self::Insert => "insert",
            Self::Delete => "delete",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Reset => "reset",
            Self::SetLabels => "setLabels",
            Self::SetMetadata => "setMetadata",
            Self::SimulateMaintenance => "simulateMaintenanceEvent",
            Self::System(name) => name,
        }
    }
}

/// The instance an operation is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its zone.
    pub zone: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: u64,
}

/// Counts of one zone in a bulk insert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneCount {
    /// Machines meant for this zone.
    pub target: u32,
    /// Machines that came to be.
    pub created: u32,
    /// Machines that came to be and were rolled back.
    pub deleted: u32,
    /// Machines that did not come to be.
    pub failed: u32,
    /// Machines whose fate is not known yet.
    pub(super) open: u32,
}

/// What a bulk insert keeps beside the operation.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkState {
    /// How many were asked for.
    pub count: u64,
    /// How many must come to be.
    pub min_count: u64,
    /// By zone.
    pub zones: BTreeMap<Arc<str>, ZoneCount>,
    /// Set once the minimum is out of reach.
    pub is_rolling_back: bool,
    pub(super) plan: Vec<Planned>,
    pub(super) open: u32,
    pub(super) failures: Vec<OpError>,
    pub(super) created: Vec<u64>,
    pub(super) rolling: u32,
}

/// One operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// Its number: order of creation, never reused.
    pub id: u64,
    /// Its public number (`id` on the wire).
    pub number: u64,
    /// `operation-…` or `systemevent-…`.
    pub name: Arc<str>,
    /// Project, by index.
    pub(super) project: usize,
    /// Where it lives.
    pub scope: Scope,
    /// What it does.
    pub kind: Kind,
    /// The API method in the log.
    pub method: &'static str,
    /// Shared by a bulk insert and the inserts of its machines.
    pub group: Option<Arc<str>>,
    /// The caller's request id.
    pub request_id: Option<Arc<str>>,
    /// The instance it is about; a bulk insert has none.
    pub target: Option<Target>,
    /// How far it is.
    pub progress: Progress,
    /// When it was accepted, nanoseconds since the Unix epoch.
    pub inserted_ns: i128,
    /// When it began.
    pub started_ns: Option<i128>,
    /// When it ended.
    pub ended_ns: Option<i128>,
    /// What went wrong.
    pub errors: Vec<OpError>,
    /// `statusMessage`.
    pub status_message: Option<&'static str>,
    /// What a bulk insert keeps.
    pub bulk: Option<Box<BulkState>>,
    /// The bulk insert it is part of.
    pub(super) parent: Option<u64>,
    /// What it will fail with.
    pub(super) doom: Option<OpError>,
}

/// What is known of an operation when it is accepted.
pub(super) struct NewOperation {
    pub project: usize,
    pub scope: Scope,
    pub kind: Kind,
    pub method: &'static Method,
    pub group: Option<Arc<str>>,
    pub request_id: Option<Arc<str>>,
    pub target: Option<Target>,
    pub parent: Option<u64>,
}

/// All operations, with the ways to find them.
#[derive(Debug, Default)]
pub(super) struct Operations {
    all: BTreeMap<u64, Operation>,
    by_name: BTreeMap<(usize, Arc<str>), u64>,
    by_scope: BTreeMap<(usize, Scope), BTreeSet<u64>>,
    ended: VecDeque<(Duration, u64)>,
    next: u64,
}

impl Operations {
    pub fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub fn insert(&mut self, operation: Operation) {
        self.by_name
            .insert((operation.project, operation.name.clone()), operation.id);
        self.by_scope
            .entry((operation.project, operation.scope.clone()))
            .or_default()
            .insert(operation.id);
        self.all.insert(operation.id, operation);
    }

    pub fn get(&self, id: u64) -> Option<&Operation> {
        self.all.get(&id)
    }

    pub fn get_mut(&mut self, id: u64) -> Option<&mut Operation> {
        self.all.get_mut(&id)
    }

    /// The operation of that name or number in that scope.
    pub fn find(&self, project: usize, scope: &Scope, name: &str) -> Option<&Operation> {
        let by_name = self
            .by_name
            .get(&(project, Arc::from(name)))
            .and_then(|id| self.all.get(id));
        let found = by_name.or_else(|| {
            let number: u64 = name.parse().ok()?;
            let ids = self.by_scope.get(&(project, scope.clone()))?;
            ids.iter()
                .filter_map(|id| self.all.get(id))
                .find(|operation| operation.number == number)
        })?;
        (found.scope == *scope).then_some(found)
    }

    /// All of one scope, oldest first.
    pub fn in_scope(&self, project: usize, scope: &Scope) -> impl DoubleEndedIterator<Item = &Operation> {
        let ids = self.by_scope.get(&(project, scope.clone()));
        ids.into_iter().flatten().filter_map(|id| self.all.get(id))
    }

    /// The scopes of a project that have operations.
    pub fn scopes(&self, project: usize) -> impl Iterator<Item = &Scope> {
        let mine = self
            .by_scope
            .iter()
            .filter(move |((of, _), ids)| *of == project && !ids.is_empty());
        mine.map(|((_, scope), _)| scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Operation> {
        self.all.values()
    }

    /// Notes that an operation ended, for its retention.
    pub fn note_end(&mut self, at: Duration, id: u64) {
        self.ended.push_back((at, id));
    }

    pub fn remove(&mut self, id: u64) -> Option<Operation> {
        let gone = self.all.remove(&id)?;
        self.by_name.remove(&(gone.project, gone.name.clone()));
        if let Some(ids) = self.by_scope.get_mut(&(gone.project, gone.scope.clone())) {
            ids.remove(&id);
        }
        Some(gone)
    }

    /// Forgets what ended longer ago than the retention.
    pub fn purge(&mut self, now: Duration, retention: Duration) -> Vec<Operation> {
        let mut gone = Vec::new();
        while self.ended.front().is_some_and(|(at, _)| *at + retention <= now) {
            if let Some((_, id)) = self.ended.pop_front() {
                gone.extend(self.remove(id));
            }
        }
        gone
    }
}
