//! The virtual gear: a replica's own shell, on one thread with the runtime's time paused, over the fakes'
//! pure models behind the four seams. No socket, no file, no second implementation of anything that decides.

mod cloud;
mod link;
mod machine;
pub mod net;
mod run;
pub mod scenario;
mod source;
mod world;

pub use run::{Act, Ended, Scenario, run};
pub use world::Shared;
