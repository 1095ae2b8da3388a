//! The stack that every call to a cloud passes: a limit on calls at a time, a time limit, a line of log.
//!
//! Responsible for what is the same for all calls, whatever they ask. Retries are the client's own (it knows
//! which attempt it is), classes of errors belong to the backend, and the account of calls per minute to the
//! worker's budget; a layer for the latter goes between the limit and the deadline, since [`Call`] says which
//! quota group it is charged to.

mod call;
mod deadline;
mod stack;
mod watch;

pub use call::{Boxed, Call, Failure, Group, Method};
pub use deadline::Deadline;
pub use stack::{Lane, Stack};
pub use watch::Watch;
