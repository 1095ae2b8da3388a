//! What can be wrong with catalog data, ours or the operator's overrides.

/// Why catalog data is refused. Each names the file and, where it can, the key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not TOML.
    #[error("catalog file {file} is not TOML; fix the syntax at the place shown")]
    Syntax {
        /// File name as given.
        file: String,
        /// Line, column and cause.
        source: Box<toml::de::Error>,
    },
    /// A key is unknown, missing or of the wrong kind once the file is laid over those before it.
    #[error("catalog file {file} does not fit: a key is unknown, missing or of the wrong kind")]
    Form {
        /// File name as given.
        file: String,
        /// The key and what is expected there.
        source: Box<toml::de::Error>,
    },
    /// The keys are well-formed but make no sense together.
    #[error("catalog key {key}: {why}; {hint}")]
    Sense {
        /// Path of the key, such as `family.n2d.prices`.
        key: String,
        /// What is wrong.
        why: String,
        /// How to fix it.
        hint: &'static str,
    },
}

impl Error {
    /// The stable code of the error's page.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Syntax { .. } => "GUST151",
            Self::Form { .. } => "GUST152",
            Self::Sense { .. } => "GUST153",
        }
    }
}
