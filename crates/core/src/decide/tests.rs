//! The decision, rule by rule and over random worlds. Whole decisions are compared: what is not listed did not
//! happen.

mod chance;
pub(crate) mod events;
mod flexible;
mod jobs;
mod limits;
mod machines;
pub(crate) mod model;
mod placing;
mod properties;
mod say;
pub(crate) mod world;
