//! The HTTP skin: listeners, the one lock, the clock, and what faults do to replies.
//!
//! Responsible for sockets and time. It knows no API: each host is a [`Site`], which turns a
//! [`crate::wire::Request`] into calls of a model.

mod body;
mod clock;
mod connection;
mod control;
mod postman;
mod reply;
mod serve;
mod shared;
mod site;
mod sites;
mod task;

pub use clock::Clock;
pub use connection::listen;
pub use control::control;
pub use serve::{Addresses, Handle, ServeError, serve};
pub use shared::Shared;
pub use site::Site;
pub use task::spawn;
