//! The virtual gear: a replica's own shell, on one thread with the runtime's time paused, over the fakes'
//! pure models behind the four seams. No socket, no file, no second implementation of anything that decides.

mod cloud;
mod inject;
mod machine;
pub mod net;
pub mod scenario;
mod source;
mod world;

pub use world::Shared;
