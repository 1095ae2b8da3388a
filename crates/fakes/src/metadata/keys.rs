//! The two test keys: the one that signs and is published, and one that nobody should trust.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use serde_json::{Value, json};

const IDENTITY: &str = include_str!("../../data/keys/identity-test.pem");
const WRONG: &str = include_str!("../../data/keys/wrong-test.pem");

/// `kid` of the published key. A token signed with the wrong key names it as well: that is the lie.
const KEY_ID: &str = "gust-fakes-test-key-1";

pub(crate) struct Keys {
    identity: EncodingKey,
    wrong: EncodingKey,
    pub jwks: Value,
}

impl Keys {
    pub fn builtin() -> Self {
        let identity = key(IDENTITY);
        let mut public =
            Jwk::from_encoding_key(&identity, Algorithm::RS256).expect("the test key is an RSA key");
        public.common.key_id = Some(KEY_ID.into());
        let mut public = serde_json::to_value(public).expect("a JWK has string keys");
        public["use"] = json!("sig");
        public["alg"] = json!("RS256");
        Self {
            identity,
            wrong: key(WRONG),
            jwks: json!({ "keys": [public] }),
        }
    }

    /// A signed token.
    pub fn sign(&self, claims: &impl Serialize, with_wrong_key: bool) -> String {
        let header = Header {
            kid: Some(KEY_ID.into()),
            ..Header::new(Algorithm::RS256)
        };
        let key = if with_wrong_key {
            &self.wrong
        } else {
            &self.identity
        };
        jsonwebtoken::encode(&header, claims, key).expect("own claims serialize and the test keys sign")
    }
}

fn key(pem: &str) -> EncodingKey {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD
        .decode(body)
        .expect("the test keys are part of the program");
    EncodingKey::from_rsa_der(&der)
}
