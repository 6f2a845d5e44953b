//! Sealing what an answer shows once, so that the same answer can be given again.
//!
//! The seal's key is HKDF-SHA256 (RFC 5869) of the key that the caller presents, bound to the
//! record: who holds the log, a snapshot or a backup opens nothing, and neither do we until the
//! same key is presented again. XChaCha20-Poly1305 with a random nonce, since requests that race
//! seal different secrets under one key. Must not know what is sealed.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 24;
const PURPOSE: &[u8] = b"authrai idempotent replay";

/// The key to one record. Wiped when dropped.
#[derive(Clone)]
pub struct ReplayKey {
    key: Zeroizing<[u8; 32]>,
    record: [u8; 32],
}

impl ReplayKey {
    /// The key to `record` of whoever presents `secret`, the text of an API or operator key.
    ///
    /// # Panics
    ///
    /// Never: HKDF can give 32 bytes.
    pub fn derive(secret: &str, record: [u8; 32]) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, secret.as_bytes())
            .expand_multi_info(&[PURPOSE, &record], key.as_mut())
            .expect("32 bytes are fewer than HKDF can give");
        Self { key, record }
    }

    /// What tells the record apart.
    pub fn record(&self) -> [u8; 32] {
        self.record
    }

    /// Seals `plaintext`.
    pub fn seal(&self, plaintext: &[u8]) -> Vec<u8> {
        self.seal_with(*super::random(), plaintext)
    }

    fn seal_with(&self, nonce: [u8; NONCE_BYTES], plaintext: &[u8]) -> Vec<u8> {
        let ciphertext = XChaCha20Poly1305::new(self.key.as_ref().into())
            .encrypt(&XNonce::from(nonce), Payload { msg: plaintext, aad: &self.bound() })
            .expect("only gigabytes are too much to seal");
        [&[VERSION], nonce.as_slice(), &ciphertext].concat()
    }

    /// Opens what [`ReplayKey::seal`] made under the same key; `None` if it was another.
    pub fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let ([VERSION], rest) = sealed.split_first_chunk::<1>()? else { return None };
        let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>()?;
        XChaCha20Poly1305::new(self.key.as_ref().into())
            .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: &self.bound() })
            .ok()
            .map(Zeroizing::new)
    }

    fn bound(&self) -> [u8; 33] {
        let mut bound = [VERSION; 33];
        bound[1..].copy_from_slice(&self.record);
        bound
    }
}

impl std::fmt::Debug for ReplayKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReplayKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_key_opens_the_same_record() {
        let key = ReplayKey::derive("rai_pk_live_a", [1; 32]);
        let sealed = key.seal(b"sk_live_x");
        assert_eq!(
            *ReplayKey::derive("rai_pk_live_a", [1; 32]).open(&sealed).unwrap(),
            b"sk_live_x"
        );
        for (secret, record) in [("rai_pk_live_b", [1; 32]), ("rai_pk_live_a", [2; 32])] {
            assert_eq!(ReplayKey::derive(secret, record).open(&sealed), None, "{secret}");
        }
        assert_ne!(sealed, key.seal(b"sk_live_x"), "no seal is like another");
    }

    #[test]
    fn a_changed_seal_does_not_open() {
        let key = ReplayKey::derive("rai_pk_live_a", [1; 32]);
        let sealed = key.seal(b"x");
        for length in 0..sealed.len() {
            assert_eq!(key.open(&sealed[..length]), None, "cut off at {length}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&bad), None, "bit {bit}");
        }
    }

    /// Computed apart from this program, from RFC 5869 and draft-irtf-cfrg-xchacha-03.
    const SEALED: &str = "01000102030405060708090a0b0c0d0e0f1011121314151617\
        d33fa7028c370c9496f0275042c292e87cc880e390b73743aa77498a80be";

    #[test]
    fn the_sealed_form_never_changes() {
        let key = ReplayKey::derive("rai_pk_live_a", [1; 32]);
        let nonce = std::array::from_fn(|place| place as u8);
        assert_eq!(hex::encode(key.seal_with(nonce, b"attack at dawn")), SEALED);
        assert_eq!(*key.open(&hex::decode(SEALED).unwrap()).unwrap(), b"attack at dawn");
    }
}
