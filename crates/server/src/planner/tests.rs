use std::path::Path;

use gust_core::{
    ids::{JobId, JobRef, QueueKey, SourceName},
    records::{Failures, JobFacts, JobPhase, JobRecord, Preemption},
    shape::ProvisioningModel,
    snapshot::Planned,
    time::Timestamp,
};

use uuid::Uuid;

use super::{Asker, Planner};
use crate::{
    config::{Config, Host},
    leader::Planner as _,
};

mod catalog;

const CONFIG: &str = r#"
stack = "gust"
data_dir = "/var/lib/gust"
allow_literal_secrets = true
[[source]]
name = "main"
token = "t"
queues = ["gust", "open"]
[[project]]
id = "inner-project"
regions = ["us-central1"]
network = "global/networks/inner"
service_account = "gust@inner-project.iam.gserviceaccount.com"
images = { amd64 = "image" }
[[project]]
id = "outer-project"
regions = ["us-central1", "us-east4"]
network = "global/networks/outer"
service_account = "gust@outer-project.iam.gserviceaccount.com"
images = { amd64 = "image" }
[defaults]
family = "e2|n2d"
spot = "prefer"
cpu = 4
[policy]
max_run = "2h"
[[policy.queue]]
queue = "gust"
allow = { networks = ["global/networks/outer"], max_run_limit = "1h" }
[[policy.queue.pipeline]]
slug = "deploy-*"
allow = { families = ["n2d"], spot = false, zones = ["us-central1-a"], service_accounts = ["deploy@outer-project.iam.gserviceaccount.com"] }
widen = ["service_accounts"]
[[policy.queue.pipeline]]
slug = "tiny"
allow = { max_cpu = 2, disk_types = ["pd-ssd"] }
"#;

fn planner() -> Planner {
    with("")
}

/// With these lines more in the policy.
fn with(policy: &str) -> Planner {
    let text = CONFIG.replace("[policy]\n", &format!("[policy]\n{policy}\n"));
    // Rules that the policy forbids would be refused.
    let text = match policy.contains("only") {
        true => text.replace("spot = false, ", ""),
        false => text,
    };
    let config = Config::parse(&text, Path::new("/etc/gust.toml"), &Host).expect("it is sound");
    Planner::new(&config, Default::default()).expect("it places machines")
}

fn planned(planner: &Planner, queue: &str, pipeline: &str, rules: &[&str]) -> Planned {
    job(planner, queue, pipeline, rules, false)
}

fn job(planner: &Planner, queue: &str, pipeline: &str, rules: &[&str], again: bool) -> Planned {
    let facts = JobFacts {
        queue: QueueKey::new(queue),
        rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
        priority: 0,
        pipeline: pipeline.to_owned(),
        build: 1,
        branch: String::new(),
        step: None,
        runnable_at: Timestamp(0),
    };
    planner.plan(&JobRecord {
        job: JobRef {
            source: SourceName::new("main"),
            id: JobId(Uuid::from_u128(1)),
        },
        facts,
        booked_at: Timestamp(0),
        attempts: 0,
        failures: Failures::default(),
        preemption: Preemption {
            retry_of: again.then(|| JobId(Uuid::from_u128(2))),
            ..Preemption::default()
        },
        phase: JobPhase::Booked,
    })
}

#[test]
fn machines_are_made_within_the_bounds_of_queue_and_pipeline() {
    let planner = planner();
    let plan = planned(&planner, "gust", "deploy-prod", &[]).expect("there are machines");
    for choice in &plan.choices {
        let shape = &choice.shape;
        assert_eq!(shape.network.network, "global/networks/outer");
        assert_eq!(
            (shape.family.as_str(), shape.model),
            ("n2d", ProvisioningModel::Standard)
        );
        assert_eq!(
            shape.zones.iter().map(|zone| zone.as_str()).collect::<Vec<_>>(),
            ["us-central1-a"]
        );
        assert_eq!(shape.max_run_seconds, 3600);
    }
    let account = ["service-account=deploy@outer-project.iam.gserviceaccount.com"];
    assert!(planned(&planner, "gust", "deploy-prod", &account).is_ok());
    assert!(planned(&planner, "gust", "monorepo", &account).is_err());
    let tiny = planned(&planner, "gust", "tiny", &[]).expect("there are machines");
    let first = &tiny.choices[0].shape;
    assert_eq!((first.cpus, first.boot_disk.disk_type.as_str()), (2, "pd-ssd"));
}

#[test]
fn the_guest_is_told_who_runs_the_job_where_the_project_says_so() {
    let text = CONFIG.replacen(
        "[[project]]\nid = \"outer-project\"",
        "[[project]]\njob_user = \"ci\"\nid = \"outer-project\"",
        1,
    );
    let config = Config::parse(&text, Path::new("/etc/gust.toml"), &Host).expect("it is sound");
    let everywhere = [("gust-stack".to_owned(), "gust".to_owned())].into();
    let planner = Planner::new(&config, everywhere).expect("it places machines");
    let plan = planned(&planner, "open", "monorepo", &["cpu=2"]).expect("there are machines");
    for choice in &plan.choices {
        let metadata = &choice.shape.metadata;
        let user = metadata.get("gust-job-user").map(String::as_str);
        let wanted = (choice.shape.project.as_str() == "outer-project").then_some("ci");
        assert_eq!(user, wanted, "{}", choice.shape.project);
        assert!(metadata.contains_key("gust-stack"));
    }
}

#[test]
fn machines_are_not_swapped_between_pipelines_that_may_have_different_ones() {
    let planner = planner();
    let key = |queue, pipeline| {
        planned(&planner, queue, pipeline, &["cpu=2"])
            .expect("there are machines")
            .key
            .clone()
    };
    assert_eq!(key("gust", "a"), key("gust", "b"));
    assert_eq!(key("gust", "deploy-a"), key("gust", "deploy-b"));
    let all = [
        key("open", "a"),
        key("gust", "a"),
        key("gust", "deploy-a"),
        key("gust", "tiny"),
    ];
    for (n, one) in all.iter().enumerate() {
        assert!(!all[..n].contains(one), "{one}");
    }
    // Records of builds that knew no rules go on.
    assert!(!all[0].contains(" for "), "{}", all[0]);
}

#[test]
fn a_refused_job_is_told_whose_list_refuses_it() {
    let planner = planner();
    let refused = |pipeline, rules: &[&str]| planned(&planner, "gust", pipeline, rules).expect_err("refused");
    let all = [
        refused("deploy-prod", &["family=e2"]),
        refused("deploy-prod", &["spot=prefer", "zone=us-central1-b"]),
        refused("deploy-prod", &["machine-type=c3d-standard-8"]),
        refused("tiny", &["cpu=4", "disk-type=pd-balanced"]),
        refused("other", &["max-run=90m"]),
    ];
    insta::assert_snapshot!(all.join("\n"));
    let explained = planner.explain(
        Asker {
            queue: "gust",
            pipeline: "deploy-x",
        },
        &["family=e2".to_owned()],
    );
    assert_eq!(
        explained.expect_err("refused"),
        *refused("deploy-x", &["family=e2"])
    );
}

#[test]
fn a_preempted_job_that_runs_again_goes_on_demand_where_the_operator_wants_it() {
    use ProvisioningModel::{Spot, Standard};
    for (policy, tag, again, model) in [
        ("", "spot=prefer", false, Spot),
        ("", "spot=prefer", true, Standard),
        ("", "spot=true", true, Spot),
        ("retry_on_demand = \"always\"", "spot=true", true, Standard),
        ("retry_on_demand = \"never\"", "spot=prefer", true, Spot),
        // The operator's bounds hold.
        (
            "retry_on_demand = \"always\"\nallow = { spot = \"only\" }",
            "spot=true",
            true,
            Spot,
        ),
    ] {
        let planner = with(policy);
        let plan = job(&planner, "open", "monorepo", &[tag], again).expect("there are machines");
        assert_eq!(plan.choices[0].shape.model, model, "{policy} {tag} {again}");
        assert_eq!(plan.key.contains("spot=false"), model == Standard, "{}", plan.key);
    }
}
