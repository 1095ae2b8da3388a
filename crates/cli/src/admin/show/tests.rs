use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn at(seconds_ago: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp {
        seconds: NOW.0 / 1000 - seconds_ago,
        nanos: 250_000_000,
    })
}

fn waiting() -> v1::Job {
    let mut job = v1::Job {
        source: "main".into(),
        id: "0192aaaa-0000-7000-8000-000000000001".into(),
        queue: "gust".into(),
        pipeline: "monorepo".into(),
        build: 4711,
        branch: "main".into(),
        step: "clippy".into(),
        tags: vec!["queue=gust".into(), "cpu=16".into()],
        booked_at: at(95),
        reason: "waiting for N2D_CPUS in us-central1: 4,992 of 5,000 used, 3rd in line".into(),
        reason_kind: "quota".into(),
        state: "reserved".into(),
        attempts: 1,
        ..v1::Job::default()
    };
    job.set_phase(v1::JobPhase::Waiting);
    job
}

fn machine() -> v1::Machine {
    let mut machine = v1::Machine {
        name: "gust-aaaaaaaaaaaaaaaaaaaaaaaaaa-1".into(),
        project: "ci".into(),
        region: "us-central1".into(),
        zone: "us-central1-a".into(),
        machine_type: "n2d-standard-16".into(),
        spot: true,
        price_micro_usd_per_hour: 211_234,
        made_for: "main/0192aaaa-0000-7000-8000-000000000001".into(),
        intended_at: at(60),
        created_at: at(50),
        ..v1::Machine::default()
    };
    machine.set_phase(v1::MachinePhase::Booting);
    machine
}

fn whole() -> v1::GetStatusResponse {
    let order = v1::Order {
        by: "ann".into(),
        at: at(600),
        note: "quota is being moved".into(),
    };
    v1::GetStatusResponse {
        replica: "gust-1".into(),
        version: "0.1.0".into(),
        stack: "gust".into(),
        leader: "gust-0".into(),
        term: 812,
        leading: Some(v1::LeaderStatus {
            decides: true,
            leads_since: at(7200),
            last_pass: at(1),
            last_pass_took: Some(prost_types::Duration {
                seconds: 0,
                nanos: 1_250_000,
            }),
            last_commit_took: Some(prost_types::Duration {
                seconds: 0,
                nanos: 3_100_000,
            }),
            replicas: vec![
                v1::ReplicaStatus {
                    name: "gust-0".into(),
                    zone: "us-central1-a".into(),
                    address: "10.0.0.1:7071".into(),
                    version: "0.1.0".into(),
                    same_config: true,
                    connected: true,
                },
                v1::ReplicaStatus {
                    name: "gust-1".into(),
                    version: "0.1.0".into(),
                    ..v1::ReplicaStatus::default()
                },
            ],
            shards: vec![v1::ShardStatus {
                project: "ci".into(),
                region: "us-central1".into(),
                owner: "gust-0".into(),
                served: true,
                cordoned: true,
                machines: 12,
                quotas: vec![v1::QuotaStatus {
                    metric: "N2D_CPUS".into(),
                    limit: 5000,
                    used: 4992,
                }],
            }],
            sources: vec![v1::SourceStatus {
                name: "main".into(),
                registered: true,
                queues: vec!["gust".into(), "gust-big".into()],
                paused_queues: vec!["gust-big".into()],
                backlog: 7,
                ..Default::default()
            }],
            jobs: [("waiting", 9), ("claimed", 11), ("refusing", 0)]
                .map(|(word, n)| (word.into(), n))
                .into(),
            reasons: [("quota", 3), ("booting", 6)]
                .map(|(word, n)| (word.into(), n))
                .into(),
            machines: [("creating", 2), ("booting", 4), ("claimed", 6), ("deleting", 0)]
                .map(|(word, n)| (word.into(), n))
                .into(),
            paused: Some(order.clone()),
            cordons: vec![v1::Cordon {
                place: Some(v1::Place {
                    place: Some(PlaceKind::Zone("us-central1-a".into())),
                }),
                drain: true,
                order: Some(order),
                machines: 5,
            }],
            price_micro_usd_per_hour: 12_345_678,
            missing: Vec::new(),
        }),
        problem: String::new(),
    }
}

#[test]
fn the_status_of_a_busy_gust() {
    insta::assert_snapshot!(status(&whole(), NOW));
}

#[test]
fn a_status_without_a_leader_says_so_first() {
    let alone = v1::GetStatusResponse {
        leading: None,
        leader: String::new(),
        problem: "no replica is known to lead at present".into(),
        ..whole()
    };
    insta::assert_snapshot!(status(&alone, NOW), @r"
    stack gust, answered by gust-1 (0.1.0)
    NO ANSWER FROM A LEADER: no replica is known to lead at present
    ");
}

#[test]
fn a_leader_that_does_not_decide_yet_tells_for_what_it_waits() {
    let mut waits = whole();
    if let Some(leading) = &mut waits.leading {
        leading.decides = false;
        leading.missing = vec!["machines and quotas of ci/us-central1".into()];
    }
    let text = status(&waits, NOW);
    assert!(
        text.contains("NOT YET DECIDING: waits for machines and quotas of ci/us-central1"),
        "{text}"
    );
}

#[test]
fn a_source_that_cannot_be_asked_is_shown_with_the_reason() {
    let mut troubled = whole();
    if let Some(leading) = &mut troubled.leading {
        leading.sources[0].trouble = "list scheduled jobs failed: 401 Invalid access token".into();
        leading.sources[0].trouble_since = at(180);
    }
    let text = status(&troubled, NOW);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("main")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn lists_and_one_job() {
    insta::assert_snapshot!("jobs", jobs(&[waiting()], NOW));
    insta::assert_snapshot!("machines", machines(&[machine()], NOW));
    let answer = v1::GetJobResponse {
        job: Some(waiting()),
        machines: vec![machine()],
        timeline: [
            (95, "taken in from main"),
            (60, "machine asked for"),
            (50, "machine exists"),
        ]
        .map(|(ago, text)| v1::TimelineEntry {
            at: at(ago),
            text: text.into(),
        })
        .into(),
    };
    insta::assert_snapshot!("job", job(&answer, NOW));
    assert_eq!(jobs(&[], NOW), "no jobs\n");
}
