//! Signing secrets: `whsec_` and the standard base64 of 32 bytes, as Standard Webhooks spells them.
//!
//! They must sign, so a hash of them would not do: they are stored sealed under the node's key
//! file, bound to their endpoint and their version, so that none can stand in for another. Must not
//! know where the sealed bytes are kept.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{
    domain::{SealedSecret, Tenant, WebhookId},
    secrets::{self, KeyFile, OpenError},
};

const PREFIX: &str = "whsec_";
const SECRET_BYTES: usize = 32;

/// A signing secret. Wiped when dropped.
#[derive(Clone)]
pub struct SigningSecret(Zeroizing<[u8; SECRET_BYTES]>);

/// Why a sealed secret is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// The seal does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What it holds is no secret.
    #[error("what was sealed is not a signing secret")]
    NotASecret,
}

impl SigningSecret {
    /// A new one.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give: nothing safe can be done without.
    pub fn mint() -> Self {
        Self(secrets::random())
    }

    /// Reads [`SigningSecret::text`] back.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// The secret itself, to be shown once.
    pub fn text(&self) -> Zeroizing<String> {
        // Whole from the start: a string that grew would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 44));
        text.push_str(PREFIX);
        STANDARD.encode_string(self.0.as_slice(), &mut text);
        text
    }

    /// The key of the HMAC.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// Seals it as secret number `version` of an endpoint.
    pub fn seal(
        &self,
        keys: &KeyFile,
        tenant: Tenant,
        id: WebhookId,
        version: u32,
    ) -> SealedSecret {
        let sealed = keys.seal(&binding(tenant, id, version), self.0.as_slice());
        SealedSecret { version, sealed }
    }

    /// Opens what [`SigningSecret::seal`] made for this endpoint.
    ///
    /// # Errors
    ///
    /// If it was sealed for another endpoint or version, or under another key file.
    pub fn open(
        keys: &KeyFile,
        tenant: Tenant,
        id: WebhookId,
        sealed: &SealedSecret,
    ) -> Result<Self, Unsealed> {
        let opened = keys.open(&binding(tenant, id, sealed.version), &sealed.sealed)?;
        let bytes = opened.as_slice().try_into().map_err(|_| Unsealed::NotASecret)?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

fn binding(tenant: Tenant, id: WebhookId, version: u32) -> Vec<u8> {
    let mut binding = b"authrai webhook secret v1".to_vec();
    binding.extend(tenant.chain_key());
    binding.extend(id.0);
    binding.extend(version.to_be_bytes());
    binding
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OrgId;

    #[test]
    fn a_secret_opens_only_for_its_endpoint_version_and_key_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = KeyFile::create(&folder.path().join("keys")).expect("a key file");
        let others = KeyFile::create(&folder.path().join("others")).expect("a key file");
        let (tenant, id) = (Tenant::live(OrgId::from_ulid(1)), WebhookId::from_ulid(2));
        let secret = SigningSecret::mint();
        let sealed = secret.seal(&keys, tenant, id, 3);
        assert!(!sealed.sealed.windows(8).any(|bytes| bytes == &secret.bytes()[..8]));
        let opened = SigningSecret::open(&keys, tenant, id, &sealed).expect("opens");
        assert_eq!(*opened.text(), *secret.text());
        let elsewhere = Tenant::live(OrgId::from_ulid(2));
        let later = SealedSecret { version: 4, ..sealed.clone() };
        for (keys, tenant, id, sealed) in [
            (&keys, elsewhere, id, &sealed),
            (&keys, tenant, WebhookId::from_ulid(3), &sealed),
            (&keys, tenant, id, &later),
            (&others, tenant, id, &sealed),
        ] {
            let came = SigningSecret::open(keys, tenant, id, sealed).map(|_| ());
            assert_eq!(came, Err(Unsealed::Open(OpenError::Tampered)));
        }
    }

    #[test]
    fn a_secret_is_spelled_as_standard_webhooks_has_it_and_not_shown_by_accident() {
        let secret = SigningSecret(Zeroizing::new([0xfb; 32]));
        assert_eq!(*secret.text(), "whsec_+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=");
        assert_eq!(format!("{secret:?}"), "SigningSecret(…)");
    }
}
