//! What `gust lint` prints.

use gust_core::offer::Offer;
use serde_json::{Value, json};

use super::{Judged, Said, Verdict};
use crate::explain::{is_borrowed, offer_json, sold};

/// For people: one line a step, or one a problem, each beginning with its place.
pub(super) fn text(verdict: &Verdict, file: &str) -> String {
    let mut text = String::new();
    for Judged { step, said, advice } in &verdict.judged {
        let at = |line: usize, column: usize| format!("{file}:{line}:{column}: {}: ", step.name);
        let here = at(step.line, step.column);
        match said {
            Said::Machine(offer) => text.push_str(&format!("{here}{}\n", machine(offer))),
            Said::Unknown(why) => text.push_str(&format!("{here}not judged: {why}\n")),
            Said::Wrong(problems) => {
                for problem in problems {
                    let at = at(problem.line, problem.column);
                    text.push_str(&format!("{at}error: {}\n", problem.text));
                }
            }
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
    let count = |is: fn(&Said) -> bool| verdict.judged.iter().filter(|judged| is(&judged.said)).count();
    let wrong = count(|said| matches!(said, Said::Wrong(_)));
    let unknown = count(|said| matches!(said, Said::Unknown(_)));
    let cost: u64 = verdict
        .judged
        .iter()
        .filter_map(|judged| cost(&judged.said))
        .sum();
    let mut line = format!(
        "{} steps, {wrong} wrong, about ${:.4} if each runs for ten minutes",
        verdict.judged.len(),
        cost as f64 / 1e9
    );
    if unknown > 0 {
        line.push_str(&format!("; {unknown} not judged"));
    }
    if verdict.elsewhere > 0 {
        line.push_str(&format!("; {} of other queues left out", verdict.elsewhere));
    }
    line + "\n"
}

fn cost(said: &Said) -> Option<u64> {
    match said {
        Said::Machine(offer) => Some(offer.preference.job_cost_nano_usd),
        Said::Wrong(_) | Said::Unknown(_) => None,
    }
}

fn machine(offer: &Offer) -> String {
    // Of several regions at one price, the one whose price it is.
    let regions = || offer.places.iter().map(|place| &place.shard.region);
    let region = regions()
        .find(|region| **region == offer.priced_as)
        .or_else(|| regions().next());
    let borrowed = if is_borrowed(offer) {
        format!(" (by prices of {})", offer.priced_as)
    } else {
        String::new()
    };
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
pub(super) fn json(verdict: &Verdict, file: &str) -> String {
    let steps: Vec<Value> = verdict.judged.iter().map(step).collect();
    let value = json!({"file": file, "steps": steps, "elsewhere": verdict.elsewhere});
    format!("{value:#}\n")
}

fn step(judged: &Judged) -> Value {
    let Judged { step, said, advice } = judged;
    let (offer, problems, unknown) = match said {
        Said::Machine(offer) => (Some(offer_json(offer)), Vec::new(), None),
        Said::Unknown(why) => (None, Vec::new(), Some(why)),
        Said::Wrong(problems) => {
            let all = problems
                .iter()
                .map(|problem| json!({"line": problem.line, "column": problem.column, "text": problem.text}));
            (None, all.collect(), None)
        }
    };
    json!({
        "name": step.name,
        "line": step.line,
        "column": step.column,
        "tags": step.tags.iter().map(|tag| tag.rule.as_str()).collect::<Vec<_>>(),
        "offer": offer,
        "problems": problems,
        "not_judged": unknown,
        "advice": advice.as_ref().map(|advice| json!({
            "line": advice.line,
            "column": advice.column,
            "text": advice.text,
            "add": advice.add,
        })),
    })
}
