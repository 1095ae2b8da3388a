//! Machines of kind `sim`: each claims over gust's own gRPC as a guest does, speaks the Agent API for its job, and
//! powers off.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod wire;

use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use gust_core::ids::{JobId, MachineName, StackName};
use gust_fakes::config::{Machines, Settings};
use gust_fakes::limits::Limits;
use gust_proto::machine::{audience, claim_message, done_message};
use gust_proto::v1;
use gust_proto::v1::claim_response::Answer;
use gust_proto::v1::machine_service_server::{MachineService, MachineServiceServer};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use wire::{Fakes, TOKEN};

/// A gust that knows one job, and fails the first claim.
#[derive(Clone, Default)]
struct Gust(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    assignment: Option<v1::Assignment>,
    beacons: Vec<String>,
    claims: Vec<v1::ClaimRequest>,
    done: Vec<v1::DoneRequest>,
}

#[tonic::async_trait]
impl MachineService for Gust {
    async fn beacon(
        &self,
        request: Request<v1::BeaconRequest>,
    ) -> Result<Response<v1::BeaconResponse>, Status> {
        self.0.lock().unwrap().beacons.push(request.into_inner().stage);
        Ok(Response::new(v1::BeaconResponse {}))
    }

    async fn claim(&self, request: Request<v1::ClaimRequest>) -> Result<Response<v1::ClaimResponse>, Status> {
        let mut heard = self.0.lock().unwrap();
        heard.claims.push(request.into_inner());
        if heard.claims.len() == 1 {
            return Err(Status::unavailable("not now"));
        }
        let answer = match heard.assignment.clone() {
            Some(assignment) => Answer::Assignment(assignment),
            None => Answer::NoJob(v1::NoJob {
                reason: "none".into(),
            }),
        };
        Ok(Response::new(v1::ClaimResponse { answer: Some(answer) }))
    }

    async fn reclaimed(
        &self,
        _: Request<v1::ReclaimedRequest>,
    ) -> Result<Response<v1::ReclaimedResponse>, Status> {
        Err(Status::unimplemented("none of these machines is taken back"))
    }

    async fn done(&self, request: Request<v1::DoneRequest>) -> Result<Response<v1::DoneResponse>, Status> {
        self.0.lock().unwrap().done.push(request.into_inner());
        Ok(Response::new(v1::DoneResponse {}))
    }
}

impl Gust {
    /// Serves it; the address.
    async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tonic::transport::Server::builder().add_service(MachineServiceServer::new(self.clone()));
        gust_fakes::http::spawn(
            "gust",
            server.serve_with_incoming(TcpListenerStream::new(listener)),
        );
        address
    }
}

async fn fakes() -> Fakes {
    let mut limits = Limits::demo();
    limits.speed = 20.0;
    Fakes::with(Settings {
        limits,
        machines: Machines::Sim,
        ..Settings::default()
    })
    .await
}

/// A job of this command that is reserved, and what gust would assign for it.
async fn assignment(fakes: &Fakes, command: &str) -> v1::Assignment {
    let build = fakes.build(&format!("steps:\n- command: {command:?}\n")).await;
    let job = build["jobs"][0]["uuid"].as_str().unwrap().to_owned();
    fakes.register("s").await;
    let jobs = json!({ "job_uuids": [job] });
    let reserved = fakes
        .put("/v3/stacks/s/scheduled-jobs/batch-reserve", TOKEN, &jobs)
        .await;
    assert_eq!(reserved.status, 200, "{}", reserved.text);
    let issued = fakes
        .post("/v3/stacks/s/job-acquisition-tokens", TOKEN, &jobs)
        .await;
    let token = issued.body["job_acquisition_tokens"][0]["job_acquisition_token"].as_str();
    v1::Assignment {
        source: "fake".into(),
        job_id: job,
        agent_endpoint: format!("{}/v3", fakes.handle.addresses.buildkite),
        token: token
            .unwrap_or_else(|| panic!("no token in {}", issued.text))
            .into(),
        agent_token_fallback: false,
        token_expires_unix_ms: 0,
        tags: vec!["queue=gust".into()],
        max_run_seconds: 60,
    }
}

async fn machine(fakes: &Fakes, attributes: &[(&str, &str)]) {
    let items: Vec<Value> = attributes
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": value }))
        .collect();
    let body = json!({
        "name": "vm",
        "machineType": "zones/us-central1-a/machineTypes/e2-standard-2",
        "disks": [{ "boot": true, "autoDelete": true, "initializeParams": {
            "sourceImage": "projects/debian-cloud/global/images/family/debian-12" } }],
        "networkInterfaces": [{ "network": "global/networks/default" }],
        "serviceAccounts": [{ "email": "ci@gust-demo.iam.gserviceaccount.com", "scopes": [] }],
        "metadata": { "items": items },
    });
    let path = "/compute/v1/projects/gust-demo/zones/us-central1-a/instances";
    let url = format!("{}{path}", fakes.handle.addresses.gce);
    let made = fakes
        .raw("POST", &url, "application/json", body.to_string().into_bytes())
        .await;
    assert_eq!(made.status, 200, "{}", made.text);
}

async fn off(fakes: &Fakes) {
    fakes
        .until("the machine powers itself off", async || {
            fakes
                .events("instance.state")
                .await
                .iter()
                .any(|event| event["cause"] == "guest")
        })
        .await;
}

fn verified(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key)
        .verify(message, signature)
        .is_ok()
}

#[tokio::test]
async fn a_machine_claims_runs_its_job_says_so_and_powers_off() {
    let (fakes, gust) = (fakes().await, Gust::default());
    let wanted = assignment(&fakes, "sleep 0.1; exit 3").await;
    let job = wanted.job_id.clone();
    gust.0.lock().unwrap().assignment = Some(wanted);
    let address = gust.serve().await;
    machine(&fakes, &[("gust-stack", "s"), ("gust-addresses", &address)]).await;
    off(&fakes).await;

    let end = &fakes.events("job.finished").await[0];
    assert_eq!((&end["by"], &end["exit_status"]), (&json!("agent"), &json!("3")));
    let shown = fakes.control("GET", &format!("/jobs/{job}"), "").await.body;
    assert_eq!(shown["log"], "simulated on vm: exit status 3\n");
    let claimed = &fakes.events("machine.claimed").await[0];
    assert_eq!(
        (&claimed["instance"], &claimed["job"]),
        (&json!("vm"), &json!(job))
    );
    assert_eq!(fakes.events("agent.disconnected").await.len(), 1);

    let heard = std::mem::take(&mut *gust.0.lock().unwrap());
    assert_eq!(heard.beacons, ["booted", "agent-started"]);
    let [first, second] = &heard.claims[..] else {
        panic!("{} claims", heard.claims.len());
    };
    assert_eq!(first.public_key, second.public_key, "a repeat has the same key");
    assert_eq!((&*second.machine, &*second.stack), ("vm", "s"));
    let name = MachineName::new("vm");
    let message = claim_message(&name, &second.identity_token);
    assert!(verified(&second.public_key, &message, &second.signature));

    let certs = format!("{}/oauth2/v3/certs", fakes.handle.addresses.metadata);
    let keys: JwkSet = serde_json::from_value(fakes.raw("GET", &certs, "", Vec::new()).await.body).unwrap();
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_audience(&[audience(&StackName::new("s").unwrap(), &second.public_key)]);
    let key = DecodingKey::from_jwk(&keys.keys[0]).unwrap();
    let token = jsonwebtoken::decode::<Value>(&second.identity_token, &key, &rules).unwrap();
    let id = fakes.events("instance.inserted").await[0]["id"].clone();
    assert_eq!(token.claims["google"]["compute_engine"]["instance_id"], id);

    let [done] = &heard.done[..] else {
        panic!("{} times done", heard.done.len())
    };
    assert_eq!((done.agent_exit_code, &done.job_id), (Some(0), &job));
    assert!(done.ran_millis >= 100, "{}", done.ran_millis);
    let message = done_message(&name, JobId(job.parse().unwrap()));
    assert!(verified(&second.public_key, &message, &done.signature));
}

#[tokio::test]
async fn a_machine_that_is_stopped_ends_its_job_first() {
    let (fakes, gust) = (fakes().await, Gust::default());
    let wanted = assignment(&fakes, "sleep 1000").await;
    gust.0.lock().unwrap().assignment = Some(wanted);
    let address = gust.serve().await;
    // Longer than an agent needs to say goodbye.
    let slow = json!({ "gce": { "boot": { "stopping_s": [200.0, 200.0] } } });
    assert_eq!(
        fakes.control("PUT", "/limits", &slow.to_string()).await.status,
        200
    );
    machine(&fakes, &[("gust-stack", "s"), ("gust-addresses", &address)]).await;
    fakes
        .until("the job runs", async || {
            let states = fakes.events("job.state").await;
            states.iter().any(|event| event["to"] == "running")
        })
        .await;
    let path = "/compute/v1/projects/gust-demo/zones/us-central1-a/instances/vm/stop";
    let url = format!("{}{path}", fakes.handle.addresses.gce);
    assert_eq!(fakes.raw("POST", &url, "", Vec::new()).await.status, 200);
    fakes
        .until("the job ends", async || {
            !fakes.events("job.finished").await.is_empty()
        })
        .await;
    let end = &fakes.events("job.finished").await[0];
    assert_eq!(
        (&end["exit_status"], &end["signal_reason"]),
        (&json!("-1"), &json!("agent_stop"))
    );
    fakes
        .until("gust hears of it", async || {
            !gust.0.lock().unwrap().done.is_empty()
        })
        .await;
}

#[tokio::test]
async fn a_canceled_job_ends_and_its_machine_with_it() {
    let (fakes, gust) = (fakes().await, Gust::default());
    let wanted = assignment(&fakes, "sleep 1000").await;
    let job = wanted.job_id.clone();
    gust.0.lock().unwrap().assignment = Some(wanted);
    let address = gust.serve().await;
    machine(&fakes, &[("gust-stack", "s"), ("gust-addresses", &address)]).await;
    fakes
        .until("the job runs", async || {
            let states = fakes.events("job.state").await;
            states.iter().any(|event| event["to"] == "running")
        })
        .await;
    fakes.control("POST", &format!("/jobs/{job}/cancel"), "").await;
    off(&fakes).await;
    let end = &fakes.events("job.finished").await[0];
    assert_eq!(
        (&end["state"], &end["signal_reason"]),
        (&json!("canceled"), &json!("cancel"))
    );
}

#[tokio::test]
async fn a_machine_without_a_job_or_without_a_way_to_gust_powers_off() {
    for attributes in [
        Vec::new(),
        vec![("gust-stack", "s"), ("gust-addresses", "nowhere")],
    ] {
        let fakes = fakes().await;
        machine(&fakes, &attributes).await;
        off(&fakes).await;
        assert!(fakes.events("identity.minted").await.is_empty());
    }
    let (fakes, gust) = (fakes().await, Gust::default());
    let address = gust.serve().await;
    machine(&fakes, &[("gust-stack", "s"), ("gust-addresses", &address)]).await;
    off(&fakes).await;
    assert_eq!(gust.0.lock().unwrap().claims.len(), 2);
    assert!(fakes.events("agent.registered").await.is_empty());
}
