//! The metadata server as one instance sees it: a listener that knows who asks.

use crate::event::{Effects, Host};
use crate::http::Site;
use crate::metadata;
use crate::now::Now;
use crate::wire::{Outcome, Request, Response};
use crate::world::World;

/// The metadata site of one instance.
pub struct MetadataSite {
    /// The instance.
    pub instance: u64,
}

impl Site for MetadataSite {
    fn host(&self) -> Option<Host> {
        Some(Host::Metadata)
    }

    fn method_of(&self, request: &Request) -> String {
        metadata::wire::method_of(request)
    }

    fn handle(&self, world: &mut World, now: Now, request: &Request, out: &mut Effects) -> Outcome {
        let site = metadata::wire::Site {
            model: &mut world.metadata,
            gce: &mut world.gce,
            faults: &mut world.faults,
        };
        metadata::wire::handle(site, self.instance, now, request, out)
    }

    fn held(&self, world: &mut World, _: Now, key: &str, last: bool, _: &mut Effects) -> Option<Response> {
        metadata::wire::held(&mut world.metadata, &world.gce, key, last)
    }
}
