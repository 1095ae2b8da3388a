//! Offers: the ways in which Google could satisfy a request, best first, or why there is none.
//!
//! Offers follow from request, catalog and the operator's placement alone. Quota, stockouts, budgets and
//! the order of jobs are not known here; whoever places walks down the offers with those in hand.

mod candidate;
mod diagnose;
mod impossible;
mod misfit;
mod offered;
mod placement;
mod prepaid;
mod search;
mod size;
mod suggest;
mod types;
mod unknown;
mod usage;
mod zones;

pub use diagnose::diagnose;
pub use impossible::{Barrier, Impossible, Suggestion};
pub use offered::Offered;
pub use placement::{Expectation, Place, Placement, PlacementError, Site};
pub use prepaid::{Commitment, Paid, Prepaid, PrepaidError};
pub use search::MOST_OFFERS;
pub use size::RuledOut;
pub use types::{LocalSsds, Offer, OfferedDisk, OfferedGpus, Preference};
pub use usage::{
    CPUS_ALL_REGIONS, GPUS_ALL_REGIONS, IN_USE_ADDRESSES, INSTANCES, PREEMPTIBLE_CPUS,
    PREEMPTIBLE_LOCAL_SSD_GB, SpotQuota, resources,
};

use crate::catalog::{Catalog, FamilyName};
use crate::request::Request;

/// All offers for a request, best first; empty if nothing fits (then [`diagnose`] says why).
pub fn offers(request: &Request, catalog: &Catalog, placement: &Placement) -> Vec<Offer> {
    search::ranked(request, catalog, placement)
}

/// The offers for a request, at least one, or why there is none.
///
/// # Errors
/// [`Impossible`] says what stands in the way and names the nearest requests that have offers.
pub fn offers_or_why(
    request: &Request,
    catalog: &Catalog,
    placement: &Placement,
) -> Result<Vec<Offer>, Box<Impossible>> {
    let offers = offers(request, catalog, placement);
    if offers.is_empty() {
        Err(Box::new(diagnose(request, catalog, placement)))
    } else {
        Ok(offers)
    }
}

/// Why each family without an offer has none.
pub fn ruled_out<'a>(
    request: &Request,
    catalog: &'a Catalog,
    placement: &'a Placement,
) -> Vec<(&'a FamilyName, RuledOut)> {
    search::survey(request, catalog, placement).ruled_out
}
