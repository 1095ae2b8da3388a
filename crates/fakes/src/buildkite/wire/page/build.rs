//! The page of one build: its annotations, its jobs, and of each job what a developer wants to know.

use std::fmt::Write;

use super::frame::{badge, escape, length, moment, page, plain};
use crate::buildkite::build::{Build, StepKind};
use crate::buildkite::extras::Annotation;
use crate::buildkite::ids::{BuildKey, JobKey, StepKey};
use crate::buildkite::model::Model;
use crate::buildkite::timeline::{Moment, What};
use crate::buildkite::wire::markdown;
use crate::now::Now;
use crate::stamp::rfc3339;
use crate::wire::Response;

/// So much of a log's end is shown.
const LOG_CHARS: usize = 20_000;

pub(super) fn show(model: &Model, now: Now, key: BuildKey) -> Response {
    let build = &model.builds[key.0];
    let state = model.shown_state(build);
    let end = build.finished_at.unwrap_or(now.unix_ns);
    let mut main = format!(
        "<h1>{} #{} {}</h1>\n<p class=\"soft\">{} · created {} · {}</p>\n",
        escape(&build.pipeline),
        build.number,
        badge(state),
        escape(&build.branch),
        moment(build.created_at),
        length(end - build.created_at),
    );
    let notes = build.annotations.iter().filter(|note| note.scope == "build");
    let mut notes: Vec<&Annotation> = notes.collect();
    notes.sort_by_key(|note| std::cmp::Reverse(note.priority));
    for note in notes {
        main.push_str(&annotation(note));
    }
    main.push_str("<h2>Jobs</h2>\n");
    for at in &build.order {
        let step = &model.steps[at.0];
        match &step.kind {
            StepKind::Wait => main.push_str("<p class=\"wait\">wait</p>\n"),
            StepKind::Block(block) => {
                let kind = if block.plan.input { "input" } else { "block" };
                let (label, state) = (
                    step.label.as_deref().unwrap_or(kind),
                    badge(model.block_state(*at)),
                );
                // Writing to a string cannot fail.
                let _ = writeln!(
                    main,
                    "<p class=\"wait\" id=\"{}\">{} {state}</p>",
                    block.job,
                    escape(label)
                );
            }
            StepKind::Trigger(trigger) => {
                for index in 0..trigger.jobs.len() {
                    main.push_str(&show_trigger(model, (*at, index)));
                }
            }
            StepKind::Command(_) | StepKind::Group => {}
        }
        for current in &step.jobs {
            let mut chain: Vec<JobKey> =
                std::iter::successors(Some(*current), |job| model.jobs[job.0].retry_of).collect();
            chain.reverse();
            for job in chain {
                main.push_str(&show_job(model, now, build, job));
            }
        }
    }
    let title = format!("{} #{}: {state}", build.pipeline, build.number);
    page(
        &model.config.organization,
        &title,
        &main,
        build.finished_at.is_none(),
    )
}

/// A job of a trigger step: one line, which leads to the build.
fn show_trigger(model: &Model, at: (StepKey, usize)) -> String {
    let Some(trigger) = model.trigger(at.0) else {
        return String::new();
    };
    let job = &trigger.jobs[at.1];
    let label = model.steps[at.0.0].label.as_deref();
    let link = job.build.map(|build| {
        let build = &model.builds[build.0];
        format!(
            " <a href=\"{}\">{} #{}</a>",
            escape(&model.build_url(build)),
            escape(&build.pipeline),
            build.number
        )
    });
    format!(
        "<p class=\"wait\" id=\"{}\">{} {}{}</p>\n",
        job.uuid,
        escape(label.unwrap_or(&trigger.plan.pipeline)),
        badge(model.trigger_word(at)),
        link.unwrap_or_default(),
    )
}

fn annotation(note: &Annotation) -> String {
    let style = note.style.as_deref().unwrap_or("default");
    format!(
        "<div class=\"note {style}\">{}</div>\n",
        markdown::html(&note.body)
    )
}

fn show_job(model: &Model, now: Now, build: &Build, key: JobKey) -> String {
    let (job, step) = (&model.jobs[key.0], model.step_of(key));
    let state = model.job_word(key);
    // What went well, or has nothing to tell yet, is folded.
    let open = !matches!(state, "passed" | "waiting" | "skipped" | "broken") && job.retried_in.is_none();
    let mut out = format!(
        "<details class=\"card{}\" id=\"{}\"{}>\n<summary>{}<div><div class=\"name\">{}</div><div class=\"tags\">{}</div></div><div class=\"facts\">{}</div></summary>\n<div class=\"inside\">\n",
        if job.retried_in.is_some() { " retried" } else { "" },
        job.uuid,
        if open { " open" } else { "" },
        badge(state),
        escape(&name(model, key)),
        job.rules
            .iter()
            .map(|rule| format!("<code>{}</code>", escape(rule)))
            .collect::<String>(),
        facts(model, now, key).join(" · "),
    );
    let mut moments: Vec<&Moment> = job.timeline.iter().collect();
    moments.sort_by_key(|moment| moment.at);
    out.push_str("<ol class=\"timeline\">\n");
    for moment in moments {
        let told = matches!(moment.what, What::Notified(_) | What::StackEnded(_));
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<li{}><time title=\"{}\">+{}</time><span>{}</span></li>",
            if told { " class=\"told\"" } else { "" },
            rfc3339(moment.at),
            length(moment.at - build.created_at),
            words(model, key, &moment.what),
        );
    }
    out.push_str("</ol>\n");
    for note in build
        .annotations
        .iter()
        .filter(|note| note.scope == "job" && note.jobs.contains(&key))
    {
        out.push_str(&annotation(note));
    }
    let log = plain(&job.log.text());
    if !log.is_empty() {
        let skip = log.chars().count().saturating_sub(LOG_CHARS);
        let cut = if skip > 0 { "… " } else { "" };
        let _ = writeln!(
            out,
            "<pre>{cut}{}</pre>",
            escape(&log.chars().skip(skip).collect::<String>())
        );
    }
    let key = step
        .key
        .as_deref()
        .map(|key| format!("key {} · ", escape(key)))
        .unwrap_or_default();
    let _ = writeln!(
        out,
        "<div class=\"soft\">{key}job {}</div>\n</div>\n</details>",
        job.uuid
    );
    out
}

fn name(model: &Model, key: JobKey) -> String {
    let job = &model.jobs[key.0];
    let command = model.plan_of(key).map_or("", |plan| plan.command.as_str());
    let first = command.lines().next().unwrap_or_default();
    let name = model
        .label_of(key)
        .filter(|label| !label.is_empty())
        .unwrap_or(first);
    match job.parallel {
        Some((index, count)) => format!("{name} {}/{count}", index + 1),
        None => name.to_owned(),
    }
}

/// What is said of a job at its right side.
fn facts(model: &Model, now: Now, key: JobKey) -> Vec<String> {
    let job = &model.jobs[key.0];
    let mut facts = Vec::new();
    if job.retried_in.is_some() {
        facts.push("retried".to_owned());
    }
    if job.priority != 0 {
        facts.push(format!("priority {}", job.priority));
    }
    match (&job.exit_status, &job.signal_reason) {
        (Some(status), Some(reason)) => facts.push(format!("exit {} ({})", escape(status), escape(reason))),
        (Some(status), None) => facts.push(format!("exit {}", escape(status))),
        (None, _) => {}
    }
    let end = job.finished_at.unwrap_or(now.unix_ns);
    match (job.started_at, job.runnable_at) {
        (Some(started), _) => facts.push(format!("ran {}", length(end - started))),
        (None, Some(runnable)) => facts.push(format!("waited {}", length(end - runnable))),
        (None, None) => {}
    }
    if let Some(agent) = job.agent {
        facts.push(escape(&model.agents[agent.0].name));
    }
    facts
}

/// One entry of the timeline.
fn words(model: &Model, key: JobKey, what: &What) -> String {
    match what {
        What::State { to, cause, .. } => {
            let state = to.name().replace('_', " ");
            // "reserved: reserved" would tell nothing.
            let cause = if **cause == *state { "" } else { cause };
            format!("<b>{state}</b> <span class=\"soft\">{}</span>", escape(cause))
        }
        What::CancelAsked => "cancel asked for".into(),
        What::Notified(at) => escape(&model.jobs[key.0].notifications[*at].detail),
        What::StackEnded(detail) => format!("ended by the stack: {}", escape(detail)),
        What::Retried(new) => {
            let uuid = model.jobs[new.0].uuid;
            format!("retried in <a href=\"#{uuid}\">{uuid}</a>")
        }
        What::Reprioritized(from, to) => format!("priority {from} → {to}"),
    }
}
