//! The Buildkite client: typed requests, tolerant reading, errors classed by remedy.
//!
//! Responsible for speaking the Stacks API, and the GraphQL and REST APIs as far as they stand in for it, as they are
//! written down in the project's wire reference, and for reading webhooks: one
//! pooled connection pool a stack, per-call time limits, no redirects, a cap on reply sizes, rate limits
//! honoured from the replies, and bounded repeats of calls that may be repeated. Leaves to others: when to
//! poll, which jobs to take, and what to do about an error once its class is known.

pub mod client;
pub mod error;
pub mod gate;
pub mod graphql;
mod headers;
mod reply;
pub mod rest;
pub mod scope;
pub mod source;
pub mod stacks;
mod token;
pub mod webhook;
pub mod wire;

pub use client::{Client, Config};
pub use error::{Error, Remedy};
pub use gate::RateGate;
pub use graphql::GraphqlSource;
pub use rest::RestRetrier;
pub use scope::Scope;
pub use source::StacksSource;
