//! Machines of kind `exec`: a guest program runs on each, asks its own metadata server, and dies with it.

#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod wire;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gust_fakes::config::{Machines, Settings};
use gust_fakes::limits::Limits;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use tempfile::TempDir;

use wire::{Fakes, Reply};

/// A guest that tells its environment and its process id, starts a child in a session of its own, and then does
/// what the test says.
fn guest(folder: &Path, last: &str) -> PathBuf {
    let path = folder.join("guest");
    let told = folder.display();
    let script = format!(
        "#!/bin/bash\nenv | sort | cut -d= -f1 | grep -vE '^(_|SHLVL|PWD|OLDPWD)$' | tr '\\n' ' ' > {told}/env\n\
         setsid sleep 1000 &\necho $! > {told}/child\necho $$ > {told}/pid\necho told by the guest\n{last}\n"
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

const BULK: &str = "/compute/v1/projects/gust-demo/zones/us-central1-a/instances/bulkInsert";

/// A bulk insert of one machine.
fn one() -> Value {
    json!({
        "count": "1", "perInstanceProperties": { "vm": {} },
        "instanceProperties": {
            "machineType": "e2-standard-2",
            "disks": [{ "boot": true, "autoDelete": true, "initializeParams": {
                "sourceImage": "projects/debian-cloud/global/images/family/debian-12" } }],
            "networkInterfaces": [{ "network": "global/networks/default" }],
            "serviceAccounts": [{ "email": "ci@gust-demo.iam.gserviceaccount.com", "scopes": [] }],
            "metadata": { "items": [{ "key": "gust-stack", "value": "s" }] },
        },
    })
}

async fn machine(last: &str) -> (Fakes, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut limits = Limits::demo();
    limits.speed = 20.0;
    let guest = Some(guest(folder.path(), last));
    let fakes = Fakes::with(Settings {
        limits,
        machines: Machines::Exec,
        guest,
        ..Settings::default()
    })
    .await;
    let url = format!("{}{BULK}", fakes.handle.addresses.gce);
    let accepted = fakes
        .raw("POST", &url, "application/json", one().to_string().into_bytes())
        .await;
    assert_eq!(accepted.status, 200, "{}", accepted.text);
    (fakes, folder)
}

async fn pid(fakes: &Fakes, folder: &TempDir, name: &str) -> u32 {
    let path = folder.path().join(name);
    fakes
        .until("the guest tells its processes", async || told(&path).is_some())
        .await;
    told(&path).unwrap()
}

fn told(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether a process lives (a zombie does not).
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

async fn state(fakes: &Fakes, to: &str) -> bool {
    fakes
        .events("instance.state")
        .await
        .iter()
        .any(|event| event["to"] == to)
}

async fn metadata(address: &str, path: &str, with_header: bool) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client.get(format!("http://{address}/computeMetadata/v1{path}"));
    if with_header {
        request = request.header("metadata-flavor", "Google");
    }
    let reply = request.send().await.unwrap();
    assert_eq!(reply.headers()["metadata-flavor"], "Google");
    (reply.status().as_u16(), reply.text().await.unwrap())
}

async fn address(fakes: &Fakes) -> String {
    let state: Reply = fakes.control("GET", "/state", "").await;
    let listeners = state.body["metadata"]["listeners"].as_object().unwrap().clone();
    listeners.values().next().unwrap().as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_guest_that_exits_0_powers_its_machine_off_and_nothing_of_it_stays() {
    let (fakes, folder) = machine("exit 0").await;
    let child = pid(&fakes, &folder, "child").await;
    fakes
        .until("the machine is off", async || state(&fakes, "TERMINATED").await)
        .await;
    fakes.until("the child is gone", async || !lives(child)).await;
    let environment = std::fs::read_to_string(folder.path().join("env")).unwrap();
    let names: Vec<&str> = environment
        .split_whitespace()
        .filter(|name| *name != "GUST_BUILDKITE_AGENT")
        .collect();
    assert_eq!(names, ["GCE_METADATA_HOST", "GUST_POWER_OFF", "HOME", "PATH"]);
    let cause = |event: &&Value| event["cause"] == "guest";
    assert!(
        fakes
            .events("instance.state")
            .await
            .iter()
            .any(|event| cause(&event))
    );
}

#[tokio::test]
async fn a_guest_that_crashes_leaves_its_machine_running() {
    let (fakes, _folder) = machine("exit 3").await;
    fakes
        .until("the crash is seen", async || {
            fakes
                .events("guest.state")
                .await
                .iter()
                .any(|event| event["to"] == "crashed")
        })
        .await;
    assert!(!state(&fakes, "STOPPING").await);
    let path = "/compute/v1/projects/gust-demo/zones/us-central1-a/instances/vm/serialPort?port=1";
    let url = format!("{}{path}", fakes.handle.addresses.gce);
    let serial = fakes.raw("GET", &url, "", Vec::new()).await;
    assert_eq!(serial.body["contents"], "told by the guest\n");
}

#[tokio::test]
async fn a_delete_ends_a_guest_that_will_not_hear() {
    let (fakes, folder) = machine("trap '' TERM\nwhile true; do sleep 1; done").await;
    let (guest, child) = (
        pid(&fakes, &folder, "pid").await,
        pid(&fakes, &folder, "child").await,
    );
    let path = "/compute/v1/projects/gust-demo/zones/us-central1-a/instances/vm";
    let url = format!("{}{path}", fakes.handle.addresses.gce);
    assert_eq!(fakes.raw("DELETE", &url, "", Vec::new()).await.status, 200);
    fakes
        .until("the machine is gone", async || {
            !fakes.events("instance.deleted").await.is_empty()
        })
        .await;
    fakes
        .until("its processes are gone", async || !lives(guest) && !lives(child))
        .await;
}

#[tokio::test]
async fn all_machines_die_with_the_fakes() {
    let (fakes, folder) = machine("wait").await;
    let (guest, child) = (
        pid(&fakes, &folder, "pid").await,
        pid(&fakes, &folder, "child").await,
    );
    assert!(lives(guest) && lives(child));
    fakes.handle.shutdown().await;
    assert!(!lives(guest) && !lives(child));
}

#[tokio::test]
async fn machines_do_not_outlive_fakes_that_are_killed() {
    let (folder, limits) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let program = guest(folder.path(), "wait");
    let config = limits.path().join("fakes.toml");
    std::fs::write(&config, "limits = \"demo\"\nmachines = \"exec\"\n").unwrap();
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_gust-fakes"))
        .arg("--config")
        .arg(&config)
        .arg("--guest")
        .arg(program)
        .args(["--speed", "20"])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = tokio::io::BufReader::new(child.stdout.take().unwrap());
    tokio::io::AsyncBufReadExt::read_line(&mut out, &mut line)
        .await
        .unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let accepted = client
        .post(format!("{}{BULK}", ready["gce"].as_str().unwrap()))
        .json(&one())
        .send()
        .await;
    assert_eq!(accepted.unwrap().status(), 200);
    let (guest, pid) = (folder.path().join("pid"), folder.path().join("child"));
    eventually("the guest tells its processes", || {
        told(&guest).is_some() && told(&pid).is_some()
    })
    .await;
    let processes = [told(&guest).unwrap(), told(&pid).unwrap()];
    child.kill().await.unwrap();
    eventually("they die with the fakes", || {
        !processes.iter().any(|pid| lives(*pid))
    })
    .await;
}

/// Waits for a condition that nothing announces, at most 20 seconds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "in vain: {what}");
}

#[tokio::test]
async fn a_machine_reads_about_itself_and_proves_who_it_is() {
    let (fakes, folder) = machine("wait").await;
    pid(&fakes, &folder, "pid").await;
    let address = address(&fakes).await;
    assert_eq!(metadata(&address, "/instance/name", false).await.0, 403);
    let read = async |path: &str| metadata(&address, path, true).await;
    assert_eq!(read("/instance/name").await, (200, "vm".into()));
    assert_eq!(read("/project/project-id").await, (200, "gust-demo".into()));
    assert!(read("/instance/zone").await.1.ends_with("/zones/us-central1-a"));
    assert_eq!(read("/instance/attributes/gust-stack").await, (200, "s".into()));
    assert_eq!(read("/instance/attributes/none").await.0, 404);
    assert_eq!(
        read("/instance/attributes/?recursive=true").await.1,
        r#"{"gust-stack":"s"}"#
    );
    assert_eq!(read("/instance/preempted").await.1, "FALSE");
    assert!(
        read("/instance/service-accounts/default/token")
            .await
            .1
            .contains("access_token")
    );
    assert_eq!(read("/instance/service-accounts/default/identity").await.0, 400);

    let identity = "/instance/service-accounts/default/identity?audience=gust%3As&format=full";
    let (status, token) = read(identity).await;
    assert_eq!(status, 200);
    let certs = format!("{}/oauth2/v3/certs", fakes.handle.addresses.metadata);
    let keys: JwkSet = serde_json::from_value(fakes.raw("GET", &certs, "", Vec::new()).await.body).unwrap();
    let verify = |token: &str| {
        let header = jsonwebtoken::decode_header(token).unwrap();
        let key = DecodingKey::from_jwk(keys.find(&header.kid.unwrap()).unwrap()).unwrap();
        let mut rules = Validation::new(Algorithm::RS256);
        rules.set_audience(&["gust:s"]);
        rules.set_issuer(&["https://accounts.google.com"]);
        jsonwebtoken::decode::<Value>(token, &key, &rules).map(|token| token.claims)
    };
    let claims = verify(&token).unwrap();
    assert_eq!(claims["email"], "ci@gust-demo.iam.gserviceaccount.com");
    let machine = &claims["google"]["compute_engine"];
    assert_eq!(
        (&machine["instance_name"], &machine["zone"]),
        (&json!("vm"), &json!("us-central1-a"))
    );
    let id = fakes.events("instance.inserted").await[0]["id"].clone();
    assert_eq!(machine["instance_id"], id);
    assert_eq!(
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
        3600
    );

    for kind in ["identity.stale", "identity.wrong-key"] {
        let fault = json!({ "kind": kind, "match": { "instance": "vm" }, "count": 1 });
        assert_eq!(
            fakes.control("POST", "/faults", &fault.to_string()).await.status,
            201
        );
        assert!(verify(&read(identity).await.1).is_err(), "{kind}");
    }
    assert_eq!(fakes.events("identity.minted").await.len(), 3);
    assert_eq!(fakes.events("identity.minted").await[0]["audience"], "gust:s");
}
