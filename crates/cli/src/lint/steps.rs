//! The command steps of a pipeline, each with its tags and their places.

use super::{
    Problem,
    jobs::{self, Jobs},
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
    /// Tags that are no tags to Buildkite.
    pub wrong: Vec<Problem>,
    /// How many jobs it makes.
    pub jobs: Jobs,
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
        self.tags.iter().find(|tag| is_variable(&tag.rule))
    }

    /// Its queue; None if the file does not say it: it depends on a variable, or may be among the tags that are wrong.
    pub fn queue(&self) -> Option<&str> {
        match self.tag("queue") {
            Some(queue) => Some(queue).filter(|queue| !is_variable(queue)),
            None => self.wrong.is_empty().then_some("default"),
        }
    }
}

/// Whether a text depends on what is known only when the pipeline is uploaded.
pub(super) fn is_variable(text: &str) -> bool {
    text.replace("$$", "").contains('$') || text.contains("{{")
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
    let above = Above {
        agents: pipeline.get("agents"),
        skipped: false,
    };
    let mut all = Vec::new();
    for step in steps {
        take(step, above, &mut all);
    }
    Some(all)
}

/// Keys of steps that are no command steps.
const OTHERS: [&str; 7] = ["wait", "waiter", "block", "manual", "input", "trigger", "group"];

/// What a step has from where it stands.
#[derive(Clone, Copy)]
struct Above<'a> {
    /// The pipeline's.
    agents: Option<&'a Marked>,
    /// Whether its group is skipped.
    skipped: bool,
}

fn take(step: &Marked, above: Above<'_>, all: &mut Vec<Step>) {
    if let Some(Node::List(steps)) = step.get("steps").map(|steps| &steps.node) {
        // A group has no agents of its own.
        let skipped = above.skipped || jobs::is_skipped(step);
        let above = Above { skipped, ..above };
        steps.iter().for_each(|step| take(step, above, all));
        return;
    }
    // `- command: {command: …}` is the step below it.
    let nested = ["command", "script"].into_iter().find_map(|key| step.get(key));
    if let Some(nested) = nested.filter(|nested| matches!(nested.node, Node::Map(_))) {
        return take(nested, above, all);
    }
    let is_map = matches!(step.node, Node::Map(_));
    if !is_map || OTHERS.iter().any(|key| step.get(key).is_some()) {
        return;
    }
    let own = ["agents", "agent_query_rules"]
        .into_iter()
        .find_map(|key| step.get(key));
    // A step's own replace those of the pipeline.
    let (tags, wrong) = own.or(above.agents).map(tags).unwrap_or_default();
    all.push(Step {
        name: name(step),
        line: step.line,
        column: step.column,
        tags,
        wrong,
        jobs: match above.skipped {
            true => Jobs::skipped(),
            false => Jobs::of(step),
        },
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

/// `agents:` as a map or as a list, and what in it is no tag.
fn tags(agents: &Marked) -> (Vec<Tag>, Vec<Problem>) {
    let (mut tags, mut wrong) = (Vec::new(), Vec::new());
    let mut take = |at: &Marked, rule: Result<String, String>| match rule {
        Ok(rule) => tags.push(Tag {
            rule,
            line: at.line,
            column: at.column,
        }),
        Err(text) => wrong.push(Problem {
            line: at.line,
            column: at.column,
            text,
        }),
    };
    match &agents.node {
        Node::Map(_) => {
            for (key, value) in agents.pairs() {
                let name = key.text().unwrap_or_default();
                let rule = value.text().map(|value| format!("{name}={value}"));
                take(key, rule.ok_or_else(|| no_value(name, value)));
            }
        }
        Node::List(items) => {
            for item in items {
                let rule = item.text().map(str::to_owned);
                take(
                    item,
                    rule.ok_or_else(|| "an item of `agents` is no text; write `tag=value`".to_owned()),
                );
            }
        }
        Node::Scalar(rule) => take(agents, Ok(rule.clone())),
    }
    (tags, wrong)
}

fn no_value(name: &str, value: &Marked) -> String {
    let texts: Option<Vec<&str>> = value.items().iter().map(Marked::text).collect();
    let texts = texts.unwrap_or_default();
    // An operator may have put a prefix before all names.
    let is = |names: &[&str]| !texts.is_empty() && names.iter().any(|tag| name.ends_with(tag));
    let advice = match () {
        () if is(&["cpu", "memory"]) => match ends(&texts) {
            Some(range) => format!("; from the least to the most is `{name}: {range}`"),
            None => String::new(),
        },
        () if is(&["family", "machine-type", "disk-type", "region", "zone"]) => {
            format!("; any of them is `{name}: \"{}\"`", texts.join("|"))
        }
        () => String::new(),
    };
    let kind = match value.node {
        Node::List(_) => "a list",
        Node::Map(_) | Node::Scalar(_) => "a map",
    };
    format!("`{name}` has {kind} where a tag has one value{advice}")
}

/// The least and the most of some numbers, as a range.
fn ends(texts: &[&str]) -> Option<String> {
    let numbers: Option<Vec<u64>> = texts.iter().map(|text| text.parse().ok()).collect();
    let numbers = numbers?;
    match (numbers.iter().min()?, numbers.iter().max()?) {
        (least, most) if least < most => Some(format!("{least}+{most}")),
        (one, _) => Some(one.to_string()),
    }
}
