//! The fakes' own parsers: programs written by others speak to them, too.

use std::time::Duration;

use gust_fakes::{
    buildkite,
    config::{File, Settings},
    event::Effects,
    gce,
    http::control,
    limits::Limits,
    metadata,
    now::Now,
    wire::{Outcome, Request, Response, parse_query},
    world::World,
};
use serde_json::Value;

use super::{Make, Target};
use crate::fuzz::service::STARTED_UNIX_NS;

pub(super) const ALL: &[Make] = &[
    pipelines, controls, stacks, rest, graphql, compute, filters, instances, settings,
];

/// A world is made anew after so many requests, for it grows.
const LIFETIME: u32 = 400;

type Answer = fn(&mut World, Now, &Request, &mut Effects) -> Outcome;

fn buildkite_answers(world: &mut World, now: Now, request: &Request, out: &mut Effects) -> Outcome {
    let _ = buildkite::wire::method_of(request);
    buildkite::wire::handle(&mut world.buildkite, &mut world.faults, now, request, out)
}

fn gce_answers(world: &mut World, now: Now, request: &Request, out: &mut Effects) -> Outcome {
    let _ = gce::wire::method_of(request);
    gce::wire::handle(&mut world.gce, &mut world.faults, now, request, out)
}

fn metadata_answers(world: &mut World, now: Now, request: &Request, out: &mut Effects) -> Outcome {
    let instance = world.gce.instances().next().map(|one| one.id).unwrap_or_default();
    let site = metadata::wire::Site {
        model: &mut world.metadata,
        gce: &mut world.gce,
        faults: &mut world.faults,
    };
    metadata::wire::handle(site, instance, now, request, out)
}

/// A world, and its time.
struct Bench {
    world: World,
    passed: Duration,
    asked: u32,
    answer: Answer,
    /// What was done before.
    before: Vec<(Answer, String)>,
}

impl Bench {
    /// A world in which these requests were made.
    fn new(answer: Answer, before: Vec<(Answer, String)>) -> Self {
        let mut bench = Self {
            world: World::new(&Settings::default()),
            passed: Duration::ZERO,
            asked: 0,
            answer,
            before,
        };
        bench.restart();
        bench
    }

    fn restart(&mut self) {
        self.world = World::new(&Settings::default());
        self.passed = Duration::ZERO;
        for (answer, text) in self.before.clone() {
            self.ask_of(answer, &request(text.as_bytes()));
        }
    }

    fn ask_of(&mut self, answer: Answer, request: &Request) -> Option<Response> {
        self.passed += Duration::from_secs(2);
        let now = Now::at(STARTED_UNIX_NS, self.passed);
        let mut out = Effects::default();
        self.world.tick(now, &mut out);
        let outcome = answer(&mut self.world, now, request, &mut out);
        match outcome {
            Outcome::Now(response) => Some(response),
            Outcome::Hold { .. } => None,
        }
    }

    /// True for a request that was granted.
    fn ask(&mut self, request: &Request) -> bool {
        self.asked += 1;
        if self.asked.is_multiple_of(LIFETIME) {
            self.restart();
        }
        let response = self.ask_of(self.answer, request);
        response.is_none_or(|response| response.status < 300)
    }
}

/// A request as text: method and target, headers, an empty line, the body.
fn request(text: &[u8]) -> Request {
    let at = text.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = at.map_or((text, &b""[..]), |at| (&text[..at], &text[at + 2..]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let (method, target) = lines
        .next()
        .and_then(|line| line.split_once(' '))
        .unwrap_or(("GET", "/"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines.filter_map(|line| line.split_once(':'));
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: parse_query(query),
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect(),
        body: body.to_vec().into(),
        peer: "127.0.0.1:1".to_owned(),
    }
}

fn of_requests(
    name: &'static str,
    answer: Answer,
    before: Vec<(Answer, String)>,
    corpus: Vec<String>,
) -> Target {
    let mut bench = Bench::new(answer, before);
    Target::new(name, corpus, move |text| bench.ask(&request(text)))
}

const PIPELINE: &str = r#"env: { A: b }
agents: { queue: gust, cpu: 4 }
steps:
  - command: [make, "make test"]
    key: build
    label: ":rust: build"
    agents: ["queue=gust", "cpu=8"]
    timeout_in_minutes: 30
    parallelism: 2
    retry: { automatic: [{ exit_status: -1, signal_reason: stack_error, limit: 0 }, { exit_status: "*", limit: 2 }], manual: { permit_on_passed: true } }
  - wait: ~
    continue_on_failure: true
  - group: g
    key: g
    steps:
      - { command: a, depends_on: [{ step: build, allow_failure: true }], concurrency: 1, concurrency_group: x }
  - { command: b, soft_fail: [{ exit_status: 3 }], priority: -5, skip: "later", artifact_paths: "*.txt" }
  - { block: "go on?", fields: [{ text: why, key: why, required: true }, { select: s, key: s, options: [{ label: a, value: b }] }], blocked_state: running }
  - { input: more, fields: [{ text: name, key: name, default: x }] }
"#;

fn pipelines() -> Target {
    let mut bench = Bench::new(control, Vec::new());
    let corpus = [
        PIPELINE,
        "steps:\n- {command: a, key: a}\n- wait\n- {command: b, depends_on: a}\n",
        "- command: x\n",
    ];
    Target::new("fakes: pipelines", corpus, move |yaml| {
        let mut asked = request(b"POST /builds?pipeline=fuzz&priority=1");
        asked.body = yaml.to_vec().into();
        bench.ask(&asked)
    })
}

fn built() -> Vec<(Answer, String)> {
    let build = format!("POST /builds?pipeline=fuzz\n\n{PIPELINE}");
    vec![(control as Answer, build)]
}

/// Jobs of the world that `built` makes; the same each time.
fn job_ids() -> Vec<String> {
    let bench = Bench::new(control, built());
    let now = Now::at(STARTED_UNIX_NS, bench.passed);
    let state = bench.world.buildkite.to_json(now);
    let jobs = state["jobs"].as_array().cloned().unwrap_or_default();
    jobs.iter()
        .filter_map(|job| job["uuid"].as_str().map(str::to_owned))
        .collect()
}

fn controls() -> Target {
    let job = &job_ids()[0];
    let corpus = vec![
        "POST /builds?pipeline=p&branch=main&priority=5\n\nsteps:\n- {command: a}\n".to_owned(),
        "POST /builds/1/cancel".to_owned(),
        format!("POST /jobs/{job}/cancel"),
        format!("POST /jobs/{job}/retry"),
        format!("PUT /jobs/{job}/priority\n\n{{\"priority\":5}}"),
        format!("POST /jobs/{job}/unblock\n\n{{\"fields\":{{\"why\":\"so\"}}}}"),
        format!("GET /jobs/{job}"),
        "GET /events?after=3".to_owned(),
        "GET /state".to_owned(),
        "POST /faults\n\n{\"kind\":\"gce.stockout\",\"match\":{\"zone\":[\"us-central1-*\"],\"status\":503},\"from_s\":1,\"for_s\":5.5,\"count\":2,\"probability\":0.5}".to_owned(),
        "POST /faults\n\n{\"kind\":\"reply.delay\",\"match\":{\"host\":\"buildkite\",\"method\":\"stacks.*\",\"delay_ms\":5}}".to_owned(),
        "POST /faults\n\n{\"kind\":\"webhook.late\",\"match\":{\"event\":\"job.scheduled\",\"delay_s\":1e300,\"stale_s\":-1}}".to_owned(),
        "PUT /limits\n\n{\"gce\":{\"quotas\":{\"N2D_CPUS\":64},\"boot\":{\"guest_s\":[1,1]}},\"buildkite\":{\"rates_per_second\":{\"list-scheduled-jobs\":2}}}".to_owned(),
        "PUT /limits\n\n{\"speed\":1000.0,\"buildkite\":{\"agent_lost_after_s\":1,\"graphql\":{\"query_depth\":3}}}".to_owned(),
        "POST /webhooks\n\n{\"url\":\"http://127.0.0.1:1/hook\",\"token\":\"t\",\"scheme\":\"signature\",\"events\":[\"ping\"]}".to_owned(),
        "DELETE /webhooks/1".to_owned(),
        "POST /instances/gust-a-1/preempt".to_owned(),
    ];
    of_requests("fakes: control", control, built(), corpus)
}

/// What an agent holds after it started the first job: the tokens are the same each time.
fn running() -> (Vec<(Answer, String)>, String, String) {
    let job = job_ids().remove(0);
    let mut bench = Bench::new(buildkite_answers, built());
    let mut before = built();
    let mut ask = |text: String| {
        let response = bench.ask_of(buildkite_answers, &request(text.as_bytes()));
        before.push((buildkite_answers as Answer, text));
        let body = response.map(|response| response.body).unwrap_or_default();
        serde_json::from_slice::<Value>(&body).unwrap_or_default()
    };
    let token = |reply: &Value, name: &str| reply[name].as_str().unwrap_or_default().to_owned();
    let register = "{\"name\":\"a\",\"hostname\":\"h\",\"os\":\"linux\",\"arch\":\"amd64\",\"meta_data\":[\"queue=gust\"],\"version\":\"3.136.3\"}";
    let registered = ask(format!(
        "POST /v3/register\nauthorization: Token bkct_fake\n\n{register}"
    ));
    let session = token(&registered, "access_token");
    let acquired = ask(format!(
        "PUT /v3/jobs/{job}/acquire\nauthorization: Token {session}"
    ));
    let own = token(&acquired, "token");
    ask(format!(
        "PUT /v3/jobs/{job}/start\nauthorization: Token {own}\n\n{{\"started_at\":\"2027-01-15T08:00:05Z\"}}"
    ));
    assert!(!own.is_empty(), "the fake grants the job: {acquired}");
    (before, session, own)
}

fn stacks() -> Target {
    let (before, session, own) = running();
    let jobs = job_ids();
    let (job, other) = (&jobs[0], &jobs[1]);
    let stack = |line: &str, body: &str| format!("{line}\nauthorization: Token bkct_fake\n\n{body}");
    let of_job = |line: &str, body: &str| format!("{line}\nauthorization: Token {own}\n\n{body}");
    let register = "{\"key\":\"g\",\"type\":\"custom\",\"queue_key\":\"gust\",\"metadata\":{\"a\":\"b\"}}";
    let mut before = before;
    before.push((buildkite_answers, stack("POST /v3/stacks/register", register)));
    let corpus = vec![
        stack("POST /v3/stacks/register", register),
        stack(
            "GET /v3/stacks/g/scheduled-jobs?queue_key=gust&limit=10&after=MQ",
            "",
        ),
        stack(
            "PUT /v3/stacks/g/scheduled-jobs/batch-reserve",
            &format!("{{\"job_uuids\":[\"{other}\"],\"reservation_expiry_seconds\":300}}"),
        ),
        stack(&format!("GET /v3/stacks/g/jobs/{other}"), ""),
        stack(
            "POST /v3/stacks/g/jobs/get-states",
            &format!("{{\"job_uuids\":[\"{job}\",\"{other}\"]}}"),
        ),
        stack(
            "POST /v3/stacks/g/notifications",
            &format!(
                "{{\"notifications\":[{{\"job_uuid\":\"{other}\",\"detail\":\"d\",\"timestamp\":\"2027-01-15T08:00:02Z\"}}]}}"
            ),
        ),
        stack(
            "POST /v3/stacks/g/job-acquisition-tokens",
            &format!("{{\"job_uuids\":[\"{other}\"],\"token_lifetime_seconds\":60}}"),
        ),
        stack(
            &format!("POST /v3/stacks/g/jobs/{other}/finish"),
            "{\"exit_status\":-1,\"detail\":\"no\"}",
        ),
        stack("GET /v3/token", ""),
        format!(
            "POST /v3/heartbeat\nauthorization: Token {session}\n\n{{\"sent_at\":\"2027-01-15T08:00:02.5Z\"}}"
        ),
        format!(
            "POST /v3/pause\nauthorization: Token {session}\n\n{{\"note\":\"x\",\"timeout_in_minutes\":5}}"
        ),
        of_job(
            &format!("POST /v3/jobs/{job}/chunks?sequence=1&offset=0&size=3"),
            "abc",
        ),
        of_job(
            &format!("POST /v3/jobs/{job}/annotations"),
            "{\"body\":\"# a **b** <script>\",\"context\":\"c\",\"style\":\"info\",\"append\":true,\"priority\":3,\"scope\":\"job\"}",
        ),
        of_job(
            &format!("POST /v3/jobs/{job}/data/set"),
            "{\"key\":\"k\",\"value\":\"v\"}",
        ),
        of_job(
            &format!("POST /v3/jobs/{job}/data/set-batch"),
            "{\"items\":[{\"key\":\"k\",\"value\":\"v\"}]}",
        ),
        of_job(
            &format!("POST /v3/jobs/{job}/artifacts"),
            "{\"id\":\"x\",\"artifacts\":[{\"id\":\"\",\"path\":\"a.txt\",\"absolute_path\":\"/a.txt\",\"glob_path\":\"\",\"file_size\":9,\"sha1sum\":\"x\",\"sha256sum\":\"x\",\"job_id\":\"\",\"created_at\":\"0001-01-01T00:00:00Z\",\"content_type\":\"text/plain\"}],\"upload_destination\":\"\",\"multipart_supported\":true}",
        ),
        of_job(
            &format!("POST /v3/jobs/{job}/pipelines"),
            "{\"uuid\":\"00000000-0000-0000-0000-000000000009\",\"pipeline\":{\"steps\":[{\"command\":\"a\",\"agents\":{\"queue\":\"gust\",\"cpu\":8}}]},\"replace\":false}",
        ),
        of_job(
            &format!("POST /v3/jobs/{job}/oidc/tokens"),
            "{\"audience\":\"a\",\"lifetime\":60,\"claims\":[\"x\"]}",
        ),
        of_job(&format!("PUT /v3/jobs/{job}"), "{\"timeout\":\"20\"}"),
        of_job(
            &format!("PUT /v3/jobs/{job}/finish"),
            "{\"exit_status\":\"3\",\"finished_at\":\"2027-01-15T08:00:09Z\",\"chunks_failed_count\":0}",
        ),
    ];
    of_requests("fakes: stacks and agents", buildkite_answers, before, corpus)
}

fn rest() -> Target {
    let job = &job_ids()[0];
    let call = |line: &str, body: &str| format!("{line}\nauthorization: Bearer bkua_fake\n\n{body}");
    let base = "/v2/organizations/gust-demo";
    let corpus = vec![
        call("GET /v2/access-token", ""),
        call(
            &format!("GET {base}/pipelines/fuzz/builds?state=running&page=1&per_page=2"),
            "",
        ),
        call(
            &format!("GET {base}/pipelines/fuzz/builds/1/jobs?state[]=scheduled&per_page=5"),
            "",
        ),
        call(&format!("PUT {base}/jobs/{job}/reprioritize"), "{\"priority\":7}"),
        call(&format!("PUT {base}/jobs/{job}/retry"), ""),
        call(
            &format!("PUT {base}/jobs/{job}/unblock"),
            "{\"fields\":{\"why\":\"x\"}}",
        ),
        call(&format!("GET {base}/jobs/{job}/log.txt"), ""),
        call(
            &format!("POST {base}/pipelines/fuzz/builds/1/annotations"),
            "{\"body\":\"b\",\"style\":\"info\",\"context\":\"c\",\"append\":true}",
        ),
        call(&format!("PUT {base}/pipelines/fuzz/builds/1/cancel"), ""),
        call(&format!("GET {base}/clusters"), ""),
        "GET /gust-demo/fuzz/builds/1".to_owned(),
        "GET /".to_owned(),
    ];
    of_requests("fakes: rest and pages", buildkite_answers, built(), corpus)
}

fn graphql() -> Target {
    let job = &job_ids()[0];
    let mut bench = Bench::new(buildkite_answers, built());
    let corpus = [
        "query Scheduled($n: Int = 2) { organization(slug: \"gust-demo\") { jobs(first: $n, type: [COMMAND], state: [SCHEDULED], agentQueryRules: [\"cpu=8\"]) { count pageInfo { hasNextPage endCursor } edges { cursor node { __typename ...job } } } } }\nfragment job on JobTypeCommand { id uuid state agentQueryRules priority { number } createdAt build { uuid number } pipeline { slug } step { key } clusterQueue { id key dispatchPaused } }".to_owned(),
        format!("{{ job(uuid: \"{job}\") {{ ... on JobTypeCommand {{ id events(first: 5) {{ edges {{ node {{ type timestamp }} }} }} retrySource {{ ... on JobInterface {{ uuid }} }} }} }} }}"),
        "mutation { jobTypeCommandCancel(input: {id: \"Sm9iLS0t\", clientMutationId: \"m\"}) { clientMutationId jobTypeCommand { state } } }".to_owned(),
        "{ __schema { types { name fields { name type { name } } } } }".to_owned(),
        "query A { viewer { user { name } } } query B @skip(if: true) { build(slug: \"gust-demo/fuzz/1\") { state jobs(last: 2, before: \"x\") { edges { node { ... on JobTypeWait { uuid } } } } } }".to_owned(),
    ];
    Target::of_text("fakes: graphql", corpus, move |query| {
        let body = serde_json::json!({ "query": query, "variables": { "n": 3 }, "operationName": null });
        let mut asked = request(b"POST /v1\nauthorization: Bearer bkua_fake");
        asked.body = body.to_string().into_bytes().into();
        bench.ask(&asked)
    })
}

const PROPERTIES: &str = "\"machineType\":\"n2d-standard-2\",\"labels\":{\"gust-stack\":\"test\"},\"disks\":[{\"boot\":true,\"autoDelete\":true,\"type\":\"PERSISTENT\",\"initializeParams\":{\"sourceImage\":\"projects/debian-cloud/global/images/family/debian-12\",\"diskSizeGb\":\"20\",\"diskType\":\"pd-balanced\"}}],\"networkInterfaces\":[{\"network\":\"global/networks/default\"}],\"serviceAccounts\":[{\"email\":\"ci@gust-demo.iam.gserviceaccount.com\",\"scopes\":[]}],\"metadata\":{\"items\":[{\"key\":\"enable-guest-attributes\",\"value\":\"TRUE\"}]},\"scheduling\":{\"provisioningModel\":\"SPOT\",\"instanceTerminationAction\":\"DELETE\",\"automaticRestart\":false,\"onHostMaintenance\":\"TERMINATE\",\"maxRunDuration\":{\"seconds\":\"7200\"}}";

fn insert() -> String {
    format!(
        "POST /compute/v1/projects/gust-demo/zones/us-central1-a/instances?requestId=5f0c6f0e-0000-4000-8000-000000000001\n\n{{\"name\":\"gust-a-1\",{}}}",
        PROPERTIES.replace("\"n2d", "\"zones/us-central1-a/machineTypes/n2d")
    )
}

fn compute() -> Target {
    let base = "/compute/v1/projects/gust-demo";
    let zone = format!("{base}/zones/us-central1-a");
    let corpus = vec![
        insert(),
        format!(
            "POST {base}/regions/us-central1/instances/bulkInsert?requestId=5f0c6f0e-0000-4000-8000-000000000002\n\n{{\"count\":\"3\",\"minCount\":1,\"perInstanceProperties\":{{\"a\":{{}},\"b\":{{}},\"c\":{{}}}},\"instanceProperties\":{{{PROPERTIES}}},\"locationPolicy\":{{\"targetShape\":\"ANY\",\"locations\":{{\"zones/us-central1-f\":{{\"preference\":\"DENY\"}}}}}},\"instanceFlexibilityPolicy\":{{\"instanceSelections\":{{\"x\":{{\"machineTypes\":[\"n2d-standard-4\"],\"rank\":\"1\"}}}}}}}}"
        ),
        format!(
            "POST {zone}/instances/bulkInsert\n\n{{\"count\":\"2\",\"namePattern\":\"x-##\",\"instanceProperties\":{{{PROPERTIES}}}}}"
        ),
        format!("GET {zone}/instances?filter=labels.gust-stack%3Dtest&maxResults=2&orderBy=name&pageToken=x"),
        format!("DELETE {zone}/instances/gust-a-1"),
        format!("POST {zone}/instances/gust-a-1/stop?discardLocalSsd=true"),
        format!(
            "POST {zone}/instances/gust-a-1/setLabels\n\n{{\"labels\":{{\"a\":\"b\"}},\"labelFingerprint\":\"x\"}}"
        ),
        format!(
            "POST {zone}/instances/gust-a-1/setMetadata\n\n{{\"items\":[{{\"key\":\"a\",\"value\":\"b\"}}],\"fingerprint\":\"x\"}}"
        ),
        format!("GET {zone}/instances/gust-a-1/serialPort?port=1&start=0"),
        format!("GET {zone}/operations?filter=operationType%3Ddelete&maxResults=500"),
        format!("POST {zone}/operations/operation-1/wait"),
        format!("GET {base}/aggregated/instances?returnPartialSuccess=true&includeAllScopes=1"),
        format!("GET {zone}/machineTypes/n2d-custom-4-8192-ext"),
        format!("GET {base}/regions/us-central1/subnetworks/default?views=WITH_UTILIZATION"),
    ];
    of_requests("fakes: gce", gce_answers, vec![(gce_answers, insert())], corpus)
}

/// Filters of lists, over a machine there is.
fn filters() -> Target {
    let mut bench = Bench::new(gce_answers, vec![(gce_answers, insert())]);
    let corpus = [
        "labels.gust-stack = test AND (status = RUNNING OR status != STOPPING)",
        "name eq 'gust-.*'",
        "(name eq gust.*) (status ne TERMINATED)",
        "NOT name:x AND -labels.a:* scheduling.preemptible=true",
        "creationTimestamp > \"2026-09-01T00:00:00Z\" AND id >= 5 AND networkInterfaces.name:(nic0 OR nic1)",
        "zone = us-central1-a",
    ];
    Target::of_text("fakes: gce filters", corpus, move |filter| {
        let mut asked = request(b"GET /compute/v1/projects/gust-demo/zones/us-central1-a/instances");
        asked.query = vec![("filter".to_owned(), filter.to_owned())];
        bench.ask(&asked)
    })
}

fn instances() -> Target {
    let base = "GET /computeMetadata/v1";
    let ask = |path: &str| format!("{base}/{path}\nmetadata-flavor: Google\n");
    let corpus = vec![
        ask("instance/?recursive=true&alt=json"),
        ask("instance/attributes/?recursive=true&alt=text"),
        ask("instance/name"),
        ask("instance/service-accounts/default/identity?audience=a&format=full&licenses=TRUE"),
        ask("instance/preempted?wait_for_change=true&last_etag=0&timeout_sec=5"),
        "PUT /computeMetadata/v1/instance/guest-attributes/gust/x\nmetadata-flavor: Google\n\nvalue"
            .to_owned(),
    ];
    of_requests(
        "fakes: metadata",
        metadata_answers,
        vec![(gce_answers, insert())],
        corpus,
    )
}

/// The configuration file, and changes of limits.
fn settings() -> Target {
    let limits = Limits::standard();
    let corpus = [
        "seed = 3\nmachines = \"sim\"\nprojects = [\"a\"]\n[ports]\ncontrol = 0\n[buildkite]\norganization = \"o\"\napi_scopes = { bkua_fake = [\"graphql\"] }\n[[buildkite.clusters]]\nname = \"c\"\nqueues = [\"q\"]\ntokens = [\"t\"]\n[[buildkite.webhooks]]\nurl = \"http://127.0.0.1:1\"\ntoken = \"t\"\nscheme = \"signature\"\nevents = [\"ping\"]\n",
        "{\"gce\":{\"quotas\":{\"N2D_CPUS\":64},\"boot\":{\"guest_s\":[1,1]},\"regional\":{\"us-east4\":{\"quotas\":{\"CPUS\":1}}}},\"buildkite\":{\"rates_per_second\":{\"list-scheduled-jobs\":2}}}",
    ];
    Target::of_text("fakes: settings", corpus, move |text| {
        let merged = serde_json::from_str::<Value>(text).map(|change| limits.merged(&change).is_ok());
        let file = toml::from_str::<File>(text);
        // A path of limits would be read.
        let settings = file.map(|file| File { limits: None, ..file }.settings().is_ok());
        merged.unwrap_or(false) || settings.unwrap_or(false)
    })
}
