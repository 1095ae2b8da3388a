//! From a job's tags to its plan: the request grammar, the catalog, and what the operator configured.

mod explain;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use gust_core::{
    catalog::Catalog,
    ids::{ProjectId, Shard, SourceName, StackName, Zone},
    offer::{
        Commitment, Offer, Offered, Place, Placement, PlacementError, Prepaid, PrepaidError, Site, SpotQuota,
        offers_or_why, resources,
    },
    plan::{Choice, Plan},
    ports::Quota,
    quota::{Footprint, Usage},
    reason,
    request::{self, Policy, Request},
    shape::{BootDisk, STACK_LABEL, Shape},
    snapshot::Planned,
};

pub use explain::Explained;

use crate::{
    config::{self, Config, Project},
    leader,
};

/// Plans kept for tags seen before; making one again costs some 100 µs.
const PLANS_KEPT: usize = 10_000;

/// Plans jobs from the configuration. Pure: the same tags always give the same plan.
pub struct Planner {
    stack: StackName,
    catalog: Catalog,
    policy: Policy,
    /// Where machines can be made, as far as was learned by now.
    placement: RwLock<Arc<Placement>>,
    prepaid: Prepaid,
    projects: BTreeMap<ProjectId, Project>,
    /// Tags that a job gets which does not carry them, with the prefix.
    defaults: Vec<(String, String)>,
    max_run_seconds: u64,
    /// Metadata of every machine.
    metadata: BTreeMap<String, String>,
    /// Plans made so far.
    made: Mutex<BTreeMap<Vec<String>, Planned>>,
}

impl Planner {
    /// A planner for a configuration whose machines find gust through `metadata`.
    ///
    /// # Errors
    /// [`PlannerError`] names what the catalog does not have, or what in the files laid over it does not fit.
    pub fn new(config: &Config, metadata: BTreeMap<String, String>) -> Result<Self, PlannerError> {
        let catalog = config::laid_over(&config.catalog)?;
        let policy = policy(&config.policy);
        let sites: Vec<Site> = config.projects.iter().map(site).collect();
        let external = config
            .projects
            .iter()
            .any(|project| project.network.external_address);
        let prepaid = prepaid(&catalog, &config.projects)?;
        let placement = Placement::new(&catalog, &sites, &policy)?
            .with_external_address(external)
            .with_prepaid(prepaid.clone());
        let prefix = &config.policy.tag_prefix;
        Ok(Self {
            stack: config.stack.clone(),
            catalog,
            policy,
            placement: RwLock::new(Arc::new(placement)),
            prepaid,
            projects: config
                .projects
                .iter()
                .map(|project| (project.id.clone(), project.clone()))
                .collect(),
            defaults: config
                .policy
                .defaults
                .iter()
                .map(|(tag, value)| (format!("{prefix}{tag}"), value.clone()))
                .collect(),
            max_run_seconds: config.policy.max_run.as_secs(),
            metadata,
            made: Mutex::default(),
        })
    }

    /// The catalog it plans with.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What an operator should know of the catalog before machines are made: families in regions whose prices are not known.
    pub fn warnings(&self) -> Vec<String> {
        let placement = self.placement();
        let mut warnings = Vec::new();
        for (region, families) in placement.unpriced(&self.catalog) {
            let base = "those of us-central1 stand in; give them in a file of `catalog`";
            warnings.push(format!("no prices are known in {region} for {families}: {base}"));
        }
        warnings
    }

    fn placement(&self) -> Arc<Placement> {
        let placement = self.placement.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&placement)
    }

    fn try_plan(&self, rules: &[String]) -> Result<Plan, String> {
        let rules = self.with_defaults(rules);
        let request = Request::parse(&rules, &self.policy).map_err(|error| error.render())?;
        let offers = offers_or_why(&request, &self.catalog, &self.placement())
            .map_err(|impossible| impossible.render())?;
        let choices: Vec<Choice> = offers
            .iter()
            .flat_map(|offer| {
                offer
                    .places
                    .iter()
                    .filter_map(|place| self.choice(&request, offer, place))
            })
            .collect();
        if choices.is_empty() {
            let arch = offers
                .first()
                .map_or("this architecture", |offer| offer.arch.as_str());
            return Err(format!(
                "no project of this gust has an image for {arch}. Set image=… if the operator allows it, or ask the \
                 operator to configure images.{arch}."
            ));
        }
        Ok(Plan {
            key: request.canonical().into(),
            choices,
        })
    }

    // An operator's default is a tag that the job did not write; one that the job did write wins.
    fn with_defaults(&self, rules: &[String]) -> Vec<String> {
        let mut all = rules.to_vec();
        for (tag, value) in &self.defaults {
            let written = rules
                .iter()
                .any(|rule| rule.split_once('=').is_some_and(|(name, _)| name == tag));
            if !written {
                all.push(format!("{tag}={value}"));
            }
        }
        all
    }

    fn choice(&self, request: &Request, offer: &Offer, place: &Place) -> Option<Choice> {
        let project = self.projects.get(&place.shard.project)?;
        let image = match &request.image {
            Some(image) => image.clone(),
            None => project.images.get(&offer.arch)?.clone(),
        };
        let mut labels = project.labels.clone();
        labels.insert(STACK_LABEL.to_owned(), self.stack.to_string());
        let shape = Shape {
            project: place.shard.project.clone(),
            region: place.shard.region.clone(),
            zones: place.zones.clone(),
            machine_type: offer.machine_type.clone(),
            family: offer.family.to_string(),
            cpus: offer.cpus.0,
            memory_mib: offer.memory.0,
            arch: offer.arch,
            model: offer.model,
            boot_disk: BootDisk {
                disk_type: offer.disk.disk_type.to_string(),
                gib: u32::try_from(offer.disk.size.0).ok()?,
                image,
            },
            local_ssds: offer.local_ssds.attach,
            gpus: offer.accelerators(),
            network: project.network.clone(),
            service_account: request
                .service_account
                .clone()
                .unwrap_or_else(|| project.service_account.clone()),
            labels,
            metadata: self.metadata.clone(),
            max_run_seconds: request.max_run_s.unwrap_or(self.max_run_seconds),
        };
        let placement = Arc::new(reason::Placement {
            machine_type: shape.machine_type.clone(),
            model: shape.model,
            region: shape.region.clone(),
            price: offer.price,
        });
        let footprint = Footprint::from(&shape);
        let anyhow = resources(&footprint, &self.catalog, SpotQuota::Ordinary);
        let usage = self.prepaid.needed(offer.paid, &footprint, &self.catalog, anyhow);
        Some(Choice {
            shard: place.shard.clone(),
            price: offer.price,
            usage,
            placement,
            shape: Arc::new(shape),
        })
    }

    fn usage_of(&self, footprint: &Footprint) -> Usage {
        let mut usage = resources(footprint, &self.catalog, SpotQuota::Ordinary);
        usage.0.extend(self.prepaid.used(footprint, &self.catalog));
        usage
    }
}

impl leader::Planner for Planner {
    fn plan(&self, _source: &SourceName, rules: &[String]) -> Planned {
        let made = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = made().get(rules) {
            return plan.clone();
        }
        let plan: Planned = self.try_plan(rules).map(Arc::new).map_err(Into::into);
        let mut made = made();
        // Authors of pipelines write the tags: whatever they write, this stays bounded.
        if made.len() >= PLANS_KEPT {
            made.clear();
        }
        made.insert(rules.to_vec(), plan.clone());
        plan
    }

    fn usage(&self, footprint: &Footprint) -> Usage {
        self.usage_of(footprint)
    }

    fn prepaid(&self, shard: &Shard) -> Vec<Quota> {
        self.prepaid.rows(&self.catalog, shard)
    }

    fn learn(&self, zones: &[(Zone, Vec<String>)]) -> bool {
        let mut placement = self.placement.write().unwrap_or_else(PoisonError::into_inner);
        let mut offered: Offered = placement.offered().clone();
        let mut is_new = false;
        for (zone, types) in zones {
            is_new |= offered.learn(&self.catalog, zone, types.iter().map(String::as_str));
        }
        if is_new {
            *placement = Arc::new(Placement::clone(&placement).with_offered(offered));
            self.made.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        is_new
    }
}

/// A configuration that the catalog does not go with.
#[derive(Debug, thiserror::Error)]
pub enum PlannerError {
    /// A region or zone.
    #[error(transparent)]
    Place(#[from] PlacementError),
    /// Committed use or a reservation.
    #[error(transparent)]
    Prepaid(#[from] PrepaidError),
    /// A file laid over the catalog.
    #[error("the files of `catalog` do not fit")]
    Catalog(#[from] gust_core::catalog::Error),
}

fn prepaid(catalog: &Catalog, projects: &[Project]) -> Result<Prepaid, PrepaidError> {
    let mut prepaid = Prepaid::default();
    for project in projects {
        let shard = |region| Shard {
            project: project.id.clone(),
            region,
        };
        for one in &project.commitments {
            let commitment = Commitment {
                cpus: one.vcpus,
                memory_mib: one.memory * 1024,
            };
            prepaid.commit(catalog, &shard(one.region.clone()), &one.family, commitment)?;
        }
        for one in &project.reservations {
            let shard = shard(one.zone.region());
            prepaid.reserve(catalog, &shard, &one.machine_type, &one.zone, one.count)?;
        }
    }
    Ok(prepaid)
}

/// The zones of every shard of a configuration.
///
/// # Errors
/// [`PlannerError`] if a project names a region or zone that the catalog does not have.
pub fn shards(config: &Config) -> Result<leader::ShardZones, PlannerError> {
    let catalog = config::laid_over(&config.catalog)?;
    // Matching with the catalog names what does not exist.
    Placement::new(
        &catalog,
        &config.projects.iter().map(site).collect::<Vec<_>>(),
        &Policy::default(),
    )?;
    let mut shards = Vec::new();
    for project in &config.projects {
        for (region, zones) in &project.regions {
            let zones = match zones {
                config::Zones::All => catalog.regions().get(region).cloned().unwrap_or_default(),
                config::Zones::Only(zones) => zones.clone(),
            };
            let shard = Shard {
                project: project.id.clone(),
                region: region.clone(),
            };
            shards.push((shard, zones));
        }
    }
    Ok(shards)
}

fn site(project: &Project) -> Site {
    let regions = project
        .regions
        .iter()
        .map(|(region, zones)| {
            let zones = match zones {
                config::Zones::All => Vec::new(),
                config::Zones::Only(zones) => zones.clone(),
            };
            (region.clone(), zones)
        })
        .collect();
    Site {
        project: project.id.clone(),
        regions,
    }
}

fn policy(from: &config::RequestPolicy) -> Policy {
    use request::{Allow, Bounds, Models, UnknownTags};
    // In the configuration an empty list means "whatever there is", save for what runs or acts as somebody.
    let any = |names: &[String]| {
        if names.is_empty() {
            Allow::Any
        } else {
            Allow::Only(names.to_vec())
        }
    };
    Policy {
        tag_prefix: from.tag_prefix.clone(),
        unknown_tags: match from.unknown_tags {
            config::UnknownTags::Refuse => UnknownTags::Refuse,
            config::UnknownTags::Ignore => UnknownTags::Ignore,
        },
        bounds: Bounds {
            families: any(&from.allow.families),
            machine_types: any(&from.allow.machine_types),
            regions: any(&from.allow.regions),
            images: Allow::Only(from.allow.images.clone()),
            service_accounts: Allow::Only(from.allow.service_accounts.clone()),
            models: if from.allow.spot {
                Models::Any
            } else {
                Models::OnDemand
            },
            max_run_s: Some(from.max_run_limit.as_secs()),
            ..Bounds::default()
        },
        ..Policy::default()
    }
}
