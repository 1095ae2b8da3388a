//! Records and commits to try a store with.

use gust_core::{
    ids::{
        BatchId, JobId, JobRef, MachineName, MachineTypeName, ProjectId, QueueKey, Region, SourceName, Term,
        Zone,
    },
    ports::{Commit, CommitPhase},
    records::{
        BatchRecord, Call, Change, HistoryRecord, JobFacts, JobPhase, JobRecord, Member, Outcome, Step,
    },
    shape::{Arch, BootDisk, Network, Price, ProvisioningModel, Shape},
    time::Timestamp,
};
use uuid::Uuid;

/// The n-th job.
pub fn job_ref(n: u32) -> JobRef {
    JobRef {
        source: SourceName::new("main"),
        // Spread over the range of keys, as real UUIDs are.
        id: JobId(Uuid::new_v5(&Uuid::NAMESPACE_OID, &n.to_be_bytes())),
    }
}

fn facts(n: u32) -> JobFacts {
    JobFacts {
        queue: QueueKey::new("gust"),
        rules: vec![
            "queue=gust".to_owned(),
            "cpu=16".to_owned(),
            "memory=64".to_owned(),
        ],
        priority: i64::from(n % 3),
        pipeline: "monorepo".to_owned(),
        build: u64::from(n / 100),
        branch: "main".to_owned(),
        step: Some(format!("step-{n}")),
        runnable_at: Timestamp(i64::from(n)),
    }
}

/// The record of the n-th job, booked.
pub fn job(n: u32) -> JobRecord {
    JobRecord {
        job: job_ref(n),
        facts: facts(n),
        booked_at: Timestamp(i64::from(n)),
        attempts: 0,
        failures: gust_core::records::Failures::default(),
        preemption: gust_core::records::Preemption::default(),
        phase: JobPhase::Booked,
    }
}

/// A batch of one machine for the n-th job.
pub fn batch(n: u32) -> BatchRecord {
    let name = MachineName::new(format!("gust-{n}-1"));
    BatchRecord {
        id: BatchId::of(&name),
        term: Term(1),
        created_at: Timestamp(i64::from(n)),
        call: Call::Bulk,
        shape: Shape {
            project: ProjectId::new("p"),
            region: Region::new("us-central1"),
            zones: vec![Zone::new("us-central1-a")],
            machine_type: MachineTypeName::new("n2d-standard-16"),
            family: "n2d".to_owned(),
            alternatives: Vec::new(),
            cpus: 16,
            memory_mib: 65_536,
            arch: Arch::Amd64,
            model: ProvisioningModel::Spot,
            boot_disk: BootDisk {
                disk_type: "pd-balanced".to_owned(),
                gib: 50,
                image: "projects/debian-cloud/global/images/family/debian-12".to_owned(),
            },
            local_ssds: 0,
            gpus: None,
            network: Network {
                network: "global/networks/default".to_owned(),
                subnetwork: None,
                external_address: false,
            },
            service_account: "ci@p.iam.gserviceaccount.com".to_owned(),
            labels: [("gust-stack".to_owned(), "gust".to_owned())].into(),
            metadata: [].into(),
            max_run_seconds: 3600,
        },
        request_key: "cpu=16 memory=64".to_owned(),
        price: Price(211_200),
        members: vec![Member {
            name,
            job: job_ref(n),
            attempt: 1,
            request_key: None,
        }],
    }
}

/// The summary of the n-th job, which ended at a moment in Unix milliseconds.
pub fn history(n: u32, ended_unix_ms: i64) -> HistoryRecord {
    HistoryRecord {
        job: job_ref(n),
        facts: facts(n),
        booked_at: Timestamp(0),
        claimed_at: None,
        ended_at: Timestamp(ended_unix_ms),
        machine: None,
        machine_type: None,
        model: None,
        price: None,
        machine_created_at: None,
        attempts: 0,
        preemption: gust_core::records::Preemption::default(),
        outcome: Outcome::Ran,
    }
}

/// A commit of these changes, decided at the greatest moment among them.
pub fn commit(term: Term, changes: Vec<Change>) -> Commit {
    let at = changes.iter().filter_map(|change| match change {
        Change::PutHistory(record) => Some(record.ended_at),
        _ => None,
    });
    Commit {
        term,
        at: at.max().unwrap_or_default(),
        steps: vec![Step {
            phase: CommitPhase::Booked,
            changes,
        }],
    }
}

/// Lists of changes, the same for the same seed, no key twice in one list.
pub fn random_changes(seed: u64, lists: usize) -> Vec<Vec<Change>> {
    let mut state = seed;
    let mut draw = |below: u64| {
        // Knuth's MMIX generator: good enough to mix up a test, and the same everywhere.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    (0..lists)
        .map(|_| {
            let first = u32::try_from(draw(40)).unwrap_or(0);
            let count = u32::try_from(draw(8)).unwrap_or(0);
            (first..first + count)
                .map(|n| match draw(5) {
                    0 => Change::RemoveJob(job_ref(n)),
                    1 => Change::PutBatch(Box::new(batch(n))),
                    2 => Change::RemoveBatch(batch(n).id),
                    3 => Change::PutHistory(history(n, i64::from(n))),
                    _ => Change::PutJob(job(n)),
                })
                .collect()
        })
        .collect()
}
