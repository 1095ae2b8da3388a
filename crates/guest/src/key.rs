//! The key pair that a guest makes at boot. It lives in memory only, as long as the guest.

use aws_lc_rs::{
    error::Unspecified,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};

/// A P-256 key pair.
pub struct Key(EcdsaKeyPair);

/// The system gave no randomness, or the cryptography failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system's cryptography failed")]
pub struct CryptoFailed;

impl From<Unspecified> for CryptoFailed {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl Key {
    /// Makes a new one.
    ///
    /// # Errors
    /// [`CryptoFailed`], which no machine that works gives.
    pub fn generate() -> Result<Self, CryptoFailed> {
        Ok(Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?))
    }

    /// The public half, an uncompressed point of 65 bytes.
    pub fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// ECDSA over the SHA-256 of a message, in the fixed form of 64 bytes.
    ///
    /// # Errors
    /// As [`Key::generate`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoFailed> {
        Ok(self.0.sign(&SystemRandom::new(), message)?.as_ref().to_vec())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn what_is_signed_can_be_verified_and_nothing_else() {
        let key = Key::generate().unwrap();
        let signature = key.sign(b"message").unwrap();
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public().to_vec());
        assert_eq!(
            (key.public().len(), key.public()[0], signature.len()),
            (65, 4, 64)
        );
        public.verify(b"message", &signature).unwrap();
        public.verify(b"another", &signature).unwrap_err();
    }

    #[test]
    fn two_guests_never_have_the_same_key() {
        assert_ne!(
            Key::generate().unwrap().public(),
            Key::generate().unwrap().public()
        );
    }
}
