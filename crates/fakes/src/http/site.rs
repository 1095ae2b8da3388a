//! What a host offers to the skin.

use crate::event::{Effects, Host};
use crate::now::Now;
use crate::wire::{Outcome, Request, Response};
use crate::world::World;

/// One host: a thin layer between wire and model. Hosts with a model of their own keep these three functions
/// in their `wire` module.
pub trait Site: Send + Sync + 'static {
    /// The host in the event log; `None` for the control surface, which faults never meet.
    fn host(&self) -> Option<Host>;

    /// The API method's name, `stacks.list`, `compute.instances.insert`; empty for an unknown path.
    fn method_of(&self, request: &Request) -> String;

    /// One call.
    fn handle(&self, world: &mut World, now: Now, request: &Request, out: &mut Effects) -> Outcome;

    /// The answer of a held call, if there is one by now. `last` says that it must answer.
    fn held(
        &self,
        world: &mut World,
        now: Now,
        key: &str,
        last: bool,
        out: &mut Effects,
    ) -> Option<Response> {
        let _ = (world, now, key, out);
        last.then(|| Response::message(500, "this host holds no calls"))
    }
}
