//! What a pipeline file says about how its jobs should end (`env: GUST_DEMO_EXPECT`).
//!
//! The pipeline itself is judged by the stand-in of Buildkite; here it is read only as far as is needed to
//! know which jobs it makes, in order, and what is expected of each.

use std::fmt;

use serde_yaml_ng::{Mapping, Value};

/// How a job should end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Its command ends with 0.
    #[default]
    Pass,
    /// Its command ends with this code.
    Exit(i64),
    /// Gust finishes it, because no machine can be what it asks for.
    Refused,
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("pass"),
            Self::Exit(code) => write!(f, "exit {code}"),
            Self::Refused => f.write_str("refused"),
        }
    }
}

/// One job that a pipeline makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// What people call it: the step's key, else its label, else its command; with its number where a step
    /// makes several jobs.
    pub(crate) name: String,
    /// The step's key, where it has one.
    pub(crate) key: Option<String>,
    /// How it should end.
    pub(crate) expect: Expect,
}

/// A pipeline file the demo cannot read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadPipeline {
    /// It is no YAML.
    #[error("the pipeline is no YAML")]
    Yaml(#[source] serde_yaml_ng::Error),
    /// It has no list of steps.
    #[error("the pipeline has no list of `steps`")]
    NoSteps,
    /// An expectation nobody understands.
    #[error("step {step}: GUST_DEMO_EXPECT `{value}` is not `pass`, `exit N` or `refused`")]
    Expect {
        /// The step's name.
        step: String,
        /// What was written.
        value: String,
    },
}

/// The jobs a pipeline makes, in the order of its steps.
///
/// # Errors
/// [`BadPipeline`].
pub(crate) fn read(yaml: &str) -> Result<Vec<Expected>, BadPipeline> {
    let pipeline: Value = serde_yaml_ng::from_str(yaml).map_err(BadPipeline::Yaml)?;
    let steps = match &pipeline {
        Value::Sequence(steps) => steps,
        Value::Mapping(map) => map
            .get("steps")
            .and_then(Value::as_sequence)
            .ok_or(BadPipeline::NoSteps)?,
        _ => return Err(BadPipeline::NoSteps),
    };
    let default = pipeline.get("env").and_then(expectation_in);
    let mut jobs = Vec::new();
    collect(steps, default.as_deref(), &mut jobs)?;
    Ok(jobs)
}

fn collect(steps: &[Value], default: Option<&str>, jobs: &mut Vec<Expected>) -> Result<(), BadPipeline> {
    for step in steps.iter().filter_map(Value::as_mapping) {
        if let Some(inner) = step.get("steps").and_then(Value::as_sequence) {
            collect(inner, default, jobs)?;
            continue;
        }
        let Some(command) = step.get("command").or_else(|| step.get("commands")) else {
            continue;
        };
        let key = text(step, "key");
        let name = key
            .clone()
            .or_else(|| text(step, "label"))
            .or_else(|| text(step, "name"))
            .or_else(|| command.as_str().map(str::to_owned))
            .unwrap_or_else(|| format!("step {}", jobs.len() + 1));
        let name = name.lines().next().unwrap_or_default().to_owned();
        let own = step.get("env").and_then(expectation_in);
        let expect = match own.as_deref().or(default) {
            Some(value) => parse(value).ok_or_else(|| BadPipeline::Expect {
                step: name.clone(),
                value: value.to_owned(),
            })?,
            None => Expect::Pass,
        };
        let count = step.get("parallelism").and_then(Value::as_u64);
        let count = count.unwrap_or(1).min(10_000);
        for number in 1..=count {
            let name = match count {
                1 => name.clone(),
                _ => format!("{name} {number}/{count}"),
            };
            jobs.push(Expected {
                name,
                key: key.clone(),
                expect,
            });
        }
    }
    Ok(())
}

fn text(step: &Mapping, key: &str) -> Option<String> {
    step.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn expectation_in(env: &Value) -> Option<String> {
    match env.get("GUST_DEMO_EXPECT")? {
        Value::String(text) => Some(text.clone()),
        other => serde_yaml_ng::to_string(other)
            .ok()
            .map(|text| text.trim().to_owned()),
    }
}

fn parse(value: &str) -> Option<Expect> {
    match value.trim() {
        "pass" => Some(Expect::Pass),
        "refused" => Some(Expect::Refused),
        other => other
            .strip_prefix("exit ")
            .and_then(|code| code.trim().parse().ok())
            .map(Expect::Exit),
    }
}

#[cfg(test)]
mod tests {
    use super::{Expect, read};

    #[test]
    fn jobs_and_their_expected_ends_are_read_in_order() {
        let jobs = read(
            "env: { GUST_DEMO_EXPECT: pass }\n\
             steps:\n\
             - { key: a, command: 'true' }\n\
             - wait\n\
             - group: g\n\
             \x20 steps:\n\
             \x20 - { label: B, commands: [x, y], parallelism: 2, env: { GUST_DEMO_EXPECT: exit 3 } }\n\
             - wait: ~\n\
             - { command: 'make all', env: { GUST_DEMO_EXPECT: refused } }\n",
        )
        .unwrap();
        let seen: Vec<_> = jobs.iter().map(|j| (j.name.as_str(), j.expect)).collect();
        let expected = [
            ("a", Expect::Pass),
            ("B 1/2", Expect::Exit(3)),
            ("B 2/2", Expect::Exit(3)),
            ("make all", Expect::Refused),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_cannot_be_understood_is_told() {
        let told: Vec<String> = [
            "steps: {",
            "env: {}",
            "steps: [{ key: a, command: x, env: { GUST_DEMO_EXPECT: maybe } }]",
        ]
        .map(|yaml| read(yaml).unwrap_err().to_string())
        .into();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn the_sample_has_what_the_demo_promises() {
        let sample = include_str!("../../demo/pipeline.yml");
        let jobs = read(sample).unwrap();
        let count = |expect| jobs.iter().filter(|j| j.expect == expect).count();
        assert!(jobs.len() >= 8, "several jobs");
        assert_eq!((count(Expect::Refused), count(Expect::Exit(3))), (1, 1));
        assert!(sample.contains("priority:") && sample.contains("depends_on:"));
    }
}
