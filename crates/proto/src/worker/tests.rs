use std::{fmt::Debug, time::Duration};

use gust_core::{
    ids::{
        BatchId, JobId, JobRef, MachineName, MachineTypeName, ProjectId, Region, ReplicaId, Shard,
        SourceName, Term, Zone,
    },
    ports::{Capacity, Command, Event, Hello, Instance, InstanceStatus, MemberFate, Quota, RefusalClass},
    records::{BatchRecord, Call, Member},
    shape::{Accelerators, Alternative, Arch, BootDisk, Network, Price, ProvisioningModel, Shape},
    time::Timestamp,
};
use proptest::{
    collection::{btree_map, btree_set, vec},
    option,
    prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest},
};
use prost::Message;
use uuid::Uuid;

use crate::{Malformed, v1, worker::FromLeader};

fn word() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,9}"
}

fn zone() -> impl Strategy<Value = Zone> {
    word().prop_map(Zone::new)
}

fn shard() -> impl Strategy<Value = Shard> {
    (word(), word()).prop_map(|(project, region)| Shard {
        project: ProjectId::new(project),
        region: Region::new(region),
    })
}

fn job() -> impl Strategy<Value = JobRef> {
    (word(), any::<u128>()).prop_map(|(source, id)| JobRef {
        source: SourceName::new(source),
        id: JobId(Uuid::from_u128(id)),
    })
}

fn shape() -> impl Strategy<Value = Shape> {
    let sizes = (
        any::<u32>(),
        any::<u64>(),
        any::<u32>(),
        any::<u32>(),
        any::<u64>(),
    );
    let places = (shard(), vec(zone(), 1..4), option::of(word()), any::<bool>());
    let texts = (word(), word(), word(), word());
    let kinds = (
        prop_oneof![Just(Arch::Amd64), Just(Arch::Arm64)],
        prop_oneof![Just(ProvisioningModel::Standard), Just(ProvisioningModel::Spot)],
    );
    let maps = (btree_map(word(), ".*", 0..3), btree_map(word(), ".*", 0..3));
    let gpus = (word(), any::<u32>(), any::<bool>());
    let gpus = option::of(gpus.prop_map(|(kind, count, attach)| Accelerators { kind, count, attach }));
    let alternative =
        (word(), word(), any::<(u64, u64)>()).prop_map(|(name, family, (memory_mib, price))| Alternative {
            machine_type: MachineTypeName::new(name),
            family,
            memory_mib,
            price: Price(price),
        });
    let kinds = (kinds, gpus, vec(alternative, 0..3));
    (sizes, places, texts, kinds, maps).prop_map(
        |(
            (cpus, memory_mib, gib, local_ssds, max_run_seconds),
            (shard, zones, subnetwork, external_address),
            (family, disk_type, image, account),
            ((arch, model), gpus, alternatives),
            (labels, metadata),
        )| Shape {
            project: shard.project,
            region: shard.region,
            zones,
            machine_type: MachineTypeName::new(format!("{family}-standard-{cpus}")),
            family,
            alternatives,
            cpus,
            memory_mib,
            arch,
            model,
            boot_disk: BootDisk {
                disk_type,
                gib,
                image,
            },
            local_ssds,
            gpus,
            network: Network {
                network: "global/networks/default".to_owned(),
                subnetwork,
                external_address,
            },
            service_account: account,
            labels,
            metadata,
            max_run_seconds,
        },
    )
}

fn batch() -> impl Strategy<Value = BatchRecord> {
    let call = prop_oneof![Just(Call::Bulk), zone().prop_map(|zone| Call::Insert { zone })];
    let members = btree_set(word(), 1..5).prop_flat_map(|names| {
        let jobs = vec((job(), any::<u32>()), names.len());
        (Just(names), jobs)
    });
    (
        any::<u128>(),
        any::<(u64, i64, u64)>(),
        call,
        shape(),
        word(),
        members,
    )
        .prop_map(
            |(id, (term, at, price), call, shape, request_key, (names, jobs))| {
                let most = if matches!(call, Call::Bulk) {
                    names.len()
                } else {
                    1
                };
                BatchRecord {
                    id: BatchId(Uuid::from_u128(id)),
                    term: Term(term),
                    created_at: Timestamp(at),
                    call,
                    shape,
                    request_key,
                    price: Price(price),
                    members: names
                        .into_iter()
                        .zip(jobs)
                        .take(most)
                        .map(|(name, (job, attempt))| Member {
                            name: MachineName::new(name),
                            job,
                            attempt,
                            request_key: Some("k".to_owned()),
                        })
                        .collect(),
                }
            },
        )
}

fn name() -> impl Strategy<Value = MachineName> {
    word().prop_map(MachineName::new)
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        batch().prop_map(|batch| Command::Create(Box::new(batch))),
        batch().prop_map(|batch| Command::Resume(Box::new(batch))),
        (shard(), option::of(zone()), name(), any::<u32>()).prop_map(|(shard, zone, name, ms)| {
            Command::Delete {
                lists_after: Duration::from_millis(ms.into()),
                shard,
                zone,
                name,
            }
        }),
        (shard(), zone(), name()).prop_map(|(shard, zone, name)| Command::Check { shard, zone, name }),
        shard().prop_map(|shard| Command::Look { shard }),
    ]
}

fn hello() -> impl Strategy<Value = Hello> {
    let shards = vec((shard(), vec(zone(), 0..3)), 0..3);
    (any::<[u64; 2]>(), word(), shards).prop_map(|([session, term], leader, shards)| Hello {
        session,
        term: Term(term),
        leader: ReplicaId::new(leader),
        shards,
    })
}

fn class() -> impl Strategy<Value = RefusalClass> {
    prop_oneof![
        (".*", any::<Option<u64>>()).prop_map(|(metric, limit)| RefusalClass::Quota { metric, limit }),
        option::of(zone()).prop_map(|zone| RefusalClass::Stockout { zone }),
        Just(RefusalClass::Rate),
        Just(RefusalClass::Addresses),
        Just(RefusalClass::Preempted),
        Just(RefusalClass::Exists),
        Just(RefusalClass::Denied),
        Just(RefusalClass::Broken),
        Just(RefusalClass::Internal),
    ]
}

fn instance() -> impl Strategy<Value = Instance> {
    let status = prop_oneof![
        Just(InstanceStatus::Starting),
        Just(InstanceStatus::Running),
        Just(InstanceStatus::Stopping),
        Just(InstanceStatus::Stopped),
        Just(InstanceStatus::Other),
    ];
    (
        name(),
        any::<u64>(),
        zone(),
        status,
        ".*",
        option::of(any::<i64>()),
    )
        .prop_map(|(name, id, zone, status, machine_type, created)| Instance {
            name,
            id,
            zone,
            status,
            machine_type,
            created_at: created.map(Timestamp),
        })
}

fn quota() -> impl Strategy<Value = Quota> {
    (word(), -1e18..1e18_f64, -1e18..1e18_f64, any::<bool>()).prop_map(
        |(metric, limit, usage, project_wide)| Quota {
            metric,
            limit,
            usage,
            project_wide,
        },
    )
}

fn batch_id() -> impl Strategy<Value = BatchId> {
    any::<u128>().prop_map(|id| BatchId(Uuid::from_u128(id)))
}

fn event() -> impl Strategy<Value = Event> {
    let fate = prop_oneof![
        (zone(), any::<Option<u64>>(), option::of(word())).prop_map(|(zone, instance_id, machine_type)| {
            MemberFate::Created {
                zone,
                instance_id,
                machine_type: machine_type.map(MachineTypeName::new),
            }
        }),
        (class(), ".*").prop_map(|(class, message)| MemberFate::Refused { class, message }),
    ];
    prop_oneof![
        (vec(batch_id(), 0..3), vec(name(), 0..3))
            .prop_map(|(batches, deleting)| Event::Ready { batches, deleting }),
        batch_id().prop_map(|batch| Event::Accepted { batch }),
        (batch_id(), vec((name(), fate), 0..4)).prop_map(|(batch, fates)| Event::Settled { batch, fates }),
        (batch_id(), class(), ".*").prop_map(|(batch, class, message)| Event::Refused {
            batch,
            class,
            message
        }),
        name().prop_map(|name| Event::Gone { name }),
        (shard(), any::<i64>(), vec(instance(), 0..4)).prop_map(|(shard, at, instances)| Event::Inventory {
            shard,
            begun_at: Timestamp(at),
            instances
        }),
        (shard(), capacity()).prop_map(|(shard, capacity)| Event::Capacity { shard, capacity }),
        (shard(), capacity()).prop_map(|(shard, capacity)| Event::Kept { shard, capacity }),
        (shard(), vec((zone(), vec(word(), 0..4)), 0..3))
            .prop_map(|(shard, zones)| Event::MachineTypes { shard, zones }),
    ]
}

fn capacity() -> impl Strategy<Value = Capacity> {
    (any::<i64>(), any::<u64>(), vec(quota(), 0..4)).prop_map(|(at, age, quotas)| Capacity {
        quotas,
        read_at: Timestamp(at),
        age: Duration::from_millis(age),
    })
}

/// Through the bytes of the wire and back.
fn over_the_wire<M: Message + Default, T: TryFrom<M, Error = Malformed>>(message: &M) -> T {
    let bytes = message.encode_to_vec();
    T::try_from(M::decode(&*bytes).expect("we wrote it")).expect("what we write is whole")
}

proptest! {
    #[test]
    fn commands_round_trip(command in command()) {
        let back: FromLeader = over_the_wire(&v1::Command::from(&command));
        prop_assert_eq!(back, FromLeader::Command(command));
    }

    #[test]
    fn hellos_round_trip(hello in hello()) {
        let back: FromLeader = over_the_wire(&v1::Command::from(&hello));
        prop_assert_eq!(back, FromLeader::Hello(hello));
    }

    #[test]
    fn events_round_trip(event in event()) {
        let back: Event = over_the_wire(&v1::Event::from(&event));
        prop_assert_eq!(back, event);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(message) = v1::Command::decode(&*bytes) {
            let _ = FromLeader::try_from(message);
        }
        if let Ok(message) = v1::Event::decode(&*bytes) {
            let _ = Event::try_from(message);
        }
    }
}

/// One whole batch, the same at every run.
fn sample() -> v1::Batch {
    let shard = Shard {
        project: ProjectId::new("p"),
        region: Region::new("r"),
    };
    let job = |n| JobRef {
        source: SourceName::new("main"),
        id: JobId(Uuid::from_u128(n)),
    };
    (&BatchRecord {
        id: BatchId(Uuid::from_u128(1)),
        term: Term(7),
        created_at: Timestamp(1),
        call: Call::Bulk,
        shape: Shape {
            project: shard.project,
            region: shard.region,
            zones: vec![Zone::new("r-a")],
            machine_type: MachineTypeName::new("n2d-standard-2"),
            family: "n2d".to_owned(),
            alternatives: Vec::new(),
            cpus: 2,
            memory_mib: 8192,
            arch: Arch::Amd64,
            model: ProvisioningModel::Standard,
            boot_disk: BootDisk {
                disk_type: "pd-balanced".to_owned(),
                gib: 20,
                image: "image".to_owned(),
            },
            local_ssds: 0,
            gpus: None,
            network: Network {
                network: "global/networks/default".to_owned(),
                subnetwork: None,
                external_address: false,
            },
            service_account: "ci@p".to_owned(),
            labels: [].into(),
            metadata: [].into(),
            max_run_seconds: Duration::from_secs(3600).as_secs(),
        },
        request_key: "cpu=2".to_owned(),
        price: Price(84_492),
        members: (1..=3)
            .map(|n| Member {
                name: MachineName::new(format!("m{n}")),
                job: job(n),
                attempt: 1,
                request_key: None,
            })
            .collect(),
    })
        .into()
}

fn refusal<M, T: TryFrom<M, Error = Malformed> + Debug>(message: M) -> String {
    T::try_from(message).expect_err("it is spoilt").to_string()
}

/// What is said of a message, and how it was spoilt.
type Case<M> = (&'static str, fn(&mut M));

#[test]
fn a_spoilt_batch_names_the_field() {
    let cases: [Case<v1::Batch>; 9] = [
        ("field `create.id` is missing", |b| b.id.clear()),
        ("field `create.shape` is missing", |b| b.shape = None),
        ("field `create.shape.shard.region` is missing", |b| {
            shape_of(b).shard.as_mut().expect("set").region.clear();
        }),
        ("field `create.shape.zones` is missing", |b| {
            shape_of(b).zones.clear()
        }),
        ("field `create.shape.zones[0]` is missing", |b| {
            shape_of(b).zones[0].clear()
        }),
        (
            "field `create.shape.arch` has the value 9, which this version does not know",
            |b| shape_of(b).arch = 9,
        ),
        ("field `create.members[2].job.id` is no UUID", |b| {
            b.members[2].job.as_mut().expect("set").id = "x".to_owned();
        }),
        ("field `create.members[1].name` repeats another entry", |b| {
            b.members[1].name = b.members[0].name.clone();
        }),
        ("field `create.members` has more than 1 entries", |b| {
            b.insert_zone = Some("r-a".to_owned());
        }),
    ];
    for (said, spoil) in cases {
        let mut batch = sample();
        spoil(&mut batch);
        let command = v1::Command {
            command: Some(v1::command::Command::Create(batch)),
        };
        assert_eq!(refusal::<_, FromLeader>(command), said);
    }
}

fn shape_of(batch: &mut v1::Batch) -> &mut v1::Shape {
    batch.shape.as_mut().expect("the sample has one")
}

#[test]
fn a_message_without_content_is_refused() {
    assert_eq!(
        refusal::<_, FromLeader>(v1::Command::default()),
        "field `command` is missing"
    );
    assert_eq!(
        refusal::<_, Event>(v1::Event::default()),
        "field `event` is missing"
    );
}

#[test]
fn a_class_of_a_later_version_counts_as_a_failure_that_may_pass() {
    let event = v1::Event {
        event: Some(v1::event::Event::Refused(v1::Refused {
            batch: Uuid::nil().to_string(),
            refusal: Some(v1::Refusal {
                class: 99,
                message: "new".to_owned(),
                ..v1::Refusal::default()
            }),
        })),
    };
    let expected = Event::Refused {
        batch: BatchId(Uuid::nil()),
        class: RefusalClass::Internal,
        message: "new".to_owned(),
    };
    assert_eq!(Event::try_from(event), Ok(expected));
}
