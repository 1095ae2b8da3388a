//! The deciding part of gust: pure values and pure functions.
//!
//! Here live the nouns (requests, offers, records, reasons), the one function that decides
//! (`decide`), the rules of a claim, and the types of the four seams to the world ([`ports`]).
//! Nothing in this crate does I/O, asks for the time or draws a random number.

pub mod assign;
pub mod budget;
pub mod cap;
pub mod catalog;
pub mod claim;
pub mod decide;
pub mod doubt;
pub mod evolve;
pub mod flow;
pub mod ids;
pub(crate) mod line;
pub mod memory;
pub mod mutant;
pub mod offer;
pub mod plan;
pub mod ports;
pub mod quota;
pub mod reason;
pub mod records;
pub mod request;
pub mod secret;
pub mod settings;
pub mod shape;
pub mod snapshot;
pub mod tenure;
pub mod time;
