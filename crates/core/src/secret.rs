//! Secrets in a type that cannot print.

use std::fmt;

/// A token or key. `Debug` shows that there is one, never what it is; it can be neither displayed nor
/// serialized, so it cannot reach a record, a log line or an error by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The bare secret, for the one place that sends it out.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_secret_never_prints_itself() {
        assert_eq!(format!("{:?}", super::Secret::new("bkct_x")), "Secret(…)");
    }
}
