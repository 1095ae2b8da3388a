//! For tests: that every field of the schema has an answer.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};

use apollo_compiler::resolvers::ObjectValue;
use apollo_compiler::response::JsonMap;
use serde_json::json;

use super::document::schema;
use super::thing::{Args, Out, Resolver, Site, Thing};
use crate::buildkite::model::Model;
use crate::event::Effects;
use crate::fault::Faults;
use crate::now::Now;

/// Asks every object that can be reached from the root for every field of its type; returns the types met.
pub(in crate::buildkite) fn walk(model: &mut Model, now: Now, job: &str) -> BTreeSet<String> {
    let (mut faults, mut out) = (Faults::new(1), Effects::default());
    let site = Site {
        model: RefCell::new(model),
        faults: RefCell::new(&mut faults),
        out: RefCell::new(&mut out),
        now,
        points: Cell::new(0),
        user: 0,
    };
    let organization = json!({"slug": "gust-demo", "uuid": job});
    let arguments: JsonMap = serde_json::from_value(organization).unwrap();
    let none = JsonMap::new();
    let mut open = VecDeque::from([(Thing::Query, 0)]);
    let mut met = BTreeSet::new();
    while let Some((thing, depth)) = open.pop_front() {
        let name = {
            let resolver = Resolver {
                site: &site,
                thing: thing.clone(),
            };
            resolver.type_name().to_owned()
        };
        met.insert(name.clone());
        let ty = schema()
            .get_object(&name)
            .unwrap_or_else(|| panic!("{name} is not in the schema"));
        for field in ty.fields.keys() {
            let arguments = if name == "Query" { &arguments } else { &none };
            let answer = site.field(&thing, field, Args(arguments)).unwrap();
            let answer = answer.unwrap_or_else(|| panic!("{name}.{field} has no answer"));
            let more = match answer {
                Out::Leaf(_) => Vec::new(),
                Out::One(thing) => vec![thing],
                Out::Many(things) => things,
            };
            if depth < 7 {
                open.extend(more.into_iter().map(|thing| (thing, depth + 1)));
            }
        }
    }
    met
}
