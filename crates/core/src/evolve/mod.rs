//! How records change when something happens: pure functions from the book and a fact to a [`Step`].
//!
//! A fact may be told twice, or late: each function looks at the book first and changes nothing that has
//! already happened.

mod act;
mod outcome;
mod preempted;

pub use act::{booked, from_batch, record};
pub use outcome::{Settlement, done, gone, refused, seen_at, settled};
pub use preempted::{asked_again, needless, reclaimed, retried};

pub use crate::records::Step;

#[cfg(test)]
mod tests;
