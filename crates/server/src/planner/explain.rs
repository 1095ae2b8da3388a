//! What a request comes to, whole: for people who ask before they run it.

use std::sync::{Arc, RwLock};

use gust_core::{
    catalog::FamilyName,
    ids::{ProjectId, QueueKey, StackName},
    offer::{Offer, Placement, PlacementError, RuledOut, Site, offers_or_why, ruled_out},
    request::{Allow, Bound, Policy, Request, Says, Scopes},
};

use super::{Asker, Planner, Within};

/// Whose policy it is where there is no operator.
const NOBODY: &str = "an empty configuration (name the operator's with `--config FILE`)";

/// A request with every way to satisfy it.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The tags as they were read, defaults filled in.
    pub request: Request,
    /// All offers, best first; at least one.
    pub offers: Vec<Offer>,
    /// Families without an offer, and why.
    pub ruled_out: Vec<(FamilyName, RuledOut)>,
}

impl Planner {
    /// A planner without an operator: default policy, all regions of the catalog. It explains; what it plans has no image.
    ///
    /// # Errors
    /// [`PlacementError`] if the catalog contradicts itself.
    pub fn anywhere() -> Result<Self, PlacementError> {
        let catalog = gust_core::catalog::Catalog::builtin();
        let mut policy = Policy::default();
        // What an operator would have to list is nowhere listed: who is refused must not look for whose list it was.
        let lists = [Bound::Images, Bound::ServiceAccounts, Bound::Caches];
        let says = Says {
            lists: lists.map(|bound| (bound, Allow::none())).into(),
            ..Says::default()
        };
        policy.bounds = policy.bounds.narrowed(NOBODY, &says);
        let regions = catalog.regions().keys();
        let site = Site {
            project: ProjectId::from("any"),
            regions: regions.map(|region| (region.clone(), Vec::new())).collect(),
        };
        let placement = Placement::new(&catalog, &[site], &policy)?;
        Ok(Self {
            stack: StackName::new("gust").expect("it is a good name"),
            catalog,
            scopes: Scopes::new(policy, &[]),
            within: vec![Within {
                placement: RwLock::new(Arc::new(placement)),
                defaults: Vec::new(),
                max_run_seconds: 0,
                whose: None,
            }],
            prepaid: Default::default(),
            queues: Vec::new(),
            projects: Default::default(),
            metadata: Default::default(),
            retry_on_demand: Default::default(),
            made: Default::default(),
            spot: Default::default(),
        })
    }

    /// Reads tags (`cpu=16`) and finds all that satisfies them. Of several sources with the queue the first counts.
    ///
    /// # Errors
    /// What is wrong with the tags, or why nothing satisfies them and what would: the text that a developer sees in Buildkite.
    pub fn explain(&self, asker: Asker<'_>, rules: &[String]) -> Result<Explained, String> {
        let queue = QueueKey::new(asker.queue);
        let source = self.queues.iter().find(|(known, _)| *known == queue);
        let place = source.map_or(0, |(_, source)| self.scopes.of(source, &queue, asker.pipeline));
        let (policy, within) = self.at(place);
        let rules = within.with_defaults(rules);
        let request = Request::parse(&rules, policy).map_err(|error| error.render())?;
        let placement = within.placement();
        let offers =
            offers_or_why(&request, &self.catalog, &placement).map_err(|impossible| impossible.render())?;
        let ruled_out = ruled_out(&request, &self.catalog, &placement);
        Ok(Explained {
            offers,
            ruled_out: ruled_out
                .into_iter()
                .map(|(family, why)| (family.clone(), why))
                .collect(),
            request,
        })
    }
}
