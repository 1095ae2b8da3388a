//! What a running job can call, beside its life: annotations, meta-data, artifacts, uploads of pipelines,
//! steps, secrets, identity tokens. All with the job's own token.

mod annotations;
mod artifacts;
mod meta_data;
mod metrics;
mod misc;
mod step_calls;
mod uploads;

pub use annotations::{Annotation, NewAnnotation};
pub(in crate::buildkite) use artifacts::PART_BYTES;
pub use artifacts::{Artifact, NewArtifact};
pub use meta_data::MetaDataOf;
pub(in crate::buildkite) use metrics::Counts;
pub use uploads::{Upload, UploadState};
