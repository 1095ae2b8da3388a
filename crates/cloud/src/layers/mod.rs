//! The stack that every call to a cloud passes: the account of calls a minute, a limit on calls at a time, a time limit,
//! a line of log.
//!
//! Responsible for what is the same for all calls, whatever they ask. A retry passes the stack like the attempt before
//! it; which calls are repeated, and classes of errors, belong to the backend.

mod budget;
mod call;
mod deadline;
mod stack;
mod watch;

pub use budget::{Budget, Pay, Wall};
pub use call::{Boxed, Call, Failure, Group, Method};
pub use deadline::Deadline;
pub use stack::{Lane, Stack};
pub use watch::Watch;
