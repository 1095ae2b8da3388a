//! Replies of Google, as the one backend reads them through Google's client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use gust_cloud::{
    gce::{Credentials, GceCloud, GceConfig, Subnet, Timeouts},
    layers::Wall,
};
use gust_core::{
    budget::Rates,
    ids::{MachineName, MachineTypeName, ProjectId, Shard, StackName, Zone},
    ports::{Cloud, Creation, OperationRef, OperationState},
    shape::ProvisioningModel,
    time::Timestamp,
};
use gust_store::conformance::sample;
use url::Url;

use super::{Make, Target};
use crate::fuzz::service::{Host, Service};

pub(super) const ALL: &[Make] = &[
    || of_google("google: create", Asked::Create),
    || of_google("google: operation", Asked::Operation),
    || of_google("google: fates", Asked::Fates),
    || of_google("google: list", Asked::List),
    || of_google("google: get", Asked::Get),
    || of_google("google: delete", Asked::Delete),
    || of_google("google: deleted", Asked::Deleted),
    || of_google("google: quotas", Asked::Quotas),
    || of_google("google: machine types", Asked::Types),
    || of_google("google: identity keys", Asked::Keys),
];

/// A call of the backend.
#[derive(Clone, Copy)]
enum Asked {
    Create,
    Operation,
    Fates,
    List,
    Get,
    Delete,
    Deleted,
    Quotas,
    Types,
    Keys,
}

/// What calls are about.
struct About {
    creation: Creation,
    operation: OperationRef,
    zone: Zone,
}

impl About {
    fn new() -> Self {
        let mut creation = Creation::from(&sample::batch(1));
        creation.names = vec![MachineName::new("gust-1-1"), MachineName::new("gust-1-2")];
        creation.shape.project = ProjectId::new("gust-demo");
        creation.shape.machine_type = MachineTypeName::new("e2-standard-4");
        "e2".clone_into(&mut creation.shape.family);
        (creation.shape.cpus, creation.shape.memory_mib) = (4, 16_384);
        creation.shape.model = ProvisioningModel::Standard;
        let shard = Shard {
            project: creation.shape.project.clone(),
            region: creation.shape.region.clone(),
        };
        Self {
            zone: Zone::new("us-central1-a"),
            operation: OperationRef {
                shard,
                zone: None,
                name: "operation-1".to_owned(),
            },
            creation,
        }
    }

    async fn ask(&self, cloud: &dyn Cloud, asked: Asked) -> bool {
        let name = &self.creation.names[0];
        let (project, shard) = (&self.operation.shard.project, &self.operation.shard);
        match asked {
            Asked::Create => cloud.create(&self.creation).await.is_ok(),
            Asked::Operation => {
                let state = cloud.operation(&self.operation, Duration::from_secs(1)).await;
                state.is_ok_and(|state| state != OperationState::Running)
            }
            Asked::Fates => cloud.fates(Some(&self.operation), &self.creation).await.is_ok(),
            Asked::List => cloud.list(project, &self.zone, None).await.is_ok(),
            Asked::Get => cloud.get(project, &self.zone, name).await.is_ok(),
            Asked::Delete => cloud.delete(shard, &self.zone, name).await.is_ok(),
            Asked::Deleted => cloud.deleted(project, &self.zone, Timestamp(0)).await.is_ok(),
            Asked::Quotas => cloud.quotas(shard).await.is_ok(),
            Asked::Types => cloud.machine_types(project, &self.zone, None).await.is_ok(),
            Asked::Keys => cloud.identity_keys().await.is_ok(),
        }
    }
}

/// While a target is set up each call must go well, however slow the machine is.
const PATIENT: Duration = Duration::from_secs(20);
/// No repeats of what is fed: the first would come after 200 ms.
const BRIEF: Duration = Duration::from_millis(150);

/// The backend with this limit of each call, and the wall clock by which it counts Google's minutes.
fn backend(service: &Service, limit: Duration) -> (GceCloud, Arc<AtomicI64>) {
    let stack = StackName::new("gust").expect("a good name");
    let mut config = GceConfig::new(stack, "gust/0.1.0 (fuzz)");
    config.endpoint = Some(Url::parse(&service.url).expect("a URL"));
    config.jwks_url = Url::parse(&format!("{}/oauth2/v3/certs", service.url)).expect("a URL");
    config.credentials = Credentials::Anonymous;
    config.timeouts = Timeouts {
        attempt: limit,
        call: limit,
        wait: limit,
    };
    config.family_quotas = [("C3D".to_owned(), 360)].into();
    config.subnet = Some(Subnet {
        network: "global/networks/default".to_owned(),
        subnetwork: None,
    });
    config.rates = Rates {
        writes: 1_000_000,
        reads: 1_000_000,
        lists: 1_000_000,
        operation_reads: 1_000_000,
        waits: 1_000_000,
        global_reads: 1_000_000,
        simplified: false,
    };
    let wall = Arc::new(AtomicI64::new(1_800_000_000_000));
    let shown = wall.clone();
    config.wall = Wall::new(move || Timestamp(shown.load(Ordering::Relaxed)));
    let cloud = service
        .really(GceCloud::connect(config))
        .expect("a good configuration");
    (cloud, wall)
}

/// Replies that are no good news.
const REFUSALS: &[&str] = &[
    "403\n\n{\"error\":{\"code\":403,\"message\":\"Rate Limit Exceeded\",\"errors\":[{\"message\":\"Rate Limit Exceeded\",\"domain\":\"usageLimits\",\"reason\":\"rateLimitExceeded\"}],\"status\":\"PERMISSION_DENIED\",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"CONCURRENT_OPERATIONS_QUOTA_EXCEEDED\",\"domain\":\"compute.googleapis.com\",\"metadatas\":{\"quota_limit\":\"x\"}}]}}",
    "404\n\n{\"error\":{\"code\":404,\"message\":\"The resource 'projects/p/zones/z/instances/i' was not found\",\"errors\":[{\"message\":\"not found\",\"domain\":\"global\",\"reason\":\"notFound\"}]}}",
    "200\n\n{\"kind\":\"compute#operation\",\"id\":\"1\",\"name\":\"operation-1\",\"status\":\"DONE\",\"progress\":100,\"zone\":\"https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a\",\"operationType\":\"bulkInsert\",\"insertTime\":\"2026-09-01T00:00:00.000-07:00\",\"httpErrorStatusCode\":403,\"httpErrorMessage\":\"FORBIDDEN\",\"error\":{\"errors\":[{\"code\":\"QUOTA_EXCEEDED\",\"message\":\"Quota 'CPUS' exceeded.  Limit: 24.0 in region us-central1.\",\"errorDetails\":[{\"quotaInfo\":{\"metricName\":\"compute.googleapis.com/cpus\",\"limitName\":\"CPUS-per-project-region\",\"dimensions\":{\"region\":\"us-central1\"},\"limit\":24,\"futureLimit\":30,\"rolloutStatus\":\"IN_PROGRESS\"}}]},{\"code\":\"ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS\",\"message\":\"The zone 'projects/p/zones/us-central1-a' does not have enough resources\",\"errorDetails\":[{\"errorInfo\":{\"reason\":\"resource_availability\",\"domain\":\"compute.googleapis.com\",\"metadatas\":{\"vmType\":\"n2d-standard-8\",\"attachment\":\"\",\"zone\":\"us-central1-a\",\"zonesAvailable\":\"\"}}}]}]},\"instancesBulkInsertOperationMetadata\":{\"perLocationStatus\":{\"zones/us-central1-a\":{\"targetVmCount\":2,\"createdVmCount\":1,\"failedToCreateVmCount\":1,\"status\":\"DONE\"}}}}",
    "200\n\n{\"items\":[{\"id\":\"18446744073709551615\",\"name\":\"gust-1-1\",\"zone\":\"zones/us-central1-a\",\"machineType\":\"zones/us-central1-a/machineTypes/e2-standard-4\",\"status\":\"REPAIRING\",\"creationTimestamp\":\"2026-09-01T00:00:00.000-07:00\",\"labels\":{\"gust-stack\":\"gust\"}}],\"nextPageToken\":\"x\"}",
    "200\n\n{\"name\":\"us-central1\",\"quotas\":[{\"metric\":\"CPUS\",\"limit\":24.0,\"usage\":-3.5,\"owner\":\"x\"},{\"metric\":\"N2D_CPUS\",\"limit\":1e308,\"usage\":1e308}]}",
    "200\n\n{\"items\":[{\"id\":\"1\",\"name\":\"n2d-standard-8\",\"guestCpus\":8,\"memoryMb\":32768,\"zone\":\"us-central1-a\",\"architecture\":\"X86_64\",\"deprecated\":{\"state\":\"OBSOLETE\"}}]}",
    "200\ncontent-type: text/html\n\n<html>",
    "200\nx-cut: 1\n\n{\"items\":[",
    "401\n\n{}",
    "412\n\n",
];

fn of_google(name: &'static str, asked: Asked) -> Target {
    let service = Service::start(Host::Gce);
    let (cloud, _) = backend(&service, PATIENT);
    let mut about = About::new();
    let created = service.really(cloud.create(&about.creation));
    about.operation = created.expect("the fake takes it");
    if !matches!(asked, Asked::Create) {
        service.really(async {
            cloud
                .operation(&about.operation, Duration::from_secs(1))
                .await
                .is_ok()
        });
        drop(service.recorded());
        // Where Google put it.
        if let Some(zone) =
            service.with(|world, _, _| world.gce.instances().next().map(|one| one.zone.to_string()))
        {
            about.zone = Zone::new(zone);
        }
        let _ = service.really(about.ask(&cloud, asked));
    }
    let recorded = service.recorded();
    let mut corpus = recorded.clone();
    corpus.extend(REFUSALS.iter().map(|text| text.as_bytes().to_vec()));
    // Whole lists of types take all the time; their beginning says as much.
    for sample in &mut corpus {
        sample.truncate(16 << 10);
    }
    let (cloud, wall) = backend(&service, BRIEF);
    Target::new(name, corpus, move |reply| {
        // Another minute each time: a refusal for the rate ends the one it came in.
        wall.fetch_add(120_000, Ordering::Relaxed);
        service.mutated(reply, &recorded, about.ask(&cloud, asked))
    })
}
