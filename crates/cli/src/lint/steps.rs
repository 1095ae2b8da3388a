//! The command steps of a pipeline, each with its tags and their places.

use super::{
    retry::Again,
    yaml::{Marked, Node},
};

/// A step that Buildkite would run as a job.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// What people call it.
    pub name: String,
    pub line: usize,
    pub column: usize,
    /// Tags as Buildkite would list them, each with its place.
    pub tags: Vec<Tag>,
    /// Whether a job whose machine was taken back runs again by itself.
    pub again: Again,
}

/// `name=value`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tag {
    pub rule: String,
    pub line: usize,
    pub column: usize,
}

impl Step {
    /// The value of a tag.
    pub fn tag(&self, name: &str) -> Option<&str> {
        let mut pairs = self.tags.iter().filter_map(|tag| tag.rule.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The first variable that a tag depends on: its value is known only when the pipeline is uploaded.
    pub fn variable(&self) -> Option<&Tag> {
        self.tags
            .iter()
            .find(|tag| tag.rule.replace("$$", "").contains('$') || tag.rule.contains("{{"))
    }
}

/// All command steps in order, those of groups among them. None if there is no list of steps.
pub(super) fn of(pipeline: &Marked) -> Option<Vec<Step>> {
    let list = match &pipeline.node {
        Node::List(_) => pipeline,
        _ => pipeline.get("steps")?,
    };
    let Node::List(steps) = &list.node else {
        return None;
    };
    let agents = pipeline.get("agents").map(tags);
    let mut all = Vec::new();
    for step in steps {
        take(step, agents.as_deref(), &mut all);
    }
    Some(all)
}

/// Keys of steps that are no command steps.
const OTHERS: [&str; 7] = ["wait", "waiter", "block", "manual", "input", "trigger", "group"];

fn take(step: &Marked, agents: Option<&[Tag]>, all: &mut Vec<Step>) {
    if let Some(Node::List(steps)) = step.get("steps").map(|steps| &steps.node) {
        // A group has no agents of its own.
        steps.iter().for_each(|step| take(step, agents, all));
        return;
    }
    // `- command: {command: …}` is the step below it.
    let nested = ["command", "script"].into_iter().find_map(|key| step.get(key));
    if let Some(nested) = nested.filter(|nested| matches!(nested.node, Node::Map(_))) {
        return take(nested, agents, all);
    }
    let is_map = matches!(step.node, Node::Map(_));
    if !is_map || OTHERS.iter().any(|key| step.get(key).is_some()) {
        return;
    }
    let own = ["agents", "agent_query_rules"]
        .into_iter()
        .find_map(|key| step.get(key));
    all.push(Step {
        name: name(step),
        line: step.line,
        column: step.column,
        // A step's own replace those of the pipeline.
        tags: own
            .map(tags)
            .unwrap_or_else(|| agents.unwrap_or_default().to_vec()),
        again: Again::of(step),
    });
}

fn name(step: &Marked) -> String {
    let keys = ["label", "name", "key", "id", "identifier"];
    let text = keys.into_iter().find_map(|key| step.get(key)?.text());
    let command = || {
        let command = step.get("command").or_else(|| step.get("commands"))?;
        command.text().or_else(|| command.items().first()?.text())
    };
    let name = text.or_else(command).unwrap_or("a step without a name");
    name.lines().next().unwrap_or(name).to_owned()
}

/// `agents:` as a map or as a list.
fn tags(agents: &Marked) -> Vec<Tag> {
    let tag = |at: &Marked, rule: String| Tag {
        rule,
        line: at.line,
        column: at.column,
    };
    match &agents.node {
        Node::Map(pairs) => pairs
            .iter()
            .filter_map(|(key, value)| Some(tag(key, format!("{}={}", key.text()?, value.text()?))))
            .collect(),
        Node::List(items) => items
            .iter()
            .filter_map(|item| Some(tag(item, item.text()?.to_owned())))
            .collect(),
        Node::Scalar(rule) => vec![tag(agents, rule.clone())],
    }
}
