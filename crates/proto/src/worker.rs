//! Commands and events between leader and worker, taken over field by field.
//!
//! Values of `gust-core` turn into messages with `From` and come back with `TryFrom`, which refuses what is
//! not whole. A number that a later version may add is passed on as "unknown to this version" where doing so
//! is safe (a refusal's class, an instance's status), since a link that breaks on it would break for ever.

mod batch;
mod command;
mod event;
mod place;
mod refusal;
mod shape;
#[cfg(test)]
mod tests;

pub use command::FromLeader;
