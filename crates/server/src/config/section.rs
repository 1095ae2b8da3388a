//! Reading a TOML table key by key, collecting everything that is wrong on the way.
//!
//! Whoever asks for a key makes it known; [`Section::close`] then refuses every key nobody asked for.
//! So the list of known keys cannot differ from the keys that are read. What the values mean is left to
//! the readers of the single sections.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    ops::{Range, RangeInclusive},
    time::Duration,
};

use toml::de::{DeTable, DeValue};

use super::{duration, nearest::nearest, problem::Problem, surroundings::Surroundings};

/// Why a value is refused: what is wrong, and what to write instead.
#[derive(Clone, Debug)]
pub(super) struct Complaint {
    message: String,
    hint: Option<String>,
}

impl Complaint {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// One reading of one text.
pub(super) struct Input<'a> {
    pub(super) text: &'a str,
    pub(super) surroundings: &'a dyn Surroundings,
    problems: RefCell<Vec<(usize, Problem)>>,
}

impl<'a> Input<'a> {
    pub(super) fn new(text: &'a str, surroundings: &'a dyn Surroundings) -> Self {
        Self {
            text,
            surroundings,
            problems: RefCell::default(),
        }
    }

    /// Notes a problem at a byte offset.
    pub(super) fn report(&self, at: usize, key: impl Into<String>, complaint: Complaint) {
        let before = self.text.as_bytes().iter().take(at);
        let problem = Problem {
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
            key: key.into(),
            message: complaint.message,
            hint: complaint.hint,
        };
        self.problems.borrow_mut().push((at, problem));
    }

    /// Everything noted, in the order of the text.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(at, _)| *at);
        problems.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// A table that is being read.
pub(super) struct Section<'a> {
    pub(super) input: &'a Input<'a>,
    path: String,
    at: Range<usize>,
    entries: &'a DeTable<'a>,
    known: RefCell<BTreeSet<&'static str>>,
}

/// A value with its place.
pub(super) struct Field<'a> {
    input: &'a Input<'a>,
    pub(super) path: String,
    at: Range<usize>,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Field<'a> {
    /// Notes a problem with this value.
    pub(super) fn report(&self, complaint: Complaint) {
        self.input.report(self.at.start, self.path.clone(), complaint);
    }

    /// What is around the file.
    pub(super) fn surroundings(&self) -> &'a dyn Surroundings {
        self.input.surroundings
    }

    fn mismatch(&self, wanted: &str) {
        let found = match self.value {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a decimal number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report(Complaint::new(format!("must be {wanted}, and is {found}")));
    }

    pub(super) fn text(&self, wanted: &str) -> Option<&'a str> {
        let DeValue::String(text) = self.value else {
            self.mismatch(wanted);
            return None;
        };
        Some(text)
    }

    /// Reads a text through `parse`; what it refuses is noted here.
    pub(super) fn parsed<T>(
        &self,
        wanted: &str,
        parse: impl FnOnce(&str) -> Result<T, Complaint>,
    ) -> Option<T> {
        let text = self.text(wanted)?;
        parse(text).map_err(|complaint| self.report(complaint)).ok()
    }

    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(number) = self.value else {
            self.mismatch("a whole number");
            return None;
        };
        let value = u64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok();
        value.filter(|v| range.contains(v)).or_else(|| {
            let (low, high) = range.into_inner();
            self.report(Complaint::new(format!("{number} is outside of {low} to {high}")));
            None
        })
    }

    /// An amount of dollars, in millionths; more than nothing.
    pub(super) fn micro_dollars(&self, most: u64) -> Option<u64> {
        let text = match self.value {
            DeValue::Integer(number) => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => {
                self.mismatch("an amount of dollars, such as 250 or 99.50");
                return None;
            }
        };
        let dollars: f64 = text.replace('_', "").parse().unwrap_or(f64::NAN);
        if dollars >= 0.01 && dollars <= most as f64 {
            return Some((dollars * 1e6).round() as u64);
        }
        self.report(
            Complaint::new(format!("{text} dollars would let nothing run, or cap nothing"))
                .hint(format!("give 0.01 to {most}")),
        );
        None
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let DeValue::Boolean(flag) = self.value else {
            self.mismatch("true or false");
            return None;
        };
        Some(*flag)
    }

    pub(super) fn items(&self, wanted: &str) -> Option<Vec<Field<'a>>> {
        let DeValue::Array(items) = self.value else {
            self.mismatch(wanted);
            return None;
        };
        let fields = items.iter().enumerate().map(|(i, item)| Field {
            input: self.input,
            path: format!("{}[{i}]", self.path),
            at: item.span(),
            value: item.get_ref(),
        });
        Some(fields.collect())
    }

    pub(super) fn section(&self, wanted: &str) -> Option<Section<'a>> {
        let DeValue::Table(entries) = self.value else {
            self.mismatch(wanted);
            return None;
        };
        Some(Section {
            input: self.input,
            path: self.path.clone(),
            at: self.at.clone(),
            entries,
            known: RefCell::default(),
        })
    }
}

impl<'a> Section<'a> {
    pub(super) fn root(input: &'a Input<'a>, entries: &'a DeTable<'a>) -> Self {
        Self {
            input,
            path: String::new(),
            at: 0..0,
            entries,
            known: RefCell::default(),
        }
    }

    /// Where the section begins in the text.
    pub(super) fn start(&self) -> usize {
        self.at.start
    }

    /// The path of a key of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let key = if !key.is_empty() && key.chars().all(bare) {
            key.to_owned()
        } else {
            format!("{key:?}")
        };
        if self.path.is_empty() {
            key
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of a key, which thereby becomes a known one.
    pub(super) fn field(&self, key: &'static str) -> Option<Field<'a>> {
        self.known.borrow_mut().insert(key);
        let (_, value) = self.entries.iter().find(|(name, _)| name.get_ref() == key)?;
        Some(Field {
            input: self.input,
            path: self.path_of(key),
            at: value.span(),
            value: value.get_ref(),
        })
    }

    /// All entries, for tables whose keys are names of the operator's choice.
    pub(super) fn named(&self) -> Vec<(&'a str, Field<'a>)> {
        self.entries
            .iter()
            .map(|(name, value)| {
                let field = Field {
                    input: self.input,
                    path: self.path_of(name.get_ref()),
                    at: value.span(),
                    value: value.get_ref(),
                };
                (name.get_ref().as_ref(), field)
            })
            .collect()
    }

    /// Notes a problem with a key that is absent or with the section as a whole.
    pub(super) fn report(&self, key: &str, complaint: Complaint) {
        let path = if key.is_empty() {
            self.path.clone()
        } else {
            self.path_of(key)
        };
        self.input.report(self.at.start, path, complaint);
    }

    /// The value of a key that must be there; `example` goes into the hint.
    pub(super) fn required(&self, key: &'static str, example: &str) -> Option<Field<'a>> {
        let field = self.field(key);
        if field.is_none() {
            // A probable misspelling is reported by `close` with a hint that says the same and more.
            let known: BTreeSet<&str> = [key].into();
            let typo = self
                .entries
                .keys()
                .any(|name| nearest(name.get_ref(), known.iter().copied()).is_some());
            if !typo {
                self.report(
                    key,
                    Complaint::new("is missing").hint(format!("for example: {key} = {example}")),
                );
            }
        }
        field
    }

    pub(super) fn text(&self, key: &'static str) -> Option<String> {
        Some(self.field(key)?.text("a text")?.to_owned())
    }

    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        self.field(key).and_then(|f| f.flag()).unwrap_or(default)
    }

    pub(super) fn integer(&self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        self.field(key).and_then(|f| f.integer(range)).unwrap_or(default)
    }

    pub(super) fn duration(
        &self,
        key: &'static str,
        range: RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        self.field(key)
            .and_then(|field| field.parsed("a duration", |text| read_duration(text, &range)))
            .unwrap_or(default)
    }

    /// A list of texts, each read through `parse`; `None` if the key is absent.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        wanted: &str,
        parse: impl Fn(&str) -> Result<T, Complaint>,
    ) -> Option<Vec<T>> {
        let items = self.field(key)?.items(&format!("a list of {wanted}"))?;
        let read = items.iter().filter_map(|item| item.parsed("a text", &parse));
        Some(read.collect())
    }

    pub(super) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        self.field(key)?.section("a table")
    }

    /// The entries of `[[key]]`; at least one must be there.
    pub(super) fn sections(&self, key: &'static str, what: &str) -> Vec<Section<'a>> {
        let Some(field) = self.field(key) else {
            self.report(
                key,
                Complaint::new("is missing").hint(format!("add a [[{key}]] section: {what}")),
            );
            return Vec::new();
        };
        let items = field
            .items(&format!("a list of tables, written [[{key}]]"))
            .unwrap_or_default();
        let wanted = format!("a table, written [[{key}]]");
        items.iter().filter_map(|i| i.section(&wanted)).collect()
    }

    /// Ends the reading: refuses every key that nobody asked for.
    pub(super) fn close(self) {
        let known = self.known.into_inner();
        for name in self.entries.keys() {
            let key: &str = name.get_ref();
            if known.contains(key) {
                continue;
            }
            let hint = match nearest(key, known.iter().copied()) {
                Some(word) => format!("did you mean `{word}`?"),
                None => format!(
                    "known here: {}",
                    known.iter().copied().collect::<Vec<_>>().join(", ")
                ),
            };
            let path = if self.path.is_empty() {
                key.to_owned()
            } else {
                format!("{}.{key}", self.path)
            };
            let complaint = Complaint::new("unknown key").hint(hint);
            self.input.report(name.span().start, path, complaint);
        }
    }
}

/// Reads a duration within a range.
pub(super) fn read_duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, Complaint> {
    let value = duration::parse(text).ok_or_else(|| {
        Complaint::new(format!("`{text}` is no duration"))
            .hint("write it like \"250ms\", \"90s\", \"5m\" or \"1h30m\"")
    })?;
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Complaint::new(format!(
        "`{text}` is outside of {} to {}",
        duration::write(*range.start()),
        duration::write(*range.end())
    )))
}

/// Reads one of a few words.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Complaint> {
    if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<_> = choices.iter().map(|(w, _)| format!("`{w}`")).collect();
    let complaint = Complaint::new(format!("`{text}` is not one of {}", words.join(", ")));
    Err(match nearest(text, choices.iter().map(|(word, _)| *word)) {
        Some(word) => complaint.hint(format!("did you mean `{word}`?")),
        None => complaint,
    })
}
