//! Records as the store sees them: what is written is read back, also by a version that knows less.

use std::{collections::BTreeMap, fmt::Debug};

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::{
    BatchRecord, Book, Call, Change, Claim, DeleteCause, Failures, Format, HistoryRecord, JobFacts, JobPhase,
    JobRecord, Key, KeyHash, MachinePhase, MachineRecord, Member, Outcome, Preempted, Preemption,
    SpendRecord, SpentRecord,
};
use crate::{
    cap::Day,
    decide::tests::{
        model::recount,
        world::{START, facts, job, shape},
    },
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

fn preemption() -> impl Strategy<Value = Preemption> {
    let id = || option::of(any::<u128>().prop_map(|id| JobId(Uuid::from_u128(id))));
    let preempted = (
        moment(),
        any::<(u64, bool, bool, bool)>(),
        option::of(moment()),
        id(),
    )
        .prop_map(
            |(at, (after_ms, told, recognized, guessed), asked, retried_in)| Preempted {
                at,
                after_ms,
                told,
                asked,
                retried_in,
                guessed,
                recognized,
            },
        );
    (any::<bool>(), option::of(preempted), id()).prop_map(|(lost_spot, preempted, retry_of)| Preemption {
        lost_spot,
        preempted,
        retry_of,
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
    (
        job_ref(),
        job_facts(),
        (moment(), any::<u32>()),
        failures,
        preemption(),
        phase,
    )
        .prop_map(
            |(job, facts, (booked_at, attempts), failures, preemption, phase)| JobRecord {
                job,
                facts,
                booked_at,
                attempts,
                failures,
                preemption,
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
    let member = (machine_name(), job_ref(), any::<u32>(), option::of(text())).prop_map(
        |(name, job, attempt, request_key)| Member {
            name,
            job,
            attempt,
            request_key,
        },
    );
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
                pipeline: made_for.as_ref().map(|job| job.source.to_string()),
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
            preemption: Preemption::default(),
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
            Key::History(job.clone()),
            Key::Spent(job),
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

/// Batch `at` of a few, with three members each.
fn batch(at: usize) -> BatchRecord {
    let names: Vec<_> = (0..3)
        .map(|n| MachineName::new(format!("gust-x-{}", at * 3 + n)))
        .collect();
    let member = |name: &MachineName| Member {
        name: name.clone(),
        job: job(at as u128 % 2),
        attempt: 1,
        request_key: None,
    };
    BatchRecord {
        id: BatchId::of(&names[0]),
        term: Term(3),
        created_at: START,
        call: Call::Bulk,
        shape: shape(if at == 0 { "small" } else { "large" }, "r1"),
        request_key: "small".into(),
        price: Price(5),
        members: names.iter().map(member).collect(),
    }
}

/// The machine of a batch's member.
fn machine(batch: &BatchRecord, member: usize) -> MachineRecord {
    let member = &batch.members[member];
    MachineRecord {
        name: member.name.clone(),
        batch: Some(batch.id),
        shard: batch.shard(),
        zone: None,
        instance_id: None,
        footprint: Some(Footprint::from(&batch.shape)),
        service_account: None,
        max_run_seconds: 1,
        price: batch.price,
        made_for: Some(member.job.clone()),
        pipeline: None,
        attempt: 1,
        request_key: batch.request_key.clone(),
        intended_at: START,
        created_at: START,
        phase: MachinePhase::Booting,
    }
}

proptest! {
    #[test]
    fn the_indexes_of_a_book_count_each_name_once_in_whatever_order_records_come_and_go(
        changes in vec((0..4_usize, 0..3_usize, 0..3_usize), 0..40),
    ) {
        let mut book = Book::default();
        let mut store = BTreeMap::new();
        for (what, at, member) in changes {
            let batch = batch(at);
            let change = match what {
                0 => Change::PutBatch(Box::new(batch)),
                1 => Change::RemoveBatch(batch.id),
                2 => Change::PutMachine(Box::new(machine(&batch, member))),
                _ => Change::RemoveMachine(batch.members[member].name.clone()),
            };
            book.apply(&change);
            let key = change.key().to_string();
            if let Some(value) = change.value() {
                store.insert(key, value);
            } else {
                store.remove(&key);
            }
            let (footprints, made_for, members) = recount(&book);
            prop_assert_eq!(book.footprints(), &footprints);
            for n in 0..2 {
                let names = book.made_for(&job(n)).cloned().collect();
                prop_assert_eq!(made_for.get(&job(n)).cloned().unwrap_or_default(), names);
            }
            for name in (0..9).map(|n| MachineName::new(format!("gust-x-{n}"))) {
                prop_assert_eq!(book.batch_of(&name).map(|batch| batch.id), members.get(&name).copied());
            }
        }
        let sooner = book.footprints_by(Timestamp(0));
        prop_assert_eq!(&book.footprints_by(Timestamp(i64::MAX)), book.footprints());
        prop_assert!(sooner.iter().all(|(footprint, count)| book.footprints()[footprint] >= *count));
        let asked_by_then = book.machines().values().filter(|machine| machine.footprint.is_some() && machine.intended_at.0 <= 0);
        let unborn = book.batches().values().filter(|batch| batch.created_at.0 <= 0).flat_map(|batch| &batch.members);
        let unborn = unborn.map(|member| &member.name).filter(|name| !book.machines().contains_key(*name));
        prop_assert_eq!(sooner.values().sum::<u64>(), (asked_by_then.count() + unborn.count()) as u64);
        let records = store.iter().map(|(key, value): (&String, &Vec<u8>)| (key.as_str(), value.as_slice()));
        prop_assert_eq!(Book::load(records.clone(), Format::OURS).expect("readable"), book.clone());
        prop_assert_eq!(Book::load(records.rev(), Format::OURS).expect("readable"), book);
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
        request_key: Some("small, too".to_owned()),
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
        preemption: Preemption::default(),
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
        pipeline: Some("monorepo".to_owned()),
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
    let spent = SpentRecord {
        job: job.job.clone(),
        attempts: 2,
        ended_at: START,
        awaited: None,
    };
    let spend = SpendRecord {
        pipeline: "monorepo".to_owned(),
        day: Day(20_833),
        micro_usd: 12_345_678,
    };
    let all = [
        pretty(&job),
        pretty(&batch),
        pretty(&machine),
        pretty(&spent),
        pretty(&spend),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_latest_moment_is_that_of_what_was_recorded_last() {
    let at = |seconds: i64| Timestamp(START.0 + seconds * 1000);
    let mut book = Book::default();
    assert_eq!(book.latest(), None);
    let mut job = JobRecord {
        job: job(1),
        facts: facts("small", START),
        booked_at: at(1),
        attempts: 0,
        failures: Failures::default(),
        preemption: Preemption::default(),
        phase: JobPhase::Booked,
    };
    book.apply(&Change::PutJob(job.clone()));
    assert_eq!(book.latest(), Some(at(1)));
    job.phase = JobPhase::Claimed {
        machine: MachineName::new("gust-x-1"),
        at: at(2),
    };
    book.apply(&Change::PutJob(job));
    assert_eq!(book.latest(), Some(at(2)));
    let mut later = batch(0);
    later.created_at = at(3);
    book.apply(&Change::PutBatch(Box::new(later)));
    assert_eq!(book.latest(), Some(at(3)));
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
        let damage = Book::load([(key.as_str(), *value)], Format::OURS).expect_err("damaged");
        assert!(damage.to_string().contains(key.as_str()), "{damage}");
    }
    let kept_elsewhere = [
        (format!("history/bk/{id}"), &b"?"[..]),
        ("operator/pause".into(), b"?"),
    ];
    let book = Book::load(
        kept_elsewhere.iter().map(|(key, value)| (key.as_str(), *value)),
        Format::OURS,
    );
    assert_eq!(book.expect("not looked at"), Book::default());
}
