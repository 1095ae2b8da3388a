//! From a job's tags to its plan: the request grammar, the catalog, and what the operator configured.

mod explain;
mod places;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use gust_core::{
    catalog::Catalog,
    ids::{ProjectId, QueueKey, Shard, SourceName, StackName, Zone},
    offer::{
        Offer, Offered, Place, Placement, PlacementError, Prepaid, Site, SpotQuota, offers_or_why, resources,
    },
    plan::{Choice, Plan},
    ports::Quota,
    quota::{Footprint, Usage},
    reason,
    records::JobRecord,
    request::{self, Policy, Request, Scope, Scopes, Spot, Tag},
    shape::{BootDisk, ProvisioningModel, STACK_LABEL, Shape},
    snapshot::Planned,
};

pub use explain::Explained;
use places::prepaid;
pub use places::{PlannerError, shards};

use crate::{
    config::{self, Config, Project},
    leader,
};

/// Plans kept for tags seen before; making one again costs some 100 µs.
const PLANS_KEPT: usize = 10_000;

/// The attribute by which the guest knows who runs the job.
const JOB_USER: &str = "gust-job-user";

/// Plans jobs from the configuration. Pure: the same tags always give the same plan.
pub struct Planner {
    stack: StackName,
    catalog: Catalog,
    /// Under which policy a job is.
    scopes: Scopes,
    /// What follows from each of them, in their order.
    within: Vec<Within>,
    prepaid: Prepaid,
    /// Which source has which queue, for who knows only the queue.
    queues: Vec<(QueueKey, SourceName)>,
    projects: BTreeMap<ProjectId, Project>,
    /// Metadata of every machine.
    metadata: BTreeMap<String, String>,
    /// What becomes of preempted jobs that run again.
    retry_on_demand: config::RetryOnDemand,
    /// Plans made so far.
    made: Mutex<BTreeMap<Asked, Planned>>,
    /// Quotas for Spot machines that were granted, as they were last read.
    spot: RwLock<BTreeMap<Shard, SpotQuota>>,
}

/// What a plan depends on: the place of the policy, whether a preempted job runs again, and the tags.
type Asked = (usize, bool, Vec<String>);

/// What follows from one policy.
struct Within {
    /// Where machines can be made, as far as was learned by now.
    placement: RwLock<Arc<Placement>>,
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
    /// [`PlannerError`] names what the catalog does not have, or what in the files laid over it does not fit.
    pub fn new(config: &Config, metadata: BTreeMap<String, String>) -> Result<Self, PlannerError> {
        let catalog = config::laid_over(&config.catalog)?;
        let prepaid = prepaid(&catalog, &config.projects)?;
        let scopes = Scopes::new(policy(&config.policy), &config.policy.queues);
        let within = scopes
            .all()
            .iter()
            .map(|scope| within(config, &catalog, &prepaid, scope));
        let within = within.collect::<Result<_, PlacementError>>()?;
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
            prepaid,
            queues: queues.collect(),
            projects: projects
                .map(|project| (project.id.clone(), project.clone()))
                .collect(),
            metadata,
            retry_on_demand: config.policy.retry_on_demand,
            made: Mutex::default(),
            spot: RwLock::default(),
        })
    }

    /// The catalog it plans with.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What an operator should know of the catalog before machines are made: families in regions whose prices are not known.
    pub fn warnings(&self) -> Vec<String> {
        let Some(within) = self.within.first() else {
            return Vec::new();
        };
        let mut warnings = Vec::new();
        for (region, families) in within.placement().unpriced(&self.catalog) {
            let base = "those of us-central1 stand in; give them in a file of `catalog`";
            warnings.push(format!("no prices are known in {region} for {families}: {base}"));
        }
        warnings
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
        let offers = offers_or_why(&request, &self.catalog, &within.placement())
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
        let mut metadata = self.metadata.clone();
        if let Some(user) = &project.job_user {
            metadata.insert(JOB_USER.to_owned(), user.clone());
        }
        let shape = Shape {
            project: place.shard.project.clone(),
            region: place.shard.region.clone(),
            zones: place.zones.clone(),
            machine_type: offer.machine_type.clone(),
            family: offer.family.to_string(),
            alternatives: Vec::new(),
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
            metadata,
            max_run_seconds: request.max_run_s.unwrap_or(within.max_run_seconds),
        };
        let placement = Arc::new(reason::Placement {
            machine_type: shape.machine_type.clone(),
            model: shape.model,
            region: shape.region.clone(),
            price: offer.price,
        });
        let footprint = Footprint::from(&shape);
        let anyhow = self.resources_of(&footprint);
        let usage = self.prepaid.needed(offer.paid, &footprint, &self.catalog, anyhow);
        Some(Choice {
            shard: place.shard.clone(),
            price: offer.price,
            usage,
            placement,
            shape: Arc::new(shape),
        })
    }

    fn forget_plans(&self) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn resources_of(&self, footprint: &Footprint) -> Usage {
        let spot = self.spot.read().unwrap_or_else(PoisonError::into_inner);
        let granted = spot.get(&footprint.shard);
        resources(footprint, &self.catalog, granted.unwrap_or(&SpotQuota::default()))
    }

    fn usage_of(&self, footprint: &Footprint) -> Usage {
        let mut usage = self.resources_of(footprint);
        usage.0.extend(self.prepaid.used(footprint, &self.catalog));
        usage
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

    fn prepaid(&self, shard: &Shard) -> Vec<Quota> {
        self.prepaid.rows(&self.catalog, shard)
    }

    fn measured(&self, shard: &Shard, quotas: &[Quota]) -> bool {
        let granted = SpotQuota::granted(quotas);
        let mut spot = self.spot.write().unwrap_or_else(PoisonError::into_inner);
        let known = spot.entry(shard.clone()).or_default();
        if *known == granted {
            return false;
        }
        *known = granted;
        drop(spot);
        self.forget_plans();
        true
    }

    fn learn(&self, zones: &[(Zone, Vec<String>)]) -> bool {
        let mut is_new = false;
        for within in &self.within {
            is_new |= within.learn(&self.catalog, zones);
        }
        if is_new {
            self.forget_plans();
        }
        is_new
    }
}

impl Within {
    fn placement(&self) -> Arc<Placement> {
        let placement = self.placement.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&placement)
    }

    fn learn(&self, catalog: &Catalog, zones: &[(Zone, Vec<String>)]) -> bool {
        let mut placement = self.placement.write().unwrap_or_else(PoisonError::into_inner);
        let mut offered: Offered = placement.offered().clone();
        let mut is_new = false;
        for (zone, types) in zones {
            is_new |= offered.learn(catalog, zone, types.iter().map(String::as_str));
        }
        if is_new {
            *placement = Arc::new(Placement::clone(&placement).with_offered(offered));
        }
        is_new
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
}

fn within(
    config: &Config,
    catalog: &Catalog,
    prepaid: &Prepaid,
    scope: &Scope,
) -> Result<Within, PlacementError> {
    let policy = &scope.policy;
    let projects = config.projects.iter();
    let projects: Vec<&Project> = projects
        .filter(|project| project.joins(&policy.bounds.networks))
        .collect();
    let sites: Vec<Site> = projects.iter().map(|project| project.site()).collect();
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
        placement: RwLock::new(Arc::new(
            Placement::new(catalog, &sites, policy)?
                .with_external_address(external)
                .with_prepaid(prepaid.clone()),
        )),
        defaults: defaults.collect(),
        max_run_seconds: config.policy.max_run.as_secs().min(limit),
        whose: (!scope.whose.is_empty()).then(|| scope.whose.clone()),
    })
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
