//! Google Compute Engine, through Google's own client.
//!
//! [`GceCloud`] is the backend. Around it: [`GceConfig`] (where and as whom), `body` (the request as a pure
//! function of the record), [`classify`] (replies and operation errors by remedy), `retry` (when the same
//! request is sent again), `quotas`, `fates` (what became of each machine of a batch), `read` (resources as core sees
//! them) and `calls` (what the parts share), and
//! `keys` (the keys of identity tokens).
//!
//! The facts about Google's API that this relies on are written beside the code that relies on them.

mod body;
mod calls;
mod classify;
mod client;
mod cloud;
mod config;
mod fates;
mod keys;
mod quotas;
mod read;
mod retry;

pub use body::{bulk_body, insert_body};
pub use classify::{OperationFault, Verdict, class_of_code, judge_faults, judge_reply};
pub use cloud::GceCloud;
pub use config::{ConfigError, Credentials, GceConfig, Subnet, Timeouts};
