//! Build matrices: one step, a job for each combination of values.
//!
//! Facts (docs: `pipelines/configure/workflows/build-matrix`, and the public library buildkite/go-pipeline): the limits below;
//! values go into commands, labels, values of `env`, plugins and agents, and nowhere else; `adjustments` change `skip`
//! and `soft_fail` of a combination, or add one; no `parallelism` beside it.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::command::{self, CommandPlan, SoftFail};
use super::{Head, text};
use crate::buildkite::ids::Refusal;

const DIMENSIONS: usize = 6;
const ELEMENTS: usize = 25;
const ELEMENT_BYTES: usize = 128;
const ADJUSTMENTS: usize = 12;
const JOBS: usize = 50;

/// One job of a matrix.
#[derive(Clone, Debug)]
pub(in crate::buildkite) struct Combination {
    /// Values by dimension; the only dimension of a plain list has an empty name.
    pub(in crate::buildkite) values: IndexMap<String, String>,
    pub(in crate::buildkite) label: Option<String>,
    /// The step's plan with the values in it.
    pub(in crate::buildkite) plan: CommandPlan,
}

/// Values of a combination, and what an adjustment changes of it.
struct Cell {
    values: IndexMap<String, String>,
    skip: bool,
    soft_fail: Option<SoftFail>,
}

/// The matrix as it is written.
struct Matrix {
    setup: IndexMap<String, Vec<String>>,
    adjustments: Vec<Cell>,
}

/// Reads the matrix of a step, if it has one, and makes its combinations of the plan.
pub(super) fn expand(
    step: &Map<String, Value>,
    head: &Head,
    plan: &CommandPlan,
) -> Result<Vec<Combination>, Refusal> {
    let Some(written) = step.get("matrix").filter(|value| !value.is_null()) else {
        return Ok(Vec::new());
    };
    if plan.parallelism.is_some() {
        return Err(wrong(
            "`matrix` and `parallelism` cannot be used at the same time",
        ));
    }
    let matrix = Matrix::read(written)?;
    let elsewhere = [
        head.key.as_ref(),
        plan.concurrency.as_ref().map(|(_, group)| group),
    ];
    if elsewhere.into_iter().flatten().any(|text| has_token(text)) {
        return Err(wrong(
            "Matrix values cannot be used in the key or the concurrency group of a step",
        ));
    }
    let too_many = || wrong(format!("A matrix can make at most {JOBS} jobs"));
    if matrix.setup.values().map(Vec::len).product::<usize>() > JOBS {
        return Err(too_many());
    }
    let cells = matrix.cells();
    if cells.is_empty() {
        return Err(wrong("A matrix must make at least one job"));
    }
    if cells.len() > JOBS {
        return Err(too_many());
    }
    cells.into_iter().map(|cell| cell.fill(head, plan)).collect()
}

fn wrong(message: impl Into<String>) -> Refusal {
    Refusal::unprocessable(message)
}

impl Matrix {
    fn read(written: &Value) -> Result<Self, Refusal> {
        let (setup, adjustments) = match written {
            Value::Array(_) => (Some(written), None),
            Value::Object(map) => {
                only_keys(map, &["setup", "adjustments"], "a matrix")?;
                (map.get("setup"), map.get("adjustments"))
            }
            _ => return Err(wrong("`matrix` must be a list, or a map with `setup`")),
        };
        let setup: IndexMap<String, Vec<String>> = match setup {
            Some(Value::Array(items)) => [(String::new(), elements(items)?)].into(),
            Some(Value::Object(dimensions)) => dimensions
                .iter()
                .map(|(name, items)| match items {
                    Value::Array(items) => Ok((dimension(name)?, elements(items)?)),
                    _ => Err(wrong(format!("The matrix dimension {name:?} must be a list"))),
                })
                .collect::<Result<_, _>>()?,
            _ => return Err(wrong("A matrix must have a `setup`: a list, or a map of lists")),
        };
        if setup.is_empty() || setup.len() > DIMENSIONS {
            return Err(wrong(format!("A matrix must have 1 to {DIMENSIONS} dimensions")));
        }
        let adjustments = match adjustments {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) if items.len() > ADJUSTMENTS => {
                return Err(wrong(format!(
                    "A matrix can have at most {ADJUSTMENTS} adjustments"
                )));
            }
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| adjustment(item, &setup))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong("`adjustments` of a matrix must be a list")),
        };
        Ok(Self { setup, adjustments })
    }

    /// All combinations: the first dimension changes last, those that adjustments add come behind.
    fn cells(self) -> Vec<Cell> {
        let mut all: Vec<IndexMap<String, String>> = vec![IndexMap::new()];
        for (dimension, elements) in &self.setup {
            let with = |values: &IndexMap<String, String>, element: &String| {
                let mut values = values.clone();
                values.insert(dimension.clone(), element.clone());
                values
            };
            all = all
                .iter()
                .flat_map(|values| elements.iter().map(move |element| with(values, element)))
                .collect();
        }
        let mut cells: Vec<Cell> = all
            .into_iter()
            .map(|values| Cell {
                values,
                skip: false,
                soft_fail: None,
            })
            .collect();
        for adjustment in self.adjustments {
            match cells.iter_mut().find(|cell| cell.values == adjustment.values) {
                Some(cell) => {
                    cell.skip |= adjustment.skip;
                    cell.soft_fail = adjustment.soft_fail.or(cell.soft_fail.take());
                }
                None => cells.push(adjustment),
            }
        }
        cells
    }
}

impl Cell {
    fn fill(self, head: &Head, plan: &CommandPlan) -> Result<Combination, Refusal> {
        let fill = |text: &str| filled(text, &self.values);
        let mut plan = plan.clone();
        plan.command = fill(&plan.command)?;
        plan.rules = plan
            .rules
            .iter()
            .map(|rule| fill(rule))
            .collect::<Result<_, _>>()?;
        for value in plan.env.values_mut() {
            *value = fill(value)?;
        }
        fill_all(&mut plan.plugins, &self.values)?;
        plan.skip |= self.skip;
        if let Some(soft_fail) = self.soft_fail {
            plan.soft_fail = soft_fail;
        }
        let label = head.label.as_deref().map(fill).transpose()?;
        Ok(Combination {
            values: self.values,
            label,
            plan,
        })
    }
}

fn only_keys(map: &Map<String, Value>, known: &[&str], what: &str) -> Result<(), Refusal> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(wrong(format!("`{key}` is not a valid property of {what}"))),
        None => Ok(()),
    }
}

fn dimension(name: &str) -> Result<String, Refusal> {
    let is_part = |char: char| char.is_ascii_alphanumeric() || "_-.".contains(char);
    if name.is_empty() || name.len() > ELEMENT_BYTES || !name.chars().all(is_part) {
        return Err(wrong(format!(
            "{name:?} cannot be the name of a matrix dimension"
        )));
    }
    Ok(name.to_owned())
}

fn elements(items: &[Value]) -> Result<Vec<String>, Refusal> {
    if items.len() > ELEMENTS {
        return Err(wrong(format!(
            "A matrix dimension can have at most {ELEMENTS} elements"
        )));
    }
    items.iter().map(element).collect()
}

fn element(item: &Value) -> Result<String, Refusal> {
    let is_whole = !item.is_null() && !item.as_f64().is_some_and(|number| number.fract() != 0.0);
    let text = text(item).filter(|_| is_whole);
    let text =
        text.ok_or_else(|| wrong("Each item within a matrix must be either a string, boolean or integer"))?;
    if text.len() > ELEMENT_BYTES {
        return Err(wrong(format!(
            "A matrix element can have at most {ELEMENT_BYTES} bytes"
        )));
    }
    Ok(text)
}

fn adjustment(item: &Value, setup: &IndexMap<String, Vec<String>>) -> Result<Cell, Refusal> {
    let Value::Object(map) = item else {
        return Err(wrong("A matrix adjustment must be a map"));
    };
    only_keys(map, &["with", "skip", "soft_fail"], "a matrix adjustment")?;
    let mut values: IndexMap<String, String> = match map.get("with") {
        None | Some(Value::Null) => return Err(wrong("A matrix adjustment must have `with`")),
        Some(Value::Object(with)) => with
            .iter()
            .map(|(name, value)| Ok((name.clone(), element(value)?)))
            .collect::<Result<_, Refusal>>()?,
        Some(value) => [(String::new(), element(value)?)].into(),
    };
    if values.len() != setup.len() || values.keys().any(|name| !setup.contains_key(name)) {
        return Err(wrong(
            "`with` of a matrix adjustment must have a value for each dimension, and no other",
        ));
    }
    values.sort_by_key(|name, _| setup.get_index_of(name));
    let soft_fail = map.get("soft_fail").filter(|value| !value.is_null());
    Ok(Cell {
        values,
        skip: command::skip(map.get("skip")),
        soft_fail: soft_fail
            .map(|value| command::soft_fail(Some(value)))
            .transpose()?,
    })
}

/// The first token of a text: what is ahead of it, the dimension in it, and what is behind it.
fn token(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let open = from + text[from..].find("{{")?;
        let close = open + text[open..].find("}}")?;
        let inner = text[open + 2..close].trim();
        let dimension = match inner.strip_prefix("matrix") {
            Some("") => Some(""),
            Some(rest) => rest.strip_prefix('.').filter(|name| dimension(name).is_ok()),
            None => None,
        };
        if let Some(dimension) = dimension {
            return Some((&text[..open], dimension, &text[close + 2..]));
        }
        from = open + 1;
    }
}

fn has_token(text: &str) -> bool {
    token(text).is_some()
}

fn filled(text: &str, values: &IndexMap<String, String>) -> Result<String, Refusal> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, dimension, behind)) = token(rest) {
        let value = values.get(dimension).ok_or_else(|| {
            let name = if dimension.is_empty() {
                "matrix".to_owned()
            } else {
                format!("matrix.{dimension}")
            };
            wrong(format!("The matrix of the step has no `{name}`"))
        })?;
        out.push_str(before);
        out.push_str(value);
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

/// Every text within, names of plugins too.
fn fill_all(value: &mut Value, values: &IndexMap<String, String>) -> Result<(), Refusal> {
    match value {
        Value::String(text) => *text = filled(text, values)?,
        Value::Array(items) => {
            for item in items {
                fill_all(item, values)?;
            }
        }
        Value::Object(map) => {
            for (key, mut value) in std::mem::take(map) {
                fill_all(&mut value, values)?;
                map.insert(filled(&key, values)?, value);
            }
        }
        _ => {}
    }
    Ok(())
}
