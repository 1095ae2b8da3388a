//! Invariant 6: no machine exists whose name was not recorded first, under the request id that made it.

use std::time::Duration;

use super::{Checker, Invariant, seen::MachineIx};

impl Checker {
    /// An instance came to be.
    pub(super) fn inserted(&mut self, at: Duration, ix: MachineIx, request_id: Option<&str>) {
        let machine = &self.seen[ix];
        let why = match machine.batch {
            None => Some("has no record".to_owned()),
            Some(batch) => match request_id.map(str::parse::<uuid::Uuid>) {
                Some(Ok(id)) if id == batch => None,
                _ => Some(format!(
                    "was made by request {}, its record says {batch}",
                    request_id.unwrap_or("without an id")
                )),
            },
        };
        let again = machine.inserted.is_some();
        if let Some(why) = why {
            let what = format!("machine {} {why}", self.name(ix));
            self.violate(at, Invariant::Intent, what, &[], &[ix]);
        }
        if again {
            let what = format!("machine {} was made twice", self.name(ix));
            self.violate(at, Invariant::Intent, what, &[], &[ix]);
        }
    }
}
