//! Where jobs whose machines were taken back are run again.

use async_trait::async_trait;

use super::SourceError;
use crate::ids::JobId;

/// What became of a wish to run a job again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// This job runs in its place, whoever asked for it.
    In(JobId),
    /// There is nothing to run again: it passed all the same, or was canceled.
    Needless,
}

/// Buildkite, as far as gust runs jobs again there.
#[async_trait]
pub trait Retrier: Send + Sync {
    /// Runs an ended job again, unless it has been already, by the step's own rules or somebody's hand. A repeat finds the
    /// job that the first call made.
    ///
    /// # Errors
    /// [`SourceError`]; refused where the step or build does not permit it.
    async fn retry(&self, job: JobId) -> Result<Retried, SourceError>;
}
