//! The bodies of `bulkInsert`, `insert`, `setLabels` and `setMetadata`.

use std::collections::BTreeMap;

use indexmap::IndexMap;

use super::fields::Fields;
use super::form::{self, Form};
use super::machine::{For, disk, template};
use crate::gce::error::ApiError;
use crate::gce::spec::{Bulk, Location, LocationPolicy, Names, Selection, Single, TargetShape};

pub(super) type Read<T> = Result<T, ApiError>;

/// Fields of an instance that only Google writes.
const OUTPUT_ONLY: &[&str] = &[
    "kind",
    "id",
    "creationTimestamp",
    "status",
    "statusMessage",
    "zone",
    "selfLink",
    "cpuPlatform",
    "labelFingerprint",
    "fingerprint",
    "startRestricted",
    "lastStartTimestamp",
    "lastStopTimestamp",
    "lastSuspendedTimestamp",
    "resourceStatus",
    "satisfiesPzi",
    "satisfiesPzs",
    "displayDevice",
    "eraseWindowsVssSignature",
    "shieldedInstanceIntegrityPolicy",
];

/// The body of a bulk insert.
pub(super) fn bulk(body: &[u8]) -> Read<Bulk> {
    let mut fields = Fields::of_body("resource", body)?;
    refuse_template(&fields.text("sourceInstanceTemplate")?)?;
    let count = fields
        .count("count")?
        .ok_or_else(|| ApiError::required("resource.count"))?;
    let min_count = fields.count("minCount")?;
    let names = names(&mut fields)?;
    let mut properties = fields
        .object("instanceProperties")?
        .ok_or_else(|| ApiError::required("resource.instanceProperties"))?;
    let template = template(&mut properties, For::Bulk)?;
    properties.check(&[("resourceManagerTags", Form::Map)])?;
    properties.end()?;
    let policy = fields
        .object("locationPolicy")?
        .map_or_else(|| Ok(LocationPolicy::default()), location_policy)?;
    let flexibility = fields
        .object("instanceFlexibilityPolicy")?
        .map_or_else(|| Ok(Vec::new()), flexibility)?;
    fields.ignore(&["kind"]);
    fields.end()?;
    Ok(Bulk {
        count,
        min_count,
        names,
        template,
        policy,
        flexibility,
    })
}

/// The body of an insert.
pub(super) fn single(body: &[u8]) -> Read<Single> {
    let mut fields = Fields::of_body("resource", body)?;
    let name = fields
        .text("name")?
        .ok_or_else(|| ApiError::required("resource.name"))?;
    let hostname = fields.text("hostname")?.filter(|hostname| !hostname.is_empty());
    let mut template = template(&mut fields, For::Insert)?;
    template.is_protected = fields.flag("deletionProtection")?.unwrap_or_default();
    fields.not_built(&[
        "sourceMachineImage",
        "sourceMachineImageEncryptionKey",
        "instanceEncryptionKey",
    ])?;
    fields.ignore(OUTPUT_ONLY);
    fields.check(form::PARAMS)?;
    fields.end()?;
    Ok(Single {
        name,
        hostname,
        template,
    })
}

/// No machine images exist here.
pub(super) fn refuse_machine_image(image: Option<&str>) -> Read<()> {
    match image.filter(|image| !image.is_empty()) {
        None => Ok(()),
        Some(_) => Err(ApiError::not_built("sourceMachineImage")),
    }
}

/// No instance templates exist here.
pub(super) fn refuse_template(template: &Option<String>) -> Read<()> {
    match template.as_deref().filter(|template| !template.is_empty()) {
        None => Ok(()),
        Some(template) => Err(ApiError::not_found(template)),
    }
}

fn names(fields: &mut Fields) -> Read<Names> {
    let pattern = fields.text("namePattern")?.filter(|pattern| !pattern.is_empty());
    let mut each = IndexMap::new();
    if let Some(given) = fields.object("perInstanceProperties")? {
        for (name, mut properties) in given.named_objects()? {
            let hostname = properties
                .text("hostname")?
                .filter(|hostname| !hostname.is_empty());
            properties.check(&[("name", Form::Text)])?;
            properties.end()?;
            each.insert(name, hostname);
        }
    }
    Ok(match (pattern, each.is_empty()) {
        (None, true) => Names::Missing,
        (Some(_), false) => Names::Both,
        (Some(pattern), true) => Names::Pattern(pattern),
        (None, false) => Names::Each(each),
    })
}

fn location_policy(mut fields: Fields) -> Read<LocationPolicy> {
    let shape = fields.name_of("targetShape", &["ANY", "ANY_SINGLE_ZONE", "BALANCED"])?;
    let mut policy = LocationPolicy {
        shape: match shape.as_deref() {
            Some("ANY") => TargetShape::Any,
            Some("BALANCED") => TargetShape::Balanced,
            _ => TargetShape::AnySingleZone,
        },
        ..LocationPolicy::default()
    };
    if let Some(locations) = fields.object("locations")? {
        for (url, mut location) in locations.named_objects()? {
            let preference = location.name_of("preference", &["ALLOW", "DENY", "PREFERENCE_UNSPECIFIED"])?;
            let mut max_count = None;
            if let Some(mut constraints) = location.object("constraints")? {
                max_count = constraints.count("maxCount")?;
                constraints.end()?;
            }
            location.end()?;
            let is_allowed = preference.as_deref() != Some("DENY");
            policy.locations.insert(
                zone_name(&url)?,
                Location {
                    is_allowed,
                    max_count,
                },
            );
        }
    }
    for mut zone in fields.objects("zones")? {
        let url = zone.text("zone")?.unwrap_or_default();
        zone.end()?;
        policy.zones.push(zone_name(&url)?);
    }
    fields.end()?;
    Ok(policy)
}

/// `us-central1-a` of `zones/us-central1-a`, or of a longer URL.
fn zone_name(url: &str) -> Read<String> {
    let (before, name) = url.rsplit_once('/').unwrap_or(("", ""));
    match (before == "zones" || before.ends_with("/zones")) && !name.is_empty() {
        true => Ok(name.to_owned()),
        false => Err(ApiError::field(
            "resource.locationPolicy.locations",
            url,
            "Must be of the form 'zones/ZONE'.",
        )),
    }
}

fn flexibility(mut fields: Fields) -> Read<Vec<Selection>> {
    let mut selections = Vec::new();
    if let Some(given) = fields.object("instanceSelections")? {
        for (_, mut one) in given.named_objects()? {
            let mut selection = Selection {
                rank: one.integer("rank")?.unwrap_or_default(),
                machine_types: one.texts("machineTypes")?,
                disks: None,
            };
            let disks = one.objects("disks")?;
            if !disks.is_empty() {
                selection.disks = Some(
                    disks
                        .into_iter()
                        .map(|one| disk(one, For::Bulk))
                        .collect::<Read<_>>()?,
                );
            }
            one.check(&[("minCpuPlatform", Form::Text)])?;
            one.end()?;
            selections.push(selection);
        }
    }
    fields.end()?;
    Ok(selections)
}

pub(super) fn metadata_items(mut fields: Fields) -> Read<(String, IndexMap<String, String>)> {
    let fingerprint = fields.text("fingerprint")?.unwrap_or_default();
    let mut items = IndexMap::new();
    for mut item in fields.objects("items")? {
        let key = item.text("key")?.unwrap_or_default();
        let value = item.text("value")?.unwrap_or_default();
        item.end()?;
        if items.insert(key.clone(), value).is_some() {
            return Err(ApiError::field(
                "metadata.items.key",
                &key,
                "Metadata key is there twice.",
            ));
        }
    }
    fields.ignore(&["kind"]);
    fields.end()?;
    Ok((fingerprint, items))
}

/// The body of `setMetadata`: fingerprint and items.
pub(super) fn metadata(body: &[u8]) -> Read<(String, IndexMap<String, String>)> {
    metadata_items(Fields::of_body("metadata", body)?)
}

/// The body of `setLabels`: fingerprint and labels.
pub(super) fn labels(body: &[u8]) -> Read<(String, BTreeMap<String, String>)> {
    let mut fields = Fields::of_body("", body)?;
    let fingerprint = fields.text("labelFingerprint")?.unwrap_or_default();
    let labels = fields
        .object("labels")?
        .map_or_else(|| Ok(Vec::new()), Fields::named_texts)?;
    fields.end()?;
    Ok((fingerprint, labels.into_iter().collect()))
}
