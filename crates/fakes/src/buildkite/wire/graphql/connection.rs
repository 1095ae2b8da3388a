//! Connections: pages of a list, by cursor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::cost::DEFAULT_PAGE;
use super::thing::{Args, Out, Thing};
use crate::buildkite::ids::Refusal;

/// A list in the order in which it is shown. The place of each item is what its cursor says, so a page goes on
/// where the last one ended, also when that item is no longer in the list.
pub(super) struct List {
    /// `Job`: the connection is a `JobConnection`, with `JobEdge`s.
    names: Names,
    /// Place and item.
    items: Vec<(u128, Thing)>,
    newest_first: bool,
    /// By a fault: a page has at most so many items, and so many slip by behind a cursor.
    shift: Option<(usize, usize)>,
}

/// Type names of a connection and of its edges.
type Names = (&'static str, &'static str);

pub(super) const JOBS: Names = ("JobConnection", "JobEdge");
pub(super) const BUILDS: Names = ("BuildConnection", "BuildEdge");
pub(super) const PIPELINES: Names = ("PipelineConnection", "PipelineEdge");
pub(super) const CLUSTERS: Names = ("ClusterConnection", "ClusterEdge");
pub(super) const QUEUES: Names = ("ClusterQueueConnection", "ClusterQueueEdge");
pub(super) const AGENTS: Names = ("AgentConnection", "AgentEdge");
pub(super) const ANNOTATIONS: Names = ("AnnotationConnection", "AnnotationEdge");
pub(super) const EVENTS: Names = ("JobEventConnection", "JobEventEdge");
pub(super) const META_DATA: Names = ("BuildMetaDataConnection", "BuildMetaDataEdge");
pub(super) const ARTIFACTS: Names = ("ArtifactConnection", "ArtifactEdge");
pub(super) const MEMBERS: Names = ("OrganizationMemberConnection", "OrganizationMemberEdge");
pub(super) const TOKENS: Names = ("ClusterAgentTokenConnection", "ClusterAgentTokenEdge");
pub(super) const ORGANIZATIONS: Names = ("OrganizationConnection", "OrganizationEdge");

impl List {
    /// A list in the order given.
    pub(super) fn in_order(names: Names, items: impl IntoIterator<Item = Thing>) -> Self {
        let items = items.into_iter().enumerate();
        Self {
            names,
            items: items.map(|(place, item)| (place as u128, item)).collect(),
            newest_first: false,
            shift: None,
        }
    }

    /// A list with the highest place first.
    pub(super) fn newest_first(names: Names, items: impl IntoIterator<Item = (u128, Thing)>) -> Self {
        let mut items: Vec<_> = items.into_iter().collect();
        items.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        Self {
            names,
            items,
            newest_first: true,
            shift: None,
        }
    }

    /// The same list with pages that a fault shifts.
    pub(super) fn shifted(self, shift: Option<(usize, usize)>) -> Self {
        Self { shift, ..self }
    }

    /// The page that the arguments `first`, `last`, `after` and `before` ask for.
    pub(super) fn page(self, args: Args<'_>) -> Result<Out, Refusal> {
        let (after, before) = (cursor(args, "after")?, cursor(args, "before")?);
        let count = self.items.len();
        // Whether a place is behind another one, in the order shown.
        let behind = |place: u128, other: u128| {
            if self.newest_first {
                place < other
            } else {
                place > other
            }
        };
        let from = after.map_or(0, |after| {
            self.items.partition_point(|(place, _)| !behind(*place, after))
        });
        let to = before.map_or(count, |before| {
            self.items.partition_point(|(place, _)| behind(before, *place))
        });
        let (mut from, mut to) = (from, to.max(from));
        let size = |name: &str| -> Result<Option<usize>, Refusal> {
            match args.integer(name) {
                None => Ok(None),
                // More than a page can have gives what a page can have.
                Some(number) if number >= 0 => Ok(Some((number as usize).min(DEFAULT_PAGE as usize))),
                Some(_) => Err(Refusal::bad(format!("`{name}` must not be negative"))),
            }
        };
        match (size("first")?, size("last")?) {
            (Some(first), _) => to = to.min(from + first),
            (None, Some(last)) => from = from.max(to.saturating_sub(last)),
            (None, None) => to = to.min(from + DEFAULT_PAGE as usize),
        }
        if let Some((size, skip)) = self.shift {
            from = if after.is_some() {
                (from + skip).min(to)
            } else {
                from
            };
            to = to.min(from + size.max(1));
        }
        let edges: Vec<Thing> = self.items[from..to]
            .iter()
            .map(|(place, item)| edge(self.names.1, *place, item.clone()))
            .collect();
        let cursor_at = |at: Option<&(u128, Thing)>| Out::leaf(at.map(|(place, _)| write_cursor(*place)));
        let page = &self.items[from..to];
        let info = Thing::Record(
            "PageInfo",
            vec![
                ("hasNextPage", Out::leaf(to < count)),
                ("hasPreviousPage", Out::leaf(from > 0)),
                ("startCursor", cursor_at(page.first())),
                ("endCursor", cursor_at(page.last())),
            ],
        );
        Ok(Out::One(Thing::Record(
            self.names.0,
            vec![
                ("count", Out::leaf(count)),
                ("edges", Out::Many(edges)),
                ("pageInfo", Out::One(info)),
            ],
        )))
    }
}

/// An edge by itself, as payloads of mutations have it.
pub(super) fn edge(name: &'static str, place: u128, node: Thing) -> Thing {
    let cursor = Out::leaf(write_cursor(place));
    Thing::Record(name, vec![("cursor", cursor), ("node", Out::One(node))])
}

fn write_cursor(place: u128) -> String {
    URL_SAFE_NO_PAD.encode(format!("{place:x}"))
}

fn cursor(args: Args<'_>, name: &str) -> Result<Option<u128>, Refusal> {
    let read = |text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        u128::from_str_radix(std::str::from_utf8(&bytes).ok()?, 16).ok()
    };
    match args.text(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => read(text)
            .map(Some)
            .ok_or_else(|| Refusal::bad(format!("`{name}` is not a cursor of this list"))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// Names of the items on a page, and its `PageInfo`.
    fn read(out: Out) -> (Vec<u64>, Value) {
        let Out::One(Thing::Record(_, fields)) = out else {
            panic!("a connection")
        };
        let field = |fields: &[(&'static str, Out)], name: &str| {
            fields
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, out)| out.clone())
                .unwrap()
        };
        let Out::Many(edges) = field(&fields, "edges") else {
            panic!("edges")
        };
        let Out::One(Thing::Record(_, info)) = field(&fields, "pageInfo") else {
            panic!("info")
        };
        let named = edges.into_iter().map(|edge| match edge {
            Thing::Record(_, fields) => match field(&fields, "node") {
                Out::One(Thing::Cluster(at)) => at as u64,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        });
        let info: serde_json::Map<String, Value> = info
            .into_iter()
            .map(|(name, out)| match out {
                Out::Leaf(value) => (name.to_owned(), value),
                other => panic!("{other:?}"),
            })
            .collect();
        (named.collect(), info.into())
    }

    fn page(places: &[u16], newest_first: bool, arguments: Value) -> (Vec<u64>, Value) {
        let list = if newest_first {
            List::newest_first(
                JOBS,
                places
                    .iter()
                    .map(|at| (u128::from(*at), Thing::Cluster((*at).into()))),
            )
        } else {
            List::in_order(JOBS, places.iter().map(|at| Thing::Cluster((*at).into())))
        };
        read(
            list.page(Args(&serde_json::from_value(arguments).unwrap()))
                .unwrap(),
        )
    }

    proptest! {
        #[test]
        fn pages_put_together_are_the_list(
            places in proptest::collection::btree_set(0u16..1000, 0..60),
            size in 1usize..9,
            newest_first: bool,
            backwards: bool,
        ) {
            let places: Vec<u16> = places.into_iter().collect();
            let (whole, _) = page(&places, newest_first, json!({}));
            prop_assert_eq!(whole.len(), places.len());
            let (count, from, more, cursor) = match backwards {
                false => ("first", "after", "hasNextPage", "endCursor"),
                true => ("last", "before", "hasPreviousPage", "startCursor"),
            };
            let (mut seen, mut at) = (Vec::new(), Value::Null);
            loop {
                let (items, info) = page(&places, newest_first, json!({count: size, from: at}));
                prop_assert!(items.len() <= size);
                match backwards {
                    false => seen.extend(items),
                    true => seen = [items, seen].concat(),
                }
                if info[more] == false {
                    break;
                }
                at = info[cursor].clone();
            }
            prop_assert_eq!(seen, whole);
        }
    }
}
