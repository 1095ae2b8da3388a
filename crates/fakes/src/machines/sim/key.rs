//! The key pair of a simulated machine, as the guest makes one at each boot.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use thiserror::Error;

/// The system's cryptography failed.
#[derive(Clone, Copy, Debug, Error)]
#[error("the system's cryptography failed")]
pub(super) struct CryptoFailed;

impl From<Unspecified> for CryptoFailed {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// A P-256 key pair.
pub(super) struct Key(EcdsaKeyPair);

impl Key {
    pub fn generate() -> Result<Self, CryptoFailed> {
        Ok(Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?))
    }

    /// The public half: an uncompressed point.
    pub fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// ECDSA over the SHA-256 of a message, in the fixed form.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
        Ok(self.0.sign(&SystemRandom::new(), message)?.as_ref().to_vec())
    }
}
