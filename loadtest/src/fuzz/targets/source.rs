//! Replies of Buildkite, as gust's own clients read them, and its webhooks.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use gust_buildkite::{
    Client, Config, GraphqlSource, RestRetrier, StacksSource, client::Scheme, source::Patience, webhook,
};
use gust_core::{
    ids::{JobId, QueueKey},
    ports::{Finish, Notification, Retrier as _, Source},
    secret::Secret,
    time::Timestamp,
};
use gust_fakes::buildkite::NewBuild;
use url::Url;

use super::{Make, Target};
use crate::fuzz::service::{Host, STARTED_UNIX_NS, Service};

pub(super) const ALL: &[Make] = &[
    || stacks("stacks: register", Asked::Register),
    || stacks("stacks: list", Asked::List),
    || stacks("stacks: reserve", Asked::Reserve),
    || stacks("stacks: states", Asked::States),
    || stacks("stacks: finish", Asked::Finish),
    || stacks("stacks: notify", Asked::Notify),
    || stacks("stacks: token identity", Asked::Issues),
    || stacks("stacks: acquisition tokens", Asked::Tokens),
    || graphql("graphql: list", Asked::List),
    || graphql("graphql: states", Asked::States),
    || graphql("graphql: cancel", Asked::Finish),
    || graphql("graphql: annotate", Asked::Notify),
    || graphql("graphql: probe", Asked::Register),
    rest,
    webhook_proof,
    webhook_body,
];

/// A source is made anew after so many replies: what it has learned by then is in the way.
const LIFETIME: u32 = 25;

/// A call of a source.
#[derive(Clone, Copy)]
enum Asked {
    Register,
    List,
    Reserve,
    States,
    Finish,
    Notify,
    Issues,
    Tokens,
}

/// Makes the call; true if it went well.
async fn ask(source: &dyn Source, asked: Asked, jobs: &[JobId]) -> bool {
    let queue = QueueKey::new("gust");
    match asked {
        Asked::Register => source.register().await.is_ok(),
        Asked::List => source.list(&queue, None).await.is_ok(),
        Asked::Reserve => source.reserve(jobs, Duration::from_secs(300)).await.is_ok(),
        Asked::States => source.states(jobs).await.is_ok(),
        Asked::Finish => {
            let finish = Finish {
                exit_status: -1,
                detail: "no machine".to_owned(),
            };
            source.finish(jobs[0], &finish).await.is_ok()
        }
        Asked::Notify => {
            let note = |detail: &str| Notification {
                job: jobs[0],
                detail: detail.to_owned(),
                at: None,
            };
            source
                .notify(&[note("waits for quota"), note("asked for a machine")])
                .await
                .is_ok()
        }
        Asked::Issues => source.issues_tokens().await.is_ok(),
        Asked::Tokens => source
            .acquisition_tokens(jobs, Duration::from_secs(300))
            .await
            .is_ok(),
    }
}

/// While a target is set up each call must go well, however slow the machine is.
const PATIENT: Patience = Patience {
    reads: Duration::from_secs(20),
    writes: Duration::from_secs(20),
};

/// No repeats of what is fed: each waits longer than all of this.
const BRIEF: Patience = Patience {
    reads: Duration::from_millis(200),
    writes: Duration::from_millis(200),
};

fn client(url: &str, path: &str, token: &str, scheme: Scheme) -> Client {
    let endpoint = Url::parse(&format!("{url}{path}")).expect("a URL");
    let mut config = Config::new(endpoint, Secret::new(token), "gust");
    config.scheme = scheme;
    Client::new(config).expect("the configuration is a good one")
}

fn stacks_source(url: &str, patience: Patience) -> StacksSource {
    let client = client(url, "/v3", "bkct_fake", Scheme::Token);
    StacksSource::new(client, QueueKey::new("gust"), BTreeMap::new()).with_patience(patience)
}

fn graphql_source(url: &str, patience: Patience) -> GraphqlSource {
    let graphql = client(url, "/v1", "bkua_fake", Scheme::Bearer);
    let rest = client(url, "/v2", "bkua_fake", Scheme::Bearer);
    GraphqlSource::new(graphql, rest, "gust-demo".to_owned(), None).with_patience(patience)
}

const PIPELINE: &str = "steps:\n- {command: a, key: a, agents: {queue: gust, cpu: 8}}\n- {command: b, priority: 5, retry: {manual: true}}\n- {command: c}\n";

/// A build, and its jobs.
fn build(service: &Service) -> Vec<JobId> {
    let new = NewBuild {
        yaml: PIPELINE.to_owned(),
        pipeline: "fuzz".to_owned(),
        ..NewBuild::default()
    };
    let build = service.with(|world, now, out| world.buildkite.create_build(now, &new, out));
    let build = build.map_err(|refusal| refusal.message).expect("a good pipeline");
    build.jobs.iter().map(|job| JobId(job.uuid)).collect()
}

/// Replies that are no good news.
const REFUSALS: &[&str] = &[
    "429\nratelimit-scope: list-scheduled-jobs\nratelimit-limit: 10\nratelimit-remaining: 0\nratelimit-reset: 1\nretry-after: 0.5\n\n{\"message\":\"You have exceeded your API rate limit. Please wait 1 seconds before making more requests.\",\"scope\":\"list-scheduled-jobs\",\"limit\":10,\"current\":11,\"reset\":1}",
    "429\nratelimit-user-limit: 5000\nratelimit-user-remaining: 0\nratelimit-user-reset: 187\n\n{\"errors\":[{\"message\":\"Your organization has exceeded the limit of 20000 complexity points. Please try again in 187 seconds.\"}]}",
    "200\nx-cut: 1\n\n{\"jobs\":[{\"id\":\"",
    "200\ncontent-type: text/html\n\n<html><body>Sign in</body></html>",
    "401\n\n{\"message\":\"Authentication required. Please supply a valid token\"}",
    "404\n\n{\"message\":\"No stack found\"}",
    "422\n\n{\"message\":\"is finished\"}",
    "503\nretry-after: 1e9\n\n",
    "200\n\n{\"data\":{\"j0\":{\"state\":\"RUNNING\"},\"j1\":null},\"errors\":[{\"message\":\"no access\",\"path\":[\"j1\"]}]}",
];

fn stacks(name: &'static str, asked: Asked) -> Target {
    of_source(name, asked, stacks_source, StacksSource::with_patience)
}

fn graphql(name: &'static str, asked: Asked) -> Target {
    of_source(name, asked, graphql_source, GraphqlSource::with_patience)
}

fn of_source<S: Source + 'static>(
    name: &'static str,
    asked: Asked,
    make: fn(&str, Patience) -> S,
    with_patience: fn(S, Patience) -> S,
) -> Target {
    let service = Service::start(Host::Buildkite);
    let jobs = build(&service);
    let source = make(&service.url, PATIENT);
    assert!(
        service.really(ask(&source, Asked::Register, &jobs)),
        "{name}: register"
    );
    if matches!(asked, Asked::Tokens) {
        assert!(
            service.really(ask(&source, Asked::Reserve, &jobs)),
            "{name}: reserve"
        );
    }
    if !matches!(asked, Asked::Register) {
        drop(service.recorded());
    }
    if matches!(asked, Asked::Notify) {
        // Annotations are written of jobs that were listed.
        let _ = service.really(ask(&source, Asked::List, &jobs));
    }
    assert!(
        service.really(ask(&source, asked, &jobs)),
        "{name}: the fake answers it well"
    );
    let recorded = service.recorded();
    let mut corpus = recorded.clone();
    corpus.extend(REFUSALS.iter().map(|text| text.as_bytes().to_vec()));
    // The same one, for what it has learned is part of what was recorded.
    let mut source = with_patience(source, BRIEF);
    let mut age = 0;
    Target::new(name, corpus, move |reply| {
        age += 1;
        if age % LIFETIME == 0 {
            source = make(&service.url, BRIEF);
        }
        service.mutated(reply, &recorded, ask(&source, asked, &jobs))
    })
}

fn rest() -> Target {
    let service = Service::start(Host::Buildkite);
    let job = build(&service)[1];
    service.with(|world, now, out| {
        let _ = world.buildkite.cancel_job(now, job.0, out);
    });
    let endpoint = Url::parse(&format!("{}/v2", service.url)).expect("a URL");
    let token: gust_buildkite::client::TokenOf = Arc::new(|| io::Result::Ok(Secret::new("bkua_fake")));
    let retrier = RestRetrier::new(endpoint, "gust-demo", token, "gust/0 (fuzz)").expect("an HTTP client");
    let _ = service.really(retrier.retry(job));
    let recorded = service.recorded();
    let mut corpus = recorded.clone();
    corpus.push(
        format!(
            "200\n\n{{\"id\":\"{}\",\"state\":\"failed\",\"retried_in_job_id\":null}}",
            job.0
        )
        .into_bytes(),
    );
    corpus.push(
        format!(
            "200\n\n{{\"id\":\"{0}\",\"state\":\"failed\",\"retried_in_job_id\":\"{0}\"}}",
            job.0
        )
        .into_bytes(),
    );
    corpus.extend(REFUSALS.iter().map(|text| text.as_bytes().to_vec()));
    Target::new("rest: retry", corpus, move |reply| {
        service.mutated(reply, &recorded, retrier.retry(job)).is_ok()
    })
}

/// A webhook's headers: token, signature, body, by lines.
fn webhook_proof() -> Target {
    let secret = Secret::new("secret");
    let at = i64::try_from(STARTED_UNIX_NS / 1_000_000_000).unwrap_or_default();
    let signature = format!("timestamp={at},signature={}", "ab".repeat(32));
    let corpus = [
        "secret\n\n{}".to_owned(),
        format!("\n{signature}\n{{}}"),
        format!("secret\n{signature}\n{{}}"),
    ];
    Target::of_text("webhooks: proof", corpus, move |text| {
        let mut parts = text.splitn(3, '\n');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        let (token, signature, body) = (next(), next(), next().unwrap_or_default());
        let now = Timestamp(at.saturating_mul(1000));
        webhook::verify(&secret, token, signature, body.as_bytes(), now).is_ok()
    })
}

fn webhook_body() -> Target {
    let corpus = [
        r#"{"event":"job.scheduled","job":{"id":"00000000-0000-0000-0000-000000000007","type":"script","state":"scheduled","agent_query_rules":["queue=gust","cpu=8"]},"build":{"number":1},"pipeline":{"slug":"p"},"sender":{"id":"x","name":"y"}}"#,
        r#"{"event":"job.finished","job":{"id":"00000000-0000-0000-0000-000000000007","state":"passed","exit_status":0}}"#,
        r#"{"event":"build.finished","build":{"state":"passed"}}"#,
        r#"{"event":"ping","service":{"id":"x"}}"#,
    ];
    Target::new("webhooks: body", corpus, |body| {
        let named = webhook::read(None, body);
        let _ = webhook::read(Some("job.finished"), body);
        named.is_ok()
    })
}
