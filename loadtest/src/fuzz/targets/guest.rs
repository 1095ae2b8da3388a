//! What a machine is told: by the metadata server, by the agent it runs, and by its own files.

use std::time::Duration;

use gust_fakes::{gce, wire::Request};
use gust_guest::{
    address::Address,
    facts::Facts,
    metadata::Metadata,
    plan::Known,
    user::{User, UserName},
};
use serde_json::json;

use super::{Make, Target};
use crate::fuzz::service::{Host, Service};

pub(super) const ALL: &[Make] = &[metadata, addresses, agent_help, passwd];

/// A machine, so that the metadata server has one to speak of.
pub(super) fn machine(service: &Service) {
    let body = json!({
        "name": "gust-a-1", "machineType": "zones/us-central1-a/machineTypes/n2d-standard-2",
        "labels": { "gust-stack": "gust" },
        "disks": [{ "boot": true, "autoDelete": true, "initializeParams": {
            "sourceImage": "projects/debian-cloud/global/images/family/debian-12", "diskSizeGb": "20" } }],
        "networkInterfaces": [{ "network": "global/networks/default" }],
        "serviceAccounts": [{ "email": "ci@gust-demo.iam.gserviceaccount.com", "scopes": [] }],
        "metadata": { "items": [
            { "key": "gust-stack", "value": "gust" },
            { "key": "gust-addresses", "value": "gust-1.example:7001, https://gust-2.example:7001" },
            { "key": "gust-job-user", "value": "builder" },
        ] },
    });
    let request = Request {
        method: "POST".to_owned(),
        path: "/compute/v1/projects/gust-demo/zones/us-central1-a/instances".to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body: body.to_string().into_bytes().into(),
        peer: "127.0.0.1:1".to_owned(),
    };
    service.with(|world, now, out| {
        gce::wire::handle(&mut world.gce, &mut world.faults, now, &request, out);
    });
}

fn metadata() -> Target {
    let service = Service::start(Host::Metadata);
    machine(&service);
    let server = service.url.trim_start_matches("http://").to_owned();
    let client = Metadata::new(server);
    let facts = async || {
        let facts = Facts::read(&client).await;
        let token = client.identity("gust:gust:key").await;
        let taken = client
            .get("instance/preempted?wait_for_change=false", Duration::from_secs(5))
            .await;
        facts.is_ok() && token.is_ok() && taken.is_ok()
    };
    assert!(
        service.really(facts()),
        "the fake tells a machine all it must know"
    );
    let recorded = service.recorded();
    let mut corpus = recorded.clone();
    corpus.push(b"200\nmetadata-flavor: Google\netag: 1\nx-cut: 1\n\ngust-a-1".to_vec());
    corpus.push(b"302\nserver: a proxy\n\n<html>".to_vec());
    let client = client.clone();
    Target::new("metadata replies", corpus, move |reply| {
        let all = async {
            let facts = Facts::read(&client).await;
            let token = client.identity("gust:gust:key").await;
            facts.is_ok() && token.is_ok()
        };
        service.mutated(reply, &recorded, all)
    })
}

fn addresses() -> Target {
    let corpus = [
        "gust-1.example:7001",
        "127.0.0.1:7001,[::1]:7002",
        "https://a.example:1, http://localhost:2",
        "10.0.0.1:80",
    ];
    Target::of_text("gust-addresses", corpus, |text| Address::list(text).is_ok())
}

fn agent_help() -> Target {
    let help = "buildkite-agent version 3.136.3+11923\n\nUsage:\n\n   buildkite-agent start [options...]\n\nOptions:\n   --token value  Your account agent token [$BUILDKITE_AGENT_TOKEN]\n   --acquire-job value, --ping-mode value (default: \"auto\")\n   --cancel-grace-period=10 `seconds`\n";
    let fourth = "buildkite-agent version 4.0.0-beta.15, build 1\n--acquire-job --cancel-signal-timeout";
    Target::of_text("agent's help", [help, fourth], |text| {
        let (version, help) = text.split_once('\n').unwrap_or((text, ""));
        !Known::read(version, help).flags.is_empty()
    })
}

fn passwd() -> Target {
    let corpus =
        ["builder\nroot:x:0:0:root:/root:/bin/bash\nbuilder:x:1001:1002:,,,:/home/builder:/bin/bash\n"];
    Target::of_text("passwd", corpus, |text| {
        let (name, passwd) = text.split_once('\n').unwrap_or((text, ""));
        let Ok(name) = name.parse::<UserName>() else {
            return false;
        };
        let user = User::find(&name, passwd);
        user.is_ok_and(|user| {
            let _ = user.bootstrap_script("/usr/bin/buildkite-agent".as_ref(), "/tmp/s".as_ref());
            true
        })
    })
}
