//! Answers as text for people: pure functions of the answer and the present.

use std::fmt::Write as _;

use gust_core::time::{Timestamp, human};
use gust_proto::v1::{self, place::Place as PlaceKind};

use crate::table::table;

fn stamp(at: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    at.map(|at| Timestamp(at.seconds * 1000 + i64::from(at.nanos) / 1_000_000))
}

/// How long ago, or a dash.
fn ago(at: Option<&prost_types::Timestamp>, now: Timestamp) -> String {
    stamp(at).map_or_else(|| "-".to_owned(), |at| human(now.since(at)))
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

fn dollars(micro: u64) -> String {
    format!("${:.2}/h", micro as f64 / 1e6)
}

fn counts(counts: &std::collections::BTreeMap<String, u64>, order: &[&str]) -> String {
    let words = order
        .iter()
        .filter_map(|word| Some(format!("{} {word}", counts.get(*word)?)));
    words.collect::<Vec<_>>().join(", ")
}

/// How a request stands at present.
pub(super) fn choices(found: &v1::ExplainResponse, limit: usize) -> String {
    let row = |(nth, choice): (usize, &v1::Choice)| {
        let shard = choice.shard.clone().unwrap_or_default();
        let room = match choice.room {
            Some(room) => format!("{room} by {}", choice.metric),
            None => "no quota known".to_owned(),
        };
        let now = match &*choice.blocked {
            "" if choice.room == Some(0) => "waits for quota".to_owned(),
            "" => choice.zones.join(", "),
            blocked => blocked.to_owned(),
        };
        vec![
            (nth + 1).to_string(),
            choice.machine_type.clone(),
            if choice.spot { "spot" } else { "on demand" }.to_owned(),
            format!("{}/{}", shard.project, shard.region),
            format!("{:.4}", choice.price_micro_usd_per_hour as f64 / 1e6),
            room,
            now,
        ]
    };
    let rows: Vec<Vec<String>> = found.choices.iter().take(limit).enumerate().map(row).collect();
    let heading = ["", "MACHINE TYPE", "SOLD", "REGION", "$/HOUR", "ROOM FOR", "NOW"];
    let mut text = table(&heading, &rows);
    if found.choices.len() > limit {
        text.push_str(&format!("and {} more\n", found.choices.len() - limit));
    }
    text
}

fn place(place: Option<&v1::Place>) -> String {
    match place.and_then(|place| place.place.as_ref()) {
        Some(PlaceKind::Shard(shard)) => format!("{}/{}", shard.project, shard.region),
        Some(PlaceKind::Zone(zone)) => zone.clone(),
        Some(PlaceKind::Family(place)) if place.zone.is_empty() => place.family.clone(),
        Some(PlaceKind::Family(place)) => format!("{}@{}", place.family, place.zone),
        None => "-".to_owned(),
    }
}

fn order(order: Option<&v1::Order>, now: Timestamp) -> String {
    let Some(order) = order else { return String::new() };
    let note = if order.note.is_empty() {
        String::new()
    } else {
        format!(": {}", order.note)
    };
    format!("by {} {} ago{note}", order.by, ago(order.at.as_ref(), now))
}

/// The whole at a glance.
pub(super) fn status(status: &v1::GetStatusResponse, now: Timestamp) -> String {
    let mut text = String::new();
    let mut say = |line: String| text.push_str(&(line + "\n"));
    say(format!(
        "stack {}, answered by {} ({})",
        status.stack, status.replica, status.version
    ));
    let Some(leading) = &status.leading else {
        if !status.leader.is_empty() {
            say(format!("leader    {} since term {}", status.leader, status.term));
        }
        say(format!("NO ANSWER FROM A LEADER: {}", status.problem));
        return text;
    };
    let millis = |took: Option<&prost_types::Duration>| {
        took.map_or(0.0, |took| {
            took.seconds as f64 * 1e3 + f64::from(took.nanos) / 1e6
        })
    };
    say(format!(
        "leader    {}, term {}, for {}",
        status.leader,
        status.term,
        ago(leading.leads_since.as_ref(), now)
    ));
    if leading.decides {
        say(format!(
            "deciding  last pass {} ago, took {:.1} ms; last commit took {:.1} ms",
            ago(leading.last_pass.as_ref(), now),
            millis(leading.last_pass_took.as_ref()),
            millis(leading.last_commit_took.as_ref()),
        ));
    } else {
        say(format!(
            "NOT YET DECIDING: waits for {}",
            leading.missing.join(", ")
        ));
    }
    if leading.paused.is_some() {
        say(format!("PAUSED    {}", order(leading.paused.as_ref(), now)));
    }
    say(format!(
        "jobs      {}",
        counts(&leading.jobs, &["waiting", "claimed", "refusing"])
    ));
    let mut reasons: Vec<_> = leading.reasons.iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    if !reasons.is_empty() {
        let reasons: Vec<String> = reasons
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        say(format!("waiting   {}", reasons.join(", ")));
    }
    say(format!(
        "machines  {}; {}",
        counts(&leading.machines, &["creating", "booting", "claimed", "deleting"]),
        dollars(leading.price_micro_usd_per_hour)
    ));
    tables(&mut text, leading, now);
    text
}

fn tables(text: &mut String, leading: &v1::LeaderStatus, now: Timestamp) {
    let replicas = leading.replicas.iter().map(|line| {
        let state = match (line.same_config, line.connected) {
            (false, _) => "OTHER CONFIGURATION",
            (true, true) => "connected",
            (true, false) => "NOT CONNECTED",
        };
        vec![
            line.name.clone(),
            dash(&line.zone),
            line.version.clone(),
            dash(&line.address),
            state.to_owned(),
        ]
    });
    let replicas: Vec<_> = replicas.collect();
    let _ = write!(
        text,
        "\n{}",
        table(&["REPLICA", "ZONE", "VERSION", "ADDRESS", "STATE"], &replicas)
    );
    let shards = leading.shards.iter().map(|line| {
        let state = match (line.served, line.cordoned) {
            (_, true) => "cordoned",
            (true, false) => "served",
            (false, false) => "NOT SERVED",
        };
        let quotas = line
            .quotas
            .iter()
            .map(|quota| format!("{} {}/{}", quota.metric, quota.used, quota.limit));
        vec![
            format!("{}/{}", line.project, line.region),
            dash(&line.owner),
            state.to_owned(),
            line.machines.to_string(),
            dash(&quotas.collect::<Vec<_>>().join(", ")),
        ]
    });
    let shards: Vec<_> = shards.collect();
    let _ = write!(
        text,
        "\n{}",
        table(&["SHARD", "OWNER", "STATE", "MACHINES", "QUOTA"], &shards)
    );
    let sources = leading.sources.iter().map(|line| {
        let paused = match line.paused_queues.join(", ") {
            paused if paused.is_empty() => String::new(),
            paused => format!("; paused: {paused}"),
        };
        let state = match (line.registered, line.trouble.is_empty()) {
            (true, true) => "registered",
            (true, false) => "IN TROUBLE",
            (false, _) => "NOT REGISTERED",
        };
        vec![
            line.name.clone(),
            format!("{}{paused}", line.queues.join(", ")),
            state.to_owned(),
            line.backlog.to_string(),
        ]
    });
    let sources: Vec<_> = sources.collect();
    let _ = write!(
        text,
        "\n{}",
        table(&["SOURCE", "QUEUES", "STATE", "BACKLOG"], &sources)
    );
    for line in leading.sources.iter().filter(|line| !line.trouble.is_empty()) {
        let since = ago(line.trouble_since.as_ref(), now);
        let _ = writeln!(text, "{}, since {since}: {}", line.name, line.trouble);
    }
    if !leading.cordons.is_empty() {
        let cordons = leading.cordons.iter().map(|cordon| {
            let word = if cordon.drain { "draining" } else { "cordoned" };
            vec![
                place(cordon.place.as_ref()),
                word.to_owned(),
                cordon.machines.to_string(),
                order(cordon.order.as_ref(), now),
            ]
        });
        let cordons: Vec<_> = cordons.collect();
        let _ = write!(
            text,
            "\n{}",
            table(&["CORDON", "KIND", "MACHINES", "ORDERED"], &cordons)
        );
    }
}

fn phase(job: &v1::Job) -> &'static str {
    match job.phase() {
        v1::JobPhase::Unspecified => "-",
        v1::JobPhase::Waiting => "waiting",
        v1::JobPhase::Refusing => "refusing",
        v1::JobPhase::Claimed => "claimed",
        v1::JobPhase::Ended => "ended",
    }
}

fn machine_phase(machine: &v1::Machine) -> &'static str {
    match machine.phase() {
        v1::MachinePhase::Unspecified => "-",
        v1::MachinePhase::Creating => "creating",
        v1::MachinePhase::Booting => "booting",
        v1::MachinePhase::Claimed => "claimed",
        v1::MachinePhase::Deleting => "deleting",
    }
}

fn name_of(job: &v1::Job) -> String {
    let step = if job.step.is_empty() { "-" } else { &job.step };
    format!("{}#{} {step}", dash(&job.pipeline), job.build)
}

/// What there is to say of a job at present.
pub(super) fn what(job: &v1::Job) -> String {
    match job.phase() {
        v1::JobPhase::Claimed => format!("on {}, {} in Buildkite", job.machine, dash(&job.state)),
        v1::JobPhase::Refusing => job.outcome_detail.clone(),
        v1::JobPhase::Ended if job.outcome_detail.is_empty() => dash(&job.outcome),
        v1::JobPhase::Ended => format!("{}: {}", job.outcome, job.outcome_detail),
        v1::JobPhase::Waiting | v1::JobPhase::Unspecified => dash(&job.reason),
    }
}

/// Jobs as a table.
pub(super) fn jobs(jobs: &[v1::Job], now: Timestamp) -> String {
    if jobs.is_empty() {
        return "no jobs\n".to_owned();
    }
    let rows = jobs.iter().map(|job| {
        vec![
            job.id.clone(),
            name_of(job),
            ago(job.booked_at.as_ref(), now),
            phase(job).to_owned(),
            what(job),
        ]
    });
    table(
        &["JOB", "STEP", "AGE", "PHASE", "WHAT"],
        &rows.collect::<Vec<_>>(),
    )
}

/// Machines as a table.
pub(super) fn machines(machines: &[v1::Machine], now: Timestamp) -> String {
    if machines.is_empty() {
        return "no machines\n".to_owned();
    }
    let rows = machines.iter().map(|machine| {
        let place = if machine.zone.is_empty() {
            &machine.region
        } else {
            &machine.zone
        };
        let spot = if machine.spot { " spot" } else { "" };
        let phase = match &*machine.delete_cause {
            "" => machine_phase(machine).to_owned(),
            cause => format!("deleting ({cause})"),
        };
        let job = if machine.job.is_empty() {
            &machine.made_for
        } else {
            &machine.job
        };
        vec![
            machine.name.clone(),
            format!("{}{spot}", dash(&machine.machine_type)),
            place.clone(),
            ago(machine.intended_at.as_ref(), now),
            phase,
            dollars(machine.price_micro_usd_per_hour),
            dash(job),
        ]
    });
    let heading = ["MACHINE", "TYPE", "PLACE", "AGE", "PHASE", "PRICE", "JOB"];
    table(&heading, &rows.collect::<Vec<_>>())
}

/// One job with its story.
pub(super) fn job(answer: &v1::GetJobResponse, now: Timestamp) -> String {
    let job = answer.job.clone().unwrap_or_default();
    let mut text = String::new();
    let _ = writeln!(text, "job       {}/{}", job.source, job.id);
    let _ = writeln!(text, "step      {}, branch {}", name_of(&job), dash(&job.branch));
    let _ = writeln!(text, "queue     {}, priority {}", job.queue, job.priority);
    let _ = writeln!(text, "tags      {}", dash(&job.tags.join(" ")));
    let _ = writeln!(text, "phase     {}; {}", phase(&job), what(&job));
    if !job.state.is_empty() {
        let _ = writeln!(text, "state     {} in Buildkite", job.state);
    }
    let _ = writeln!(text, "attempts  {}", job.attempts);
    if !answer.machines.is_empty() {
        let _ = write!(text, "\n{}", machines(&answer.machines, now));
    }
    text.push('\n');
    let mut last = None;
    for entry in &answer.timeline {
        let at = stamp(entry.at.as_ref()).unwrap_or_default();
        let since = last.map_or_else(String::new, |last| format!("+{}", human(at.since(last))));
        let _ = writeln!(text, "{}  {since:>8}  {}", at.rfc3339(), entry.text);
        last = Some(at);
    }
    text
}

/// A change of a job, on one line.
pub(super) fn job_change(sign: char, job: &v1::Job, now: Timestamp) -> String {
    format!(
        "{}  {sign} {}  {}  {}  {}\n",
        now.rfc3339(),
        job.id,
        name_of(job),
        phase(job),
        what(job)
    )
}

/// A change of a machine, on one line.
pub(super) fn machine_change(sign: char, machine: &v1::Machine, now: Timestamp) -> String {
    let place = if machine.zone.is_empty() {
        &machine.region
    } else {
        &machine.zone
    };
    let phase = if sign == '-' {
        "gone"
    } else {
        machine_phase(machine)
    };
    format!(
        "{}  {sign} {}  {}  {}  {phase}\n",
        now.rfc3339(),
        machine.name,
        dash(&machine.machine_type),
        dash(place)
    )
}

#[cfg(test)]
mod tests;
