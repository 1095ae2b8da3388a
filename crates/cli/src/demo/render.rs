//! What the demo shows, as text: pure functions of its state.

use super::state::{End, Job, News, State};

/// One line of progress, for terminals that cannot be redrawn and for pipes.
pub(crate) fn line(news: &News) -> String {
    let subject = news.job.as_deref().unwrap_or("");
    format!("{:>7.2} s  {subject:<28} {}", news.at, news.text)
}

/// The state as a table that fits a terminal: what runs, what waits and why, and how much has ended.
pub(crate) fn live(state: &State, now: f64, width: usize, height: usize) -> String {
    let jobs = || state.order.iter().filter_map(|uuid| state.jobs.get(uuid));
    let running: Vec<&Job> = jobs()
        .filter(|job| !job.is_over() && job.acquired_at.is_some())
        .collect();
    let waiting: Vec<&Job> = jobs()
        .filter(|job| !job.is_over() && job.acquired_at.is_none())
        .collect();
    let ended = jobs().filter(|job| job.is_over()).count();
    let odd = jobs().filter(|job| job.is_over() && !job.as_expected());
    let mut lines = vec![format!(
        "{now:6.1} s   {} waiting   {} running   {ended} ended ({} unexpectedly)   {} machines",
        waiting.len(),
        running.len(),
        odd.count(),
        state.machines_left().count(),
    )];
    // The heading, a line for each job, and one that tells how many more there are.
    let room = height.saturating_sub(2).max(1);
    let rows = running.iter().map(|job| {
        let since = job.acquired_at.unwrap_or(now);
        let machine = job.machine.as_ref().and_then(|m| state.machines.get(m));
        let shape = machine.map_or_else(String::new, |m| format!("{} {}", m.shape(), m.zone));
        format!(
            "  {:<28} running {:>5.1} s  {shape}",
            job.name,
            (now - since).max(0.0)
        )
    });
    let rows = rows.chain(waiting.iter().map(|job| {
        let reason = job.told.clone().unwrap_or_else(|| job.state.replace('_', " "));
        format!("  {:<28} {reason}", job.name)
    }));
    let total = running.len() + waiting.len();
    lines.extend(rows.take(room));
    if total > room {
        lines.push(format!("  … and {} more", total - room));
    }
    let cut = |line: String| -> String { line.chars().take(width.max(20)).collect() };
    lines.into_iter().map(|line| cut(line) + "\n").collect()
}

/// The table at the end: each job, its machine, what it cost and how long each part took.
pub(crate) fn table(state: &State) -> String {
    let header = [
        "job",
        "asked for",
        "shape",
        "zone",
        "price",
        "waited",
        "booted",
        "ran",
        "result",
        "agent",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for job in state.order.iter().filter_map(|uuid| state.jobs.get(uuid)) {
        rows.push(row(state, job));
    }
    let widths: Vec<usize> = (0..header.len())
        .map(|i| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(state: &State, job: &Job) -> Vec<String> {
    let machine = job.machine.as_ref().and_then(|m| state.machines.get(m));
    let seconds = |from: Option<f64>, to: Option<f64>| match (from, to) {
        (Some(from), Some(to)) => format!("{:.1} s", (to - from).max(0.0)),
        _ => "-".to_owned(),
    };
    let inserted = machine.map(|m| m.inserted_at);
    let result = match (job.is_over(), job.as_expected()) {
        (true, true) if job.retried => format!("{}, retried", job.outcome()),
        (true, true) if job.outcome() != "passed" => format!("{} (expected)", job.outcome()),
        (true, false) => format!("{} (EXPECTED {})", job.outcome(), job.expect),
        _ => job.outcome(),
    };
    vec![
        job.name.clone(),
        job.asks.clone(),
        machine.map_or("-".to_owned(), super::state::Machine::shape),
        machine.map_or("-".to_owned(), |m| m.zone.clone()),
        machine.map_or("-".to_owned(), |m| format!("${:.4}/h", m.price)),
        seconds(job.runnable_at, inserted),
        seconds(inserted, job.acquired_at),
        seconds(
            job.acquired_at,
            job.ended_at.filter(|_| job.acquired_at.is_some()),
        ),
        result,
        state.agent_of(job).unwrap_or("-").to_owned(),
    ]
}

/// What the table has no room for: why jobs were refused, and the count of jobs and machines.
pub(crate) fn summary(state: &State) -> String {
    let mut text = String::new();
    for job in state.order.iter().filter_map(|uuid| state.jobs.get(uuid)) {
        if let Some(End::Refused(detail)) = &job.end {
            text.push_str(&format!("{} was refused: {detail}\n", job.name));
        }
    }
    let jobs = state.jobs.values();
    let good = jobs.clone().filter(|job| job.as_expected()).count();
    let left = state.machines_left().count();
    text.push_str(&format!(
        "{good} of {} jobs ended as expected; {} machines made, {} deleted, {left} left; {} calls to Google\n",
        jobs.count(),
        state.machines.len(),
        state.machines.len() - left,
        state.cloud_calls,
    ));
    text
}
