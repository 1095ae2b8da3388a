//! What a query costs before it runs: one point for each object, interface or union it could return.
//!
//! A connection can return as many nodes as its `first` or `last` says, 500 where it says nothing; the `edges`
//! themselves are one point (docs: `apis/graphql/graphql_resource_limits`, whose example is a test below). Of
//! fragments on several types, the dearest counts. What a query costs behind its run is counted by the resolver.

use apollo_compiler::ast::Value;
use apollo_compiler::executable::{Field, Operation, Selection, SelectionSet};
use apollo_compiler::response::JsonMap;
use apollo_compiler::schema::{ExtendedType, Name};
use apollo_compiler::{ExecutableDocument, Schema};

/// Nodes of a connection that asks for no number of them.
pub(super) const DEFAULT_PAGE: u64 = 500;

/// The requested complexity and the depth of an operation.
pub(super) fn requested(
    schema: &Schema,
    document: &ExecutableDocument,
    operation: &Operation,
    variables: &JsonMap,
) -> (u64, usize) {
    let walk = Walk {
        schema,
        document,
        variables,
    };
    let root = &operation.selection_set;
    (walk.cost(root, &root.ty, 1), walk.depth(root))
}

struct Walk<'a> {
    schema: &'a Schema,
    document: &'a ExecutableDocument,
    variables: &'a JsonMap,
}

impl<'a> Walk<'a> {
    /// Cost of what is selected in one object of a type; `page` is how many items a list in it has.
    fn cost(&self, set: &'a SelectionSet, ty: &Name, page: u64) -> u64 {
        let of = |concrete: &Name| -> u64 {
            let mut fields = Vec::new();
            self.collect(set, concrete, &mut fields);
            fields
                .into_iter()
                .map(|field| self.field(field, page))
                .fold(0, u64::saturating_add)
        };
        self.concrete(ty).iter().map(of).max().unwrap_or(0)
    }

    fn field(&self, field: &'a Field, page: u64) -> u64 {
        let ty = field.ty().inner_named_type();
        if field.name.starts_with("__") || !self.is_composite(ty) {
            return 0;
        }
        let below = |page| self.cost(&field.selection_set, ty, page);
        match (field.name.as_str(), ty.ends_with("Connection")) {
            (_, true) => 1u64.saturating_add(below(self.page(field))),
            // Every edge has its node: the edges are one, the nodes are many.
            ("edges", _) => 1u64.saturating_add(below(1).saturating_mul(page)),
            _ => 1u64.saturating_add(below(1)),
        }
    }

    fn page(&self, field: &Field) -> u64 {
        let number = |name: &str| -> Option<u64> {
            match field.argument_by_name(name).ok()?.as_ref() {
                Value::Int(number) => number.try_to_i32().ok()?.try_into().ok(),
                Value::Variable(name) => self.variables.get(name.as_str())?.as_u64(),
                _ => None,
            }
        };
        number("first").or_else(|| number("last")).unwrap_or(DEFAULT_PAGE)
    }

    fn is_composite(&self, ty: &Name) -> bool {
        let ty = self.schema.types.get(ty);
        ty.is_some_and(|ty| ty.is_object() || ty.is_interface() || ty.is_union())
    }

    /// The object types that a value of this type can have.
    fn concrete(&self, ty: &Name) -> Vec<Name> {
        match self.schema.types.get(ty) {
            Some(ExtendedType::Union(union)) => {
                union.members.iter().map(|member| member.name.clone()).collect()
            }
            Some(ExtendedType::Interface(_)) => {
                let objects = self.schema.types.values().filter_map(ExtendedType::as_object);
                let known = objects.filter(|object| object.implements_interfaces.contains(ty));
                known.map(|object| object.name.clone()).collect()
            }
            _ => vec![ty.clone()],
        }
    }

    /// The fields that an object of a concrete type is asked for, each once.
    fn collect(&self, set: &'a SelectionSet, concrete: &Name, into: &mut Vec<&'a Field>) {
        for selection in &set.selections {
            match selection {
                Selection::Field(field) => {
                    let known = into
                        .iter()
                        .any(|known| known.response_key() == field.response_key());
                    if !known || !field.selection_set.selections.is_empty() {
                        into.push(field);
                    }
                }
                Selection::InlineFragment(fragment) => {
                    let condition = fragment.type_condition.as_ref();
                    if condition.is_none_or(|condition| self.concrete(condition).contains(concrete)) {
                        self.collect(&fragment.selection_set, concrete, into);
                    }
                }
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.fragment_name);
                    if let Some(fragment) = fragment
                        && self.concrete(fragment.type_condition()).contains(concrete)
                    {
                        self.collect(&fragment.selection_set, concrete, into);
                    }
                }
            }
        }
    }

    fn depth(&self, set: &SelectionSet) -> usize {
        let below = |selection: &Selection| match selection {
            Selection::Field(field) => 1 + self.depth(&field.selection_set),
            Selection::InlineFragment(fragment) => self.depth(&fragment.selection_set),
            Selection::FragmentSpread(spread) => {
                let fragment = self.document.fragments.get(&spread.fragment_name);
                fragment.map_or(0, |fragment| self.depth(&fragment.selection_set))
            }
        };
        set.selections.iter().map(below).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::document;
    use super::*;

    fn cost(query: &str) -> (u64, usize) {
        let document = document::read(query).unwrap();
        let operation = document.operations.get(None).unwrap();
        requested(document::schema(), &document, operation, &JsonMap::new())
    }

    #[test]
    fn the_documents_example_costs_what_it_says() {
        let query = |page: &str| {
            format!("{{ organization(slug: \"o\") {{ pipelines{page} {{ edges {{ node {{ slug }} }} }} }} }}")
        };
        assert_eq!(cost(&query("(first: 500)")).0, 503);
        assert_eq!(cost(&query("")).0, 503, "no number is 500");
        assert_eq!(cost(&query("(last: 10)")), (13, 5));
    }

    #[test]
    fn nodes_are_counted_with_what_they_hold_and_of_fragments_the_dearest() {
        let jobs = |node: &str| {
            cost(&format!("{{ organization(slug: \"o\") {{ jobs(first: 10) {{ count pageInfo {{ hasNextPage }} edges {{ cursor node {{ {node} }} }} }} }} }}")).0
        };
        assert_eq!(jobs("__typename"), 1 + 1 + 1 + 1 + 10);
        assert_eq!(
            jobs("... on JobTypeCommand { uuid build { number } step { key } }"),
            4 + 10 * 3
        );
        assert_eq!(
            jobs(
                "... on JobTypeCommand { build { number } step { key } } ... on JobTypeWait { build { number } }"
            ),
            4 + 10 * 3
        );
    }
}
