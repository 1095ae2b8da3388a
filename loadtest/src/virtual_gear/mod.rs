//! The virtual gear: several replicas, each the product's own shell, on one thread with the runtime's time paused,
//! over the fakes' pure models behind the four seams. No socket, no file, no second implementation of anything
//! that decides.
//!
//! A [`Scenario`] is drawn from a seed, or read from a file; [`run`] runs it; the checker beside it trusts only
//! what the fakes saw and what etcd applied.

mod alarm;
pub(crate) mod check;
mod cloud;
mod cover;
mod etcd;
pub(crate) mod expected;
#[cfg(test)]
mod failover;
mod hosts;
mod inject;
mod link;
mod machine;
mod many;
pub mod net;
mod postman;
mod replica;
mod run;
pub mod scenario;
mod shrink;
mod source;
mod timeline;
mod witness;
mod world;

pub use check::{Invariant, Verdict, Violation};
pub use cover::Cover;
pub use many::{Failure, Sum, Sweep};
pub use run::{Keep, Outcome, run, run_with_webhooks};
pub use scenario::{INTENSITY, MOST_REPLICAS, Profile, Scenario, SourceOf};
pub use shrink::shrink;
