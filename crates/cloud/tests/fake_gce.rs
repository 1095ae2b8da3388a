//! The backend on the fake GCE, over the wire: what gust does with Google, and what Google does with gust.

mod stub;

use std::time::Duration;

use gust_cloud::gce::{GceCloud, GceConfig, Subnet};
use gust_core::{
    ids::{MachineName, MachineTypeName, Zone},
    ports::{
        Cloud as _, CloudError, Creation, Instance, InstanceStatus, MemberFate, OperationRef, OperationState,
        RefusalClass,
    },
    records::Call,
    shape::{Alternative, Price},
};
use gust_fakes::{
    config::Settings,
    http::{Handle, serve},
    limits::Limits,
};
use serde_json::{Value, json};
use stub::{config, creation, shard};
use url::Url;

/// A fake, and a backend that talks to it.
struct World {
    fake: Handle,
    cloud: GceCloud,
    control: reqwest::Client,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    /// A fake whose machines come and go a hundred times as fast as Google's.
    async fn start() -> Self {
        let limits = Limits::standard()
            .merged(&json!({"speed": 100.0}))
            .expect("speed is a limit");
        let fake = serve(Settings {
            limits,
            ..Settings::default()
        })
        .await
        .expect("free ports");
        let cloud = GceCloud::connect(Self::config(&fake))
            .await
            .expect("a good configuration");
        let control = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { fake, cloud, control }
    }

    fn config(fake: &Handle) -> GceConfig {
        let url = |text: &str| Url::parse(text).expect("the fake's address is a URL");
        let mut config = config(&url(&fake.addresses.gce));
        config.jwks_url = url(&fake.addresses.metadata)
            .join("/oauth2/v3/certs")
            .expect("a path");
        config.subnet = Some(Subnet {
            network: "global/networks/default".into(),
            subnetwork: None,
        });
        config.timeouts.attempt = Duration::from_secs(5);
        config.timeouts.call = Duration::from_secs(20);
        config
    }

    async fn fault(&self, fault: Value) {
        let call = self
            .control
            .post(format!("{}/faults", self.fake.addresses.control));
        let reply = call
            .json(&fault)
            .send()
            .await
            .expect("the control surface answers");
        assert_eq!(
            reply.status(),
            201,
            "{fault}: {}",
            reply.text().await.unwrap_or_default()
        );
    }

    async fn events(&self, kind: &str) -> Vec<Value> {
        let call = self
            .control
            .get(format!("{}/events?after=0", self.fake.addresses.control));
        let text = call
            .send()
            .await
            .expect("it answers")
            .text()
            .await
            .expect("the log is text");
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("the log is JSON lines"))
            .filter(|event| event["kind"] == kind)
            .collect()
    }

    /// How often a method was called.
    async fn calls(&self, method: &str) -> usize {
        self.events("api.call")
            .await
            .iter()
            .filter(|e| e["method"] == method)
            .count()
    }

    async fn over(&self, operation: &OperationRef) -> OperationState {
        self.cloud.operation(operation, PATIENCE).await.expect("a state")
    }

    async fn make(&self, creation: &Creation) -> (OperationState, Vec<(MachineName, MemberFate)>) {
        let operation = self
            .cloud
            .create(creation)
            .await
            .expect("the creation is accepted");
        let state = self.over(&operation).await;
        (
            state,
            self.cloud.fates(Some(&operation), creation).await.expect("fates"),
        )
    }

    async fn all(&self, creation: &Creation) -> Vec<Instance> {
        let mut all = Vec::new();
        for zone in &creation.shape.zones {
            let page = self
                .cloud
                .list(&creation.shape.project, zone, None)
                .await
                .expect("a page");
            assert_eq!(page.next, None, "a few machines fit one page");
            all.extend(page.instances);
        }
        all
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("gust-{n}-1")).collect()
}

fn machines(count: usize) -> Creation {
    let names = names(count);
    let mut creation = creation(&names.iter().map(String::as_str).collect::<Vec<_>>());
    creation.shape.family = "t2d".into();
    creation.shape.machine_type = MachineTypeName::new("t2d-standard-2");
    creation
}

fn zone_of(fate: &MemberFate) -> &Zone {
    match fate {
        MemberFate::Created { zone, .. } => zone,
        MemberFate::Refused { class, message } => panic!("refused ({}): {message}", class.as_str()),
    }
}

#[tokio::test]
async fn three_machines_come_are_listed_and_go() {
    let world = World::start().await;
    let creation = machines(3);
    let (state, fates) = world.make(&creation).await;
    assert_eq!(state, OperationState::Succeeded);
    let listed = world.all(&creation).await;
    assert_eq!(listed.len(), 3);
    for (name, fate) in &fates {
        let zone = zone_of(fate);
        let read = world
            .cloud
            .get(&creation.shape.project, zone, name)
            .await
            .expect("a read");
        let read = read.expect("it exists");
        assert_eq!(
            fate,
            &MemberFate::Created {
                zone: zone.clone(),
                instance_id: Some(read.id),
                machine_type: Some(MachineTypeName::new("t2d-standard-2")),
            }
        );
        assert_eq!(
            (read.machine_type.as_str(), read.status),
            ("t2d-standard-2", InstanceStatus::Running)
        );
        assert!(read.created_at.is_some());
        assert!(listed.iter().any(|i| i.name == *name && i.id == read.id));
    }
    for (name, fate) in &fates {
        let operation = world
            .cloud
            .delete(&shard(), zone_of(fate), name)
            .await
            .expect("an answer");
        let operation = operation.expect("it exists");
        let again = world
            .cloud
            .delete(&shard(), zone_of(fate), name)
            .await
            .expect("an answer");
        assert_eq!(
            again.as_ref(),
            Some(&operation),
            "a repeated delete is the same operation"
        );
        assert_eq!(world.over(&operation).await, OperationState::Succeeded);
        let read = world
            .cloud
            .get(&creation.shape.project, zone_of(fate), name)
            .await;
        assert_eq!(read.expect("an answer"), None);
    }
    assert_eq!(world.all(&creation).await, []);
    let calls = world.events("api.call").await;
    assert!(
        calls
            .iter()
            .all(|c| c.to_string().contains("gust/0.1.0 (test-1)")),
        "a call lacks our name"
    );
    assert_eq!(world.calls("compute.regionInstances.bulkInsert").await, 1);
}

#[tokio::test]
async fn a_repeat_under_the_same_request_id_is_the_same_operation() {
    let world = World::start().await;
    let creation = machines(3);
    let first = world.cloud.create(&creation).await.expect("accepted");
    let again = world.cloud.create(&creation).await.expect("accepted");
    assert_eq!(first, again);
    world.over(&first).await;
    let late = world.cloud.create(&creation).await.expect("accepted");
    assert_eq!(first, late);
    assert_eq!(world.events("instance.inserted").await.len(), 3);
}

#[tokio::test]
async fn a_lost_reply_makes_no_second_machine() {
    for kind in ["reply.lost", "reply.truncated", "reply.html"] {
        let world = World::start().await;
        let aim = json!({"host": "gce", "method": "compute.regionInstances.bulkInsert"});
        world.fault(json!({"kind": kind, "match": aim, "count": 1})).await;
        let (state, fates) = world.make(&machines(3)).await;
        assert_eq!(state, OperationState::Succeeded, "{kind}");
        assert_eq!(fates.len(), 3);
        assert_eq!(world.events("instance.inserted").await.len(), 3, "{kind}");
        assert_eq!(world.events("fault.applied").await.len(), 1, "{kind}");
    }
}

#[tokio::test]
async fn what_does_not_fit_the_quota_is_refused_machine_by_machine() {
    // 24 T2D vCPUs by default: twelve of these, not fourteen.
    let world = World::start().await;
    let (state, fates) = world.make(&machines(14)).await;
    let refused: Vec<_> = fates
        .iter()
        .filter_map(|(_, fate)| match fate {
            MemberFate::Refused { class, .. } => Some(class),
            MemberFate::Created { .. } => None,
        })
        .collect();
    let quota = RefusalClass::Quota {
        metric: "T2D_CPUS".into(),
        limit: Some(24),
    };
    assert_eq!(refused, [&quota, &quota]);
    assert!(matches!(state, OperationState::Failed { .. }), "{state:?}");
    assert_eq!(world.events("instance.inserted").await.len(), 12);
}

#[tokio::test]
async fn a_request_beyond_all_quota_is_refused_with_the_metric() {
    let world = World::start().await;
    let mut creation = machines(1);
    creation.shape.machine_type = MachineTypeName::new("t2d-standard-32");
    let class = match world.cloud.create(&creation).await {
        Err(CloudError::Refused { class, .. }) => class,
        Err(unclear) => panic!("{unclear}"),
        Ok(operation) => match world.over(&operation).await {
            OperationState::Failed { class, .. } => class,
            state => panic!("{state:?}"),
        },
    };
    assert_eq!(
        class,
        RefusalClass::Quota {
            metric: "T2D_CPUS".into(),
            limit: Some(24)
        }
    );
    assert_eq!(world.events("instance.inserted").await.len(), 0);
}

#[tokio::test]
async fn a_quota_that_google_keeps_per_family_is_named_with_the_family() {
    let world = World::start().await;
    let mut creation = machines(1);
    creation.shape.family = "n4".into();
    creation.shape.machine_type = MachineTypeName::new("n4-standard-32");
    creation.shape.boot_disk.disk_type = "hyperdisk-balanced".into();
    let (_, fates) = match world.cloud.create(&creation).await {
        Ok(operation) => {
            world.over(&operation).await;
            (
                (),
                world
                    .cloud
                    .fates(Some(&operation), &creation)
                    .await
                    .expect("fates"),
            )
        }
        Err(CloudError::Refused { class, message, .. }) => (
            (),
            vec![(creation.names[0].clone(), MemberFate::Refused { class, message })],
        ),
        Err(unclear) => panic!("{unclear}"),
    };
    let MemberFate::Refused { class, message } = &fates[0].1 else {
        panic!("it was created")
    };
    let expected = RefusalClass::Quota {
        metric: "CPUS_PER_VM_FAMILY:N4".into(),
        limit: Some(24),
    };
    assert_eq!(class, &expected, "{message}");
}

#[tokio::test]
async fn a_stockout_in_one_zone_moves_machines_to_another() {
    let world = World::start().await;
    let aim = json!({"zone": "us-central1-a", "family": "t2d"});
    world.fault(json!({"kind": "gce.stockout", "match": aim})).await;
    let (_, fates) = world.make(&machines(2)).await;
    for (_, fate) in &fates {
        assert_eq!(zone_of(fate), &Zone::new("us-central1-b"));
    }
}

#[tokio::test]
async fn a_stockout_everywhere_is_a_stockout() {
    let world = World::start().await;
    world
        .fault(json!({"kind": "gce.stockout", "match": {"family": "t2d"}}))
        .await;
    let creation = machines(2);
    let class = match world.cloud.create(&creation).await {
        Err(CloudError::Refused { class, .. }) => class,
        Err(unclear) => panic!("{unclear}"),
        Ok(operation) => {
            world.over(&operation).await;
            let fates = world
                .cloud
                .fates(Some(&operation), &creation)
                .await
                .expect("fates");
            match &fates[0].1 {
                MemberFate::Refused { class, .. } => class.clone(),
                MemberFate::Created { .. } => panic!("it was created"),
            }
        }
    };
    assert!(matches!(class, RefusalClass::Stockout { .. }), "{class:?}");
    assert_eq!(world.all(&creation).await, []);
}

#[tokio::test]
async fn an_insert_of_a_taken_name_says_so() {
    let world = World::start().await;
    let mut one = machines(1);
    one.call = Call::Insert {
        zone: Zone::new("us-central1-b"),
    };
    let (state, fates) = world.make(&one).await;
    assert_eq!(state, OperationState::Succeeded);
    assert_eq!(zone_of(&fates[0].1), &Zone::new("us-central1-b"));
    // The same name under another request id: another record, which must not come to be.
    let mut other = one.clone();
    other.request_id = machines(2).request_id;
    other.request_id.0 = uuid::Uuid::from_u128(7);
    let error = world.cloud.create(&other).await.expect_err("the name is taken");
    assert!(
        matches!(
            error,
            CloudError::Refused {
                class: RefusalClass::Exists,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_lagging_list_hides_no_machine_from_its_fate() {
    let world = World::start().await;
    world
        .fault(json!({"kind": "list.lag", "match": {"host": "gce", "lag_s": 600}}))
        .await;
    let (_, fates) = world.make(&machines(3)).await;
    for (_, fate) in &fates {
        zone_of(fate);
    }
}

#[tokio::test]
async fn too_many_calls_are_refused_for_rate() {
    let world = World::start().await;
    world.fault(json!({"kind": "gce.rate", "match": {}})).await;
    let error = world
        .cloud
        .create(&machines(1))
        .await
        .expect_err("the window is full");
    assert!(
        matches!(
            error,
            CloudError::Refused {
                class: RefusalClass::Rate,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(world.calls("compute.regionInstances.bulkInsert").await, 1);
}

#[tokio::test]
async fn quotas_show_what_our_machines_use() {
    let world = World::start().await;
    world.make(&machines(3)).await;
    let quotas = world.cloud.quotas(&shard()).await.expect("quotas");
    let find = |metric: &str| quotas.iter().find(|q| q.metric == metric).expect(metric);
    assert_eq!((find("T2D_CPUS").limit, find("T2D_CPUS").usage), (24.0, 6.0));
    assert!(!find("T2D_CPUS").project_wide);
    assert!(find("CPUS_ALL_REGIONS").project_wide);
    // A /20 less four, as networks of auto mode have; our machines hold three.
    let addresses = find("SUBNET_ADDRESSES");
    assert_eq!((addresses.limit, addresses.usage), (4092.0, 3.0));
}

#[tokio::test]
async fn a_subnet_that_cannot_be_read_limits_nothing() {
    let world = World::start().await;
    let forbidden = json!({"kind": "reply.status", "match": {"method": "compute.subnetworks.get", "status": 403,
        "body": {"error": {"code": 403, "message": "Required 'compute.subnetworks.get' permission",
            "errors": [{"message": "no", "domain": "global", "reason": "forbidden"}]}}}});
    world.fault(forbidden).await;
    let quotas = world.cloud.quotas(&shard()).await.expect("the other quotas");
    assert!(quotas.iter().any(|q| q.metric == "T2D_CPUS"));
    assert!(quotas.iter().all(|q| q.metric != "SUBNET_ADDRESSES"));
}

#[tokio::test]
async fn google_takes_what_it_has_of_the_types_that_a_call_names() {
    let world = World::start().await;
    let stockout = json!({"kind": "gce.stockout", "match": {"family": "t2d"}});
    world.fault(stockout).await;
    let mut flexible = machines(3);
    flexible.shape.alternatives = vec![Alternative {
        machine_type: MachineTypeName::new("n2d-standard-2"),
        family: "n2d".into(),
        memory_mib: 8192,
        price: Price(1),
    }];
    let (state, fates) = world.make(&flexible).await;
    assert_eq!(state, OperationState::Succeeded);
    for (name, fate) in fates {
        let MemberFate::Created { machine_type, .. } = fate else {
            panic!("{name}: {fate:?}");
        };
        assert_eq!(machine_type, Some(MachineTypeName::new("n2d-standard-2")));
    }
}

#[tokio::test]
async fn identity_keys_are_a_key_document() {
    let world = World::start().await;
    let keys = world.cloud.identity_keys().await.expect("keys");
    let keys: Value = serde_json::from_str(&keys).expect("JSON");
    assert_eq!(keys["keys"][0]["kty"], "RSA");
}

#[tokio::test]
async fn the_machine_types_of_a_zone_are_listed() {
    let world = World::start().await;
    let list = |zone: &'static str| {
        let (cloud, project) = (&world.cloud, shard().project);
        async move {
            let page = cloud.machine_types(&project, &Zone::from(zone), None).await;
            page.expect("a list").expect("Google can say")
        }
    };
    let (iowa, nowhere) = (list("us-central1-a").await, list("us-central1-f").await);
    assert!(
        iowa.names.iter().any(|name| name == "n2d-standard-16"),
        "{:?}",
        iowa.names
    );
    assert!(iowa.next.is_none() && !nowhere.names.is_empty());
    assert!(iowa.names.iter().all(|name| !name.contains('/')), "bare names");
}
