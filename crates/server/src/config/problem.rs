//! What is wrong with a configuration, in words that name the file, the line, the key and the remedy.

use std::{fmt, io, path::PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, counted from 1.
    pub line: usize,
    /// Path of the key, such as `source[0].token`; empty where the text is no TOML at all.
    pub key: String,
    /// What is wrong, lower case, without a trailing stop. Never holds a secret.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "cannot read the configuration {} [give the path of a TOML file with --config; \
         deploy/gust.example.toml shows every key]",
        .file.display()
    )]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was read, and all that is wrong with it was collected.
    #[error("{}", Listing { file, problems })]
    Invalid {
        /// The file.
        file: PathBuf,
        /// In the order of the file; at least one.
        problems: Vec<Problem>,
    },
}

struct Listing<'a> {
    file: &'a PathBuf,
    problems: &'a [Problem],
}

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match self.problems.len() {
            1 => write!(f, "the configuration {file} has a problem:")?,
            n => write!(f, "the configuration {file} has {n} problems:")?,
        }
        for problem in self.problems {
            write!(f, "\n  {file}:{}: ", problem.line)?;
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            f.write_str(&problem.message)?;
            if let Some(hint) = &problem.hint {
                write!(f, " [{hint}]")?;
            }
        }
        Ok(())
    }
}
