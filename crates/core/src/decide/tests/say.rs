//! Decisions, names and answers as short lines, so that a test can list a whole decision.

use super::world::World;
use crate::{
    decide::{Action, Decision},
    ids::{JobId, JobRef, MachineName},
    reason::Reason,
    records::{BatchRecord, Call, Outcome},
};

/// `m7.2`: the second machine made for job 7. A name that is none of ours stays as it is.
pub(crate) fn name(name: &MachineName) -> String {
    let Some(job) = name.as_str().split('-').nth(1).filter(|job| job.len() == 26) else {
        return name.to_string();
    };
    let digit = |c: u8| {
        u128::from(if c.is_ascii_lowercase() {
            c - b'a'
        } else {
            c - b'2' + 26
        })
    };
    let (head, last) = job.as_bytes().split_at(25);
    let bits = head.iter().fold(0_u128, |bits, c| (bits << 5) | digit(*c));
    format!("m{}.{}", (bits << 3) | (digit(last[0]) >> 2), name.attempt())
}

/// The number of a job.
pub(crate) fn number(job: &JobRef) -> u128 {
    job.id.0.as_u128()
}

fn numbers<'a>(ids: impl Iterator<Item = &'a JobId>) -> String {
    ids.map(|id| format!(" {}", id.0.as_u128())).collect()
}

/// `bulk small in r1: m1.1 m2.1`.
pub(crate) fn batch(batch: &BatchRecord) -> String {
    let call = match &batch.call {
        Call::Bulk => format!("bulk {} in {}", batch.shape.machine_type, batch.shape.region),
        Call::Insert { zone } => format!("{} in {zone}", batch.shape.machine_type),
    };
    let members: String = batch
        .members
        .iter()
        .map(|member| format!(" {}", name(&member.name)))
        .collect();
    format!("{call}:{members}")
}

fn action(action: &Action) -> String {
    match action {
        Action::Reserve { jobs, .. } => format!("reserve{}", numbers(jobs.iter().map(|job| &job.id))),
        Action::Renew { jobs, .. } => format!("renew{}", numbers(jobs.iter())),
        Action::Refuse { job, detail } => format!("refuse {}: {detail}", number(job)),
        Action::Finish { job, detail } => format!("finish {}: {detail}", number(job)),
        Action::Close { job, outcome } => format!("close {}: {}", number(job), self::outcome(outcome)),
        Action::Rebook { job } => format!("rebook {}", number(job)),
        Action::Create(record) => format!("create {}", batch(record)),
        Action::Delete {
            machine,
            cause,
            found: None,
        } => format!("delete {}: {cause}", name(machine)),
        Action::Delete {
            machine,
            cause,
            found: Some((_, zone)),
        } => {
            format!("delete {} found in {zone}: {cause}", name(machine))
        }
        Action::Preempted { job } => format!("preempted {}", job.id.0.as_u128()),
        Action::Check { machine, zone, .. } => format!("check {} in {zone}", name(machine)),
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ran => "ran".into(),
        Outcome::Canceled => "canceled".into(),
        Outcome::Refused { detail } => format!("refused, {detail}"),
        Outcome::Gone { state } => format!("gone, {state:?}"),
    }
}

fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Creating(placement) => format!("creating {} in {}", placement.machine_type, placement.region),
        Reason::Booting { machine, .. } => format!("booting {}", name(machine)),
        Reason::Quota { shortage, line, .. } => format!(
            "quota {}{}: {} of {}, needs {}, line {line}",
            shortage.metric,
            shortage
                .region
                .as_ref()
                .map(|region| format!(" in {region}"))
                .unwrap_or_default(),
            shortage.used,
            shortage.limit,
            shortage.needed
        ),
        Reason::Capped { cap, line } => format!("capped {}: {}, line {line}", cap.name, cap.what),
        Reason::Held { hold, line } => {
            let (kind, region, class) = (&hold.machine_type, &hold.region, hold.class);
            format!(
                "held {kind} in {region}: {class}, {} s, line {line}",
                hold.retry_seconds
            )
        }
        Reason::Slot { slots, .. } => format!("slot of {slots}"),
        Reason::Cordoned => "cordoned".into(),
        Reason::Stopped { note } => format!("stopped ({note})"),
        Reason::Unowned(region) => format!("unowned {region}"),
        Reason::Paused(queue) => format!("paused {queue}"),
        Reason::HeldByBuildkite(state) => format!("held back, {state}"),
        Reason::Replacing(machine) => format!("replacing {}", name(machine)),
    }
}

/// A whole decision: actions in their order, then reasons in theirs.
pub(crate) fn decision(decision: &Decision) -> Vec<String> {
    let actions = decision.actions.iter().map(action);
    let reasons = decision
        .reasons
        .iter()
        .map(|(job, why)| format!("{}: {}", number(job), reason(why)));
    actions.chain(reasons).collect()
}

#[test]
fn a_name_is_read_back() {
    for n in [0, 7, 31, 32, u128::MAX] {
        let made = MachineName::for_attempt(&World::default().stack, JobId(uuid::Uuid::from_u128(n)), 3);
        assert_eq!(name(&made), format!("m{n}.3"));
    }
    assert_eq!(name(&"a-stranger".into()), "a-stranger");
}
