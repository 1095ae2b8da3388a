//! Lists in pages, and what a filter lets through.

use gust_core::{
    ids::{MachineName, Region, Zone},
    records::{JobPhase, Key, MachinePhase},
};
use gust_proto::v1;
use tonic::Status;

use super::{convert, fail};
use crate::leader::{Handle, JobInfo, MachineInfo};

/// Page size when none is asked for, and the largest.
const USUAL: usize = 100;
const MOST: usize = 1000;

/// Whether something is wanted.
pub(super) type Filter<T> = Box<dyn Fn(&T) -> bool + Send + Sync>;

pub(super) async fn jobs(
    leader: &Handle,
    request: v1::ListJobsRequest,
) -> Result<v1::ListJobsResponse, Status> {
    let size = size(request.page_size);
    let after = match &*request.page_token {
        "" => None,
        token => match format!("jobs/{token}").parse() {
            Ok(Key::Job(job)) => Some(job),
            _ => return Err(bad_token()),
        },
    };
    let filter = job_filter(request.filter.unwrap_or_default())?;
    // One more than the page: whether there is a next one.
    let mut jobs = leader.jobs(after, size + 1, filter).await.map_err(fail::gone)?;
    let more = jobs.len() > size;
    jobs.truncate(size);
    let next = jobs.last().filter(|_| more);
    Ok(v1::ListJobsResponse {
        next_page_token: next.map(|job| job.record.job.to_string()).unwrap_or_default(),
        jobs: jobs.iter().map(convert::job).collect(),
    })
}

pub(super) async fn machines(
    leader: &Handle,
    request: v1::ListMachinesRequest,
) -> Result<v1::ListMachinesResponse, Status> {
    let size = size(request.page_size);
    let token = request.page_token;
    let after = (!token.is_empty()).then(|| MachineName::new(token));
    let filter = machine_filter(request.filter.unwrap_or_default())?;
    let mut machines = leader
        .machines(after, size + 1, filter)
        .await
        .map_err(fail::gone)?;
    let more = machines.len() > size;
    machines.truncate(size);
    let next = machines.last().filter(|_| more);
    Ok(v1::ListMachinesResponse {
        next_page_token: next
            .map(|machine| machine.record.name.to_string())
            .unwrap_or_default(),
        machines: machines.iter().map(convert::machine).collect(),
    })
}

fn size(asked: u32) -> usize {
    match asked as usize {
        0 => USUAL,
        size => size.min(MOST),
    }
}

fn bad_token() -> Status {
    fail::field("page_token", "is none that a list returned")
}

/// What a filter of jobs lets through.
pub(super) fn job_filter(filter: v1::JobFilter) -> Result<Filter<JobInfo>, Status> {
    let phase = v1::JobPhase::try_from(filter.phase)
        .map_err(|_| fail::field("filter.phase", "is no phase of a job"))?;
    if phase == v1::JobPhase::Ended {
        return Err(fail::field(
            "filter.phase",
            "is that of ended jobs, which are not listed",
        ));
    }
    Ok(Box::new(move |job| {
        let facts = &job.record.facts;
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        is(&filter.source, job.record.job.source.as_str())
            && is(&filter.queue, facts.queue.as_str())
            && is(&filter.pipeline, &facts.pipeline)
            && (filter.build == 0 || filter.build == facts.build)
            && is(&filter.reason_kind, &convert::kind_of(job))
            && match phase {
                v1::JobPhase::Unspecified | v1::JobPhase::Ended => true,
                v1::JobPhase::Waiting => matches!(job.record.phase, JobPhase::Booked),
                v1::JobPhase::Refusing => matches!(job.record.phase, JobPhase::Refusing { .. }),
                v1::JobPhase::Claimed => matches!(job.record.phase, JobPhase::Claimed { .. }),
            }
    }))
}

/// What a filter of machines lets through.
pub(super) fn machine_filter(filter: v1::MachineFilter) -> Result<Filter<MachineInfo>, Status> {
    let phase = v1::MachinePhase::try_from(filter.phase)
        .map_err(|_| fail::field("filter.phase", "is no phase of a machine"))?;
    let region = (!filter.region.is_empty()).then(|| Region::new(filter.region));
    let zone = (!filter.zone.is_empty()).then(|| Zone::new(filter.zone));
    let project = filter.project;
    Ok(Box::new(move |machine| {
        let record = &machine.record;
        (project.is_empty() || project == record.shard.project.as_str())
            && region
                .as_ref()
                .is_none_or(|region| *region == record.shard.region)
            && zone
                .as_ref()
                .is_none_or(|zone| record.zone.as_ref() == Some(zone))
            && match phase {
                v1::MachinePhase::Unspecified => true,
                v1::MachinePhase::Creating => machine.creating,
                v1::MachinePhase::Booting => {
                    !machine.creating && matches!(record.phase, MachinePhase::Booting)
                }
                v1::MachinePhase::Claimed => matches!(record.phase, MachinePhase::Claimed(_)),
                v1::MachinePhase::Deleting => record.is_deleting(),
            }
    }))
}
