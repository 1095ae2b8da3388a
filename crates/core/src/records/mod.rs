//! The durable records: what gust knows after a crash.
//!
//! Records live under `/gust/v1/<stack>/`: `jobs/<source>/<uuid>`, `batches/<id>`, `machines/<name>`,
//! `history/<source>/<uuid>`, `operator/orders`, `operator/format`. Only the leader writes them, always in a commit that names its term.
//! [`Book`] is the same records in memory, with the few indexes that every pass needs.
//! Secrets are never recorded.

mod batch;
mod book;
mod format;
mod history;
mod job;
mod key;
mod machine;
mod orders;

pub use batch::{BatchRecord, Call, Member};
pub use book::{Book, Change, Damage, Step, Unreadable};
pub use format::{Format, TooNew};
pub use history::{HistoryRecord, Outcome};
pub use job::{Failures, JobFacts, JobPhase, JobRecord};
pub use key::{BadKey, Key};
pub use machine::{Claim, DeleteCause, KeyHash, MachinePhase, MachineRecord};
pub use orders::{Cordon, Order, Orders, Place};

#[cfg(test)]
mod tests;
