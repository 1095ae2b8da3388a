//! Records as the store sees them: what is written is read back, also by a version that knows less.

use std::{collections::BTreeMap, fmt::Debug};

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::{
    BatchRecord, Book, Call, Claim, DeleteCause, Failures, HistoryRecord, JobFacts, JobPhase, JobRecord, Key,
    KeyHash, MachinePhase, MachineRecord, Member, Outcome,
};
use crate::{
    decide::tests::world::{START, facts, job, shape},
    ids::{BatchId, JobId, JobRef, MachineName, SourceName, Term},
    quota::Footprint,
    shape::{Price, ProvisioningModel, Shape},
    time::Timestamp,
};

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,10}"
}

fn moment() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

fn job_ref() -> impl Strategy<Value = JobRef> {
    (text(), any::<u128>()).prop_map(|(source, id)| JobRef {
        source: SourceName::new(source),
        id: JobId(Uuid::from_u128(id)),
    })
}

fn machine_name() -> impl Strategy<Value = MachineName> {
    text().prop_map(MachineName::new)
}

fn job_facts() -> impl Strategy<Value = JobFacts> {
    (
        text(),
        vec(text(), 0..3),
        any::<i64>(),
        any::<u64>(),
        option::of(text()),
        moment(),
    )
        .prop_map(|(queue, rules, priority, build, step, runnable_at)| JobFacts {
            queue: queue.as_str().into(),
            rules,
            priority,
            build,
            step,
            runnable_at,
            ..facts("small", START)
        })
}

fn job_record() -> impl Strategy<Value = JobRecord> {
    let phase = prop_oneof![
        Just(JobPhase::Booked),
        text().prop_map(|detail| JobPhase::Refusing { detail }),
        (machine_name(), moment()).prop_map(|(machine, at)| JobPhase::Claimed { machine, at }),
    ];
    let failures = any::<[u32; 4]>().prop_map(|[boot, acquire, lost, refused]| Failures {
        boot,
        acquire,
        lost,
        refused,
    });
    (job_ref(), job_facts(), moment(), any::<u32>(), failures, phase).prop_map(
        |(job, facts, booked_at, attempts, failures, phase)| JobRecord {
            job,
            facts,
            booked_at,
            attempts,
            failures,
            phase,
        },
    )
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let map = || btree_map(text(), text(), 0..3);
    (text(), map(), map(), option::of(text()), any::<(u64, bool)>()).prop_map(
        |(kind, labels, metadata, subnetwork, (memory_mib, spot))| {
            let mut shape = Shape {
                labels,
                metadata,
                memory_mib,
                ..shape(&kind, "r1")
            };
            shape.network.subnetwork = subnetwork;
            shape.model = if spot {
                ProvisioningModel::Spot
            } else {
                ProvisioningModel::Standard
            };
            shape
        },
    )
}

fn batch_record() -> impl Strategy<Value = BatchRecord> {
    let call = prop_oneof![
        Just(Call::Bulk),
        text().prop_map(|zone| Call::Insert {
            zone: zone.as_str().into()
        })
    ];
    let member = (machine_name(), job_ref(), any::<u32>()).prop_map(|(name, job, attempt)| Member {
        name,
        job,
        attempt,
    });
    (
        any::<u128>(),
        any::<u64>(),
        moment(),
        call,
        any_shape(),
        any::<u64>(),
        vec(member, 0..4),
    )
        .prop_map(
            |(id, term, created_at, call, shape, price, members)| BatchRecord {
                id: BatchId(Uuid::from_u128(id)),
                term: Term(term),
                created_at,
                call,
                shape,
                request_key: "small".into(),
                price: Price(price),
                members,
            },
        )
}

fn claim() -> impl Strategy<Value = Claim> {
    (job_ref(), text(), moment()).prop_map(|(job, key, at)| Claim {
        job,
        key: KeyHash(key),
        at,
    })
}

fn machine_record() -> impl Strategy<Value = MachineRecord> {
    let phase = prop_oneof![
        Just(MachinePhase::Booting),
        claim().prop_map(MachinePhase::Claimed),
        (moment(), option::of(claim())).prop_map(|(since, claim)| MachinePhase::Deleting {
            cause: DeleteCause::Overdue,
            since,
            claim
        }),
    ];
    (
        machine_name(),
        option::of(any_shape()),
        option::of(any::<u64>()),
        option::of(job_ref()),
        any::<(u32, u64)>(),
        phase,
    )
        .prop_map(
            |(name, shape, instance_id, made_for, (attempt, max_run_seconds), phase)| MachineRecord {
                name,
                batch: shape.as_ref().map(|_| BatchId(Uuid::from_u128(9))),
                shard: crate::decide::tests::world::shard("r1"),
                zone: shape.as_ref().map(|shape| shape.zones[0].clone()),
                instance_id,
                footprint: shape.as_ref().map(Footprint::from),
                service_account: shape.as_ref().map(|shape| shape.service_account.clone()),
                max_run_seconds,
                price: Price(7),
                made_for,
                attempt,
                request_key: "small".into(),
                intended_at: START,
                created_at: START,
                phase,
            },
        )
}

fn history_record() -> impl Strategy<Value = HistoryRecord> {
    let outcome = prop_oneof![
        Just(Outcome::Ran),
        Just(Outcome::Canceled),
        text().prop_map(|detail| Outcome::Refused { detail }),
        text().prop_map(|state| Outcome::Gone { state }),
    ];
    (
        job_ref(),
        job_facts(),
        option::of(machine_name()),
        option::of(moment()),
        outcome,
    )
        .prop_map(|(job, facts, machine, claimed_at, outcome)| HistoryRecord {
            job,
            facts,
            booked_at: START,
            claimed_at,
            ended_at: START,
            machine_type: machine.as_ref().map(|_| "small".into()),
            model: machine.as_ref().map(|_| ProvisioningModel::Spot),
            price: machine.as_ref().map(|_| Price(3)),
            machine_created_at: claimed_at,
            machine,
            attempts: 2,
            outcome,
        })
}

// What a later version might write: one more field in every object, save where all keys are data.
fn from_the_future(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if name != "labels" && name != "metadata" {
                    from_the_future(field);
                }
            }
            fields.insert("invented_later".into(), serde_json::json!({ "deep": [1, null] }));
        }
        Value::Array(items) => items.iter_mut().for_each(from_the_future),
        _ => {}
    }
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(record: &T) {
    let bytes = serde_json::to_vec(record).expect("writable");
    assert_eq!(serde_json::from_slice::<T>(&bytes).expect("readable"), *record);
    let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
    from_the_future(&mut value);
    let bytes = serde_json::to_vec(&value).expect("writable");
    assert_eq!(
        serde_json::from_slice::<T>(&bytes).expect("readable, whatever was added"),
        *record
    );
}

proptest! {
    #[test]
    fn jobs_come_back(record in job_record()) {
        comes_back(&record);
    }

    #[test]
    fn batches_come_back(record in batch_record()) {
        comes_back(&record);
    }

    #[test]
    fn machines_come_back(record in machine_record()) {
        comes_back(&record);
    }

    #[test]
    fn history_comes_back(record in history_record()) {
        comes_back(&record);
    }

    #[test]
    fn keys_come_back(job in job_ref(), batch in any::<u128>(), name in "[a-z0-9-]{1,40}") {
        let keys = [
            Key::Job(job.clone()),
            Key::History(job),
            Key::Batch(BatchId(Uuid::from_u128(batch))),
            Key::Machine(name.as_str().into()),
            Key::Operator(name),
        ];
        for key in keys {
            prop_assert_eq!(key.to_string().parse::<Key>(), Ok(key));
        }
    }

    #[test]
    fn any_text_is_a_key_or_refused(text in "\\PC{0,40}") {
        if let Ok(key) = text.parse::<Key>() {
            prop_assert_eq!(key.to_string().parse::<Key>(), Ok(key));
        }
    }
}

#[test]
fn the_form_of_records_is_what_older_replicas_wrote() {
    let name = MachineName::new("gust-x-1");
    let claim = Claim {
        job: job(1),
        key: KeyHash("ab".into()),
        at: START,
    };
    let member = Member {
        name: name.clone(),
        job: job(1),
        attempt: 1,
    };
    let shape = shape("small", "r1");
    let batch = BatchRecord {
        id: BatchId::of(&name),
        term: Term(3),
        created_at: START,
        call: Call::Insert { zone: "r1-a".into() },
        request_key: "small".into(),
        price: Price(5),
        members: vec![member],
        shape: shape.clone(),
    };
    let job = JobRecord {
        job: job(1),
        facts: facts("small", START),
        booked_at: START,
        attempts: 1,
        failures: Failures::default(),
        phase: JobPhase::Claimed {
            machine: name.clone(),
            at: START,
        },
    };
    let machine = MachineRecord {
        batch: Some(batch.id),
        shard: shape.shard(),
        zone: Some("r1-a".into()),
        instance_id: Some(u64::MAX),
        footprint: Some(Footprint::from(&shape)),
        service_account: Some("ci@ci.iam".into()),
        max_run_seconds: 3600,
        price: Price(5),
        made_for: Some(job.job.clone()),
        attempt: 1,
        request_key: "small".into(),
        intended_at: START,
        created_at: START,
        phase: MachinePhase::Deleting {
            cause: DeleteCause::Done,
            since: START,
            claim: Some(claim),
        },
        name,
    };
    insta::assert_snapshot!([pretty(&job), pretty(&batch), pretty(&machine)].join("\n"));
}

fn pretty(record: &impl Serialize) -> String {
    serde_json::to_string_pretty(record).expect("writable")
}

#[test]
fn a_damaged_record_is_named_and_nothing_is_guessed() {
    let id = "00000000-0000-0000-0000-000000000001";
    let cases: BTreeMap<String, &[u8]> = [
        (format!("jobs/bk/{id}"), &b"{}"[..]),
        ("machines/gust-x-1".into(), b"{\"half\": "),
        (format!("batches/{id}"), b""),
        ("jobs/bk/not-a-uuid".into(), b"{}"),
        ("surprises/1".into(), b"{}"),
    ]
    .into();
    for (key, value) in &cases {
        let damage = Book::load([(key.as_str(), *value)]).expect_err("damaged");
        assert!(damage.to_string().contains(key.as_str()), "{damage}");
    }
    let kept_elsewhere = [
        (format!("history/bk/{id}"), &b"?"[..]),
        ("operator/pause".into(), b"?"),
    ];
    let book = Book::load(kept_elsewhere.iter().map(|(key, value)| (key.as_str(), *value)));
    assert_eq!(book.expect("not looked at"), Book::default());
}
