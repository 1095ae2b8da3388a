//! The load test: scenarios, run in virtual time against the fakes' models or on real processes over the wire.

pub mod adversity;
pub mod day;
pub mod fuzz;
pub mod mutants;
pub mod said;
pub mod sim;
pub mod virtual_gear;
pub mod wire;
mod words;

// Virtual worlds live on small short-lived values: see the README for what this saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
