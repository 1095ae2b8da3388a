//! Why a machine was not made, by remedy.

use gust_core::{ids::Zone, ports::RefusalClass};

use crate::{
    check::{Malformed, Problem, optional_text},
    v1,
};

/// A refusal as a message.
pub(super) fn refusal(class: &RefusalClass, message: &str) -> v1::Refusal {
    use v1::RefusalClass as Wire;
    let (wire, metric, limit, zone) = match class {
        RefusalClass::Quota { metric, limit } => (Wire::Quota, metric.clone(), *limit, None),
        RefusalClass::Stockout { zone } => (
            Wire::Stockout,
            String::new(),
            None,
            zone.as_ref().map(Zone::to_string),
        ),
        RefusalClass::Rate => (Wire::Rate, String::new(), None, None),
        RefusalClass::Addresses => (Wire::Addresses, String::new(), None, None),
        RefusalClass::Preempted => (Wire::Preempted, String::new(), None, None),
        RefusalClass::Exists => (Wire::Exists, String::new(), None, None),
        RefusalClass::Denied => (Wire::Denied, String::new(), None, None),
        RefusalClass::Broken => (Wire::Broken, String::new(), None, None),
        RefusalClass::Internal => (Wire::Internal, String::new(), None, None),
    };
    v1::Refusal {
        class: wire.into(),
        metric,
        limit,
        zone,
        message: message.to_owned(),
    }
}

/// The class and the words of a refusal. A class that this version does not know counts as a failure of the
/// cloud: it is tried again, which is right until a person looks.
pub(super) fn class_and_message(refusal: v1::Refusal) -> Result<(RefusalClass, String), Malformed> {
    use v1::RefusalClass as Wire;
    let class = match Wire::try_from(refusal.class) {
        Ok(Wire::Unspecified) => return Err(Malformed::at("class", Problem::Missing)),
        Ok(Wire::Quota) => RefusalClass::Quota {
            metric: refusal.metric,
            limit: refusal.limit,
        },
        Ok(Wire::Stockout) => RefusalClass::Stockout {
            zone: optional_text("zone", refusal.zone)?.map(Zone::new),
        },
        Ok(Wire::Rate) => RefusalClass::Rate,
        Ok(Wire::Addresses) => RefusalClass::Addresses,
        Ok(Wire::Preempted) => RefusalClass::Preempted,
        Ok(Wire::Exists) => RefusalClass::Exists,
        Ok(Wire::Denied) => RefusalClass::Denied,
        Ok(Wire::Broken) => RefusalClass::Broken,
        Ok(Wire::Internal) | Err(_) => RefusalClass::Internal,
    };
    Ok((class, refusal.message))
}
