//! `[[project]]`: the Google Cloud projects, and where in them machines may be made.

use std::collections::BTreeMap;

use gust_core::{
    budget::Rates,
    ids::{ProjectId, Region, Zone},
    shape::{Arch, Network, STACK_LABEL},
};
use serde::Serialize;
use toml::de::DeValue;
use url::Url;

use super::{
    prepaid::{self, Commitment, Reservation},
    section::{Complaint, Field, Section, choice},
    value,
};

/// Where the keys stand that sign the identity tokens of instances.
/// Source: cloud.google.com/compute/docs/instances/verifying-instance-identity.
const GOOGLE_KEYS: &str = "https://www.googleapis.com/oauth2/v3/certs";

/// How gust proves to Google who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Credentials {
    /// Application default credentials.
    Adc,
    /// None at all: for a stand-in of Google on loopback.
    Anonymous,
}

/// Which zones of a region machines may land in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Zones {
    /// All that the catalog knows.
    All,
    /// These; at least one.
    Only(Vec<Zone>),
}

/// One `[[project]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Regions and their zones; at least one.
    pub regions: BTreeMap<Region, Zones>,
    /// Network that machines join.
    pub network: Network,
    /// E-mail of the machines' service account; it should have no role.
    pub service_account: String,
    /// Boot image by architecture. Jobs of an architecture without one cannot run here.
    pub images: BTreeMap<Arch, String>,
    /// Labels of every machine, besides gust's own.
    pub labels: BTreeMap<String, String>,
    /// The user of the machines that jobs run as; root if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_user: Option<String>,
    /// vCPUs allowed in each region for families whose quota Google's region does not show, such as `C3D`.
    pub family_quotas: BTreeMap<String, u64>,
    /// Calls a minute that Google takes. Left out where nothing is said of them, so that a build that does not know them
    /// yet sees the same configuration.
    #[serde(skip_serializing_if = "Rates::is_default")]
    pub calls_per_minute: Rates,
    /// Committed use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commitments: Vec<Commitment>,
    /// Reservations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reservations: Vec<Reservation>,
    /// Base URL of the Compute API; Google's own if absent.
    pub endpoint: Option<Url>,
    /// How gust proves who it is.
    pub credentials: Credentials,
    /// Where the keys of identity tokens are read.
    pub jwks_url: Url,
}

pub(super) fn read(section: Section<'_>) -> Option<Project> {
    let id = section
        .required("id", "\"my-project-123\"")
        .and_then(|f| f.parsed("a text", project_id));
    let regions = section
        .required("regions", "[\"us-central1\"]")
        .and_then(|f| read_regions(&f));
    let network = read_network(&section);
    let service_account = section
        .required(
            "service_account",
            "\"gust-machine@my-project-123.iam.gserviceaccount.com\"",
        )
        .and_then(|f| f.parsed("an e-mail address", e_mail));
    let images = read_images(&section);
    let labels = read_labels(&section);
    let job_user = section
        .field("job_user")
        .and_then(|f| f.parsed("a text", value::user_name));
    let family_quotas = read_family_quotas(&section);
    let calls_per_minute = read_calls_per_minute(&section);
    let commitments = prepaid::commitments(&section);
    let reservations = prepaid::reservations(&section);
    let endpoint = section
        .field("endpoint")
        .map(|f| f.parsed("a URL", value::endpoint));
    let credentials = read_credentials(&section, endpoint.as_ref().and_then(Option::as_ref));
    let jwks_url = match section.field("jwks_url") {
        Some(field) => field.parsed("a URL", value::endpoint),
        None => Url::parse(GOOGLE_KEYS).ok(),
    };
    section.close();
    Some(Project {
        id: id?,
        regions: regions?,
        network,
        service_account: service_account?,
        images,
        labels,
        job_user,
        family_quotas,
        calls_per_minute,
        commitments,
        reservations,
        endpoint: match endpoint {
            Some(given) => Some(given?),
            None => None,
        },
        credentials,
        jwks_url: jwks_url?,
    })
}

/// Project ids: 6 to 30 characters (cloud.google.com/resource-manager/docs/creating-managing-projects);
/// older ones have a domain in front, `example.com:name`.
fn project_id(text: &str) -> Result<ProjectId, Complaint> {
    let name = text.rsplit_once(':').map_or(text, |(_, name)| name);
    let ok = (6..=30).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.as_bytes()[0].is_ascii_lowercase()
        && !name.ends_with('-');
    if ok {
        return Ok(ProjectId::new(text));
    }
    Err(Complaint::new(format!("`{text}` is no project id"))
        .hint("the id, not the name or number: 6 to 30 characters of a-z, 0-9 and `-`"))
}

fn e_mail(text: &str) -> Result<String, Complaint> {
    let word = value::word(text)?;
    match word.split_once('@') {
        Some((user, host)) if !user.is_empty() && host.contains('.') => Ok(word),
        _ if word == "default" => Err(Complaint::new(
            "`default` is an account with wide roles in many projects",
        )
        .hint("make a service account without roles and give its e-mail address")),
        _ => Err(Complaint::new(format!("`{text}` is no e-mail address"))),
    }
}

/// Region names look like `us-central1`; a zone adds `-a`.
pub(super) fn region_name(text: &str) -> Result<Region, Complaint> {
    let ok = text
        .rsplit_once('-')
        .is_some_and(|(head, tail)| !head.is_empty() && tail.ends_with(|c: char| c.is_ascii_digit()))
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if ok {
        return Ok(Region::new(text));
    }
    let complaint = Complaint::new(format!("`{text}` is no region"));
    let region = Zone::new(text).region();
    // What has no last part to take off is its own region, and is looked at once.
    let inner = (region.as_str() != text).then(|| region_name(region.as_str()));
    Err(match inner {
        Some(Ok(region)) => complaint.hint(format!(
            "it looks like a zone: write {{ {region} = [\"{text}\"] }}"
        )),
        _ => complaint.hint("for example \"us-central1\""),
    })
}

fn read_regions(field: &Field<'_>) -> Option<BTreeMap<Region, Zones>> {
    let mut regions = BTreeMap::new();
    let mut given = 0;
    if let DeValue::Table(_) = field.value {
        for (name, zones) in field.section("a table")?.named() {
            given += 1;
            match region_name(name) {
                Ok(region) => {
                    let zones = read_zones(&region, &zones);
                    regions.insert(region, Zones::Only(zones));
                }
                Err(complaint) => zones.report(complaint),
            }
        }
    } else {
        for item in field.items("a list of regions, or a table of regions with their zones")? {
            given += 1;
            let Some(region) = item.parsed("a region", region_name) else {
                continue;
            };
            if regions.contains_key(&region) {
                item.report(Complaint::new(format!("{region} is named twice")));
            }
            regions.insert(region, Zones::All);
        }
    }
    if given == 0 {
        field.report(Complaint::new("names no region").hint("for example: regions = [\"us-central1\"]"));
    }
    Some(regions)
}

fn read_zones(region: &Region, field: &Field<'_>) -> Vec<Zone> {
    let Some(items) = field.items("a list of zones") else {
        return Vec::new();
    };
    if items.is_empty() {
        field.report(
            Complaint::new("names no zone")
                .hint("name at least one, or write regions as a list to allow all their zones"),
        );
    }
    let read = items.iter().filter_map(|item| {
        item.parsed("a zone", |text| {
            let zone = Zone::new(text);
            if zone.region() == *region {
                return Ok(zone);
            }
            Err(Complaint::new(format!("`{text}` is no zone of {region}"))
                .hint(format!("for example \"{region}-a\"")))
        })
    });
    read.collect()
}

fn read_network(section: &Section<'_>) -> Network {
    let path = |key| {
        section
            .field(key)
            .and_then(|f: Field<'_>| f.parsed("a text", value::word))
    };
    Network {
        network: path("network").unwrap_or_else(|| "global/networks/default".to_owned()),
        subnetwork: path("subnetwork"),
        external_address: section.flag("external_address", false),
    }
}

fn read_images(section: &Section<'_>) -> BTreeMap<Arch, String> {
    let mut images = BTreeMap::new();
    let example = "{ amd64 = \"projects/my-project-123/global/images/family/gust\" }";
    let Some(field) = section.required("images", example) else {
        return images;
    };
    let Some(table) = field.section("a table of images by architecture") else {
        return images;
    };
    for (key, arch) in [("amd64", Arch::Amd64), ("arm64", Arch::Arm64)] {
        if let Some(image) = table.field(key).and_then(|f| f.parsed("a text", value::word)) {
            images.insert(arch, image);
        }
    }
    if table.named().is_empty() {
        field.report(Complaint::new("names no image").hint(format!("for example: images = {example}")));
    }
    table.close();
    images
}

fn read_labels(section: &Section<'_>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let Some(table) = section.section("labels") else {
        return labels;
    };
    for (key, field) in table.named() {
        if key == STACK_LABEL || key.starts_with("gust-") {
            field.report(Complaint::new("labels that start with `gust-` are gust's own"));
            continue;
        }
        if let Err(complaint) = value::label(key, true) {
            field.report(complaint);
            continue;
        }
        let value = field.parsed("a text", |t| value::label(t, false).map(|()| t.to_owned()));
        if let Some(value) = value {
            labels.insert(key.to_owned(), value);
        }
    }
    labels
}

fn read_family_quotas(section: &Section<'_>) -> BTreeMap<String, u64> {
    let mut quotas = BTreeMap::new();
    let Some(table) = section.section("family_quotas") else {
        return quotas;
    };
    for (family, field) in table.named() {
        if value::name(family, 10, "").is_err() || family != family.to_uppercase() {
            field.report(
                Complaint::new(format!(
                    "`{family}` is no machine family as Google's quotas name it"
                ))
                .hint("in capitals, for example C3D = 500"),
            );
        } else if let Some(limit) = field.integer(0..=10_000_000) {
            quotas.insert(family.to_owned(), limit);
        }
    }
    quotas
}

/// The quotas of "Queries per minute" as the console shows them, or as they were raised.
fn read_calls_per_minute(section: &Section<'_>) -> Rates {
    let defaults = Rates::default();
    let Some(table) = section.section("calls_per_minute") else {
        return defaults;
    };
    // Google's own limits end far below; ten is the least with which deletions still get a turn each half minute.
    let calls = |key, default: u32| {
        u32::try_from(table.integer(key, 10..=10_000_000, u64::from(default))).unwrap_or(default)
    };
    let rates = Rates {
        writes: calls("writes", defaults.writes),
        reads: calls("reads", defaults.reads),
        lists: calls("lists", defaults.lists),
        operation_reads: calls("operation_reads", defaults.operation_reads),
        waits: calls("waits", defaults.waits),
        global_reads: calls("global_reads", defaults.global_reads),
        simplified: table.flag("simplified", defaults.simplified),
    };
    for key in ["lists", "operation_reads", "waits"] {
        if let Some(field) = table.field(key).filter(|_| rates.simplified) {
            field.report(
                Complaint::new("a project on the simplified scheme has one limit for all reads of a region")
                    .hint("set `reads` only"),
            );
        }
    }
    table.close();
    rates
}

fn read_credentials(section: &Section<'_>, endpoint: Option<&Url>) -> Credentials {
    let kinds = [("adc", Credentials::Adc), ("anonymous", Credentials::Anonymous)];
    let Some(field) = section.field("credentials") else {
        return Credentials::Adc;
    };
    let Some(credentials) = field.parsed("a text", |t| choice(t, &kinds)) else {
        return Credentials::Adc;
    };
    if credentials == Credentials::Anonymous && !endpoint.is_some_and(value::is_loopback) {
        field.report(
            Complaint::new("`anonymous` serves only an `endpoint` on loopback")
                .hint("write credentials = \"adc\" for Google"),
        );
    }
    credentials
}
