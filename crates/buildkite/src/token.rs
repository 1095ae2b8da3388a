//! The token that calls show, and how another takes its place.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gust_core::secret::Secret;
use reqwest::header::HeaderValue;

use crate::client::ConfigError;

/// How a token goes into the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `Token …`: Stacks and Agent API.
    Token,
    /// `Bearer …`: GraphQL and REST.
    Bearer,
}

/// Tells the token that is valid now, for one that was replaced.
pub type TokenOf = Arc<dyn Fn() -> io::Result<Secret> + Send + Sync>;

/// The token in use.
pub(crate) struct Credentials {
    scheme: Scheme,
    current: Mutex<HeaderValue>,
    renew: Option<TokenOf>,
}

impl Credentials {
    /// # Errors
    /// The token cannot stand in a header.
    pub fn new(scheme: Scheme, token: &Secret, renew: Option<TokenOf>) -> Result<Self, ConfigError> {
        Ok(Self {
            scheme,
            current: Mutex::new(header(scheme, token)?),
            renew,
        })
    }

    fn current(&self) -> MutexGuard<'_, HeaderValue> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a call shows now.
    pub fn header(&self) -> HeaderValue {
        self.current().clone()
    }

    /// Whether there is another token than the one that was refused: taken up already for another call, or now.
    pub fn renew(&self, refused: &HeaderValue) -> bool {
        if *self.current() != *refused {
            return true;
        }
        let Some(renew) = &self.renew else { return false };
        let read = renew().map_err(|error| error.to_string());
        let fresh = read.and_then(|token| header(self.scheme, &token).map_err(|error| error.to_string()));
        match fresh {
            Ok(fresh) if fresh == *refused => false,
            Ok(fresh) => {
                tracing::info!(
                    "buildkite does not accept the token; the one in its place is used from now on"
                );
                *self.current() = fresh;
                true
            }
            Err(error) => {
                tracing::warn!(
                    error,
                    "buildkite does not accept the token, and no other can be read"
                );
                false
            }
        }
    }
}

fn header(scheme: Scheme, token: &Secret) -> Result<HeaderValue, ConfigError> {
    let token_ok = !token.reveal().is_empty() && token.reveal().bytes().all(|b| b.is_ascii_graphic());
    let word = match scheme {
        Scheme::Token => "Token",
        Scheme::Bearer => "Bearer",
    };
    let value = HeaderValue::try_from(format!("{word} {}", token.reveal()));
    let mut value = value.ok().filter(|_| token_ok).ok_or(ConfigError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_showed_the_old_token_goes_again_although_another_call_renewed_it() {
        let renew: TokenOf = Arc::new(|| Ok(Secret::new("new")));
        let credentials = Credentials::new(Scheme::Token, &Secret::new("old"), Some(renew)).expect("a token");
        let old = credentials.header();
        assert!(credentials.renew(&old) && credentials.renew(&old));
        let new = credentials.header();
        assert_eq!(new, "Token new");
        assert!(!credentials.renew(&new), "there is no other");
    }
}
