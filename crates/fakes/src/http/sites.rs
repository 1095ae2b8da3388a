//! The hosts, each a thin layer over its model.

use crate::buildkite;
use crate::event::{Effects, Host};
use crate::gce;
use crate::http::site::Site;
use crate::metadata;
use crate::now::Now;
use crate::wire::{Outcome, Request, Response};
use crate::world::World;

/// Buildkite: `/v3`, and web pages.
pub(super) struct Buildkite;

impl Site for Buildkite {
    fn host(&self) -> Option<Host> {
        Some(Host::Buildkite)
    }

    fn method_of(&self, request: &Request) -> String {
        buildkite::wire::method_of(request)
    }

    fn handle(&self, world: &mut World, now: Now, request: &Request, out: &mut Effects) -> Outcome {
        let outcome = buildkite::wire::handle(&mut world.buildkite, &mut world.faults, now, request, out);
        world.tie_machines(out);
        outcome
    }
}

/// GCE: `/compute/v1`.
pub(super) struct Gce;

impl Site for Gce {
    fn host(&self) -> Option<Host> {
        Some(Host::Gce)
    }

    fn method_of(&self, request: &Request) -> String {
        gce::wire::method_of(request)
    }

    fn handle(&self, world: &mut World, now: Now, request: &Request, out: &mut Effects) -> Outcome {
        gce::wire::handle(&mut world.gce, &mut world.faults, now, request, out)
    }

    fn held(&self, world: &mut World, _: Now, key: &str, last: bool, _: &mut Effects) -> Option<Response> {
        gce::wire::held(&world.gce, key, last)
    }
}

/// The keys of the metadata server. What an instance asks goes to a listener of its own.
pub(super) struct Jwks;

impl Site for Jwks {
    fn host(&self) -> Option<Host> {
        Some(Host::Metadata)
    }

    fn method_of(&self, _: &Request) -> String {
        "metadata.certs".into()
    }

    fn handle(&self, world: &mut World, _: Now, request: &Request, _: &mut Effects) -> Outcome {
        Outcome::Now(metadata::wire::handle_jwks(&world.metadata, request))
    }
}

/// A host that is not built yet.
pub(super) struct Unbuilt(pub(super) Host, pub(super) &'static str);

impl Site for Unbuilt {
    fn host(&self) -> Option<Host> {
        Some(self.0)
    }

    fn method_of(&self, _: &Request) -> String {
        String::new()
    }

    fn handle(&self, _: &mut World, _: Now, _: &Request, _: &mut Effects) -> Outcome {
        Outcome::Now(Response::message(501, self.1))
    }
}
