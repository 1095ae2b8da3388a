//! From a job's tags to its plan: the request grammar, the catalog, and what the operator configured.

mod explain;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use gust_core::{
    catalog::Catalog,
    ids::{ProjectId, QueueKey, SourceName, StackName},
    offer::{Offer, Place, Placement, PlacementError, Site, SpotQuota, offers_or_why, resources},
    plan::{Choice, Plan},
    quota::{Footprint, Usage},
    reason,
    records::JobRecord,
    request::{self, Policy, Request, Scope, Scopes, Spot, Tag},
    shape::{BootDisk, ProvisioningModel, STACK_LABEL, Shape},
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
    /// Under which policy a job is.
    scopes: Scopes,
    /// What follows from each of them, in their order.
    within: Vec<Within>,
    /// Which source has which queue, for who knows only the queue.
    queues: Vec<(QueueKey, SourceName)>,
    projects: BTreeMap<ProjectId, Project>,
    /// Metadata of every machine.
    metadata: BTreeMap<String, String>,
    /// What becomes of preempted jobs that run again.
    retry_on_demand: config::RetryOnDemand,
    /// Plans made so far.
    made: Mutex<BTreeMap<Asked, Planned>>,
}

/// What a plan depends on: the place of the policy, whether a preempted job runs again, and the tags.
type Asked = (usize, bool, Vec<String>);

/// What follows from one policy.
struct Within {
    placement: Placement,
    /// Tags that a job gets which does not carry them, with the prefix.
    defaults: Vec<(String, String)>,
    max_run_seconds: u64,
    /// Whose it is, where machines that are made within it are not for all jobs.
    whose: Option<String>,
}

/// Who asks for a machine: what of the operator's policy holds for a job depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker<'a> {
    /// The queue.
    pub queue: &'a str,
    /// The pipeline's slug; empty where it is not known.
    pub pipeline: &'a str,
}

impl Planner {
    /// A planner for a configuration whose machines find gust through `metadata`.
    ///
    /// # Errors
    /// [`PlacementError`] if a project names a region or zone that the catalog does not have.
    pub fn new(config: &Config, metadata: BTreeMap<String, String>) -> Result<Self, PlacementError> {
        let catalog = Catalog::builtin();
        let scopes = Scopes::new(policy(&config.policy), &config.policy.queues);
        let within = scopes.all().iter().map(|scope| within(config, &catalog, scope));
        let within = within.collect::<Result<_, _>>()?;
        let sources = config.sources.iter();
        let queues = sources.flat_map(|source| {
            let queues = source.queues.iter();
            queues.map(|queue| (queue.clone(), source.name.clone()))
        });
        let projects = config.projects.iter();
        Ok(Self {
            stack: config.stack.clone(),
            catalog,
            scopes,
            within,
            queues: queues.collect(),
            projects: projects
                .map(|project| (project.id.clone(), project.clone()))
                .collect(),
            metadata,
            retry_on_demand: config.policy.retry_on_demand,
            made: Mutex::default(),
        })
    }

    /// The catalog it plans with.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Whether a job that runs a preempted one again leaves Spot alone.
    fn leaves_spot(&self, policy: &Policy, asked: Spot) -> bool {
        let wants = match self.retry_on_demand {
            config::RetryOnDemand::Never => false,
            config::RetryOnDemand::Prefer => asked == Spot::Prefer,
            config::RetryOnDemand::Always => asked != Spot::Never,
        };
        wants && policy.bounds.models.allows(ProvisioningModel::Standard)
    }

    fn try_plan(&self, place: usize, again: bool, rules: &[String]) -> Result<Plan, String> {
        let (policy, within) = self.at(place);
        let rules = within.with_defaults(rules);
        let mut request = Request::parse(&rules, policy).map_err(|error| error.render())?;
        if again && self.leaves_spot(policy, request.spot) {
            request.spot = Spot::Never;
        }
        let offers = offers_or_why(&request, &self.catalog, &within.placement)
            .map_err(|impossible| impossible.render())?;
        let choices: Vec<Choice> = offers
            .iter()
            .flat_map(|offer| {
                offer
                    .places
                    .iter()
                    .filter_map(|place| self.choice(&request, within, offer, place))
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
        // Jobs swap machines only with jobs that may have the same ones.
        let key = match &within.whose {
            Some(whose) => format!("{} for {whose}", request.canonical()),
            None => request.canonical(),
        };
        Ok(Plan {
            key: key.into(),
            choices,
        })
    }

    fn at(&self, place: usize) -> (&Policy, &Within) {
        let place = place.min(self.within.len().saturating_sub(1));
        (&self.scopes.all()[place].policy, &self.within[place])
    }

    fn choice(&self, request: &Request, within: &Within, offer: &Offer, place: &Place) -> Option<Choice> {
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
            network: project.network.clone(),
            service_account: request
                .service_account
                .clone()
                .unwrap_or_else(|| project.service_account.clone()),
            labels,
            metadata: self.metadata.clone(),
            max_run_seconds: request.max_run_s.unwrap_or(within.max_run_seconds),
        };
        let placement = Arc::new(reason::Placement {
            machine_type: shape.machine_type.clone(),
            model: shape.model,
            region: shape.region.clone(),
            price: offer.price,
        });
        let usage = self.usage_of(&Footprint::from(&shape));
        Some(Choice {
            shard: place.shard.clone(),
            price: offer.price,
            usage,
            placement,
            shape: Arc::new(shape),
        })
    }

    fn usage_of(&self, footprint: &Footprint) -> Usage {
        resources(footprint, &self.catalog, SpotQuota::Ordinary)
    }
}

impl leader::Planner for Planner {
    fn plan(&self, job: &JobRecord) -> Planned {
        let facts = &job.facts;
        let place = self.scopes.of(&job.job.source, &facts.queue, &facts.pipeline);
        let again = job.preemption.retry_of.is_some();
        let made = || self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (place, again, facts.rules.clone());
        if let Some(plan) = made().get(&key) {
            return plan.clone();
        }
        let plan = self.try_plan(place, again, &facts.rules);
        let plan: Planned = plan.map(Arc::new).map_err(Into::into);
        let mut made = made();
        // Authors of pipelines write the tags: whatever they write, this stays bounded.
        if made.len() >= PLANS_KEPT {
            made.clear();
        }
        made.insert(key, plan.clone());
        plan
    }

    fn runs_on_demand(&self, job: &JobRecord) -> bool {
        let facts = &job.facts;
        let place = self.scopes.of(&job.job.source, &facts.queue, &facts.pipeline);
        let (policy, within) = self.at(place);
        let request = Request::parse(&within.with_defaults(&facts.rules), policy);
        job.preemption.retry_of.is_some()
            && request.is_ok_and(|request| self.leaves_spot(policy, request.spot))
    }

    fn usage(&self, footprint: &Footprint) -> Usage {
        self.usage_of(footprint)
    }
}

impl Within {
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
}

fn within(config: &Config, catalog: &Catalog, scope: &Scope) -> Result<Within, PlacementError> {
    let policy = &scope.policy;
    let projects = config.projects.iter();
    let projects: Vec<&Project> = projects
        .filter(|project| project.joins(&policy.bounds.networks))
        .collect();
    let sites: Vec<Site> = projects.iter().map(|project| site(project)).collect();
    let external = projects.iter().any(|project| project.network.external_address);
    let prefix = &config.policy.tag_prefix;
    let defaults = config.policy.defaults.iter().filter_map(|(name, value)| {
        let fitted = match Tag::of(name) {
            Some(tag) => policy.fitted(tag, value)?,
            None => value.clone(),
        };
        Some((format!("{prefix}{name}"), fitted))
    });
    let limit = policy.bounds.max_run_s.unwrap_or(u64::MAX);
    Ok(Within {
        placement: Placement::new(catalog, &sites, policy)?.with_external_address(external),
        defaults: defaults.collect(),
        max_run_seconds: config.policy.max_run.as_secs().min(limit),
        whose: (!scope.whose.is_empty()).then(|| scope.whose.clone()),
    })
}

/// The zones of every shard of a configuration.
///
/// # Errors
/// [`PlacementError`] if a project names a region or zone that the catalog does not have.
pub fn shards(config: &Config) -> Result<leader::ShardZones, PlacementError> {
    let catalog = Catalog::builtin();
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
            let shard = gust_core::ids::Shard {
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
    use request::UnknownTags;
    Policy {
        tag_prefix: from.tag_prefix.clone(),
        unknown_tags: match from.unknown_tags {
            config::UnknownTags::Refuse => UnknownTags::Refuse,
            config::UnknownTags::Ignore => UnknownTags::Ignore,
        },
        bounds: from.bounds(),
        ..Policy::default()
    }
}
