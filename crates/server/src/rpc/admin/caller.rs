//! Who calls the admin API, and whether they may.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use gust_core::secret::Secret;
use sha2::{Digest as _, Sha256};
use tonic::{Request, Status, metadata::MetadataValue};

use super::fail;

/// Under which name a replica passes a call on.
const BY: &str = "gust-by";
/// Longest name that is passed on.
const LONGEST: usize = 128;

/// Who may call.
#[derive(Debug)]
pub enum Callers {
    /// Other replicas, which the connection has proved: they say who asked them.
    Peers,
    /// Operators: by one of these tokens, each with its name, or by a certificate that the connection has checked.
    Operators(Vec<(String, Secret)>),
}

impl Callers {
    /// The caller's name.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if nobody who may call calls.
    pub(super) fn name<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let metadata = request.metadata();
        let tokens = match self {
            Self::Peers => {
                let by = metadata.get(BY).and_then(|by| by.to_str().ok());
                return Ok(by.unwrap_or("another replica").to_owned());
            }
            Self::Operators(tokens) => tokens,
        };
        if let Some(given) = metadata.get("authorization") {
            let given = given.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
            let given = given.ok_or_else(|| fail::unauthenticated("the authorization is no bearer token"))?;
            // All are compared, in time that does not tell how much of one was right.
            let found = tokens.iter().fold(None, |found, (name, token)| {
                if same(given, token.reveal()) {
                    Some(name)
                } else {
                    found
                }
            });
            return found
                .cloned()
                .ok_or_else(|| fail::unauthenticated("nobody has this token"));
        }
        let certificates = request.peer_certs();
        let leaf = certificates.as_ref().and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| {
            fail::unauthenticated("say who you are: by a token (authorization: Bearer …) or by a certificate")
        })?;
        Ok(format!(
            "certificate {}",
            &hex::encode(Sha256::digest(leaf))[..16]
        ))
    }
}

fn same(given: &str, token: &str) -> bool {
    let (given, token) = (Sha256::digest(given), Sha256::digest(token));
    verify_slices_are_equal(&given, &token).is_ok()
}

/// Tells another replica who asked.
pub(super) fn sign<T>(request: &mut Request<T>, by: &str) {
    let by: String = by.chars().filter(char::is_ascii_graphic).take(LONGEST).collect();
    if let Ok(by) = by.parse::<MetadataValue<_>>() {
        request.metadata_mut().insert(BY, by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(authorization: Option<&str>) -> Request<()> {
        let mut request = Request::new(());
        if let Some(text) = authorization {
            request
                .metadata_mut()
                .insert("authorization", text.parse().unwrap());
        }
        request
    }

    #[test]
    fn only_who_has_a_token_may_call_and_is_called_by_its_name() {
        let tokens = ["ann", "bob"].map(|name| (name.to_owned(), Secret::new(format!("secret-{name}"))));
        let callers = Callers::Operators(tokens.into());
        let name = |authorization| {
            callers
                .name(&request(authorization))
                .map_err(|status| status.code())
        };
        assert_eq!(name(Some("Bearer secret-ann")), Ok("ann".to_owned()));
        assert_eq!(name(Some("Bearer secret-bob")), Ok("bob".to_owned()));
        for wrong in [
            None,
            Some("Bearer secret-"),
            Some("Bearer "),
            Some("secret-ann"),
            Some("Basic YTpi"),
        ] {
            assert_eq!(name(wrong), Err(tonic::Code::Unauthenticated), "{wrong:?}");
        }
    }

    #[test]
    fn a_name_does_not_count_where_operators_call() {
        let callers = Callers::Operators(Vec::new());
        let mut forged = request(None);
        sign(&mut forged, "ann");
        assert!(callers.name(&forged).is_err());
        assert_eq!(Callers::Peers.name(&forged).unwrap(), "ann");
    }
}
