//! A command that failed: the exit code, what happened and why, and what to do about it.

use crate::exit_codes;

/// Why a command ends with a code other than 0.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code, one of [`exit_codes`].
    pub(crate) code: u8,
    /// What happened; its chain of sources is printed too.
    pub(crate) error: anyhow::Error,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self {
            code,
            error: error.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What has no code of its own is a failure of gust.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(exit_codes::FAILED, error)
    }
}
