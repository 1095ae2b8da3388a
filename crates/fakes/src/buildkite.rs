//! The fake Buildkite: builds, jobs, stacks and agents of one organization.
//!
//! A pure model with a typed surface ([`Model`]) and, around it, the wire (`wire`). The model knows no JSON
//! of requests and replies, but for pipelines and for what it shows whole.
//!
//! Where things are: `pipeline` reads pipeline files, `condition` what is written behind `if`; `create`, `builds`,
//! `steps`, `ready`, `block` and `trigger` turn them into jobs and drive dependencies; `stacks` is what a scheduler
//! sees; `agents` and `running` what an agent sees; `extras` what a running job can call.

mod agent_life;
mod agents;
mod auth;
mod block;
mod budget;
mod build;
mod builds;
mod condition;
mod config;
mod create;
mod due;
mod end;
mod env;
mod extras;
mod facts;
mod ids;
mod job;
mod mishaps;
mod model;
mod notify;
mod pipeline;
mod rate;
mod ready;
mod running;
mod shapes;
mod show;
mod stack_jobs;
mod stacks;
mod stars;
mod steps;
mod timeline;
mod trigger;
mod webhooks;
pub mod wire;

pub use agents::{Agent, AgentState, Registered, Registration, TokenKind};
pub use build::{Build, BuildState};
pub use config::{Cluster, Config};
pub use create::{CreatedBuild, CreatedJob, NewBuild};
pub use extras::{Annotation, Artifact, MetaDataOf, NewAnnotation, NewArtifact, Upload, UploadState};
pub use ids::Refusal;
pub use job::{Acquired, Job, State};
pub use mishaps::state_words;
pub use model::Model;
pub use notify::{Notification, NotificationError};
pub use running::{Chunk, JobEnd};
pub use stack_jobs::{IssuedToken, JobDetail, Reserved, StackFinish, Tokens};
pub use stacks::{ListView, ListedJob, Page, StackInfo, StackRegistration};
pub use webhooks::{Delivery, EVENTS as WEBHOOK_EVENTS, Scheme, Webhook};

#[cfg(test)]
mod tests;
