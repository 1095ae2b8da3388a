//! The story of one job.

use std::time::Duration;

use gust_core::{
    ids::{JobId, JobRef, MachineName},
    records::{HistoryRecord, JobPhase, JobRecord, MachinePhase, Outcome},
    time::{Timestamp, human},
};

use super::{super::state::Leader, JobInfo, MachineInfo};

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// When.
    pub at: Timestamp,
    /// What, in the words that developers read.
    pub text: String,
}

/// All that is known of one job.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobStory {
    /// The job, unless it has ended or is not ours.
    pub job: Option<JobInfo>,
    /// Its machines.
    pub machines: Vec<MachineInfo>,
    /// What happened, oldest first. Of a job that has ended, what developers were told.
    pub timeline: Vec<Remark>,
}

impl Leader {
    pub(super) fn job_by_id(&self, id: JobId) -> Option<&JobRecord> {
        let mut sources = self.parts.sources.keys();
        sources.find_map(|source| {
            self.book.jobs().get(&JobRef {
                source: source.clone(),
                id,
            })
        })
    }

    pub(super) fn story(&self, id: JobId) -> JobStory {
        let sources = self.parts.sources.keys().cloned();
        let told: Vec<Remark> = sources
            .flat_map(|source| self.notes.told(&JobRef { source, id }))
            .map(|(at, text)| Remark { at, text })
            .collect();
        let Some(record) = self.job_by_id(id) else {
            return JobStory {
                timeline: told,
                ..JobStory::default()
            };
        };
        let claimed = match &record.phase {
            JobPhase::Claimed { machine, .. } => Some(machine),
            JobPhase::Booked | JobPhase::Refusing { .. } => None,
        };
        let mut names: Vec<&MachineName> = self.book.made_for(&record.job).chain(claimed).collect();
        names.sort_unstable();
        names.dedup();
        let machines: Vec<MachineInfo> = names
            .into_iter()
            .filter_map(|name| self.machine_info(name))
            .collect();
        let mut timeline = began(&record.job, record.facts.runnable_at, record.booked_at);
        timeline.extend(machines.iter().flat_map(of_machine));
        timeline.extend(told);
        JobStory {
            job: Some(self.job_info(record, &self.reasons())),
            machines,
            timeline: in_order(timeline),
        }
    }
}

fn remark(at: Timestamp, text: impl Into<String>) -> Remark {
    Remark {
        at,
        text: text.into(),
    }
}

fn began(job: &JobRef, runnable_at: Timestamp, booked_at: Timestamp) -> Vec<Remark> {
    let mut begun = vec![remark(booked_at, format!("taken in from {}", job.source))];
    // Buildkite does not always tell when a job became runnable.
    if runnable_at > Timestamp(0) && runnable_at <= booked_at {
        begun.insert(0, remark(runnable_at, "runnable in Buildkite"));
    }
    begun
}

fn of_machine(machine: &MachineInfo) -> Vec<Remark> {
    let record = &machine.record;
    let name = &record.name;
    let what = record
        .footprint
        .as_ref()
        .map(|footprint| format!(", {}", footprint.machine_type))
        .unwrap_or_default();
    let mut remarks = vec![remark(
        record.intended_at,
        format!("machine {name} asked for{what} in {}", record.shard.region),
    )];
    if !machine.creating {
        remarks.push(remark(record.created_at, format!("machine {name} exists")));
    }
    if let Some(claim) = record.claim() {
        remarks.push(remark(claim.at, format!("machine {name} claimed a job")));
    }
    if let MachinePhase::Deleting { cause, since, .. } = &record.phase {
        remarks.push(remark(
            *since,
            format!("machine {name} is being deleted: {cause}"),
        ));
    }
    remarks
}

/// The story of a job that has ended, from its summary and from what developers were told.
pub(crate) fn of_history(record: &HistoryRecord, told: Vec<Remark>) -> Vec<Remark> {
    let mut timeline = began(&record.job, record.facts.runnable_at, record.booked_at);
    let machine = record.machine.as_ref();
    if let (Some(name), Some(at)) = (machine, record.machine_created_at) {
        timeline.push(remark(at, format!("machine {name} exists")));
    }
    if let (Some(name), Some(at)) = (machine, record.claimed_at) {
        timeline.push(remark(at, format!("machine {name} claimed the job")));
    }
    if let Some(preempted) = &record.preemption.preempted {
        let after = human(Duration::from_millis(preempted.after_ms));
        let again = preempted.retried_in;
        let again = again.map_or_else(String::new, |job| format!("; job {job} runs it again"));
        let what = match preempted.told {
            true => "Google took its Spot machine back",
            false => "its Spot machine went away while it ran",
        };
        let text = format!("{what} after {after}{again}");
        timeline.push(remark(preempted.at, text));
    }
    if let Some(old) = record.preemption.retry_of {
        let text = format!("runs job {old} again, whose Spot machine was taken back");
        timeline.push(remark(record.booked_at, text));
    }
    let end = match &record.outcome {
        Outcome::Ran => "ended: an agent ran it".to_owned(),
        Outcome::Canceled => "ended: canceled".to_owned(),
        Outcome::Refused { detail } => format!("ended by gust: {detail}"),
        Outcome::Gone { state } if state.is_empty() => {
            "ended: Buildkite does not know it any more".to_owned()
        }
        Outcome::Gone { state } => format!("ended: {state} in Buildkite"),
    };
    timeline.extend(told);
    timeline.push(remark(record.ended_at, end));
    in_order(timeline)
}

// Stable: what happened at the same moment stays in the order in which it came about.
fn in_order(mut timeline: Vec<Remark>) -> Vec<Remark> {
    timeline.sort_by_key(|remark| remark.at);
    timeline
}
