//! Identity tokens and the keys that sign them.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use gust_core::{
    ids::{MachineName, ProjectId, Shard, Zone},
    ports::{
        Cloud, CloudError, Creation, Instance, InstancePage, MemberFate, OperationRef, OperationState, Quota,
        RefusalClass,
    },
    time::Timestamp,
};
use gust_fakes::{config::Settings, world::World};
use gust_server::rpc::Verifier;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use super::{Make, Target};

pub(super) const ALL: &[Make] = &[tokens, claims, keys];

const AUDIENCE: &str = "gust:gust:key";
/// The moment of all tokens here.
const AT: i64 = 1_800_000_000;
/// A key that is published in the repository and trusted by nobody else.
const KEY: &str = include_str!("../../../../crates/fakes/data/keys/identity-test.pem");

/// A cloud that knows nothing but keys.
#[derive(Clone, Default)]
struct KeysOnly(Arc<Mutex<String>>);

impl KeysOnly {
    fn set(&self, document: &str) {
        document.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn not_asked<T>() -> Result<T, CloudError> {
    Err(CloudError::Refused {
        call: "none",
        class: RefusalClass::Denied,
        message: "there are only keys here".to_owned(),
    })
}

#[async_trait]
impl Cloud for KeysOnly {
    async fn create(&self, _: &Creation) -> Result<OperationRef, CloudError> {
        not_asked()
    }

    async fn operation(
        &self,
        _: &OperationRef,
        _: std::time::Duration,
    ) -> Result<OperationState, CloudError> {
        not_asked()
    }

    async fn fates(
        &self,
        _: Option<&OperationRef>,
        _: &Creation,
    ) -> Result<Vec<(MachineName, MemberFate)>, CloudError> {
        not_asked()
    }

    async fn list(&self, _: &ProjectId, _: &Zone, _: Option<&str>) -> Result<InstancePage, CloudError> {
        not_asked()
    }

    async fn get(&self, _: &ProjectId, _: &Zone, _: &MachineName) -> Result<Option<Instance>, CloudError> {
        not_asked()
    }

    async fn delete(&self, _: &Shard, _: &Zone, _: &MachineName) -> Result<Option<OperationRef>, CloudError> {
        not_asked()
    }

    async fn quotas(&self, _: &Shard) -> Result<Vec<Quota>, CloudError> {
        not_asked()
    }

    async fn identity_keys(&self) -> Result<String, CloudError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// What a verifier takes along.
struct Bench {
    runtime: Runtime,
    keys: KeysOnly,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            runtime: Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime"),
            keys: KeysOnly::default(),
        };
        bench.keys.set(&published().to_string());
        bench
    }

    fn verifier(&self) -> Verifier {
        Verifier::new(Arc::new(self.keys.clone()))
    }

    fn accepts(&self, verifier: &Verifier, token: &str) -> bool {
        let verified = self
            .runtime
            .block_on(verifier.verify(token, AUDIENCE, Timestamp(AT * 1000)));
        match verified {
            Ok(identity) => {
                let _ = identity.proof(gust_proto::machine::key_hash(b"key"));
                true
            }
            Err(error) => {
                let _ = gust_server::error_chain(&error);
                false
            }
        }
    }
}

fn published() -> Value {
    World::new(&Settings::default()).metadata.jwks().clone()
}

fn good_claims() -> Value {
    json!({
        "aud": AUDIENCE, "iss": "https://accounts.google.com", "iat": AT - 5, "exp": AT + 3595, "sub": "1", "azp": "1",
        "email": "1-compute@developer.gserviceaccount.com", "email_verified": true,
        "google": { "compute_engine": {
            "instance_id": "42", "instance_name": "gust-a-1", "project_id": "p", "project_number": 1,
            "zone": "us-central1-a", "instance_creation_timestamp": AT - 60,
        } },
    })
}

/// Signs with the published key.
struct Signer {
    header: Header,
    key: EncodingKey,
}

impl Signer {
    fn new() -> Self {
        let body: String = KEY.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = STANDARD.decode(body).expect("the test key is a PEM file");
        Self {
            header: Header {
                kid: published()["keys"][0]["kid"].as_str().map(str::to_owned),
                ..Header::new(Algorithm::RS256)
            },
            key: EncodingKey::from_rsa_der(&der),
        }
    }

    fn token(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&self.header, claims, &self.key).unwrap_or_default()
    }
}

fn tokens() -> Target {
    let bench = Bench::new();
    let verifier = bench.verifier();
    let corpus = [Signer::new().token(&good_claims()), "e30.e30.e30".to_owned()];
    Target::of_text("identity tokens", corpus, move |token| {
        bench.accepts(&verifier, token)
    })
}

/// Tokens that are signed well and say something strange.
fn claims() -> Target {
    let bench = Bench::new();
    let verifier = bench.verifier();
    let signer = Signer::new();
    Target::new("identity claims", [good_claims().to_string()], move |bytes| {
        let Ok(claims) = serde_json::from_slice::<Value>(bytes) else {
            return false;
        };
        bench.accepts(&verifier, &signer.token(&claims))
    })
}

fn keys() -> Target {
    let bench = Bench::new();
    let token = Signer::new().token(&good_claims());
    let google = json!({ "keys": [
        { "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "a", "n": "AQAB", "e": "AQAB" },
        { "kty": "EC", "crv": "P-256", "kid": "b", "x": "AQ", "y": "AQ" },
    ] });
    Target::of_text(
        "identity keys",
        [published().to_string(), google.to_string()],
        move |document| {
            bench.keys.set(document);
            bench.accepts(&bench.verifier(), &token)
        },
    )
}
