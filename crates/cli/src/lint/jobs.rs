//! How many jobs a step makes: `parallelism`, `matrix` and `skip`.
//!
//! Facts (docs: command step, build matrix): a matrix makes one job for each combination of its values; an adjustment that
//! names a combination changes it, or adds it where there is none, and with `skip` takes it away. `skip` is `true` or the
//! reason for it.

use std::collections::BTreeMap;

use super::yaml::{Marked, Node};

/// Jobs of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Jobs {
    /// How many; as far as the file says it.
    pub count: u64,
    /// Why it is not one, for people; empty if it is.
    pub why: String,
}

impl Jobs {
    /// None at all.
    pub fn skipped() -> Self {
        Self {
            count: 0,
            why: "skipped".to_owned(),
        }
    }

    /// Reads a step.
    pub fn of(step: &Marked) -> Self {
        if is_skipped(step) {
            return Self::skipped();
        }
        let mut factors = Vec::new();
        if let Some(matrix) = step.get("matrix") {
            factors.push(("matrix", combinations(matrix), String::new()));
        }
        if let Some(text) = step.get("parallelism").and_then(Marked::text) {
            factors.push(("parallelism", text.parse().ok(), format!(" {text}")));
        }
        let mut jobs = Self {
            count: 1,
            why: String::new(),
        };
        let mut words = Vec::new();
        for (name, factor, text) in factors {
            jobs.count = jobs.count.saturating_mul(factor.unwrap_or(1));
            match factor {
                Some(1) => {}
                Some(factor) => words.push(format!("{name} {factor}")),
                // It is known only when the pipeline is uploaded.
                None => words.push(format!("{name}{text} counted once")),
            }
        }
        jobs.why = words.join(", ");
        jobs
    }
}

/// Whether a step or an adjustment is left out.
pub(super) fn is_skipped(step: &Marked) -> bool {
    let skip = step.get("skip").and_then(Marked::text);
    skip.is_some_and(|text| !matches!(text, "" | "~" | "null" | "false" | "False" | "FALSE"))
}

/// How many combinations a matrix has; None if it cannot be read here, for one because a variable writes it.
fn combinations(matrix: &Marked) -> Option<u64> {
    let setup = match &matrix.node {
        Node::List(_) => matrix,
        _ => matrix.get("setup")?,
    };
    // A list is a matrix of one dimension without a name.
    let dimensions: Vec<(&str, Vec<&str>)> = match &setup.node {
        Node::List(_) => vec![("", values(setup)?)],
        Node::Map(_) => {
            let pairs = setup.pairs().into_iter();
            let named = pairs.map(|(name, list)| Some((name.text()?, values(list)?)));
            named.collect::<Option<_>>()?
        }
        Node::Scalar(_) => return None,
    };
    let sizes = dimensions.iter().map(|(_, values)| values.len() as u64);
    let mut count = sizes.fold(1, u64::saturating_mul);
    let mut adjusted: BTreeMap<Vec<&str>, bool> = BTreeMap::new();
    for adjustment in matrix.get("adjustments").map_or(&[][..], Marked::items) {
        let with = adjustment.get("with")?;
        let value = |(name, _): &(&str, Vec<&str>)| match &with.node {
            Node::Map(_) => with.get(name)?.text(),
            Node::List(one) => one.first()?.text(),
            Node::Scalar(text) => Some(text.as_str()),
        };
        let combination: Vec<&str> = dimensions.iter().map(value).collect::<Option<_>>()?;
        adjusted.insert(combination, is_skipped(adjustment));
    }
    for (combination, skipped) in adjusted {
        let mut both = combination.iter().zip(&dimensions);
        let is_there = both.all(|(value, (_, values))| values.contains(value));
        match (is_there, skipped) {
            (true, true) => count = count.saturating_sub(1),
            (false, false) => count = count.saturating_add(1),
            (true, false) | (false, true) => {}
        }
    }
    Some(count)
}

/// The values of a dimension; one alone is a list of one.
fn values(list: &Marked) -> Option<Vec<&str>> {
    match &list.node {
        Node::Scalar(text) if super::steps::is_variable(text) => None,
        Node::Scalar(text) => Some(vec![text.as_str()]),
        Node::List(items) => items.iter().map(Marked::text).collect(),
        Node::Map(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::yaml, *};

    fn jobs(step: &str) -> (u64, String) {
        let step = yaml::read(step).expect("YAML").expect("a step");
        let Jobs { count, why } = Jobs::of(&step);
        (count, why)
    }

    #[test]
    fn a_step_makes_as_many_jobs_as_it_says() {
        let setup = "matrix: { setup: { os: [linux, mac], arch: [x, y, z] }";
        for (step, count, why) in [
            ("command: x".to_owned(), 1, ""),
            ("skip: true".to_owned(), 0, "skipped"),
            ("skip: broken since May".to_owned(), 0, "skipped"),
            ("skip: false".to_owned(), 1, ""),
            ("skip: \"\"".to_owned(), 1, ""),
            ("parallelism: 1".to_owned(), 1, ""),
            ("parallelism: 20".to_owned(), 20, "parallelism 20"),
            ("parallelism: $N".to_owned(), 1, "parallelism $N counted once"),
            ("matrix: [a, b, c]".to_owned(), 3, "matrix 3"),
            ("matrix: $M".to_owned(), 1, "matrix counted once"),
            (format!("{setup} }}"), 6, "matrix 6"),
            (
                format!("{setup}, adjustments: [{{ with: {{ os: mac, arch: z }}, skip: true }}] }}"),
                5,
                "matrix 5",
            ),
            (
                format!("{setup}, adjustments: [{{ with: {{ os: bsd, arch: x }} }}] }}"),
                7,
                "matrix 7",
            ),
            (
                format!("{setup}, adjustments: [{{ with: {{ os: mac, arch: z }}, soft_fail: true }}] }}"),
                6,
                "matrix 6",
            ),
            (
                "matrix: { setup: [a, b], adjustments: [{ with: a, skip: no longer }] }".to_owned(),
                1,
                "",
            ),
        ] {
            assert_eq!(jobs(&step), (count, why.to_owned()), "{step}");
        }
    }
}
