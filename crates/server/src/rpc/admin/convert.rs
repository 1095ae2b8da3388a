//! From what the leader knows to what the wire says.

use std::time::Duration;

use gust_core::{
    decide::Outlook,
    ids::{JobRef, QueueKey, Shard, Zone},
    records::{Cordon, HistoryRecord, JobFacts, JobPhase, MachinePhase, Order, Outcome, Place},
    shape::ProvisioningModel,
    time::Timestamp,
};
use gust_proto::v1;
use tonic::Status;

use super::fail;
use crate::leader::{JobInfo, MachineInfo, Remark, ShardLine, Status as Whole};

pub(super) fn time(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: at.0.div_euclid(1000),
        nanos: (at.0.rem_euclid(1000) * 1_000_000) as i32,
    }
}

fn length(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: duration.as_secs() as i64,
        nanos: duration.subsec_nanos() as i32,
    }
}

/// The kind of the reason for which a job waits, empty if none.
pub(super) fn kind_of(job: &JobInfo) -> String {
    job.reason
        .as_ref()
        .map(|reason| reason.kind().to_string())
        .unwrap_or_default()
}

pub(super) fn job(job: &JobInfo) -> v1::Job {
    let record = &job.record;
    let mut message = of_facts(&record.job, &record.facts);
    message.booked_at = Some(time(record.booked_at));
    message.reason = job.reason.as_ref().map(ToString::to_string).unwrap_or_default();
    message.reason_kind = kind_of(job);
    message.state = job.state.as_ref().map(ToString::to_string).unwrap_or_default();
    message.attempts = job.attempts;
    let phase = match &record.phase {
        JobPhase::Booked => v1::JobPhase::Waiting,
        JobPhase::Refusing { detail } => {
            message.outcome_detail.clone_from(detail);
            v1::JobPhase::Refusing
        }
        JobPhase::Claimed { machine, at } => {
            (message.machine, message.claimed_at) = (machine.to_string(), Some(time(*at)));
            v1::JobPhase::Claimed
        }
    };
    message.set_phase(phase);
    message
}

/// A job of which only its name is known any more.
pub(super) fn forgotten(job: &JobRef) -> v1::Job {
    let mut message = v1::Job {
        source: job.source.to_string(),
        id: job.id.to_string(),
        ..v1::Job::default()
    };
    message.set_phase(v1::JobPhase::Ended);
    message
}

pub(super) fn ended(record: &HistoryRecord) -> v1::Job {
    let mut message = of_facts(&record.job, &record.facts);
    message.booked_at = Some(time(record.booked_at));
    message.claimed_at = record.claimed_at.map(time);
    message.ended_at = Some(time(record.ended_at));
    message.machine = record
        .machine
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    message.attempts = record.attempts;
    record.outcome.as_str().clone_into(&mut message.outcome);
    match &record.outcome {
        Outcome::Ran | Outcome::Canceled => {}
        Outcome::Refused { detail } => message.outcome_detail.clone_from(detail),
        Outcome::Gone { state } => message.outcome_detail.clone_from(state),
    }
    message.set_phase(v1::JobPhase::Ended);
    message
}

fn of_facts(job: &JobRef, facts: &JobFacts) -> v1::Job {
    v1::Job {
        source: job.source.to_string(),
        id: job.id.to_string(),
        queue: facts.queue.to_string(),
        pipeline: facts.pipeline.clone(),
        build: facts.build,
        branch: facts.branch.clone(),
        step: facts.step.clone().unwrap_or_default(),
        priority: facts.priority,
        tags: facts.rules.clone(),
        runnable_at: (facts.runnable_at > Timestamp(0)).then(|| time(facts.runnable_at)),
        ..v1::Job::default()
    }
}

pub(super) fn machine(machine: &MachineInfo) -> v1::Machine {
    let record = &machine.record;
    let claim = record.claim();
    let footprint = record.footprint.as_ref();
    let mut message = v1::Machine {
        name: record.name.to_string(),
        project: record.shard.project.to_string(),
        region: record.shard.region.to_string(),
        zone: record.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
        machine_type: footprint.map(|f| f.machine_type.to_string()).unwrap_or_default(),
        spot: footprint.is_some_and(|f| f.model == ProvisioningModel::Spot),
        price_micro_usd_per_hour: record.price.0,
        made_for: record
            .made_for
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        job: claim.map(|claim| claim.job.to_string()).unwrap_or_default(),
        intended_at: Some(time(record.intended_at)),
        created_at: (!machine.creating).then(|| time(record.created_at)),
        claimed_at: claim.map(|claim| time(claim.at)),
        ..v1::Machine::default()
    };
    let phase = match &record.phase {
        _ if machine.creating => v1::MachinePhase::Creating,
        MachinePhase::Booting => v1::MachinePhase::Booting,
        MachinePhase::Claimed(_) => v1::MachinePhase::Claimed,
        MachinePhase::Deleting { cause, since, .. } => {
            message.delete_cause = cause.to_string();
            message.deleting_since = Some(time(*since));
            v1::MachinePhase::Deleting
        }
    };
    message.set_phase(phase);
    message
}

pub(super) fn timeline(remarks: Vec<Remark>) -> Vec<v1::TimelineEntry> {
    let entry = |remark: Remark| v1::TimelineEntry {
        at: Some(time(remark.at)),
        text: remark.text,
    };
    remarks.into_iter().map(entry).collect()
}

/// What is asked for, as a job would; options get the prefix of the operator's tags.
pub(super) fn asked(request: v1::ExplainRequest, tag_prefix: &str) -> JobFacts {
    let mut rules = request.tags;
    let options = request.options.iter();
    rules.extend(options.map(|option| format!("{tag_prefix}{option}")));
    JobFacts {
        queue: QueueKey::new(request.queue),
        rules,
        priority: 0,
        pipeline: request.pipeline,
        build: 0,
        branch: String::new(),
        step: None,
        runnable_at: Timestamp(0),
    }
}

pub(super) fn choice(found: &Outlook) -> v1::Choice {
    let Outlook {
        choice,
        zones,
        room,
        blocked,
    } = found;
    v1::Choice {
        machine_type: choice.shape.machine_type.to_string(),
        family: choice.shape.family.clone(),
        shard: Some(v1::ShardRef {
            project: choice.shard.project.to_string(),
            region: choice.shard.region.to_string(),
        }),
        spot: choice.shape.model == ProvisioningModel::Spot,
        price_micro_usd_per_hour: choice.price.0,
        zones: zones.iter().map(ToString::to_string).collect(),
        room: room.as_ref().map(|(room, _)| *room),
        metric: room
            .as_ref()
            .map(|(_, metric)| metric.to_string())
            .unwrap_or_default(),
        blocked: blocked.clone().unwrap_or_default(),
        vcpus: choice.shape.cpus,
        memory_mib: choice.shape.memory_mib,
        boot_disk_type: choice.shape.boot_disk.disk_type.clone(),
        boot_disk_gib: choice.shape.boot_disk.gib,
    }
}

pub(super) fn order(order: &Order) -> v1::Order {
    v1::Order {
        by: order.by.clone(),
        at: Some(time(order.at)),
        note: order.note.clone(),
    }
}

pub(super) fn cordon(cordon: &Cordon, machines: u64) -> v1::Cordon {
    let place = match &cordon.place {
        Place::Shard(shard) => v1::place::Place::Shard(v1::ShardRef {
            project: shard.project.to_string(),
            region: shard.region.to_string(),
        }),
        Place::Zone(zone) => v1::place::Place::Zone(zone.to_string()),
        Place::Family { family, zone } => v1::place::Place::Family(v1::FamilyRef {
            family: family.clone(),
            zone: zone.as_ref().map(ToString::to_string).unwrap_or_default(),
        }),
    };
    v1::Cordon {
        place: Some(v1::Place { place: Some(place) }),
        drain: cordon.drain,
        order: Some(order(&cordon.order)),
        machines,
    }
}

pub(super) fn place(place: Option<v1::Place>) -> Result<Place, Status> {
    let place = place.and_then(|place| place.place);
    match place.ok_or_else(|| fail::field("place", "is missing: name a shard or a zone"))? {
        v1::place::Place::Shard(shard) => Ok(Place::Shard(Shard {
            project: shard.project.as_str().into(),
            region: shard.region.as_str().into(),
        })),
        v1::place::Place::Zone(zone) => Ok(Place::Zone(Zone::new(zone))),
        v1::place::Place::Family(v1::FamilyRef { family, zone }) => Ok(Place::Family {
            family,
            zone: (!zone.is_empty()).then(|| Zone::new(zone)),
        }),
    }
}

pub(super) fn status(whole: Whole) -> v1::LeaderStatus {
    let replicas = whole.replicas.into_iter().map(|line| v1::ReplicaStatus {
        name: line.member.replica.to_string(),
        zone: line.member.zone,
        address: line.member.address,
        version: line.member.version,
        same_config: line.same_config,
        connected: line.connected,
    });
    let sources = whole.sources.into_iter().map(|line| {
        let (since, trouble) = line.trouble.unzip();
        v1::SourceStatus {
            name: line.name.to_string(),
            registered: line.registered,
            queues: line.queues.iter().map(ToString::to_string).collect(),
            paused_queues: line.paused.iter().map(ToString::to_string).collect(),
            backlog: line.backlog,
            trouble: trouble.unwrap_or_default(),
            trouble_since: since.map(time),
        }
    });
    let counts = |counts: std::collections::BTreeMap<&'static str, u64>| {
        counts
            .into_iter()
            .map(|(word, count)| (word.to_owned(), count))
            .collect()
    };
    v1::LeaderStatus {
        decides: whole.decides,
        missing: whole.missing,
        leads_since: Some(time(whole.since)),
        last_pass: Some(time(whole.last_pass)),
        last_pass_took: Some(length(whole.pass_took)),
        last_commit_took: Some(length(whole.commit_took)),
        replicas: replicas.collect(),
        shards: whole.shards.into_iter().map(shard).collect(),
        sources: sources.collect(),
        jobs: counts(whole.jobs),
        reasons: whole
            .reasons
            .into_iter()
            .map(|(kind, count)| (kind.to_string(), count))
            .collect(),
        machines: counts(whole.machines),
        paused: whole.paused.as_ref().map(order),
        cordons: whole
            .cordons
            .iter()
            .map(|(place, machines)| cordon(place, *machines))
            .collect(),
        price_micro_usd_per_hour: whole.price.0,
    }
}

fn shard(line: ShardLine) -> v1::ShardStatus {
    let quotas = line.quotas.into_iter().map(|quota| v1::QuotaStatus {
        metric: quota.metric.to_string(),
        limit: quota.limit,
        used: quota.used,
    });
    v1::ShardStatus {
        project: line.shard.project.to_string(),
        region: line.shard.region.to_string(),
        owner: line.owner.map(|owner| owner.to_string()).unwrap_or_default(),
        served: line.served,
        cordoned: line.cordoned,
        machines: line.machines,
        quotas: quotas.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_get_the_prefix_and_tags_stay_as_they_were_written() {
        let request = v1::ExplainRequest {
            tags: vec!["gust-spot=true".to_owned(), "queue=gust".to_owned()],
            options: vec!["cpu=16".to_owned()],
            ..v1::ExplainRequest::default()
        };
        let rules = asked(request.clone(), "gust-").rules;
        assert_eq!(rules, ["gust-spot=true", "queue=gust", "gust-cpu=16"]);
        assert_eq!(asked(request, "").rules[2], "cpu=16");
    }
}
