//! The hosts, each a thin layer over its model.

use crate::buildkite;
use crate::event::{Effects, Host};
use crate::http::site::Site;
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
        buildkite::wire::handle(&mut world.buildkite, &mut world.faults, now, request, out)
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
