//! The deciding part of gust: pure values and pure functions.
//!
//! Here live the nouns (requests, offers, records, reasons), the one function that decides
//! (`decide`), the rules of a claim, and the types of the four seams to the world ([`ports`]).
//! Nothing in this crate does I/O, asks for the time or draws a random number.

pub mod ids;
pub mod ports;
pub mod records;
pub mod secret;
pub mod shape;
pub mod time;
