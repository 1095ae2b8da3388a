//! What `gust lint` prints.

use gust_core::{catalog::Catalog, offer::Offer};
use serde_json::{Value, json};

use super::{Judged, Problem, Said, Verdict, jobs::Jobs};
use crate::explain::{borrowed, offer_json, sold};

/// For people: one line a step, or one a problem, each beginning with its place.
pub(super) fn text(verdict: &Verdict, file: &str) -> String {
    let mut text = String::new();
    for judged in &verdict.judged {
        let Judged {
            step,
            said,
            advice,
            note,
        } = judged;
        let at = |line: usize, column: usize| format!("{file}:{line}:{column}: {}: ", step.name);
        let here = at(step.line, step.column);
        match said {
            Said::Machine(offer) => {
                text.push_str(&format!("{here}{}{}\n", machine(offer), times(&step.jobs)))
            }
            Said::Unknown(why) => text.push_str(&format!("{here}not judged: {why}{}\n", times(&step.jobs))),
            Said::Wrong(problems) => {
                for problem in problems {
                    let at = at(problem.line, problem.column);
                    text.push_str(&format!("{at}error: {}\n", problem.text));
                }
            }
        }
        if let Some(note) = note {
            text.push_str(&format!("{}note: {}\n", at(note.line, note.column), note.text));
        }
        if let Some(advice) = advice {
            let at = at(advice.line, advice.column);
            text.push_str(&format!("{at}advice: {}:\n", advice.text));
            for line in &advice.add {
                text.push_str(&format!("    {line}\n"));
            }
        }
    }
    text + &summary(verdict)
}

fn summary(verdict: &Verdict) -> String {
    let wrong = count(verdict, |said| matches!(said, Said::Wrong(_)));
    let unknown = count(verdict, |said| matches!(said, Said::Unknown(_)));
    let jobs = jobs(verdict);
    let mut line = format!(
        "{} steps{}, {wrong} wrong, about ${:.4} if each runs for ten minutes",
        verdict.judged.len(),
        match jobs == verdict.judged.len() as u64 {
            true => String::new(),
            false => format!(" with {jobs} jobs"),
        },
        cost(verdict) as f64 / 1e9
    );
    if unknown > 0 {
        line.push_str(&format!("; {unknown} not judged"));
    }
    if !verdict.elsewhere.is_empty() {
        let names: Vec<&str> = verdict.elsewhere.keys().map(String::as_str).collect();
        let (count, names) = (elsewhere(verdict), names.join(", "));
        line.push_str(&format!("; {count} of other queues left out ({names})"));
    }
    line + "\n"
}

fn count(verdict: &Verdict, is: fn(&Said) -> bool) -> usize {
    verdict.judged.iter().filter(|judged| is(&judged.said)).count()
}

/// How many jobs the steps make.
fn jobs(verdict: &Verdict) -> u64 {
    let all = verdict.judged.iter().map(|judged| judged.step.jobs.count);
    all.fold(0, u64::saturating_add)
}

/// How many steps are of other queues.
fn elsewhere(verdict: &Verdict) -> usize {
    verdict.elsewhere.values().sum()
}

/// What all jobs cost whose machine is known, in billionths of a dollar.
fn cost(verdict: &Verdict) -> u64 {
    let one = |judged: &Judged| match &judged.said {
        Said::Machine(offer) => {
            let each = offer.preference.job_cost_nano_usd;
            each.saturating_mul(judged.step.jobs.count)
        }
        Said::Wrong(_) | Said::Unknown(_) => 0,
    };
    verdict.judged.iter().map(one).fold(0, u64::saturating_add)
}

/// How many jobs a step makes, where it is not one.
fn times(jobs: &Jobs) -> String {
    match (jobs.count, &*jobs.why) {
        (_, "") => String::new(),
        (0, why) => format!("; no job ({why})"),
        (1, why) => format!("; 1 job ({why})"),
        (count, why) => format!("; {count} such jobs ({why})"),
    }
}

fn machine(offer: &Offer) -> String {
    // Of several regions at one price, the one whose price it is.
    let regions = || offer.places.iter().map(|place| &place.shard.region);
    let region = regions()
        .find(|region| **region == offer.priced_as)
        .or_else(|| regions().next());
    let borrowed = borrowed(offer).into_iter();
    let borrowed: String = borrowed
        .map(|(what, whose)| format!(" ({what} by prices of {whose})"))
        .collect();
    format!(
        "{} {} in {}, ${:.4}/h, about ${:.4} for ten minutes{borrowed}",
        offer.machine_type,
        sold(offer.model),
        region.map_or("no region", |region| region.as_str()),
        offer.price.0 as f64 / 1e6,
        offer.preference.job_cost_nano_usd as f64 / 1e9
    )
}

/// For programs.
pub(super) fn json(verdict: &Verdict, file: &str, catalog: &Catalog) -> String {
    let steps: Vec<Value> = verdict.judged.iter().map(|it| step(it, catalog)).collect();
    let value = json!({
        "file": file,
        "steps": steps,
        "elsewhere": elsewhere(verdict),
        "elsewhere_by_queue": verdict.elsewhere,
        "total": {
            "steps": verdict.judged.len(),
            "jobs": jobs(verdict),
            "wrong": count(verdict, |said| matches!(said, Said::Wrong(_))),
            "not_judged": count(verdict, |said| matches!(said, Said::Unknown(_))),
            // Of the jobs whose machine is known, ten minutes each.
            "nano_usd": cost(verdict),
        },
    });
    format!("{value:#}\n")
}

fn problem(problem: &Problem) -> Value {
    json!({"line": problem.line, "column": problem.column, "text": problem.text})
}

fn step(judged: &Judged, catalog: &Catalog) -> Value {
    let Judged {
        step,
        said,
        advice,
        note,
    } = judged;
    let (offer, problems, unknown) = match said {
        Said::Machine(offer) => (Some(offer_json(offer, catalog)), Vec::new(), None),
        Said::Unknown(why) => (None, Vec::new(), Some(why)),
        Said::Wrong(problems) => (None, problems.iter().map(problem).collect(), None),
    };
    json!({
        "name": step.name,
        "line": step.line,
        "column": step.column,
        "tags": step.tags.iter().map(|tag| tag.rule.as_str()).collect::<Vec<_>>(),
        "jobs": step.jobs.count,
        "jobs_why": step.jobs.why,
        "offer": offer,
        "problems": problems,
        "not_judged": unknown,
        "note": note.as_ref().map(problem),
        "advice": advice.as_ref().map(|advice| json!({
            "line": advice.line,
            "column": advice.column,
            "text": advice.text,
            "add": advice.add,
        })),
    })
}
