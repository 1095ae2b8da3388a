//! Small worlds made by hand: records as the product writes them, events as the fakes do.

use std::time::Duration;

use gust_core::{
    ids::{BatchId, JobId, JobRef, MachineName, StackName, Term},
    quota::Footprint,
    records::{
        BatchRecord, Call, Claim, DeleteCause, Failures, JobFacts, JobPhase, JobRecord, KeyHash,
        MachinePhase, MachineRecord, Member, Preemption,
    },
    shape::{Arch, BootDisk, Network, Price, ProvisioningModel, Shape},
    time::Timestamp,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::history::{History, Told, commit, event};

pub fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

pub fn job(n: u128) -> JobRef {
    JobRef {
        source: "virtual".into(),
        id: JobId(id(n)),
    }
}

/// The name of the n-th job's machine of this attempt.
pub fn name(n: u128, attempt: u32) -> MachineName {
    let stack = StackName::new("gust").expect("a good name");
    MachineName::for_attempt(&stack, JobId(id(n)), attempt)
}

pub fn shape() -> Shape {
    Shape {
        project: "gust-demo".into(),
        region: "us-central1".into(),
        zones: vec!["us-central1-a".into()],
        machine_type: "e2-standard-2".into(),
        family: "e2".into(),
        alternatives: Vec::new(),
        cpus: 2,
        memory_mib: 8192,
        arch: Arch::Amd64,
        model: ProvisioningModel::Standard,
        boot_disk: BootDisk {
            disk_type: "pd-balanced".into(),
            gib: 50,
            image: "i".into(),
        },
        local_ssds: 0,
        gpus: None,
        network: Network {
            network: "n".into(),
            subnetwork: None,
            external_address: false,
        },
        service_account: "s".into(),
        labels: Default::default(),
        metadata: Default::default(),
        max_run_seconds: 3600,
    }
}

pub fn job_record(n: u128, priority: i64, phase: JobPhase) -> (String, Value) {
    let record = JobRecord {
        job: job(n),
        facts: JobFacts {
            queue: "gust".into(),
            rules: vec!["cpu=2".into()],
            priority,
            pipeline: "p".into(),
            build: 1,
            branch: "main".into(),
            step: None,
            runnable_at: Timestamp(0),
        },
        booked_at: Timestamp(0),
        attempts: 0,
        failures: Failures::default(),
        preemption: Preemption::default(),
        phase,
    };
    (
        format!("jobs/{}", job(n)),
        serde_json::to_value(record).expect("writable"),
    )
}

pub fn batch(members: &[(u128, u32)], call: Call) -> (String, Value) {
    let members: Vec<Member> = members
        .iter()
        .map(|(n, attempt)| Member {
            name: name(*n, *attempt),
            job: job(*n),
            attempt: *attempt,
            request_key: None,
        })
        .collect();
    let record = BatchRecord {
        id: BatchId::of(&members[0].name),
        term: Term(1),
        created_at: Timestamp(0),
        call,
        shape: shape(),
        request_key: "cpu=2".into(),
        price: Price(1),
        members,
    };
    (
        format!("batches/{}", record.id),
        serde_json::to_value(record).expect("writable"),
    )
}

pub fn claimed(n: u128) -> MachinePhase {
    MachinePhase::Claimed(Claim {
        job: job(n),
        key: KeyHash("k".into()),
        at: Timestamp(0),
    })
}

pub fn deleting() -> MachinePhase {
    MachinePhase::Deleting {
        cause: DeleteCause::Done,
        since: Timestamp(0),
        claim: None,
    }
}

pub fn machine_record(n: u128, attempt: u32, phase: MachinePhase) -> (String, Value) {
    let shape = shape();
    let record = MachineRecord {
        name: name(n, attempt),
        batch: Some(BatchId::of(&name(n, attempt))),
        shard: shape.shard(),
        zone: Some("us-central1-a".into()),
        instance_id: Some(1),
        footprint: Some(Footprint::from(&shape)),
        service_account: None,
        max_run_seconds: 3600,
        price: Price(1),
        made_for: Some(job(n)),
        pipeline: None,
        attempt,
        request_key: "cpu=2".into(),
        intended_at: Timestamp(0),
        created_at: Timestamp(0),
        phase,
    };
    (
        format!("machines/{}", record.name),
        serde_json::to_value(record).expect("writable"),
    )
}

/// A history that is told step by step.
pub struct Tale {
    pub history: History,
    pub now: Duration,
    revision: u64,
}

impl Tale {
    /// Replica `a` leads with term 1.
    pub fn begin() -> Self {
        let mut tale = Self {
            history: History {
                told: Vec::new(),
                pictures: true,
            },
            now: Duration::ZERO,
            revision: 0,
        };
        tale.commit_as(0, &[("leader".to_owned(), json!("a"))]);
        tale
    }

    pub fn tell(&mut self, told: Told) -> &mut Self {
        self.history.told.push((self.now, told));
        self
    }

    pub fn after(&mut self, seconds: u64) -> &mut Self {
        self.now += Duration::from_secs(seconds);
        self
    }

    pub fn commit_as(&mut self, term: u64, writes: &[(String, Value)]) -> &mut Self {
        self.revision += 1;
        let writes: Vec<(&str, Value)> = writes
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        let told = commit(term, self.revision, &writes);
        self.tell(told)
    }

    pub fn commit(&mut self, writes: &[(String, Value)]) -> &mut Self {
        self.commit_as(1, writes)
    }

    pub fn remove(&mut self, key: &str) -> &mut Self {
        self.commit(&[(key.to_owned(), Value::Null)])
    }

    pub fn state(&mut self, n: u128, to: &str) -> &mut Self {
        self.tell(event("job.state", json!({"job": id(n), "to": to})))
    }

    /// A job is created, listed, reserved and booked.
    pub fn booked(&mut self, n: u128, priority: i64) -> &mut Self {
        self.tell(event(
            "job.created",
            json!({"job": id(n), "rules": ["cpu=2"], "priority": priority}),
        ));
        self.state(n, "scheduled").state(n, "reserved");
        self.commit(&[job_record(n, priority, JobPhase::Booked)])
    }

    pub fn intended(&mut self, members: &[(u128, u32)], call: Call) -> &mut Self {
        self.commit(&[batch(members, call)])
    }

    pub fn inserted(&mut self, n: u128, attempt: u32) -> &mut Self {
        let name = name(n, attempt);
        let request = BatchId::of(&name).to_string();
        self.tell(event(
            "instance.inserted",
            json!({"name": name.as_str(), "request_id": request}),
        ))
    }

    pub fn instance(&mut self, n: u128, attempt: u32, to: &str, cause: &str) -> &mut Self {
        let name = name(n, attempt);
        self.tell(event(
            "instance.state",
            json!({"name": name.as_str(), "to": to, "cause": cause}),
        ))
    }

    /// A machine is up and recorded by itself, its batch is settled.
    pub fn up(&mut self, n: u128, attempt: u32) -> &mut Self {
        self.intended(
            &[(n, attempt)],
            Call::Insert {
                zone: "us-central1-a".into(),
            },
        );
        self.inserted(n, attempt).instance(n, attempt, "RUNNING", "boot");
        let batch = format!("batches/{}", BatchId::of(&name(n, attempt)));
        self.commit(&[
            machine_record(n, attempt, MachinePhase::Booting),
            (batch, Value::Null),
        ])
    }

    pub fn claims(&mut self, n: u128, attempt: u32) -> &mut Self {
        let phase = JobPhase::Claimed {
            machine: name(n, attempt),
            at: Timestamp(0),
        };
        self.commit(&[machine_record(n, attempt, claimed(n)), job_record(n, 0, phase)])
    }

    pub fn registers(&mut self, n: u128, attempt: u32) -> &mut Self {
        let name = name(n, attempt);
        self.tell(event("token.issued", json!({"job": id(n)})));
        self.tell(event(
            "agent.registered",
            json!({"agent_name": name.as_str(), "job": id(n)}),
        ))
    }

    pub fn runs(&mut self, n: u128, attempt: u32) -> &mut Self {
        self.registers(n, attempt);
        self.state(n, "accepted");
        let name = name(n, attempt);
        self.tell(event(
            "job.acquired",
            json!({"agent_name": name.as_str(), "job": id(n)}),
        ));
        self.state(n, "running")
    }

    pub fn ends(&mut self, n: u128) -> &mut Self {
        self.state(n, "finished");
        self.tell(event("job.finished", json!({"job": id(n), "by": "agent"})))
    }

    /// A machine is deleted: recorded, stopped, gone, forgotten; its job is closed.
    pub fn removed(&mut self, n: u128, attempt: u32) -> &mut Self {
        self.commit(&[machine_record(n, attempt, deleting())]);
        self.instance(n, attempt, "STOPPING", "delete");
        let name = name(n, attempt);
        self.tell(event("instance.deleted", json!({"name": name.as_str()})));
        self.remove(&format!("machines/{name}"))
    }

    pub fn closed(&mut self, n: u128) -> &mut Self {
        self.remove(&format!("jobs/{}", job(n)))
    }
}
