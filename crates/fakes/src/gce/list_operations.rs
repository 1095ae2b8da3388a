//! Lists of operations: by zone, by region, global, and of all scopes.

use std::borrow::Cow;

use serde_json::Value;

use super::error::ApiError;
use super::filter::{Field, Record};
use super::list::{Page, Query};
use super::method;
use super::model::{Call, Model, Place};
use super::operation::{Operation, Scope};
use super::show;

impl Model {
    /// `zoneOperations.list`, `regionOperations.list`, `globalOperations.list`.
    pub fn list_operations(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        place: Place<'_>,
        query: Query<'_>,
    ) -> Result<Page<Operation>, ApiError> {
        let method = match place {
            Place::Zone(_) => &method::ZONE_OPERATION_LIST,
            Place::Region(_) => &method::REGION_OPERATION_LIST,
            Place::Global => &method::GLOBAL_OPERATION_LIST,
        };
        self.api(call, method, project, place, |model, call, project| {
            let scopes = [place.scope()];
            let page = model.operations_page(project, &scopes, &query)?;
            call.count = page.items.len() as u64;
            Ok(page)
        })
    }

    /// `globalOperations.aggregatedList`.
    pub fn aggregated_operations(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        query: Query<'_>,
    ) -> Result<Page<Operation>, ApiError> {
        self.api(
            call,
            &method::OPERATION_AGGREGATED_LIST,
            project,
            Place::Global,
            |model, call, project| {
                let scopes: Vec<Scope> = model.operations.scopes(project).cloned().collect();
                let page = model.operations_page(project, &scopes, &query)?;
                call.count = page.items.len() as u64;
                Ok(page)
            },
        )
    }

    fn operations_page(
        &self,
        project: usize,
        scopes: &[Scope],
        query: &Query<'_>,
    ) -> Result<Page<Operation>, ApiError> {
        let plan = query.judge()?;
        let (id, number) = (&self.projects[project].id, self.projects[project].number);
        let mut all: Vec<&Operation> = scopes
            .iter()
            .flat_map(|scope| self.operations.in_scope(project, scope))
            .collect();
        let key = |operation: &Operation| {
            if plan.newest_first {
                u64::MAX - operation.id
            } else {
                operation.id
            }
        };
        all.sort_by_key(|operation| key(operation));
        let records = all.into_iter().map(|operation| {
            (
                format!("{:020}", key(operation)),
                OperationRecord {
                    project: id,
                    number,
                    operation,
                },
            )
        });
        let passes =
            |record: &OperationRecord<'_>| plan.filter.as_ref().is_none_or(|filter| filter.passes(record));
        let page = plan.page(records, passes);
        let items = page
            .items
            .into_iter()
            .map(|record| record.operation.clone())
            .collect();
        Ok(Page {
            items,
            next: page.next,
        })
    }
}

struct OperationRecord<'m> {
    project: &'m str,
    number: u64,
    operation: &'m Operation,
}

impl Record for OperationRecord<'_> {
    fn field(&self, path: &str) -> Field<'_> {
        let operation = self.operation;
        match path {
            "name" => Field::Is(Cow::Borrowed(&operation.name)),
            "status" => Field::Is(Cow::Borrowed(operation.progress.name())),
            "operationType" => Field::Is(Cow::Borrowed(operation.kind.name())),
            "operationGroupId" => operation
                .group
                .as_deref()
                .map_or(Field::Absent, |group| Field::Is(group.into())),
            "clientOperationId" => operation
                .request_id
                .as_deref()
                .map_or(Field::Absent, |id| Field::Is(id.into())),
            "creationTimestamp" | "insertTime" => {
                Field::Is(Cow::Owned(show::timestamp(operation.inserted_ns)))
            }
            "targetId" => operation
                .target
                .as_ref()
                .map_or(Field::Absent, |target| Field::Is(target.id.to_string().into())),
            _ => Field::Look,
        }
    }

    fn whole(&self) -> Value {
        show::operation(self.project, self.number, self.operation)
    }
}
