//! Turns a table of CI steps (CSV) into a pipeline: same sizes, same dependencies, short sleeps for commands.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::csv;

/// Columns a table may have; the first four it must have. `size_stated` tells whether the build itself
/// stated the size, and changes nothing.
const COLUMNS: [&str; 9] = [
    "step",
    "arch",
    "cpu",
    "memory_gib",
    "timeout_minutes",
    "parallelism",
    "depends_on",
    "priority",
    "size_stated",
];
const NEEDED: usize = 4;

/// A table that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the table {} cannot be used:{}", .file.display(), lines(.file, .problems))]
pub(crate) struct BadMix {
    file: PathBuf,
    problems: Vec<(usize, String)>,
}

fn lines(file: &Path, problems: &[(usize, String)]) -> String {
    let lines = problems
        .iter()
        .map(|(line, what)| format!("\n  {}:{line}: {what}", file.display()));
    lines.collect()
}

#[derive(Serialize)]
struct Pipeline {
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    key: String,
    label: String,
    command: String,
    agents: Agents,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallelism: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_in_minutes: Option<u64>,
    #[serde(skip)]
    line: usize,
}

#[derive(Serialize)]
struct Agents {
    queue: &'static str,
    arch: String,
    cpu: u64,
    memory: u64,
}

/// The pipeline (YAML) of a table. Every job sleeps 0.2 s.
///
/// # Errors
/// [`BadMix`] with all that is wrong, by line.
pub(crate) fn pipeline(text: &str, file: &Path) -> Result<String, BadMix> {
    let mut problems = Vec::new();
    let steps = read(text, &mut problems);
    // A row that could not be read is no step, and those that wait for it are not to blame.
    if problems.is_empty() {
        check_names(&steps, &mut problems);
    }
    if problems.is_empty() && steps.is_empty() {
        problems.push((1, "holds no step".to_owned()));
    }
    let bad = |problems| BadMix {
        file: file.to_owned(),
        problems,
    };
    if !problems.is_empty() {
        problems.sort();
        return Err(bad(problems));
    }
    serde_yaml_ng::to_string(&Pipeline { steps })
        .map_err(|cause| bad(vec![(1, format!("cannot be written as YAML: {cause}"))]))
}

fn read(text: &str, problems: &mut Vec<(usize, String)>) -> Vec<Step> {
    let rows = match csv::rows(text) {
        Ok(rows) => rows,
        Err((line, what)) => {
            problems.push((line, what.to_owned()));
            return Vec::new();
        }
    };
    let mut rows = rows.into_iter();
    let Some((line, header)) = rows.next() else {
        problems.push((1, "is empty".to_owned()));
        return Vec::new();
    };
    for column in &header {
        if !COLUMNS.contains(&column.as_str()) {
            let known = COLUMNS.join(", ");
            problems.push((line, format!("unknown column `{column}` [known: {known}]")));
        }
    }
    for needed in &COLUMNS[..NEEDED] {
        if !header.iter().any(|column| column == needed) {
            problems.push((line, format!("column `{needed}` is missing")));
        }
    }
    if !problems.is_empty() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    for (line, cells) in rows {
        if cells.len() != header.len() {
            problems.push((
                line,
                format!("has {} cells, and the header has {}", cells.len(), header.len()),
            ));
            continue;
        }
        let cells = header.iter().map(String::as_str).zip(cells).collect();
        let mut row = Row {
            line,
            cells,
            problems,
        };
        steps.extend(row.step());
    }
    steps
}

struct Row<'a> {
    line: usize,
    cells: BTreeMap<&'a str, String>,
    problems: &'a mut Vec<(usize, String)>,
}

impl Row<'_> {
    fn text(&self, column: &str) -> &str {
        self.cells.get(column).map_or("", |cell| cell.trim())
    }

    /// A number of a cell that may be empty. Out of `range`, or no number: a problem.
    fn number(&mut self, column: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let text = self.text(column).to_owned();
        if text.is_empty() {
            return None;
        }
        let number = text.parse().ok().filter(|n| range.contains(n));
        if number.is_none() {
            let (low, high) = range.into_inner();
            self.problems.push((
                self.line,
                format!("{column}: `{text}` is no whole number from {low} to {high}"),
            ));
        }
        number
    }

    fn required(&mut self, column: &str, range: std::ops::RangeInclusive<i64>) -> Option<u64> {
        if self.text(column).is_empty() {
            self.problems.push((self.line, format!("{column}: is empty")));
        }
        self.number(column, range).and_then(|n| n.try_into().ok())
    }

    fn step(&mut self) -> Option<Step> {
        let name = self.text("step").to_owned();
        if name.is_empty() {
            self.problems.push((self.line, "step: is empty".to_owned()));
        }
        let arch = self.text("arch").to_owned();
        if !matches!(arch.as_str(), "amd64" | "arm64") {
            self.problems
                .push((self.line, format!("arch: `{arch}` is not amd64 or arm64")));
        }
        let cpu = self.required("cpu", 1..=1000);
        let memory = self.required("memory_gib", 1..=100_000);
        let parallelism = self.number("parallelism", 1..=1000);
        let timeout = self.number("timeout_minutes", 1..=100_000);
        let priority = self.number("priority", i64::from(i32::MIN)..=i64::from(i32::MAX));
        let depends_on = self
            .text("depends_on")
            .split(';')
            .map(|dependency| dependency.trim().to_owned())
            .filter(|dependency| !dependency.is_empty())
            .collect();
        Some(Step {
            label: name.clone(),
            key: name,
            command: "sleep 0.2".to_owned(),
            agents: Agents {
                queue: "gust",
                arch,
                cpu: cpu?,
                memory: memory?,
            },
            parallelism: parallelism.filter(|n| *n > 1).and_then(|n| n.try_into().ok()),
            depends_on,
            priority,
            timeout_in_minutes: timeout.and_then(|n| n.try_into().ok()),
            line: self.line,
        })
    }
}

/// Names must be unique, dependencies known, and no step may wait for itself.
fn check_names(steps: &[Step], problems: &mut Vec<(usize, String)>) {
    let mut by_name: BTreeMap<&str, &Step> = BTreeMap::new();
    for step in steps {
        if let Some(first) = by_name.insert(&step.key, step) {
            problems.push((
                step.line,
                format!("step: `{}` stands in line {} already", step.key, first.line),
            ));
        }
    }
    for step in steps {
        for dependency in &step.depends_on {
            if !by_name.contains_key(dependency.as_str()) {
                problems.push((step.line, format!("depends_on: no step `{dependency}`")));
            }
        }
    }
    // Steps whose dependencies are all settled are settled; what remains in the end waits in a circle.
    let mut settled: BTreeSet<&str> = BTreeSet::new();
    loop {
        let known = |step: &Step| {
            step.depends_on
                .iter()
                .all(|d| settled.contains(d.as_str()) || !by_name.contains_key(d.as_str()))
        };
        let next: Vec<&str> = by_name
            .values()
            .filter(|step| !settled.contains(step.key.as_str()) && known(step))
            .map(|step| step.key.as_str())
            .collect();
        if next.is_empty() {
            break;
        }
        settled.extend(next);
    }
    for step in by_name.values() {
        if !settled.contains(step.key.as_str()) {
            problems.push((
                step.line,
                format!("depends_on: `{}` waits, in the end, for itself", step.key),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::pipeline;

    fn refused(text: &str) -> String {
        pipeline(text, Path::new("mix.csv"))
            .expect_err("must be refused")
            .to_string()
    }

    #[test]
    fn a_table_becomes_a_pipeline() {
        let text = "step,arch,cpu,memory_gib,timeout_minutes,parallelism,depends_on,priority,size_stated\n\
                    build,arm64,64,128,60,1,,20,n\n\
                    \"test, quick\",arm64,8,16,,20,build,-5,y\n";
        insta::assert_snapshot!("mix_pipeline", pipeline(text, Path::new("mix.csv")).unwrap());
    }

    #[test]
    fn the_real_build_is_read_whole() {
        let text = include_str!("../../../../loadtest/rust-monorepo-ci-mix.csv");
        let yaml = pipeline(text, Path::new("mix.csv")).unwrap();
        let expected = super::super::pipeline::read(&yaml).unwrap();
        assert_eq!(expected.len(), 126);
    }

    #[test]
    fn all_problems_are_told_by_line() {
        let header = "step,arch,cpu,memory_gib,parallelism,depends_on,priority\n";
        let texts = [
            String::new(),
            "step,arch,cpus\na,b,c\n".to_owned(),
            format!("{header}a,amd64,4\n"),
            format!("{header}a,x86,four,0,0,b;c,high\n,amd64,,8,1,,\na,amd64,4,8,1,a,1\n"),
            format!("{header}a,amd64,4,8,1,b,\nb,amd64,4,8,1,a,\nc,amd64,4,8,1,a,\n"),
            format!("{header}\"a,amd64,4,8,1,,\n"),
            header.to_owned(),
        ];
        let all: Vec<String> = texts.iter().map(|text| refused(text)).collect();
        insta::assert_snapshot!("mix_problems", all.join("\n"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z,;\"\n0-9]{0,80}") {
            let _ = pipeline(&format!("step,arch,cpu,memory_gib\n{text}"), Path::new("mix.csv"));
        }
    }
}
