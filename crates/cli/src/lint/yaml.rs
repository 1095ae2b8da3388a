//! A pipeline file as a tree in which every value knows its place.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, Parser, Span};

/// Values in a file, aliases counted as often as they are used: no pipeline has so many, and one that repeats itself
/// through aliases must not fill the memory.
const MOST: usize = 200_000;
/// Lists and maps within each other. Whoever walks the tree calls itself once for each, on a stack that has an end.
const DEEPEST: usize = 100;

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Marked {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    pub node: Node,
}

/// A value. Scalars are texts: what they mean is up to who reads them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Scalar(String),
    List(Vec<Marked>),
    Map(Vec<(Marked, Marked)>),
}

/// A file that is no YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub(super) struct BadYaml {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl Marked {
    /// The first value of a map under this key; keys that are merged in (`<<`) come after its own.
    pub fn get(&self, key: &str) -> Option<&Marked> {
        let Node::Map(pairs) = &self.node else { return None };
        let own = pairs.iter().find(|(name, _)| name.text() == Some(key));
        let merged = || pairs.iter().filter(|(name, _)| name.text() == Some("<<"));
        own.map(|(_, value)| value).or_else(|| {
            merged().find_map(|(_, value)| match &value.node {
                Node::List(all) => all.iter().find_map(|one| one.get(key)),
                _ => value.get(key),
            })
        })
    }

    /// The pairs of a map, each key once: its own before those that are merged in (`<<`), of several the first. None of
    /// anything else. Keys that are no scalars are left out.
    pub fn pairs(&self) -> Vec<(&Marked, &Marked)> {
        let mut all = Vec::new();
        self.gather(&mut BTreeSet::new(), &mut all);
        all
    }

    fn gather<'a>(&'a self, known: &mut BTreeSet<&'a str>, all: &mut Vec<(&'a Marked, &'a Marked)>) {
        let Node::Map(pairs) = &self.node else { return };
        let is_merge = |key: &Marked| key.text() == Some("<<");
        for (key, value) in pairs.iter().filter(|(key, _)| !is_merge(key)) {
            if key.text().is_some_and(|name| known.insert(name)) {
                all.push((key, value));
            }
        }
        for (_, value) in pairs.iter().filter(|(key, _)| is_merge(key)) {
            match &value.node {
                Node::List(maps) => maps.iter().for_each(|map| map.gather(known, all)),
                _ => value.gather(known, all),
            }
        }
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.node {
            Node::Scalar(text) => Some(text),
            Node::List(_) | Node::Map(_) => None,
        }
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Marked] {
        match &self.node {
            Node::List(items) => items,
            Node::Scalar(_) | Node::Map(_) => &[],
        }
    }

    /// Lists and maps within each other, itself included.
    fn depth(&self) -> usize {
        let deepest = match &self.node {
            Node::Scalar(_) => return 0,
            Node::List(items) => items.iter().map(Self::depth).max(),
            Node::Map(pairs) => pairs
                .iter()
                .map(|(key, value)| key.depth().max(value.depth()))
                .max(),
        };
        1 + deepest.unwrap_or(0)
    }

    fn count(&self) -> usize {
        match &self.node {
            Node::Scalar(_) => 1,
            Node::List(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Node::Map(pairs) => {
                1 + pairs
                    .iter()
                    .map(|(key, value)| key.count() + value.count())
                    .sum::<usize>()
            }
        }
    }
}

/// Reads the first document.
///
/// # Errors
/// [`BadYaml`] says where it stops being YAML.
pub(super) fn read(text: &str) -> Result<Option<Marked>, BadYaml> {
    let mut tree = Tree::default();
    // Event by event: the parser's own way to a whole document calls itself for each level.
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| BadYaml {
            line: error.marker().line(),
            column: error.marker().col() + 1,
            message: error.info().to_owned(),
        })?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        tree.take(event, span)?;
    }
    Ok(tree.root)
}

/// What is not finished yet: each list and map that is open, with its anchor.
#[derive(Default)]
struct Tree {
    open: Vec<(Marked, usize)>,
    keys: Vec<Option<Marked>>,
    anchors: BTreeMap<usize, Marked>,
    count: usize,
    root: Option<Marked>,
}

impl Tree {
    fn add(&mut self, value: Marked, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut().map(|(parent, _)| &mut parent.node) {
            None => self.root = Some(value),
            Some(Node::List(items)) => items.push(value),
            Some(Node::Map(pairs)) => match self.keys.last_mut().and_then(Option::take) {
                Some(key) => pairs.push((key, value)),
                None => {
                    if let Some(key) = self.keys.last_mut() {
                        *key = Some(value);
                    }
                }
            },
            Some(Node::Scalar(_)) => {}
        }
    }

    fn close(&mut self) {
        self.keys.pop();
        if let Some((value, anchor)) = self.open.pop() {
            self.add(value, anchor);
        }
    }
}

impl Tree {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), BadYaml> {
        let marked = |node| Marked {
            line: span.start.line(),
            column: span.start.col() + 1,
            node,
        };
        self.count += 1;
        let mut deep = self.open.len();
        match event {
            Event::Scalar(text, _, anchor, _) => self.add(marked(Node::Scalar(text.into_owned())), anchor),
            Event::SequenceStart(anchor, _) => {
                self.open.push((marked(Node::List(Vec::new())), anchor));
                self.keys.push(None);
                deep += 1;
            }
            Event::MappingStart(anchor, _) => {
                self.open.push((marked(Node::Map(Vec::new())), anchor));
                self.keys.push(None);
                deep += 1;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                if let Some(value) = self.anchors.get(&anchor).cloned() {
                    self.count += value.count();
                    deep += value.depth();
                    self.add(value, 0);
                }
            }
            _ => {}
        }
        let message = match () {
            () if self.count > MOST => format!("more than {MOST} values"),
            () if deep > DEEPEST => format!("more than {DEEPEST} lists and maps within each other"),
            () => return Ok(()),
        };
        Err(BadYaml {
            line: span.start.line(),
            column: span.start.col() + 1,
            message,
        })
    }
}
