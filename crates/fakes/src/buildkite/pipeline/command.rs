//! Command steps.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::matrix::Combination;
use super::retry::{self, Retry};
use super::{agents, env, first, text};
use crate::buildkite::ids::Refusal;

/// A command step, read.
#[derive(Clone, Debug)]
pub(in crate::buildkite) struct CommandPlan {
    pub(in crate::buildkite) command: String,
    pub(in crate::buildkite) rules: Vec<String>,
    pub(in crate::buildkite) env: IndexMap<String, String>,
    pub(in crate::buildkite) priority: Option<i64>,
    pub(in crate::buildkite) parallelism: Option<u32>,
    pub(in crate::buildkite) timeout_minutes: Option<u32>,
    pub(in crate::buildkite) retry: Retry,
    pub(in crate::buildkite) soft_fail: SoftFail,
    /// Limit and name of its concurrency group.
    pub(in crate::buildkite) concurrency: Option<(usize, String)>,
    pub(in crate::buildkite) skip: bool,
    pub(in crate::buildkite) plugins: Value,
    pub(in crate::buildkite) artifact_paths: String,
    pub(in crate::buildkite) secrets: Vec<StepSecret>,
    /// The matrix as it is written; null without one.
    pub(in crate::buildkite) matrix: Value,
    /// A job for each of these, if there are any.
    pub(in crate::buildkite) combinations: Vec<Combination>,
}

impl CommandPlan {
    /// The plan of each job, but for what `parallelism` multiplies.
    pub(in crate::buildkite) fn each(&self) -> Vec<&Self> {
        match self.combinations.as_slice() {
            [] => vec![self],
            combinations => combinations.iter().map(|one| &one.plan).collect(),
        }
    }
}

/// A secret the agent fetches before the command.
#[derive(Clone, Debug)]
pub(in crate::buildkite) struct StepSecret {
    pub(in crate::buildkite) key: String,
    pub(in crate::buildkite) variable: String,
}

/// Which failures leave the build green.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::buildkite) enum SoftFail {
    Never,
    Always,
    /// These exit statuses.
    On(Vec<String>),
}

impl SoftFail {
    pub(in crate::buildkite) fn covers(&self, exit_status: &str) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::On(statuses) => statuses
                .iter()
                .any(|status| status == exit_status || status == "*"),
        }
    }
}

/// Attributes a command step can have beside the common ones.
pub(super) const ATTRIBUTES: &[&str] = &[
    "command",
    "commands",
    "script",
    "agents",
    "agent_query_rules",
    "env",
    "priority",
    "parallelism",
    "matrix",
    "timeout_in_minutes",
    "retry",
    "soft_fail",
    "concurrency",
    "concurrency_group",
    "concurrency_method",
    "skip",
    "plugins",
    "artifact_paths",
    "secrets",
    "cancel_on_build_failing",
    "cache",
    "image",
    "checkout",
];

/// So many jobs can a step have.
pub(super) const PARALLELISM: u32 = 1000;

/// Reads a command step; `defaults` are the pipeline's own `agents`, replaced whole by the step's.
pub(super) fn read(step: &Map<String, Value>, defaults: Option<&[String]>) -> Result<CommandPlan, Refusal> {
    let own_agents = first(step, &["agents", "agent_query_rules"])
        .map(agents)
        .transpose()?;
    let concurrency = match (
        first(step, &["concurrency"]),
        first(step, &["concurrency_group"]).and_then(text),
    ) {
        (None, None) => None,
        (Some(limit), Some(group)) => match limit.as_u64() {
            Some(limit) if limit > 0 => Some((limit as usize, group)),
            _ => return Err(Refusal::unprocessable("`concurrency` must be a positive integer")),
        },
        _ => {
            return Err(Refusal::unprocessable(
                "`concurrency` and `concurrency_group` must be given together",
            ));
        }
    };
    let parallelism = positive(step, "parallelism")?;
    if parallelism.is_some_and(|count| count > PARALLELISM) {
        return Err(too_parallel());
    }
    Ok(CommandPlan {
        command: command(step)?,
        rules: own_agents
            .or_else(|| defaults.map(<[String]>::to_vec))
            .unwrap_or_default(),
        env: step.get("env").map(env).transpose()?.unwrap_or_default(),
        priority: integer(step, "priority")?,
        parallelism,
        timeout_minutes: positive(step, "timeout_in_minutes")?,
        retry: step
            .get("retry")
            .map(retry::read)
            .transpose()?
            .unwrap_or_default(),
        soft_fail: soft_fail(step.get("soft_fail"))?,
        concurrency,
        skip: skip(step.get("skip")),
        plugins: plugins(step.get("plugins")),
        artifact_paths: lines(step.get("artifact_paths"), ";"),
        secrets: secrets(step.get("secrets"))?,
        matrix: Value::Null,
        combinations: Vec::new(),
    })
}

/// Several commands are one script, a line each.
fn command(step: &Map<String, Value>) -> Result<String, Refusal> {
    let Some(value) = first(step, &["command", "commands", "script"]) else {
        return if step.get("plugins").is_some() || step.get("type").is_some() || step.contains_key("command")
        {
            Ok(String::new())
        } else {
            Err(Refusal::unprocessable(
                "A step must have a command, or be a wait or group step",
            ))
        };
    };
    match value {
        Value::Array(items) => {
            let lines: Option<Vec<String>> = items.iter().map(text).collect();
            Ok(lines
                .ok_or_else(|| Refusal::unprocessable("`commands` must be text"))?
                .join("\n"))
        }
        value => text(value).ok_or_else(|| Refusal::unprocessable("`command` must be text or a list of it")),
    }
}

fn lines(value: Option<&Value>, between: &str) -> String {
    match value {
        Some(Value::Array(items)) => items.iter().filter_map(text).collect::<Vec<_>>().join(between),
        Some(value) => text(value).unwrap_or_default(),
        None => String::new(),
    }
}

fn integer(step: &Map<String, Value>, name: &str) -> Result<Option<i64>, Refusal> {
    match first(step, &[name]) {
        None => Ok(None),
        Some(value) => value
            .as_i64()
            .or_else(|| value.as_str()?.parse().ok())
            .map(Some)
            .ok_or_else(|| Refusal::unprocessable(format!("`{name}` must be an integer"))),
    }
}

pub(super) fn too_parallel() -> Refusal {
    Refusal::unprocessable(format!("`parallelism` must be at most {PARALLELISM}"))
}

pub(super) fn positive(step: &Map<String, Value>, name: &str) -> Result<Option<u32>, Refusal> {
    match integer(step, name)? {
        None => Ok(None),
        Some(value) => u32::try_from(value)
            .ok()
            .filter(|value| *value > 0)
            .map(Some)
            .ok_or_else(|| Refusal::unprocessable(format!("`{name}` must be a positive integer"))),
    }
}

/// A reason, or true; an empty reason is none.
pub(super) fn skip(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(reason)) => !reason.is_empty(),
        Some(_) => true,
    }
}

pub(super) fn soft_fail(value: Option<&Value>) -> Result<SoftFail, Refusal> {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => Ok(SoftFail::Never),
        Some(Value::Bool(true)) => Ok(SoftFail::Always),
        Some(Value::Array(entries)) => {
            let statuses: Option<Vec<String>> = entries
                .iter()
                .map(|entry| entry.get("exit_status").and_then(text))
                .collect();
            statuses
                .map(SoftFail::On)
                .ok_or_else(|| Refusal::unprocessable("An entry of `soft_fail` must have an `exit_status`"))
        }
        Some(_) => Err(Refusal::unprocessable("`soft_fail` must be a boolean or a list")),
    }
}

/// `plugins` as the job's environment carries them: a list of maps.
fn plugins(value: Option<&Value>) -> Value {
    match value {
        Some(Value::Array(items)) => Value::Array(items.clone()),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(name, options)| Value::Object([(name.clone(), options.clone())].into_iter().collect()))
            .collect(),
        _ => Value::Array(Vec::new()),
    }
}

fn secrets(value: Option<&Value>) -> Result<Vec<StepSecret>, Refusal> {
    let wrong = || Refusal::unprocessable("`secrets` must be a list of names or a map of variable to name");
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(names)) => names
            .iter()
            .map(|name| {
                let key = text(name).ok_or_else(wrong)?;
                Ok(StepSecret {
                    variable: key.clone(),
                    key,
                })
            })
            .collect(),
        Some(Value::Object(map)) => map
            .iter()
            .map(|(variable, key)| {
                Ok(StepSecret {
                    variable: variable.clone(),
                    key: text(key).ok_or_else(wrong)?,
                })
            })
            .collect(),
        Some(_) => Err(wrong()),
    }
}
