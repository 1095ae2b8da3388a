//! `bulkInsert` and `insert`: from the request to the accepted operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::Rng;

use super::catalog::region_of;
use super::check::{Judge, check_hostname, check_name};
use super::error::{ApiError, OpError};
use super::instance::Shape;
use super::method;
use super::model::{Call, Model, Place};
use super::operation::{BulkState, Kind, NewOperation, Operation, Scope, ZoneCount};
use super::plan::{Fate, Planned};
use super::request_id::Asked;
use super::spec::{Bulk, Single, TargetShape};
use super::switches::QuotaRefusal;
use super::wish::{Named, Room, Wish};

impl Model {
    /// `regionInstances.bulkInsert` or, in a zone, `instances.bulkInsert`.
    pub fn bulk_insert(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        place: Place<'_>,
        request_id: Option<&str>,
        bulk: Bulk,
    ) -> Result<Operation, ApiError> {
        let method = if matches!(place, Place::Zone(_)) {
            &method::BULK_INSERT
        } else {
            &method::REGION_BULK_INSERT
        };
        self.api(call, method, project, place, |model, call, project| {
            call.count = bulk.count;
            let bulk = Arc::new(bulk);
            let asked = Asked::Bulk(place.scope(), bulk.clone());
            if let Some(known) = model.replayed(project, request_id, &asked)? {
                return model.operation_by_id(known);
            }
            model.check_bulk_rate(call, project)?;
            let mut wish = model.bulk_wish(project, place, &bulk)?;
            model.check_concurrent(project, place.region(), "bulkInsert")?;
            let min_count = bulk.min_count.unwrap_or(bulk.count);
            let plan = match doom(&bulk, min_count) {
                Some(error) => doomed(&wish, &error),
                None => model.plan(call, &mut wish)?,
            };
            model.refuse_short(project, min_count, &plan)?;
            let group = Some(model.new_group());
            let operation = model.new_operation(
                call,
                NewOperation {
                    project,
                    scope: place.scope(),
                    kind: Kind::BulkInsert,
                    method,
                    group,
                    request_id: request_id.filter(|id| !id.is_empty()).map(Arc::from),
                    target: None,
                    parent: None,
                },
            );
            model.note_request(project, request_id, operation, asked);
            model.projects[project].bulk_running += 1;
            if let Some(operation) = model.operations.get_mut(operation) {
                operation.bulk = Some(Box::new(bulk_state(bulk.count, min_count, plan)));
            }
            model.operation_by_id(operation)
        })
    }

    /// `instances.insert`.
    pub fn insert(
        &mut self,
        call: &mut Call<'_>,
        project: &str,
        zone: &str,
        request_id: Option<&str>,
        single: Single,
    ) -> Result<Operation, ApiError> {
        self.api(
            call,
            &method::INSERT,
            project,
            Place::Zone(zone),
            |model, call, project| {
                call.count = 1;
                let single = Arc::new(single);
                let zone: Arc<str> = zone.into();
                let asked = Asked::Insert(zone.clone(), single.clone());
                if let Some(known) = model.replayed(project, request_id, &asked)? {
                    return model.operation_by_id(known);
                }
                check_name("resource.name", &single.name)?;
                check_hostname("resource.hostname", single.hostname.as_deref())?;
                let id = model.project_id(project);
                let judge = Judge {
                    zone: Some(&zone),
                    ..model.judge(project, region_of(&zone), "resource")
                };
                let type_name = judge.type_in_zone(&zone, &single.template.machine_type)?;
                let shape = Arc::new(judge.shape(&type_name, &single.template)?);
                model.check_offered(&zone, &shape, "resource")?;
                let name: Arc<str> = single.name.as_str().into();
                if model.names.contains_key(&(project, zone.clone(), name.clone())) {
                    return Err(ApiError::already_exists(&format!(
                        "projects/{id}/zones/{zone}/instances/{name}"
                    )));
                }
                model.check_concurrent(project, region_of(&zone), "insert")?;
                let mut wish = Wish {
                    project,
                    region: region_of(&zone).into(),
                    names: vec![(name.clone(), single.hostname.clone())],
                    rooms: vec![Room {
                        zone: zone.clone(),
                        left: None,
                    }],
                    shapes: vec![shape],
                    spread: TargetShape::AnySingleZone,
                };
                let plan = model.plan(call, &mut wish)?;
                model.refuse_short(project, 1, &plan)?;
                let planned = plan.into_iter().next().expect("one name has one fate");
                let target = model.target_of(&planned);
                let operation = model.new_operation(
                    call,
                    NewOperation {
                        project,
                        scope: Scope::Zone(zone),
                        kind: Kind::Insert,
                        method: &method::INSERT,
                        group: None,
                        request_id: request_id.filter(|id| !id.is_empty()).map(Arc::from),
                        target: Some(target),
                        parent: None,
                    },
                );
                model.note_request(project, request_id, operation, asked);
                if let Some(operation) = model.operations.get_mut(operation) {
                    operation.bulk = Some(Box::new(bulk_state(1, 1, vec![planned])));
                }
                model.operation_by_id(operation)
            },
        )
    }

    pub(super) fn judge<'a>(&'a self, project: usize, region: &'a str, field: &'a str) -> Judge<'a> {
        let project = &self.projects[project];
        Judge {
            catalog: &self.catalog,
            limits: &self.limits,
            project: &project.id,
            number: project.number,
            zone: None,
            region,
            field,
        }
    }

    fn check_bulk_rate(&mut self, call: &Call<'_>, project: usize) -> Result<(), ApiError> {
        if self.projects[project].bulk_running >= self.limits.bulk_running {
            let most = self.limits.bulk_running;
            return Err(ApiError::bulk_rate(&format!(
                "The limit of {most} concurrent bulk insert operations was reached."
            )));
        }
        if !self.projects[project].rates.charge_bulk(&self.limits, call.now) {
            let most = self.limits.bulk_per_second;
            return Err(ApiError::bulk_rate(&format!(
                "The limit of {most} bulk insert requests per second was exceeded."
            )));
        }
        Ok(())
    }

    /// Refuses over the concurrent-operations quota.
    pub(super) fn check_concurrent(&self, project: usize, region: &str, kind: &str) -> Result<(), ApiError> {
        let project = &self.projects[project];
        let running = project
            .operations_running
            .get(region)
            .copied()
            .unwrap_or_default();
        if running < self.limits.concurrent_operations {
            return Ok(());
        }
        let metadatas = [
            ("containerType", "PROJECT"),
            ("containerId", &*project.number.to_string()),
            (
                "quotaMetric",
                "compute.googleapis.com/regional_concurrent_operations",
            ),
            ("quotaLimit", "RegionalConcurrentOperationsPerProject"),
            ("operationType", kind),
            ("location", region),
        ];
        let metadatas = metadatas.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Err(ApiError::concurrent_operations(BTreeMap::from(metadatas)))
    }

    /// Refuses at once what cannot even reach its minimum for a classic quota.
    fn refuse_short(&mut self, project: usize, min_count: u64, plan: &[Planned]) -> Result<(), ApiError> {
        if self.limits.switches.quota_refusal == QuotaRefusal::Operation {
            return Ok(());
        }
        let mut failures = plan.iter().filter_map(|planned| match &planned.fate {
            Fate::Comes { .. } => None,
            Fate::Fails { error, is_late } => Some((error, *is_late)),
        });
        let come = plan
            .iter()
            .filter(|planned| matches!(planned.fate, Fate::Comes { .. }))
            .count() as u64;
        let shortage = |error: &OpError, is_late: bool| match &error.detail {
            super::error::Detail::Quota(shortage) if shortage.is_classic() && !is_late => {
                Some(shortage.clone())
            }
            _ => None,
        };
        if come >= min_count {
            return Ok(());
        }
        let Some(first) = failures
            .next()
            .and_then(|(error, is_late)| shortage(error, is_late))
        else {
            return Ok(());
        };
        if failures.all(|(error, is_late)| shortage(error, is_late).is_some()) {
            self.unplan(project, plan);
            return Err(ApiError::quota(&first));
        }
        Ok(())
    }

    pub(super) fn check_offered(&self, zone: &str, shape: &Shape, field: &str) -> Result<(), ApiError> {
        if self.catalog.offers(zone, &shape.machine.family) {
            return Ok(());
        }
        let name = &shape.machine.name;
        let why = format!("Machine type with name '{name}' does not exist in zone '{zone}'.");
        Err(ApiError::field(&format!("{field}.machineType"), name, &why))
    }

    /// An id that no instance ever had.
    pub(super) fn new_instance_id(&mut self) -> u64 {
        loop {
            let id = self
                .rng
                .random_range(1_000_000_000_000_000_000..9_000_000_000_000_000_000_u64);
            if !self.instances.contains_key(&id) {
                return id;
            }
        }
    }
}

/// What a request fails with inside, although it passes validation: a machine type given as a URL, and
/// confidential machines that should move to another host, which say nothing but that the minimum is not
/// reached (wire reference, section 1.9).
fn doom(bulk: &Bulk, min_count: u64) -> Option<OpError> {
    let template = &bulk.template;
    if template.machine_type.contains('/') {
        return Some(OpError::internal());
    }
    let moves = template.scheduling.maintenance() != "TERMINATE";
    (template.is_confidential() && moves).then(|| OpError::min_count(min_count))
}

/// All machines of the request fail alike.
fn doomed(wish: &Wish, error: &OpError) -> Vec<Planned> {
    let planned = |(name, hostname): &Named| Planned {
        name: name.clone(),
        hostname: hostname.clone(),
        zone: wish.rooms[0].zone.clone(),
        shape: wish.shapes[0].clone(),
        fate: Fate::Fails {
            error: error.clone(),
            is_late: false,
        },
    };
    wish.names.iter().map(planned).collect()
}

fn bulk_state(count: u64, min_count: u64, plan: Vec<Planned>) -> BulkState {
    let mut zones: BTreeMap<Arc<str>, ZoneCount> = BTreeMap::new();
    for planned in &plan {
        let zone = zones.entry(planned.zone.clone()).or_default();
        zone.target += 1;
        zone.open += 1;
    }
    let open = u32::try_from(plan.len()).unwrap_or(u32::MAX);
    BulkState {
        count,
        min_count,
        zones,
        is_rolling_back: false,
        plan,
        open,
        failures: Vec::new(),
        created: Vec::new(),
        rolling: 0,
    }
}

/// A UUID of the model's own randomness.
pub(super) fn model_uuid(model: &mut Model) -> String {
    uuid::Builder::from_random_bytes(model.rng.random())
        .into_uuid()
        .to_string()
}
