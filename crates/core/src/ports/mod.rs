//! The four seams between the deciding part and the world: [`Source`] (Buildkite), [`Cloud`] (a backend),
//! [`Store`] (records and leadership) and [`Link`] (leader to worker).
//!
//! They are narrow on purpose and know no runtime. Production and simulation differ only in what stands
//! behind them. Errors arrive classed by what can be done about them, never as HTTP codes.

mod cloud;
mod link;
mod retrier;
mod source;
mod store;

pub use cloud::{
    Cloud, CloudError, Creation, Instance, InstancePage, InstanceStatus, MemberFate, OperationRef,
    OperationState, Quota, RefusalClass, TypePage,
};
pub use link::{
    Capacity, Command, CommandSink, Event, EventStream, Hello, Link, LinkError, Parting, Session,
};
pub use retrier::{Retried, Retrier};
pub use source::{
    AcquisitionToken, Finish, FinishOutcome, Hint, JobState, ListedJob, Listing, Notification, RejectedNote,
    Remedy, Reserved, Source, SourceError, Tokens,
};
pub use store::{
    Candidacy, Commit, CommitError, CommitPhase, Lease, LeaseError, LeaseId, Loaded, Member, Ownership,
    Revision, Roster, Store, StoreError,
};
