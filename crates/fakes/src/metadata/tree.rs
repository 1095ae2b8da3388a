//! The tree of values under `/computeMetadata/v1`.

use serde_json::{Map, Value, json};

use super::token::account;
use crate::gce;

/// Everything a machine can read about itself without side effects, as one tree. Names are as in paths; the
/// recursive JSON form of the real server writes them in camel case, which [`camel`] does.
pub(super) fn tree(gce: &gce::Model, instance: &gce::Instance) -> Value {
    let (project, number) = gce.project_of(instance);
    let zone = &instance.zone;
    let attributes: Map<String, Value> = instance
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect();
    let scheduling = &instance.shape.template.scheduling;
    let yes = |flag: bool| if flag { "TRUE" } else { "FALSE" };
    let mut out = json!({
        "instance": {
            "attributes": attributes,
            "cpu-platform": gce.show_instance(instance)["cpuPlatform"],
            "hostname": gce.hostname(instance),
            "id": instance.id,
            "machine-type": format!("projects/{number}/machineTypes/{}", instance.shape.machine.name),
            "maintenance-event": instance.maintenance_event(),
            "name": &*instance.name,
            "network-interfaces": { "0": { "ip": gce.internal_address(instance) } },
            "preempted": yes(instance.is_preempted),
            "scheduling": {
                "automatic-restart": yes(scheduling.restarts()),
                "on-host-maintenance": scheduling.maintenance(),
                "preemptible": yes(scheduling.is_spot()),
            },
            "tags": instance.shape.template.tags,
            "zone": format!("projects/{number}/zones/{zone}"),
        },
        "project": { "attributes": {}, "numeric-project-id": number, "project-id": project },
        "universe": { "universe-domain": "googleapis.com" },
    });
    if let (Some(email), Some((_, scopes))) =
        (account(gce, instance), &instance.shape.template.service_account)
    {
        let one = json!({ "aliases": ["default"], "email": email, "scopes": scopes });
        out["instance"]["service-accounts"] = json!({ email: one, "default": one });
    } else {
        out["instance"]["service-accounts"] = json!({});
    }
    if gce::has_guest_attributes(instance) {
        let mut spaces = Map::new();
        for ((space, key), value) in &instance.guest_attributes {
            let space = spaces.entry(space.clone()).or_insert_with(|| json!({}));
            space[key] = json!(value);
        }
        out["instance"]["guest-attributes"] = Value::Object(spaces);
    }
    out
}

/// What stands at a path, if anything does.
pub(super) fn at<'t>(tree: &'t Value, path: &[&str]) -> Option<&'t Value> {
    path.iter()
        .filter(|part| !part.is_empty())
        .try_fold(tree, |value, part| value.get(part))
}

/// A leaf as text; a folder as its entries, folders with a slash.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| {
                if value.is_object() {
                    format!("{key}/\n")
                } else {
                    format!("{key}\n")
                }
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .filter_map(Value::as_str)
            .map(|item| format!("{item}\n"))
            .collect(),
        other => other.to_string(),
    }
}

/// The recursive form: keys in camel case, but for what people named themselves.
pub(super) fn camel(value: &Value, is_named_by_people: bool) -> Value {
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| {
                let people = matches!(
                    key.as_str(),
                    "attributes" | "guest-attributes" | "service-accounts"
                ) || (is_named_by_people && value.is_object());
                let name = if is_named_by_people {
                    key.clone()
                } else {
                    camel_name(key)
                };
                (
                    name,
                    camel(value, people && key != "default" && !key.contains('@')),
                )
            })
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn camel_name(name: &str) -> String {
    let mut parts = name.split('-');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut out, part| {
        let mut letters = part.chars();
        out.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        out + letters.as_str()
    })
}
