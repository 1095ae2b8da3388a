//! The fake metadata server: what a machine can ask about itself, identity tokens, and the keys they are
//! verified with.
//!
//! Pure. Each instance has a listener of its own (the server must know who asks); the skin hands the instance's
//! id to [`wire::handle`]. Instances belong to [`crate::gce`]; this model keeps keys, addresses and replies that
//! wait.

mod keys;
mod token;
mod tree;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::wire::Response;
use keys::Keys;

pub use token::{Claims, ComputeEngine, GoogleClaims, Granted};

/// The fake metadata server.
pub struct Model {
    pub(crate) keys: Arc<Keys>,
    addresses: BTreeMap<u64, String>,
    pub(crate) waiting: BTreeMap<u64, Response>,
    pub(crate) next_waiting: u64,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A metadata server with the built-in test keys.
    pub fn new() -> Self {
        Self {
            keys: Arc::new(Keys::builtin()),
            addresses: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_waiting: 0,
        }
    }

    /// The public keys, as `/oauth2/v3/certs` shows them.
    pub fn jwks(&self) -> &Value {
        &self.keys.jwks
    }

    /// Notes where an instance's listener is.
    pub fn listens(&mut self, instance: u64, address: String) {
        self.addresses.insert(instance, address);
    }

    /// An instance's listener is gone.
    pub fn is_silent(&mut self, instance: u64) {
        self.addresses.remove(&instance);
    }

    /// Where an instance's listener is, `127.0.0.1:40123`.
    pub fn address(&self, instance: u64) -> Option<&str> {
        self.addresses.get(&instance).map(String::as_str)
    }

    /// The listeners by instance id, for `GET /state`.
    pub fn to_json(&self) -> Value {
        let listeners = self
            .addresses
            .iter()
            .map(|(id, address)| (id.to_string(), address.clone().into()));
        serde_json::json!({ "listeners": Value::Object(listeners.collect()) })
    }
}
