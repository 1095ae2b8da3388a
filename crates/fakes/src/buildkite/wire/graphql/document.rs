//! The schema, and documents read and validated against it, with messages as the real service words them.

use std::sync::OnceLock;

use apollo_compiler::ast;
use apollo_compiler::validation::Valid;
use apollo_compiler::{ExecutableDocument, Schema};
use regex::Regex;
use serde_json::{Value, json};

const SDL: &str = include_str!("schema.graphql");

/// The schema of this fake.
pub(in crate::buildkite) fn schema() -> &'static Valid<Schema> {
    static SCHEMA: OnceLock<Valid<Schema>> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        Schema::parse_and_validate(SDL, "schema.graphql")
            .expect("the schema is part of the program and tested")
    })
}

/// Reads a document and validates it; otherwise the `errors` of the reply.
pub(super) fn read(query: &str) -> Result<Valid<ExecutableDocument>, Vec<Value>> {
    ExecutableDocument::parse_and_validate(schema(), query, "query").map_err(|broken| {
        let errors = broken.errors.iter().map(|diagnostic| diagnostic.to_json());
        let (mut known, mut other) = (Vec::new(), Vec::new());
        for error in errors {
            let words = worded(&error.message);
            let into = if words.is_some() { &mut known } else { &mut other };
            let message = words.unwrap_or(error.message);
            into.push(json!({"message": message, "locations": error.locations}));
        }
        // A field that does not exist brings errors about what is selected in it, which tell nothing more.
        if known.is_empty() { other } else { known }
    })
}

/// The message as the real service says it, where that is known: its answers are those of graphql-ruby
/// (`Field 'author' doesn't exist on type 'Build'`, vllm-project/vllm-dashboard#123).
fn worded(message: &str) -> Option<String> {
    static FORMS: OnceLock<[(Regex, &str); 2]> = OnceLock::new();
    let forms = FORMS.get_or_init(|| {
        let form = |pattern: &str| Regex::new(pattern).expect("a pattern of the program");
        [
            (
                form("^type `(?<type>[^`]+)` does not have a field `(?<field>[^`]+)`$"),
                "Field '$field' doesn't exist on type '$type'",
            ),
            (
                form("^the argument `(?<argument>[^`]+)` is not supported by `[^`.]+\\.(?<field>[^`]+)`$"),
                "Field '$field' doesn't accept argument '$argument'",
            ),
        ]
    });
    let (form, words) = forms.iter().find(|(form, _)| form.is_match(message))?;
    Some(form.replace(message, *words).into_owned())
}

/// What an operation is called in `api.call` and by faults: its name; without one, its first root field.
/// Works on what cannot be validated too.
pub(super) fn name_of(query: &str, wanted: Option<&str>) -> Option<String> {
    let document = match ast::Document::parse(query, "query") {
        Ok(document) => document,
        Err(broken) => broken.partial,
    };
    let operations = document
        .definitions
        .iter()
        .filter_map(|definition| match definition {
            ast::Definition::OperationDefinition(operation) => Some(operation),
            _ => None,
        });
    let mut operations = operations.filter(|operation| {
        wanted.is_none_or(|wanted| operation.name.as_ref().is_some_and(|name| name == wanted))
    });
    let operation = operations.next()?;
    if let Some(name) = &operation.name {
        return Some(name.to_string());
    }
    operation
        .selection_set
        .iter()
        .find_map(|selection| match selection {
            ast::Selection::Field(field) => Some(field.name.to_string()),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_refused_in_the_words_of_the_real_service() {
        let message = |query: &str| {
            read(query).unwrap_err()[0]["message"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(
            message("{ organization(slug: \"a\") { jobs(first: 1) { nodes { uuid } } } }"),
            "Field 'nodes' doesn't exist on type 'JobConnection'"
        );
        assert_eq!(
            message("{ organization(slug: \"a\", name: \"b\") { id } }"),
            "Field 'organization' doesn't accept argument 'name'"
        );
    }

    #[test]
    fn an_operation_is_named_by_its_name_or_by_its_first_field() {
        assert_eq!(
            name_of("query A { viewer { id } } query B { viewer { id } }", Some("B")).unwrap(),
            "B"
        );
        assert_eq!(name_of("query A { viewer { id } }", None).unwrap(), "A");
        assert_eq!(name_of("{ viewer { id } }", None).unwrap(), "viewer");
        assert_eq!(
            name_of("mutation { jobTypeCommandCancel(input: {id: 1}) {", None).unwrap(),
            "jobTypeCommandCancel"
        );
        assert_eq!(name_of("nonsense", None), None);
    }
}
