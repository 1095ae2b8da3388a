//! The guest: the one program of gust on a machine.
//!
//! A machine boots, the guest proves to gust which machine it is, receives one job, runs Buildkite's agent on
//! it, says when that is over, and powers the machine off. It keeps no state: whatever it cannot handle ends
//! with the power off, since a machine that hangs costs money. What to run on which machine is gust's to
//! decide; how to run a job is the agent's.
//!
//! The parts that decide are plain values and functions ([`plan`], [`backoff`], [`address`]); the rest is a
//! thin shell around them, told once, in [`life`].

pub mod address;
pub mod agent;
pub mod backoff;
pub mod facts;
pub mod gust;
pub mod key;
pub mod life;
pub mod metadata;
pub mod plan;
pub mod power;
pub mod settings;
pub mod stop;
pub mod user;

mod task;
