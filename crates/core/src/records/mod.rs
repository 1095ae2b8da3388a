//! The durable records: what gust knows after a crash.
//!
//! Records live under `/gust/v1/<stack>/`: `jobs/<source>/<uuid>`, `batches/<id>`, `machines/<name>`,
//! `history/<source>/<uuid>`, `spent/<source>/<uuid>`, `spend/<pipeline>`, `operator/orders`, `operator/format`. Only the leader writes
//! them, always in a commit that names its term.
//! [`Book`] is the same records in memory, with the few indexes that every pass needs.
//! Secrets are never recorded.

mod batch;
mod book;
mod change;
mod format;
mod history;
mod job;
mod key;
mod machine;
mod orders;
mod preemption;
mod spend;
mod spent;

pub use batch::{BatchRecord, Call, Member};
pub use book::{Book, Damage, Unreadable};
pub use change::{Change, Step};
pub use format::{Format, TooNew};
pub use history::{HistoryRecord, Outcome};
pub use job::{Failures, JobFacts, JobPhase, JobRecord};
pub use key::{BadKey, Key};
pub use machine::{Claim, DeleteCause, KeyHash, MachinePhase, MachineRecord};
pub use orders::{Cordon, Order, Orders, Place};
pub use preemption::{Awaited, Preempted, Preemption, runs_again};
pub use spend::{Spend, SpendRecord, spent_on};
pub use spent::{Spent, SpentRecord};

#[cfg(test)]
mod tests;
