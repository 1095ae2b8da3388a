//! `gust lint`: which machine each step of a pipeline gets and what it costs, or what is wrong with its tags.

mod jobs;
mod report;
mod retry;
mod steps;
#[cfg(test)]
mod tests;
mod yaml;

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use gust_core::{offer::Offer, request::Spot};
use gust_server::planner::{Asker, Planner};

use self::{retry::Advice, steps::Step};
use crate::{exit_codes, explain, failure::Failure};

/// A pipeline file.
#[derive(Clone, Debug, Args)]
pub(crate) struct LintArgs {
    /// The pipeline file, `-` for stdin
    #[arg(default_value = ".buildkite/pipeline.yml")]
    file: PathBuf,
    /// Judge by this operator's configuration: policy, regions, defaults. Otherwise by all regions that gust knows
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Judge only steps of this queue; may be given several times. Default: the queues that the configuration serves, without
    /// one all
    #[arg(long, value_name = "QUEUE")]
    queue: Vec<String>,
    /// Judge as the pipeline of this slug: the configuration may allow it other things than others
    #[arg(long, value_name = "SLUG", requires = "config")]
    pipeline: Option<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

/// What is said of a step.
#[derive(Clone, Debug)]
enum Said {
    /// Its machine.
    Machine(Box<Offer>),
    /// It cannot run, or not as it should; one problem a line.
    Wrong(Vec<Problem>),
    /// It depends on what is known only when the pipeline is uploaded.
    Unknown(String),
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq)]
struct Problem {
    line: usize,
    column: usize,
    text: String,
}

/// A step with what is said of it.
#[derive(Clone, Debug)]
struct Judged {
    step: Step,
    said: Said,
    /// Advice.
    advice: Option<Advice>,
    /// Something that is not as its author may think.
    note: Option<Problem>,
}

/// All of a file.
#[derive(Clone, Debug, Default)]
struct Verdict {
    judged: Vec<Judged>,
    /// How many steps there are of other queues.
    elsewhere: BTreeMap<String, usize>,
}

impl Verdict {
    fn is_good(&self) -> bool {
        !self
            .judged
            .iter()
            .any(|judged| matches!(judged.said, Said::Wrong(_)))
    }
}

/// Judges pipelines without an operator's configuration, for others than the command line.
pub struct Linter(Planner);

impl std::fmt::Debug for Linter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linter").finish_non_exhaustive()
    }
}

impl Linter {
    /// One that knows all regions and the default policy.
    ///
    /// # Errors
    /// The catalog contradicts itself.
    pub fn anywhere() -> anyhow::Result<Self> {
        Ok(Self(Planner::anywhere()?))
    }

    /// What `gust lint` prints of a pipeline file of that name with this text.
    ///
    /// # Errors
    /// It is no pipeline.
    pub fn judge(&self, text: &str, file: &str) -> anyhow::Result<String> {
        let judge = Judge {
            planner: &self.0,
            queues: &[],
            pipeline: "",
        };
        Ok(report::text(&judge.pipeline_file(text)?, file))
    }
}

/// Judges one file.
pub(crate) fn run(args: &LintArgs) -> Result<ExitCode, Failure> {
    let refused = |error: anyhow::Error| Failure::new(exit_codes::CONFIG, error);
    let known = explain::Judge::of(args.config.as_ref())?;
    for queue in &args.queue {
        known.knows(queue)?;
    }
    let text = read(&args.file).map_err(refused)?;
    let file = args.file.display().to_string();
    let judge = Judge {
        planner: &known.planner,
        // What another queue's tags mean is not this operator's business.
        queues: match args.queue.is_empty() {
            true => &known.queues,
            false => &args.queue,
        },
        pipeline: args.pipeline.as_deref().unwrap_or_default(),
    };
    let verdict = judge
        .pipeline_file(&text)
        .with_context(|| format!("{file} is no pipeline"))
        .map_err(refused)?;
    explain::print(&match args.json {
        true => report::json(&verdict, &file, known.planner.catalog()),
        false => report::text(&verdict, &file),
    })?;
    Ok(ExitCode::from(match verdict.is_good() {
        true => exit_codes::SUCCESS,
        false => exit_codes::REQUEST,
    }))
}

fn read(file: &Path) -> anyhow::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        let read = std::io::stdin().lock().read_to_string(&mut text);
        read.context("stdin cannot be read")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// By what a pipeline is judged.
struct Judge<'a> {
    planner: &'a Planner,
    /// Only steps of these, if there are any.
    queues: &'a [String],
    /// The pipeline's slug, empty if it is not known.
    pipeline: &'a str,
}

impl Judge<'_> {
    fn pipeline_file(&self, text: &str) -> anyhow::Result<Verdict> {
        let root = yaml::read(text)?.context("it is empty")?;
        let steps = steps::of(&root).context("it has no list of `steps`")?;
        let mut verdict = Verdict::default();
        for step in steps {
            // Where the queue is not known, this is said of the step.
            if let Some(queue) = step.queue().filter(|queue| !self.judges(queue)) {
                *verdict.elsewhere.entry(queue.to_owned()).or_default() += 1;
                continue;
            }
            verdict.judged.push(self.step(step));
        }
        Ok(verdict)
    }

    fn judges(&self, queue: &str) -> bool {
        self.queues.is_empty() || self.queues.iter().any(|name| name == queue)
    }

    fn step(&self, step: Step) -> Judged {
        if let Some(tag) = step.variable().filter(|_| step.wrong.is_empty()) {
            let said = Said::Unknown(format!(
                "`{}` is known only when the pipeline is uploaded",
                tag.rule
            ));
            return Judged {
                step,
                said,
                advice: None,
                note: None,
            };
        }
        let rules: Vec<String> = step.tags.iter().map(|tag| tag.rule.clone()).collect();
        let asker = Asker {
            queue: step.tag("queue").unwrap_or("default"),
            pipeline: self.pipeline,
        };
        let explained = self.planner.explain(asker, &rules);
        // The operator's default may be Spot, too.
        let reclaimed = explained.as_ref().is_ok_and(|it| it.request.spot != Spot::Never);
        let cached = explained.as_ref().is_ok_and(|it| it.request.cache.is_some());
        let note = cached.then(|| idle_cache(&step));
        let said = match explained {
            _ if step.variable().is_some() => Said::Wrong(step.wrong.clone()),
            Err(why) => Said::Wrong([step.wrong.clone(), problems(&step, &why)].concat()),
            Ok(_) if !step.wrong.is_empty() => Said::Wrong(step.wrong.clone()),
            Ok(explained) => match explained.offers.into_iter().next() {
                Some(offer) => Said::Machine(Box::new(offer)),
                None => Said::Wrong(Vec::new()),
            },
        };
        let advice = step.again.advice.clone().filter(|_| reclaimed);
        Judged {
            step,
            said,
            advice,
            note,
        }
    }
}

/// That a tag is taken and does nothing, said where it stands.
fn idle_cache(step: &Step) -> Problem {
    // Its name may have the operator's prefix.
    let named = |rule: &str| rule.split('=').next().is_some_and(|name| name.ends_with("cache"));
    let tag = step.tags.iter().find(|tag| named(&tag.rule));
    let (line, column) = tag.map_or((step.line, step.column), |tag| (tag.line, tag.column));
    Problem {
        line,
        column,
        text: "`cache` is accepted and checked; nothing is done with it yet".to_owned(),
    }
}

/// The lines of a complaint, each at the tag it speaks of, or at the step.
fn problems(step: &Step, why: &str) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for text in why.lines() {
        match problems.last_mut() {
            // What follows a coded line belongs to it.
            Some(last) if !text.starts_with("GUST") => {
                last.text.push_str("\n    ");
                last.text.push_str(text);
            }
            _ => {
                let rule = text.split('`').nth(1);
                let tag = step.tags.iter().find(|tag| Some(tag.rule.as_str()) == rule);
                let (line, column) = tag.map_or((step.line, step.column), |tag| (tag.line, tag.column));
                problems.push(Problem {
                    line,
                    column,
                    text: text.to_owned(),
                });
            }
        }
    }
    problems
}
