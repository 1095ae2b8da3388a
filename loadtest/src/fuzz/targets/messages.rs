//! Messages between replicas, and between machines and gust, with the checked way into values.

use std::time::Duration;

use gust_core::{
    ids::{
        BatchId, JobId, JobRef, MachineName, MachineTypeName, ProjectId, Region, ReplicaId, Shard,
        SourceName, Term, Zone,
    },
    ports::{Capacity, Command, Event, Hello, Instance, InstanceStatus, MemberFate, Quota, RefusalClass},
    secret::Secret,
    time::Timestamp,
};
use gust_proto::{FromLeader, machine::Assignment, v1};
use gust_store::conformance::sample;
use prost::Message;
use uuid::Uuid;

use super::{Make, Target};

pub(super) const ALL: &[Make] = &[commands, events, assignments, from_machines, admin];

fn shard() -> Shard {
    Shard {
        project: ProjectId::new("p"),
        region: Region::new("us-central1"),
    }
}

/// Bytes as a message, and the message as a value.
fn read<M: Message + Default, T>(bytes: &[u8], of: impl FnOnce(M) -> Option<T>) -> Option<T> {
    of(M::decode(bytes).ok()?)
}

fn commands() -> Target {
    let zone = Zone::new("us-central1-a");
    let name = MachineName::new("gust-1-1");
    let hello = Hello {
        term: Term(3),
        session: 2,
        leader: ReplicaId::new("r1"),
        shards: vec![(shard(), vec![zone.clone()])],
    };
    let commands = [
        Command::Create(Box::new(sample::batch(1))),
        Command::Resume(Box::new(sample::batch(2))),
        Command::Delete {
            lists_after: Duration::from_secs(5),
            shard: shard(),
            zone: Some(zone.clone()),
            name: name.clone(),
        },
        Command::Check {
            shard: shard(),
            zone,
            name,
        },
        Command::Look { shard: shard() },
    ];
    let mut corpus: Vec<Vec<u8>> = commands
        .iter()
        .map(|one| v1::Command::from(one).encode_to_vec())
        .collect();
    corpus.push(v1::Command::from(&hello).encode_to_vec());
    Target::new("worker commands", corpus, |bytes| {
        read(bytes, |command: v1::Command| FromLeader::try_from(command).ok()).is_some()
    })
}

fn events() -> Target {
    let batch = BatchId::of(&MachineName::new("gust-1-1"));
    let zone = Zone::new("us-central1-a");
    let name = MachineName::new("gust-1-1");
    let capacity = Capacity {
        quotas: vec![Quota {
            metric: "N2D_CPUS".to_owned(),
            limit: 500.0,
            usage: 16.0,
            project_wide: false,
        }],
        read_at: Timestamp(1_800_000_000_000),
        age: Duration::from_secs(3),
    };
    let created = MemberFate::Created {
        zone: zone.clone(),
        instance_id: Some(7),
        machine_type: Some(MachineTypeName::new("n2d-standard-8")),
    };
    let class = RefusalClass::Quota {
        metric: "CPUS".to_owned(),
        limit: Some(24),
    };
    let refused = MemberFate::Refused {
        class: class.clone(),
        message: "no".to_owned(),
    };
    let events = [
        Event::Ready {
            batches: vec![batch],
            deleting: vec![name.clone()],
        },
        Event::Accepted { batch },
        Event::Settled {
            batch,
            fates: vec![(name.clone(), created), (MachineName::new("gust-1-2"), refused)],
        },
        Event::Refused {
            batch,
            class,
            message: "no".to_owned(),
        },
        Event::Inventory {
            shard: shard(),
            begun_at: Timestamp(1),
            instances: vec![Instance {
                name,
                id: 7,
                zone: zone.clone(),
                status: InstanceStatus::Running,
                machine_type: "n2d-standard-8".to_owned(),
                created_at: Some(Timestamp(1)),
            }],
        },
        Event::Kept {
            shard: shard(),
            capacity,
        },
        Event::MachineTypes {
            shard: shard(),
            zones: vec![(zone, vec!["n2d-standard-8".to_owned()])],
        },
    ];
    let corpus: Vec<Vec<u8>> = events
        .iter()
        .map(|one| v1::Event::from(one).encode_to_vec())
        .collect();
    Target::new("worker events", corpus, |bytes| {
        let event = read(bytes, |event: v1::Event| Event::try_from(event).ok());
        event.is_some_and(|event| {
            // What was taken can be told again.
            let _ = v1::Event::from(&event).encode_to_vec();
            true
        })
    })
}

fn assignment() -> Assignment {
    Assignment {
        job: JobRef {
            source: SourceName::new("main"),
            id: JobId(Uuid::from_u128(7)),
        },
        agent_endpoint: "https://agent.buildkite.com/v3".to_owned(),
        token: Secret::new("bkjat_x"),
        agent_token_fallback: false,
        token_expires_at: Timestamp(1_800_000_000_000),
        tags: vec!["queue=gust".to_owned(), "cpu=8".to_owned()],
        max_run: Duration::from_secs(3600),
    }
}

fn assignments() -> Target {
    let answer = v1::ClaimResponse {
        answer: Some(v1::claim_response::Answer::Assignment((&assignment()).into())),
    };
    let none = v1::ClaimResponse {
        answer: Some(v1::claim_response::Answer::NoJob(v1::NoJob {
            reason: "over".to_owned(),
        })),
    };
    let known = gust_guest::plan::Known::read("buildkite-agent version 3.136.3+11923", "");
    let machine = MachineName::new("gust-1-1");
    Target::new(
        "claim answers",
        [answer.encode_to_vec(), none.encode_to_vec()],
        move |bytes| {
            let answer = read(bytes, |response: v1::ClaimResponse| response.answer);
            let Some(v1::claim_response::Answer::Assignment(assignment)) = answer else {
                return false;
            };
            let Ok(assignment) = Assignment::try_from(assignment) else {
                return false;
            };
            // As the guest goes on with it.
            let _ = gust_guest::plan::Plan::new(gust_guest::plan::Ingredients {
                agent: "/usr/bin/buildkite-agent".as_ref(),
                known: &known,
                assignment: &assignment,
                machine: &machine,
                builds: "/builds".as_ref(),
                bootstrap: None,
            });
            true
        },
    )
}

/// Requests of machines, as far as they are read before anything about them is known.
fn from_machines() -> Target {
    let claim = v1::ClaimRequest {
        stack: "gust".to_owned(),
        machine: "gust-1-1".to_owned(),
        identity_token: "e30.e30.e30".to_owned(),
        public_key: vec![4; 65],
        signature: vec![7; 70],
        guest_version: "0.1.0".to_owned(),
    };
    let done = v1::DoneRequest {
        machine: "gust-1-1".to_owned(),
        job_id: Uuid::from_u128(7).to_string(),
        agent_exit_code: Some(0),
        public_key: vec![4; 65],
        signature: vec![7; 70],
        ran_millis: 1234,
        reclaimed_signature: vec![7; 70],
    };
    Target::new(
        "machine requests",
        [claim.encode_to_vec(), done.encode_to_vec()],
        |bytes| {
            let claim = v1::ClaimRequest::decode(bytes).ok().map(|claim| {
                let _ = format!("{claim:?}");
                let machine = MachineName::new(claim.machine);
                let _ = gust_proto::machine::key_hash(&claim.public_key);
                let _ = gust_proto::machine::claim_message(&machine, &claim.identity_token);
            });
            let done = v1::DoneRequest::decode(bytes).ok().and_then(|done| {
                let job = Uuid::parse_str(&done.job_id).ok()?;
                Some(gust_proto::machine::done_message(
                    &MachineName::new(done.machine),
                    JobId(job),
                ))
            });
            claim.is_some() || done.is_some()
        },
    )
}

/// Requests of operators and peers: decoding only, what follows needs a leader.
fn admin() -> Target {
    let explain = v1::ExplainRequest {
        tags: vec!["queue=gust".to_owned(), "cpu=8".to_owned()],
        ..v1::ExplainRequest::default()
    };
    let list = v1::ListJobsRequest {
        filter: Some(v1::JobFilter::default()),
        ..v1::ListJobsRequest::default()
    };
    let hint = v1::HintRequest {
        hint: Some(v1::hint_request::Hint::ScheduledQueue("gust".to_owned())),
    };
    let corpus = [
        explain.encode_to_vec(),
        list.encode_to_vec(),
        hint.encode_to_vec(),
    ];
    Target::new("admin and peer requests", corpus, |bytes| {
        let explain = v1::ExplainRequest::decode(bytes).is_ok();
        let list = v1::ListJobsRequest::decode(bytes).is_ok();
        let cordon = v1::CordonRequest::decode(bytes).is_ok();
        let hint = v1::HintRequest::decode(bytes).is_ok();
        explain || list || cordon || hint
    })
}
