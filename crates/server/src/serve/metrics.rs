//! Metrics as Prometheus reads them. What happens is counted where it happens; the state is asked for when it is
//! scraped, so that a replica that no longer leads does not go on telling what it last knew.

use std::{sync::OnceLock, time::Duration};

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{leader::Status, replica::Leadership, task::Tasks};

/// Bounds of what is timed, in seconds.
const BOUNDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// What was counted and timed since the process began.
#[derive(Clone)]
pub(super) struct Counted(Option<PrometheusHandle>);

impl Counted {
    /// Begins to count. The process has one place for it: a second call shares the first one's.
    pub fn begin(tasks: &Tasks) -> Self {
        static COUNTED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
        let handle = COUNTED.get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BOUNDS)
                .ok()?;
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder).ok()?;
            describe();
            Some(handle)
        });
        if let Some(handle) = handle.clone() {
            tasks.spawn("metrics", async move {
                // What nobody scrapes must not pile up.
                loop {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    handle.run_upkeep();
                }
            });
        }
        Self(handle.clone())
    }

    pub fn render(&self) -> String {
        self.0.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }
}

fn describe() {
    describe_histogram!(
        "gust_pass_seconds",
        Unit::Seconds,
        "How long a pass of the leader took"
    );
    describe_histogram!(
        "gust_store_commit_seconds",
        Unit::Seconds,
        "How long a commit of the leader took, tries included"
    );
    describe_histogram!(
        "gust_job_seen_seconds",
        Unit::Seconds,
        "From the moment a job could run to that at which it was first listed"
    );
    describe_counter!(
        "gust_webhooks_total",
        "Webhooks that came in: accepted, ignored (of no interest), or why they were refused"
    );
    describe_counter!("gust_store_commit_failures_total", "Tries to commit that failed");
    describe_counter!("gust_elections_won_total", "How often this replica was elected");
    describe_counter!("gust_claims_total", "Claims of machines, by answer");
    describe_counter!("gust_jobs_ended_total", "Jobs that ended, by outcome");
    describe_counter!("gust_machines_requested_total", "Machines asked for");
    describe_counter!("gust_machines_deleted_total", "Machines to be deleted, by cause");
    describe_counter!(
        "gust_worker_sessions_ended_total",
        "Sessions of the leader with workers that broke"
    );
}

/// The state at this moment; what only the leader knows is absent where `status` is.
pub(super) fn render_state(leadership: &Leadership, status: Option<&Status>) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        let (leads, term) = match leadership {
            Leadership::Unknown => (0.0, None),
            Leadership::Following { term, .. } => (0.0, Some(term)),
            Leadership::Leading { term } => (1.0, Some(term)),
        };
        describe_gauge!("gust_leader", "1 if this replica leads");
        gauge!("gust_leader").set(leads);
        describe_gauge!(
            "gust_term",
            "The term as far as this replica knows, 0 if nobody leads"
        );
        gauge!("gust_term").set(term.map_or(0.0, |term| term.0 as f64));
        if let Some(status) = status {
            whole(status);
        }
    });
    recorder.handle().render()
}

fn whole(status: &Status) {
    describe_gauge!("gust_decides", "1 if all is loaded that decisions need");
    gauge!("gust_decides").set(f64::from(u8::from(status.decides)));
    describe_gauge!("gust_paused", "1 while the operator lets no machines be made");
    gauge!("gust_paused").set(f64::from(u8::from(status.paused.is_some())));
    describe_gauge!(
        "gust_last_pass_timestamp_seconds",
        Unit::Seconds,
        "When the last pass was held"
    );
    gauge!("gust_last_pass_timestamp_seconds").set(status.last_pass.0 as f64 / 1000.0);
    describe_gauge!("gust_jobs", "Jobs that have not ended, by phase");
    for (phase, count) in &status.jobs {
        gauge!("gust_jobs", "phase" => *phase).set(*count as f64);
    }
    describe_gauge!("gust_jobs_waiting", "Waiting jobs, by the kind of their reason");
    for (kind, count) in &status.reasons {
        gauge!("gust_jobs_waiting", "reason" => kind.as_str()).set(*count as f64);
    }
    describe_gauge!("gust_machines", "Machines, by phase");
    for (phase, count) in &status.machines {
        gauge!("gust_machines", "phase" => *phase).set(*count as f64);
    }
    describe_gauge!("gust_price_dollars_per_hour", "Price of all machines that exist");
    gauge!("gust_price_dollars_per_hour").set(status.price.0 as f64 / 1e6);
    describe_gauge!(
        "gust_replica_connected",
        "1 if the leader's session with the replica is open"
    );
    for line in &status.replicas {
        let connected = f64::from(u8::from(line.connected));
        gauge!("gust_replica_connected", "replica" => line.member.replica.to_string(), "zone" => line.member.zone.clone())
            .set(connected);
    }
    describe_gauge!("gust_shard_served", "1 if the shard's owner told what is in it");
    describe_gauge!(
        "gust_shard_machines",
        "Machines in the shard, those asked for included"
    );
    describe_gauge!("gust_quota_limit", "Limit of a quota that machines of ours use");
    describe_gauge!(
        "gust_quota_used",
        "What of it is used or promised, ours and others'"
    );
    for line in &status.shards {
        let (project, region) = (line.shard.project.to_string(), line.shard.region.to_string());
        let owner = line.owner.as_ref().map(ToString::to_string).unwrap_or_default();
        gauge!("gust_shard_served", "project" => project.clone(), "region" => region.clone(), "owner" => owner)
            .set(f64::from(u8::from(line.served)));
        gauge!("gust_shard_machines", "project" => project.clone(), "region" => region.clone())
            .set(line.machines as f64);
        for quota in &line.quotas {
            let labels = [
                ("project", project.clone()),
                ("region", region.clone()),
                ("metric", quota.metric.to_string()),
            ];
            gauge!("gust_quota_limit", &labels).set(quota.limit as f64);
            gauge!("gust_quota_used", &labels).set(quota.used as f64);
        }
    }
    describe_gauge!("gust_source_registered", "1 if the source took our registration");
    describe_gauge!(
        "gust_source_issues_tokens",
        "1 if the source issues job acquisition tokens"
    );
    describe_gauge!("gust_backlog", "Jobs listed and not yet taken in");
    for line in &status.sources {
        let name = line.name.to_string();
        gauge!("gust_source_registered", "source" => name.clone()).set(f64::from(u8::from(line.registered)));
        if let Some(tokens) = line.tokens {
            gauge!("gust_source_issues_tokens", "source" => name.clone()).set(f64::from(u8::from(tokens)));
        }
        gauge!("gust_backlog", "source" => name).set(line.backlog as f64);
    }
}

#[cfg(test)]
mod tests {
    use gust_core::ids::Term;

    use super::*;

    #[test]
    fn a_follower_tells_who_leads_and_nothing_of_the_whole() {
        let following = Leadership::Following {
            leader: "r1".into(),
            term: Term(7),
        };
        let text = render_state(&following, None);
        assert!(
            text.contains("gust_leader 0") && text.contains("gust_term 7"),
            "{text}"
        );
        assert!(!text.contains("gust_jobs"), "{text}");
    }

    #[test]
    fn the_leader_tells_the_whole() {
        let status = Status {
            decides: true,
            jobs: [("waiting", 3)].into(),
            ..Status::default()
        };
        let text = render_state(&Leadership::Leading { term: Term(7) }, Some(&status));
        for line in [
            "gust_leader 1",
            "gust_decides 1",
            "gust_jobs{phase=\"waiting\"} 3",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
