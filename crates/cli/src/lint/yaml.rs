//! A pipeline file as a tree in which every value knows its place.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, Span, SpannedEventReceiver};

/// Values in a file, aliases counted as often as they are used: no pipeline has so many, and one that repeats itself
/// through aliases must not fill the memory.
const MOST: usize = 200_000;

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
    let parsed = Parser::new_from_str(text).load(&mut tree, false);
    parsed.map_err(|error| BadYaml {
        line: error.marker().line(),
        column: error.marker().col() + 1,
        message: error.info().to_owned(),
    })?;
    match tree.broken {
        Some(broken) => Err(broken),
        None => Ok(tree.root),
    }
}

/// What is not finished yet: each list and map that is open, with its anchor.
#[derive(Default)]
struct Tree {
    open: Vec<(Marked, usize)>,
    keys: Vec<Option<Marked>>,
    anchors: BTreeMap<usize, Marked>,
    count: usize,
    root: Option<Marked>,
    broken: Option<BadYaml>,
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

impl<'a> SpannedEventReceiver<'a> for Tree {
    fn on_event(&mut self, event: Event<'a>, span: Span) {
        if self.broken.is_some() {
            return;
        }
        let marked = |node| Marked {
            line: span.start.line(),
            column: span.start.col() + 1,
            node,
        };
        self.count += 1;
        match event {
            Event::Scalar(text, _, anchor, _) => self.add(marked(Node::Scalar(text.into_owned())), anchor),
            Event::SequenceStart(anchor, _) => {
                self.open.push((marked(Node::List(Vec::new())), anchor));
                self.keys.push(None);
            }
            Event::MappingStart(anchor, _) => {
                self.open.push((marked(Node::Map(Vec::new())), anchor));
                self.keys.push(None);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => {
                if let Some(value) = self.anchors.get(&anchor).cloned() {
                    self.count += value.count();
                    self.add(value, 0);
                }
            }
            _ => {}
        }
        if self.count > MOST {
            let at = marked(Node::Scalar(String::new()));
            self.broken = Some(BadYaml {
                line: at.line,
                column: at.column,
                message: format!("more than {MOST} values"),
            });
        }
    }
}
