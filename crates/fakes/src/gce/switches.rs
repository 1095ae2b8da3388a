//! Choices where the wire reference leaves open what Google does, and how strict the fake is about them.

use serde::{Deserialize, Serialize};

/// The choices, `[gce.switches]` of the limits file. The defaults are the strict readings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Switches {
    /// Where a classic quota that does not even fit `minCount` shows.
    pub quota_refusal: QuotaRefusal,
    /// How far a name must be unique for a regional bulk insert: Google promises the zone only, but picks the
    /// zone itself.
    pub names_unique_in: NameSpace,
    /// Whether errors carry `error.status`; Google often omits it.
    pub error_status: bool,
    /// HTTP status for an unknown zone or region: 404 by the reference, 400 by memory of the real service.
    pub unknown_place_status: u16,
    /// Whether a request id that comes again with another body is refused (409), or answered with the first
    /// operation.
    pub request_id_conflict: bool,
    /// Whether an image's architecture must be the machine's.
    pub image_architecture: bool,
    /// Whether the inserts of a bulk insert's machines count as concurrent operations.
    pub bulk_inserts_count: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            quota_refusal: QuotaRefusal::Validation,
            names_unique_in: NameSpace::Region,
            error_status: false,
            unknown_place_status: 404,
            request_id_conflict: true,
            image_architecture: true,
            bulk_inserts_count: false,
        }
    }
}

/// See [`Switches::quota_refusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QuotaRefusal {
    /// HTTP 403 `quotaExceeded`.
    Validation,
    /// An operation that ends with `QUOTA_EXCEEDED`.
    Operation,
}

/// See [`Switches::names_unique_in`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameSpace {
    /// Any allowed zone of the region.
    Region,
    /// The zone the machine is placed in.
    Zone,
}
