//! Each method: its body and query in, the typed call, its resource out.

use std::sync::Arc;

use serde_json::{Value, json};

use super::body;
use super::guest::{guest_attributes, serial};
use super::route::Route;
use crate::gce::act::At;
use crate::gce::error::ApiError;
use crate::gce::list::{Page, Query};
use crate::gce::model::{Call, Model, Place};
use crate::gce::show;
use crate::wire::Request;

pub(super) fn reply(
    model: &mut Model,
    call: &mut Call<'_>,
    request: &Request,
    route: Route<'_>,
) -> Result<Value, ApiError> {
    let Route {
        method,
        project,
        place,
        name,
    } = route;
    let request_id = request.query("requestId");
    let zone = if let Place::Zone(zone) = place { zone } else { "" };
    let region = place.region();
    let at = At { project, zone, name };
    let path = || format!("projects/{project}/{}", place.scope().path());
    let operation = match method.name {
        "compute.regionInstances.bulkInsert" | "compute.instances.bulkInsert" => {
            let bulk = body::bulk(&request.body)
                .map_err(|error| model.refuse(call, method, project, place, error))?;
            model.bulk_insert(call, project, place, request_id, bulk)?
        }
        "compute.instances.insert" => {
            let template = request.query("sourceInstanceTemplate").map(str::to_owned);
            let single = body::refuse_template(&template)
                .and_then(|()| body::refuse_machine_image(request.query("sourceMachineImage")))
                .and_then(|()| body::single(&request.body));
            let single = single.map_err(|error| model.refuse(call, method, project, place, error))?;
            model.insert(call, project, zone, request_id, single)?
        }
        "compute.instances.delete" => model.delete(call, at, request_id)?,
        "compute.instances.stop" => model.stop(call, at, request_id)?,
        "compute.instances.start" => model.start(call, at, request_id)?,
        "compute.instances.reset" => model.reset(call, at, request_id)?,
        "compute.instances.simulateMaintenanceEvent" => model.simulate_maintenance(call, at, request_id)?,
        "compute.instances.setLabels" => {
            let read = body::labels(&request.body);
            let (fingerprint, labels) =
                read.map_err(|error| model.refuse(call, method, project, place, error))?;
            model.set_labels(call, at, request_id, &fingerprint, labels)?
        }
        "compute.instances.setMetadata" => {
            let read = body::metadata(&request.body);
            let (fingerprint, items) =
                read.map_err(|error| model.refuse(call, method, project, place, error))?;
            model.set_metadata(call, at, request_id, &fingerprint, items)?
        }
        "compute.instances.suspend" | "compute.instances.resume" => {
            return Err(model.refuse(call, method, project, place, ApiError::not_built(method.name)));
        }
        "compute.zoneOperations.get" | "compute.regionOperations.get" | "compute.globalOperations.get" => {
            model.get_operation(call, project, place, name)?
        }
        "compute.zoneOperations.delete"
        | "compute.regionOperations.delete"
        | "compute.globalOperations.delete" => {
            model.delete_operation(call, project, place, name)?;
            // An empty object suits all clients; one of them cannot read an empty 204.
            return Ok(json!({}));
        }
        "compute.instances.get" => {
            let instance = model.get_instance(call, at)?;
            return Ok(model.show_instance(&instance));
        }
        "compute.instances.list" => {
            let page = model.list_instances(call, project, zone, query(request))?;
            let items = page
                .items
                .iter()
                .map(|instance| model.show_instance(instance))
                .collect();
            return Ok(show::list(
                "compute#instanceList",
                &format!("{}/instances", path()),
                items,
                page.next,
            ));
        }
        "compute.instances.aggregatedList" => {
            let page = model.aggregated_list(call, project, query(request))?;
            let items = page.items.iter();
            let items = items
                .map(|one| (format!("zones/{}", one.zone), model.show_instance(one)))
                .collect();
            let scopes = by_scope(show::zone_scopes(&model.all_zones()), items);
            let path = format!("projects/{project}/aggregated/instances");
            return Ok(show::aggregated(
                "compute#instanceAggregatedList",
                &path,
                "instances",
                scopes,
                page.next,
            ));
        }
        "compute.instances.getSerialPortOutput" => return serial(model, call, request, at),
        "compute.instances.getGuestAttributes" => return guest_attributes(model, call, request, at),
        "compute.zoneOperations.list" | "compute.regionOperations.list" | "compute.globalOperations.list" => {
            let page = model.list_operations(call, project, place, query(request))?;
            let items = page
                .items
                .iter()
                .map(|operation| model.show_operation(operation))
                .collect();
            return Ok(show::list(
                "compute#operationList",
                &format!("{}/operations", path()),
                items,
                page.next,
            ));
        }
        "compute.globalOperations.aggregatedList" => {
            let page = model.aggregated_operations(call, project, query(request))?;
            let items = page.items.iter();
            let items = items
                .map(|one| (one.scope.path(), model.show_operation(one)))
                .collect();
            let mut scopes = show::zone_scopes(&model.all_zones());
            let regions = model.limits().regions.iter();
            scopes.extend(regions.map(|region| (format!("regions/{region}"), Vec::new())));
            scopes.push(("global".into(), Vec::new()));
            let scopes = by_scope(scopes, items);
            let path = format!("projects/{project}/aggregated/operations");
            return Ok(show::aggregated(
                "compute#operationAggregatedList",
                &path,
                "operations",
                scopes,
                page.next,
            ));
        }
        "compute.regions.get" => {
            let region = model.region(call, project, region)?;
            return Ok(show::region(project, &region));
        }
        "compute.regions.list" => {
            let all = model.regions(call, project)?;
            let items = all.iter().map(|region| show::region(project, region)).collect();
            return listed(
                request,
                "compute#regionList",
                &format!("projects/{project}/regions"),
                items,
            );
        }
        "compute.zones.get" => {
            let zone = model.zone(call, project, zone)?;
            return Ok(show::zone(project, &zone));
        }
        "compute.zones.list" => {
            let all = model.zones(call, project)?;
            let items = all.iter().map(|zone| show::zone(project, zone)).collect();
            return listed(
                request,
                "compute#zoneList",
                &format!("projects/{project}/zones"),
                items,
            );
        }
        "compute.machineTypes.get" => {
            let machine = model.machine_type(call, project, zone, name)?;
            return Ok(show::machine_type(project, zone, &machine));
        }
        "compute.machineTypes.list" => {
            let all = model.machine_types(call, project, zone)?;
            let items = all
                .iter()
                .map(|machine| show::machine_type(project, zone, machine))
                .collect();
            return listed(
                request,
                "compute#machineTypeList",
                &format!("{}/machineTypes", path()),
                items,
            );
        }
        "compute.machineTypes.aggregatedList" => return aggregated_types(model, call, request, project),
        "compute.subnetworks.get" => {
            let subnet = model.subnetwork(call, project, region, name)?;
            return Ok(show::subnetwork(project, &subnet, with_utilization(request)?));
        }
        "compute.subnetworks.list" => {
            let subnet = model.subnetworks(call, project, region)?;
            let shown = show::subnetwork(project, &subnet, with_utilization(request)?);
            let path = format!("projects/{project}/regions/{region}/subnetworks");
            return listed(request, "compute#subnetworkList", &path, vec![shown]);
        }
        "compute.images.get" => {
            let image = model.image(call, project, name)?;
            return Ok(show::image(project, &image));
        }
        "compute.images.getFromFamily" => {
            let image = model.image_of_family(call, project, name)?;
            return Ok(show::image(project, &image));
        }
        "compute.projects.get" => {
            let (number, quotas) = model.project(call, project)?;
            return Ok(show::project(project, number, &quotas));
        }
        other => return Err(model.refuse(call, method, project, place, ApiError::not_built(other))),
    };
    Ok(model.show_operation(&operation))
}

/// Whether `views` asks for the use of addresses.
fn with_utilization(request: &Request) -> Result<bool, ApiError> {
    match request.query("views") {
        None | Some("DEFAULT") => Ok(false),
        Some("WITH_UTILIZATION") => Ok(true),
        Some(other) => Err(ApiError::invalid(format!(
            "Invalid value at 'views' (type.googleapis.com/google.cloud.compute.v1.SubnetworkView), \"{other}\""
        ))),
    }
}

fn query(request: &Request) -> Query<'_> {
    Query {
        filter: request.query("filter"),
        max_results: request.query("maxResults"),
        order_by: request.query("orderBy"),
        page_token: request.query("pageToken"),
    }
}

/// Filters and pages resources that are all rendered already, by name.
fn page_of(request: &Request, items: Vec<(String, Value)>) -> Result<Page<(String, Value)>, ApiError> {
    let plan = query(request).judge()?;
    let keyed = items.into_iter().map(|item| (item.0.clone(), item));
    Ok(plan.page(keyed, |(_, item)| {
        plan.filter.as_ref().is_none_or(|filter| filter.passes(item))
    }))
}

fn listed(request: &Request, kind: &str, path: &str, items: Vec<Value>) -> Result<Value, ApiError> {
    let named = items
        .into_iter()
        .map(|item| (item["name"].as_str().unwrap_or_default().to_owned(), item));
    let page = page_of(request, named.collect())?;
    let items = page.items.into_iter().map(|(_, item)| item).collect();
    Ok(show::list(kind, path, items, page.next))
}

/// Puts items into their scopes. Every scope is on every page, with a warning where it has nothing.
fn by_scope(mut scopes: Vec<(String, Vec<Value>)>, items: Vec<(String, Value)>) -> Vec<(String, Vec<Value>)> {
    for (scope, item) in items {
        match scopes.iter_mut().find(|(known, _)| *known == scope) {
            Some((_, items)) => items.push(item),
            None => scopes.push((scope, vec![item])),
        }
    }
    scopes
}

fn aggregated_types(
    model: &mut Model,
    call: &mut Call<'_>,
    request: &Request,
    project: &str,
) -> Result<Value, ApiError> {
    let all = model.aggregated_machine_types(call, project)?;
    let items = all
        .iter()
        .map(|(zone, machine)| {
            (
                format!("zones/{zone}/{}", machine.name),
                show::machine_type(project, zone, machine),
            )
        })
        .collect();
    let page = page_of(request, items)?;
    let items = page.items.into_iter().map(|(key, item)| {
        let scope = key
            .rsplit_once('/')
            .map(|(scope, _)| scope.to_owned())
            .unwrap_or_default();
        (scope, item)
    });
    let zones: Vec<Arc<str>> = model.all_zones();
    let scopes = by_scope(show::zone_scopes(&zones), items.collect());
    let path = format!("projects/{project}/aggregated/machineTypes");
    Ok(show::aggregated(
        "compute#machineTypeAggregatedList",
        &path,
        "machineTypes",
        scopes,
        page.next,
    ))
}
