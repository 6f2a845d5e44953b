//! The token's wire format: claims, compact JWS, signing, JWKS, scopes.
//!
//! What any JWT library understands once the `rai_live_` or `rai_test_` prefix is cut off
//! (RFC 7519, RFC 8037, RFC 9068). Depends on nothing else of ours: an SDK could take this folder
//! as it is. Must not know what has been issued, revoked or by whom.

mod claims;
#[cfg(test)]
pub(crate) mod forge;
mod jwk;
mod parse;
pub mod scope;
mod sign;
mod unique;

pub use claims::{Claims, read_claims, split_scopes};
pub use jwk::{Jwk, Jwks};
pub use parse::{Malformed, Parsed, parse};
pub use sign::Signer;

use sha2::{Digest, Sha256};

/// Longest token, prefix included.
pub const TOKEN_MAX_BYTES: usize = 8 * 1024;

/// The `typ` of a token's header (RFC 9068, section 2.1).
const TYP: &str = "at+jwt";

/// What stands before the JWS, and says at a glance which environment a token belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// `rai_live_`
    Live,
    /// `rai_test_`
    Test,
}

impl Prefix {
    /// Its text, the last underscore included.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "rai_live_",
            Self::Test => "rai_test_",
        }
    }

    /// Cuts the prefix off `token`; `None` when it has none.
    pub fn split(token: &str) -> Option<(Self, &str)> {
        [Self::Live, Self::Test]
            .into_iter()
            .find_map(|prefix| Some((prefix, token.strip_prefix(prefix.as_str())?)))
    }
}

/// SHA-256 of the whole token, prefix included: what an issued token is known by.
pub fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_the_hash_of_all_its_bytes() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex::encode(hash("abc")), abc);
        assert_ne!(hash("rai_live_abc"), hash("rai_test_abc"));
    }

    #[test]
    fn only_the_two_prefixes_split_off() {
        assert_eq!(Prefix::split("rai_live_x"), Some((Prefix::Live, "x")));
        assert_eq!(Prefix::split("rai_test_"), Some((Prefix::Test, "")));
        for other in ["", "rai_live", "RAI_LIVE_x", " rai_live_x", "rai_pk_live_x", "x"] {
            assert_eq!(Prefix::split(other), None, "{other:?}");
        }
    }
}
