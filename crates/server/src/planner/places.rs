//! From the configuration to places: shards, sites, and what is paid for there.

use gust_core::{
    catalog::Catalog,
    ids::Shard,
    offer::{Commitment, Placement, PlacementError, Prepaid, PrepaidError},
    request::Policy,
};

use crate::{
    config::{self, Config, Project},
    leader,
};

/// A configuration that the catalog does not go with. Reading it has told of all that with its lines, so this is met only by one
/// that was made in another way.
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

/// What all projects have paid for already.
pub(super) fn prepaid(catalog: &Catalog, projects: &[Project]) -> Result<Prepaid, PrepaidError> {
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
        &config.projects.iter().map(Project::site).collect::<Vec<_>>(),
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
