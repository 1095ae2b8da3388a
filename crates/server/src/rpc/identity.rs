//! Identity tokens: is this the machine it says it is? Signature first, then what the token claims.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gust_core::{
    claim::Proof,
    ids::{MachineName, ProjectId, Zone},
    ports::{Cloud, CloudError},
    records::KeyHash,
    time::Timestamp,
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use serde::Deserialize;
use tokio::{sync::Mutex, time::Instant};

/// Google's issuer of identity tokens.
const ISSUER: &str = "https://accounts.google.com";
/// How long keys are kept, and how soon an unknown key may make us ask again.
const KEYS_KEPT: Duration = Duration::from_secs(3600);
const KEYS_GAP: Duration = Duration::from_secs(10);
/// How old a token may be: a guest asks for one right before it claims.
const YOUNG: Duration = Duration::from_secs(600);
/// Clock difference that is forgiven.
const SKEW: Duration = Duration::from_secs(60);

/// Why an identity is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The signing keys cannot be read.
    #[error("the keys that sign identity tokens cannot be read")]
    Keys(#[source] CloudError),
    /// The key document makes no sense.
    #[error("the keys that sign identity tokens are malformed")]
    KeyDocument(#[source] serde_json::Error),
    /// No known key signed it, or it is no token at all.
    #[error("the identity token is not one that Google signed for this stack and key")]
    Token(#[source] jsonwebtoken::errors::Error),
    /// Signed by a key that Google does not publish.
    #[error("the identity token names an unknown signing key")]
    UnknownKey,
    /// Expired, from the future, or older than a claim's token may be.
    #[error("the identity token is not of this moment: issued {issued}, now {now}")]
    Stale {
        /// When it was issued.
        issued: Timestamp,
        /// The present.
        now: Timestamp,
    },
    /// Google's own claims about the instance are missing or malformed.
    #[error("the identity token lacks the instance's claims: {0}")]
    Claims(&'static str),
}

#[derive(Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    email: String,
    #[serde(default)]
    email_verified: bool,
    iat: i64,
    exp: i64,
    google: Option<Google>,
}

#[derive(Debug, Deserialize)]
struct Google {
    compute_engine: Option<Instance>,
}

#[derive(Debug, Deserialize)]
struct Instance {
    instance_id: String,
    instance_name: String,
    project_id: String,
    zone: String,
    instance_creation_timestamp: i64,
}

/// A verified identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    machine: MachineName,
    project: ProjectId,
    zone: Zone,
    instance_id: u64,
    created_at: Timestamp,
    email: String,
}

impl Identity {
    /// What it proves together with a checked key.
    pub fn proof(self, key: KeyHash) -> Proof {
        Proof {
            machine: self.machine,
            project: self.project,
            zone: self.zone,
            instance_id: self.instance_id,
            created_at: self.created_at,
            email: self.email,
            key,
        }
    }
}

/// Verifies identity tokens; keeps the signing keys.
#[derive(Clone)]
pub struct Verifier {
    cloud: Arc<dyn Cloud>,
    keys: Arc<Mutex<Keys>>,
}

#[derive(Default)]
struct Keys {
    by_id: BTreeMap<String, DecodingKey>,
    read_at: Option<Instant>,
}

impl Verifier {
    /// A verifier that reads the keys through `cloud`.
    pub fn new(cloud: Arc<dyn Cloud>) -> Self {
        Self {
            cloud,
            keys: Arc::default(),
        }
    }

    /// Checks signature, issuer, audience and age, and reads what Google says of the instance.
    ///
    /// # Errors
    /// [`IdentityError`]; only [`IdentityError::Keys`] may pass by itself.
    pub async fn verify(
        &self,
        token: &str,
        audience: &str,
        now: Timestamp,
    ) -> Result<Identity, IdentityError> {
        let header = jsonwebtoken::decode_header(token).map_err(IdentityError::Token)?;
        let key = self.key(header.kid.as_deref().unwrap_or_default()).await?;
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[ISSUER]);
        // Time is checked below, against the one clock.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "aud", "iss"]);
        let claims = jsonwebtoken::decode::<Claims>(token, &key, &validation)
            .map_err(IdentityError::Token)?
            .claims;
        read(claims, now)
    }

    async fn key(&self, id: &str) -> Result<DecodingKey, IdentityError> {
        let mut keys = self.keys.lock().await;
        let age = keys.read_at.map(|at| at.elapsed());
        let known = keys.by_id.get(id).cloned();
        match (known, age) {
            (Some(key), Some(age)) if age < KEYS_KEPT => return Ok(key),
            // Tokens with made-up key ids must not make us hammer Google.
            (None, Some(age)) if age < KEYS_GAP => return Err(IdentityError::UnknownKey),
            _ => {}
        }
        let document = self.cloud.identity_keys().await.map_err(IdentityError::Keys)?;
        let set: JwkSet = serde_json::from_str(&document).map_err(IdentityError::KeyDocument)?;
        keys.by_id = set
            .keys
            .iter()
            .filter_map(|jwk| Some((jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?)))
            .collect();
        keys.read_at = Some(Instant::now());
        keys.by_id.get(id).cloned().ok_or(IdentityError::UnknownKey)
    }
}

/// Checks everything but the signature. Pure.
fn read(claims: Claims, now: Timestamp) -> Result<Identity, IdentityError> {
    let issued = Timestamp(claims.iat.saturating_mul(1000));
    let expires = Timestamp(claims.exp.saturating_mul(1000));
    if issued > now.after(SKEW) || now > expires.after(SKEW) || now.since(issued) > YOUNG + SKEW {
        return Err(IdentityError::Stale { issued, now });
    }
    if !claims.email_verified {
        return Err(IdentityError::Claims("email_verified"));
    }
    let instance = claims
        .google
        .and_then(|google| google.compute_engine)
        .ok_or(IdentityError::Claims("google.compute_engine"))?;
    Ok(Identity {
        machine: MachineName::new(instance.instance_name),
        project: ProjectId::new(instance.project_id),
        zone: Zone::new(instance.zone),
        instance_id: instance
            .instance_id
            .parse()
            .map_err(|_| IdentityError::Claims("instance_id"))?,
        created_at: Timestamp(instance.instance_creation_timestamp.saturating_mul(1000)),
        email: claims.email,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            email: "ci@p.iam.gserviceaccount.com".into(),
            email_verified: true,
            iat: 1000,
            exp: 4600,
            google: Some(Google {
                compute_engine: Some(Instance {
                    instance_id: "42".into(),
                    instance_name: "gust-a-1".into(),
                    project_id: "p".into(),
                    zone: "us-central1-a".into(),
                    instance_creation_timestamp: 990,
                }),
            }),
        }
    }

    #[test]
    fn a_token_of_this_moment_is_read() {
        let identity = read(claims(), Timestamp(1_010_000)).expect("it is good");
        assert_eq!(
            (identity.instance_id, identity.created_at),
            (42, Timestamp(990_000))
        );
    }

    #[test]
    fn a_token_of_another_moment_is_refused() {
        for now in [900_000, 1_000_000 + 700_000, 5_000_000] {
            assert!(
                matches!(read(claims(), Timestamp(now)), Err(IdentityError::Stale { .. })),
                "{now}"
            );
        }
    }

    #[test]
    fn a_token_without_the_instance_is_refused() {
        let mut bare = claims();
        bare.google = None;
        assert!(matches!(
            read(bare, Timestamp(1_010_000)),
            Err(IdentityError::Claims(_))
        ));
        let mut unverified = claims();
        unverified.email_verified = false;
        assert!(matches!(
            read(unverified, Timestamp(1_010_000)),
            Err(IdentityError::Claims(_))
        ));
    }
}
