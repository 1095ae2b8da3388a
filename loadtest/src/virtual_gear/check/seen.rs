//! The world, mirrored from the fakes' events: what is true of each job and machine.

use std::{
    collections::BTreeMap,
    ops::{Index, IndexMut},
    str::FromStr,
    time::Duration,
};

use gust_core::{
    ids::{JobRef, MachineName},
    reason::Kind,
};
use gust_fakes::event::Event;
use indexmap::{Equivalent, IndexMap};
use serde_json::Value;
use uuid::Uuid;

/// A job's place in [`Seen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobIx(pub u32);

/// A machine's place in [`Seen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MachineIx(pub u32);

/// Buildkite's states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum JobState {
    /// Created, in no state yet, or in one that is not known here.
    #[default]
    New,
    Waiting,
    WaitingFailed,
    Limited,
    Scheduled,
    Reserved,
    Accepted,
    Running,
    Finished,
    Canceling,
    Canceled,
    TimingOut,
    TimedOut,
    Skipped,
}

impl JobState {
    /// It will never run (again).
    pub fn is_over(self) -> bool {
        matches!(
            self,
            Self::Finished | Self::Canceled | Self::TimedOut | Self::Skipped
        )
    }

    /// An agent of ours may still take it.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Scheduled | Self::Reserved)
    }

    /// An agent has it, and nobody wants it to stop.
    pub fn is_wanted(self) -> bool {
        matches!(self, Self::Accepted | Self::Running)
    }
}

/// Google's states, and the two that have no instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    /// Never made, as far as seen.
    #[default]
    Never,
    Provisioning,
    Staging,
    Running,
    Stopping,
    Terminated,
    Repairing,
    /// It was, and is no more.
    Gone,
}

/// A reason that is shown at present.
#[derive(Clone, Debug)]
pub(super) struct ShownReason {
    pub kind: Kind,
    /// Since when it is of this kind.
    pub since: Duration,
    /// The last picture that had it.
    pub picture: u64,
    /// The machine it names.
    pub machine: Option<MachineName>,
    /// What it names is not there, since then.
    pub doubted: Option<Duration>,
}

/// One job.
#[derive(Clone, Debug, Default)]
pub(super) struct Job {
    pub id: Uuid,
    /// It is of our queue.
    pub ours: bool,
    pub step: Option<Box<str>>,
    pub state: JobState,
    /// It was in the list of scheduled jobs once.
    pub listed: bool,
    pub started: bool,
    pub canceled: bool,
    /// When it ended.
    pub over: Option<Duration>,
    /// It was taken and came back: since when it waits again.
    pub came_back: Option<Duration>,
    /// Its reference in the store, once it was there.
    pub reference: Option<JobRef>,
    /// A token was issued for it.
    pub token: bool,
    /// Machines whose agents used a token of it.
    pub holders: Vec<MachineIx>,
    /// Machines that were given it in the store.
    pub claimants: Vec<MachineIx>,
    /// Machines that were recorded for it.
    pub attempts: Vec<MachineIx>,
    /// It was recorded as refusing.
    pub refusing: bool,
    /// Recorded as booked at present: since when, and by which revision.
    pub booked: Option<(Duration, u64)>,
    /// Booked, and no machine of its own is coming: since which revision.
    pub uncovered: Option<u64>,
    /// What its machine must be like: jobs with the same tags, by number.
    pub rules: u32,
    /// Its priority in the store.
    pub priority: i64,
    /// Why it waits, as shown.
    pub shown: Option<ShownReason>,
    /// Not in the pictures of the present leader since then, though it should be.
    pub missing: Option<Duration>,
    /// The kind of the last note on its timeline.
    pub told: Option<Kind>,
    /// How many notes there are.
    pub notes: u32,
    /// An operator of gust may have canceled it.
    pub canceled_by_operator: bool,
    /// It ended with an exit status other than 0.
    pub failed: bool,
    /// Another job runs its step again.
    pub runs_again: bool,
    /// It left the store as preempted, and it was not recorded that Buildkite is asked to run it again.
    pub unasked: bool,
    /// What Buildkite says of it is not heeded, since then.
    pub unheeded: Option<Duration>,
}

/// One machine.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub name: MachineName,
    /// The batch that was recorded for it: also the request id.
    pub batch: Option<Uuid>,
    pub status: Status,
    /// Since when there is an instance.
    pub inserted: Option<Duration>,
    /// Its guest does not work as it should, since then: frozen, crashed, or the machine was taken away.
    pub troubled: Option<Duration>,
    /// The job it was given in the store, last.
    pub claimed: Option<JobIx>,
    /// When it was given it.
    pub claimed_at: Duration,
    /// The job its agent acquired.
    pub acquired: Option<JobIx>,
    /// Its deletion was recorded.
    pub deleting: bool,
    /// When it began to stop.
    pub stopping: Option<Duration>,
    /// No record and no batch knows it, since then.
    pub stray: Option<Duration>,
}

impl Machine {
    /// There is an instance.
    pub fn exists(&self) -> bool {
        !matches!(self.status, Status::Never | Status::Gone)
    }

    /// There is an instance on which something may run.
    pub fn is_up(&self) -> bool {
        self.exists() && self.status != Status::Terminated
    }
}

#[derive(Hash)]
struct Named<'a>(&'a str);

impl Equivalent<MachineName> for Named<'_> {
    fn equivalent(&self, key: &MachineName) -> bool {
        self.0 == key.as_str()
    }
}

/// All jobs and machines that were ever heard of.
#[derive(Debug, Default)]
pub(super) struct Seen {
    jobs: IndexMap<Uuid, Job>,
    machines: IndexMap<MachineName, Machine>,
    rules: BTreeMap<Vec<String>, u32>,
}

impl Seen {
    /// The place of a job; heard of for the first time, it gets one.
    pub fn job(&mut self, id: Uuid) -> JobIx {
        let place = self.jobs.get_index_of(&id).unwrap_or_else(|| {
            let job = Job { id, ..Job::default() };
            self.jobs.insert_full(id, job).0
        });
        JobIx(place as u32)
    }

    /// Whether a job that was heard of still waits.
    pub fn waits(&self, id: Uuid) -> bool {
        self.jobs.get(&id).is_some_and(|job| job.state.is_waiting())
    }

    /// The place of a machine; heard of for the first time, it gets one.
    pub fn machine(&mut self, name: &str) -> MachineIx {
        let place = self.machines.get_index_of(&Named(name)).unwrap_or_else(|| {
            let name = MachineName::new(name);
            let machine = Machine {
                name: name.clone(),
                batch: None,
                status: Status::Never,
                inserted: None,
                troubled: None,
                claimed: None,
                claimed_at: Duration::ZERO,
                acquired: None,
                deleting: false,
                stopping: None,
                stray: None,
            };
            self.machines.insert_full(name, machine).0
        });
        MachineIx(place as u32)
    }

    /// The number of a set of tags.
    pub fn rules(&mut self, rules: &[String]) -> u32 {
        if let Some(number) = self.rules.get(rules) {
            return *number;
        }
        let number = self.rules.len() as u32;
        self.rules.insert(rules.to_vec(), number);
        number
    }

    /// All jobs.
    pub fn jobs(&self) -> impl Iterator<Item = (JobIx, &Job)> {
        let jobs = self.jobs.values().enumerate();
        jobs.map(|(place, job)| (JobIx(place as u32), job))
    }

    /// All machines.
    pub fn machines(&self) -> impl Iterator<Item = (MachineIx, &Machine)> {
        let machines = self.machines.values().enumerate();
        machines.map(|(place, machine)| (MachineIx(place as u32), machine))
    }

    /// The job that an event is about.
    pub fn job_of(&mut self, event: &Event) -> Option<JobIx> {
        let id = Uuid::from_str(text(event, "job")?).ok()?;
        Some(self.job(id))
    }

    /// The machine that an event names so.
    pub fn machine_of(&mut self, event: &Event, field: &str) -> Option<MachineIx> {
        let name = text(event, field)?;
        Some(self.machine(name))
    }
}

/// A field of an event.
pub(super) fn text<'a>(event: &'a Event, field: &str) -> Option<&'a str> {
    event.fields.get(field).and_then(Value::as_str)
}

impl Index<JobIx> for Seen {
    type Output = Job;

    fn index(&self, at: JobIx) -> &Job {
        &self.jobs[at.0 as usize]
    }
}

impl IndexMut<JobIx> for Seen {
    fn index_mut(&mut self, at: JobIx) -> &mut Job {
        &mut self.jobs[at.0 as usize]
    }
}

impl Index<MachineIx> for Seen {
    type Output = Machine;

    fn index(&self, at: MachineIx) -> &Machine {
        &self.machines[at.0 as usize]
    }
}

impl IndexMut<MachineIx> for Seen {
    fn index_mut(&mut self, at: MachineIx) -> &mut Machine {
        &mut self.machines[at.0 as usize]
    }
}
