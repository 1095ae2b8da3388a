//! What a job asks for: the tags of its `agents:`, read into a [`Request`].
//!
//! This module knows the grammar and the operator's policy. Whether any machine can satisfy a request is for
//! [`crate::offer`] to say, which knows the catalog.

mod allow;
mod bounds;
mod defaults;
mod error;
pub(crate) mod nearest;
mod policy;
mod read;
mod resolve;
mod scopes;
mod tag;
pub(crate) mod text;
mod types;
mod units;
mod value;

pub use allow::{Allow, Models};
pub use bounds::{Bound, Bounds, Limits, Said, Says};
pub use error::{Error, Hint, Problem};
pub use policy::{Defaults, Policy, UnknownTags};
pub use scopes::{PipelineRule, QueueRule, Scope, Scopes};
pub use tag::Tag;
pub use text::{DETAIL_BYTES, SHORT_CHARS};
pub use types::{Backend, Gpu, Request, Spot};
pub use units::{Cpus, Gib, Mib, Range};
