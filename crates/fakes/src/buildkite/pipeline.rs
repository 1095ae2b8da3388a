//! Pipeline files: YAML (a build) or JSON (an upload) into plans of steps.
//!
//! Refuses what the fake does not build rather than ignoring it.
//! Takes steps as they are: interpolation is the agent's, at `pipeline upload`.

mod block;
mod command;
mod matrix;
mod only;
mod retry;
mod trigger;

use indexmap::IndexMap;
use serde_json::{Map, Value};

pub(super) use block::BlockPlan;
pub(super) use command::CommandPlan;
pub(super) use matrix::Combination;
pub(super) use only::{Only, covers};
pub(super) use retry::Ended;
pub(super) use trigger::TriggerPlan;

use super::ids::Refusal;

/// A pipeline, read.
#[derive(Debug, Default)]
pub(super) struct Pipeline {
    pub(super) env: IndexMap<String, String>,
    pub(super) steps: Vec<StepPlan>,
}

/// One entry of `steps`.
#[derive(Debug)]
pub(super) enum StepPlan {
    Command(Head, Box<CommandPlan>),
    Wait(Head, bool),
    Group(Head, Vec<Self>),
    Block(Head, BlockPlan),
    Trigger(Head, Box<TriggerPlan>),
}

/// What all kinds of steps have.
#[derive(Clone, Debug, Default)]
pub(super) struct Head {
    pub(super) key: Option<String>,
    pub(super) label: Option<String>,
    /// Steps it waits for (key, allow failure). `None`: the wait step before it, if there is one.
    pub(super) depends_on: Option<Vec<(String, bool)>>,
    /// Which builds it is made for.
    pub(super) only: Only,
}

impl StepPlan {
    pub(super) fn head(&self) -> &Head {
        match self {
            Self::Command(head, _)
            | Self::Wait(head, _)
            | Self::Group(head, _)
            | Self::Block(head, _)
            | Self::Trigger(head, _) => head,
        }
    }

    fn head_mut(&mut self) -> &mut Head {
        match self {
            Self::Command(head, _)
            | Self::Wait(head, _)
            | Self::Group(head, _)
            | Self::Block(head, _)
            | Self::Trigger(head, _) => head,
        }
    }
}

/// Brackets that may be open at once, those in texts included. The reader of YAML gives up at 128 within each other.
const MOST_OPEN: i64 = 1000;

/// How many brackets are open at most.
fn brackets(text: &str) -> i64 {
    let (mut open, mut most) = (0, 0);
    for sign in text.bytes() {
        match sign {
            b'{' | b'[' => open += 1,
            b'}' | b']' => open -= 1,
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// Reads YAML.
pub(super) fn from_yaml(text: &str) -> Result<Pipeline, Refusal> {
    let malformed = |error: &dyn std::fmt::Display| {
        Refusal::unprocessable(format!("The pipeline is not valid YAML: {error}"))
    };
    // The reader looks at all that is open for each bracket more, and would do so for minutes.
    if brackets(text) > MOST_OPEN {
        return Err(malformed(&format!("more than {MOST_OPEN} brackets are open")));
    }
    let mut yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(|error| malformed(&error))?;
    yaml.apply_merge().map_err(|error| malformed(&error))?;
    from_value(&to_json(yaml)?)
}

/// Reads a pipeline that is JSON already.
pub(super) fn from_value(value: &Value) -> Result<Pipeline, Refusal> {
    let empty = Map::new();
    let (top, steps) = match value {
        Value::Array(steps) => (&empty, steps),
        Value::Object(top) => match top.get("steps") {
            Some(Value::Array(steps)) => (top, steps),
            Some(_) => return Err(Refusal::unprocessable("`steps` must be a list")),
            None => return Err(Refusal::unprocessable("The pipeline has no `steps`")),
        },
        _ => {
            return Err(Refusal::unprocessable(
                "A pipeline must be a map with `steps`, or a list of steps",
            ));
        }
    };
    let agents = top.get("agents").map(agents).transpose()?;
    let env = top.get("env").map(env).transpose()?.unwrap_or_default();
    let steps = steps
        .iter()
        .map(|step| step_plan(step, agents.as_deref()))
        .collect::<Result<_, _>>()?;
    Ok(Pipeline { env, steps })
}

fn to_json(yaml: serde_yaml_ng::Value) -> Result<Value, Refusal> {
    use serde_yaml_ng::Value as Yaml;
    Ok(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => value.into(),
            (_, Some(value), _) => value.into(),
            (_, _, value) => value.map_or(Value::Null, Value::from),
        },
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(to_json).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let mut out = Map::new();
            for (key, value) in entries {
                let key = text(&to_json(key)?).ok_or_else(|| Refusal::unprocessable("A key must be text"))?;
                out.insert(key, to_json(value)?);
            }
            Value::Object(out)
        }
        Yaml::Tagged(tagged) => {
            return Err(Refusal::unprocessable(format!(
                "The YAML tag {} is not supported",
                tagged.tag
            )));
        }
    })
}

/// A scalar as text, as the server turns native values into strings: `8`, `true`, `1.1`; null is empty.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// `agents:` as a map gives `key=value` in the order written; as a list it is taken as it is.
pub(super) fn agents(value: &Value) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::unprocessable("`agents` must be a map of scalars or a list of \"key=value\"");
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| Ok(format!("{key}={}", text(value).ok_or_else(wrong)?)))
            .collect(),
        Value::Array(items) => items.iter().map(|item| text(item).ok_or_else(wrong)).collect(),
        Value::Null => Ok(Vec::new()),
        _ => Err(wrong()),
    }
}

/// `env:` as a map, every value as text.
pub(super) fn env(value: &Value) -> Result<IndexMap<String, String>, Refusal> {
    let wrong = || Refusal::unprocessable("`env` must be a map of scalars");
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| Ok((key.clone(), text(value).ok_or_else(wrong)?)))
            .collect(),
        Value::Null => Ok(IndexMap::new()),
        _ => Err(wrong()),
    }
}

fn step_plan(step: &Value, agents: Option<&[String]>) -> Result<StepPlan, Refusal> {
    let step = match step {
        Value::String(word) if word == "wait" || word == "waiter" => {
            return Ok(StepPlan::Wait(Head::default(), false));
        }
        Value::String(word) => {
            return Err(Refusal::unprocessable(format!(
                "A step {word:?} is not supported: only \"wait\" is"
            )));
        }
        Value::Object(step) => step,
        _ => return Err(Refusal::unprocessable("A step must be a map or \"wait\"")),
    };
    let of_type = step.get("type").and_then(Value::as_str);
    if step.get("if_changed").is_some_and(|value| !value.is_null()) {
        return Err(Refusal::unprocessable(
            "`if_changed` is applied by the agent when it uploads a pipeline, and is not accepted in any other",
        ));
    }
    if trigger::is_one(step) {
        known(step, "trigger", trigger::ATTRIBUTES)?;
        return Ok(StepPlan::Trigger(head(step)?, Box::new(trigger::read(step)?)));
    }
    if let Some(input) = block::is_input(step) {
        known(step, if input { "input" } else { "block" }, block::ATTRIBUTES)?;
        let mut head = head(step)?;
        head.label = first(step, &["block", "input", "manual"])
            .and_then(text)
            .or(head.label);
        return Ok(StepPlan::Block(head, block::read(step, input)?));
    }
    if step.contains_key("wait") || step.contains_key("waiter") || matches!(of_type, Some("wait" | "waiter"))
    {
        known(step, "wait", &[])?;
        let goes_on = step
            .get("continue_on_failure")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        return Ok(StepPlan::Wait(head(step)?, goes_on));
    }
    if step.contains_key("group") || of_type == Some("group") {
        known(step, "group", &[])?;
        if step.contains_key("branches") {
            return Err(Refusal::unprocessable(
                "`branches` is not a valid property on the group step",
            ));
        }
        let mut head = head(step)?;
        head.label = step
            .get("group")
            .and_then(text)
            .filter(|label| !label.is_empty())
            .or(head.label);
        let Some(Value::Array(steps)) = step.get("steps") else {
            return Err(Refusal::unprocessable("A group step must have `steps`"));
        };
        let mut steps: Vec<StepPlan> = steps
            .iter()
            .map(|step| step_plan(step, agents))
            .collect::<Result<_, _>>()?;
        if steps.iter().any(|step| matches!(step, StepPlan::Group(..))) {
            return Err(Refusal::unprocessable("A group step cannot hold another group"));
        }
        // The condition of a group is that of each step in it, not of the group.
        let only = std::mem::take(&mut head.only);
        for step in &mut steps {
            step.head_mut().only.also(&only);
        }
        return Ok(StepPlan::Group(head, steps));
    }
    known(step, "command", command::ATTRIBUTES)?;
    let head = head(step)?;
    let mut plan = command::read(step, agents)?;
    plan.combinations = matrix::expand(step, &head, &plan)?;
    plan.matrix = step.get("matrix").cloned().unwrap_or_default();
    Ok(StepPlan::Command(head, Box::new(plan)))
}

const COMMON: &[&str] = &[
    "key",
    "id",
    "identifier",
    "label",
    "name",
    "depends_on",
    "allow_dependency_failure",
    "type",
    "if",
    "branches",
    "if_changed",
    "wait",
    "waiter",
    "continue_on_failure",
    "group",
    "steps",
    "notify",
];

/// Refuses attributes that no step of the kind has.
fn known(step: &Map<String, Value>, kind: &str, more: &[&str]) -> Result<(), Refusal> {
    match step
        .keys()
        .find(|key| !COMMON.contains(&key.as_str()) && !more.contains(&key.as_str()))
    {
        Some(key) => Err(Refusal::unprocessable(format!(
            "`{key}` is not a valid property on the {kind} step"
        ))),
        None => Ok(()),
    }
}

fn first<'a>(step: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names
        .iter()
        .find_map(|name| step.get(*name))
        .filter(|value| !value.is_null())
}

fn head(step: &Map<String, Value>) -> Result<Head, Refusal> {
    let all = step
        .get("allow_dependency_failure")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let wrong = || {
        Refusal::unprocessable("`depends_on` must be a step key, a list of them, or of {step, allow_failure}")
    };
    let one = |value: &Value| match value {
        Value::String(key) => Ok((key.clone(), all)),
        Value::Object(entry) => {
            let key = entry.get("step").and_then(Value::as_str).ok_or_else(wrong)?;
            let allow = entry.get("allow_failure").and_then(Value::as_bool).unwrap_or(all);
            Ok((key.to_owned(), allow))
        }
        _ => Err(wrong()),
    };
    let depends_on = match step.get("depends_on") {
        None => None,
        Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(entries)) => Some(entries.iter().map(one).collect::<Result<_, _>>()?),
        Some(entry) => Some(vec![one(entry)?]),
    };
    let key = first(step, &["key", "id", "identifier"]).and_then(text);
    if let Some(key) = key.as_deref().filter(|key| uuid::Uuid::parse_str(key).is_ok()) {
        return Err(Refusal::unprocessable(format!(
            "The step key {key:?} must not look like a UUID"
        )));
    }
    let label = first(step, &["label", "name"]).and_then(text);
    let name = match key.as_ref().or(label.as_ref()) {
        Some(name) => format!("the step {name:?}"),
        None => "a step".to_owned(),
    };
    Ok(Head {
        only: only::read(step, &name)?,
        key,
        label,
        depends_on,
    })
}
