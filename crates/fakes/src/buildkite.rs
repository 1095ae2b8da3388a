//! The fake Buildkite: builds, jobs, stacks and agents of one organization.
//!
//! A pure model with a typed surface ([`Model`]) and, around it, the wire (`wire`). The model knows no JSON
//! of requests and replies, but for pipelines and for what it shows whole.
//!
//! Where things are: `pipeline` reads pipeline files; `builds`, `steps` and `retry` turn them into jobs and
//! drive dependencies; `stacks` is what a scheduler sees; `agents` and `running` what an agent sees; `extras`
//! what a running job can call.

mod agents;
mod auth;
mod block;
mod budget;
mod build;
mod builds;
mod config;
mod due;
mod end;
mod env;
mod extras;
mod ids;
mod job;
mod mishaps;
mod model;
mod notify;
mod pipeline;
mod rate;
mod running;
mod shapes;
mod show;
mod stacks;
mod steps;
mod timeline;
mod webhooks;
pub mod wire;

pub use agents::{Agent, AgentState, Registered, Registration, TokenKind};
pub use build::{Build, BuildState};
pub use builds::{CreatedBuild, CreatedJob, NewBuild};
pub use config::{Cluster, Config};
pub use extras::{Annotation, Artifact, MetaDataOf, NewAnnotation, NewArtifact, Upload, UploadState};
pub use ids::Refusal;
pub use job::{Acquired, Job, State};
pub use mishaps::state_words;
pub use model::Model;
pub use notify::{Notification, NotificationError};
pub use running::{Chunk, JobEnd};
pub use stacks::{
    IssuedToken, JobDetail, ListView, ListedJob, Page, Reserved, StackFinish, StackInfo, StackRegistration,
    Tokens,
};
pub use webhooks::{Delivery, EVENTS as WEBHOOK_EVENTS, Scheme, Webhook};

#[cfg(test)]
mod tests;
