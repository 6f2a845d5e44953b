//! What a token says: the claims of an RFC 9068 access token, with ours beside them.
//!
//! Two ways to read them. [`read_claims`] is for a token that is known to be ours, byte for byte:
//! it borrows, and checks no more than it needs to find the claims. Any other token goes through
//! [`super::parse()`]. Claims that are not listed here are ignored, as RFC 7519, section 4 demands,
//! so that a newer node may add one while older ones still verify.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Malformed, Prefix};

/// The claims of a token, in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims<'a> {
    /// Who issued it: the issuer's URL.
    #[serde(borrow)]
    pub iss: Cow<'a, str>,
    /// Whom it was issued to: the agent's id.
    #[serde(borrow)]
    pub sub: Cow<'a, str>,
    /// The agent's id once more: RFC 9068 wants both.
    #[serde(borrow)]
    pub client_id: Cow<'a, str>,
    /// Where it may be used: the target service.
    #[serde(borrow)]
    pub aud: Cow<'a, str>,
    /// What it allows: scopes, one space between two.
    #[serde(borrow)]
    pub scope: Cow<'a, str>,
    /// When it was issued, seconds since the Unix epoch.
    pub iat: u64,
    /// From when on it is dead, seconds since the Unix epoch.
    pub exp: u64,
    /// Its id.
    #[serde(borrow)]
    pub jti: Cow<'a, str>,
    /// Whose agent that is: the organisation's id.
    #[serde(borrow)]
    pub org: Cow<'a, str>,
    /// What it is for, in its asker's words.
    #[serde(default, deserialize_with = "text", skip_serializing_if = "Option::is_none")]
    pub intent: Option<Cow<'a, str>>,
}

/// A string where the claim is there at all: `null` is not one.
fn text<'de, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'a, str>>, D::Error> {
    String::deserialize(deserializer).map(|text| Some(Cow::Owned(text)))
}

impl Claims<'_> {
    /// The scopes, one by one.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        split_scopes(&self.scope)
    }

    /// The same claims, borrowing nothing.
    pub fn into_owned(self) -> Claims<'static> {
        fn own(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        Claims {
            iss: own(self.iss),
            sub: own(self.sub),
            client_id: own(self.client_id),
            aud: own(self.aud),
            scope: own(self.scope),
            iat: self.iat,
            exp: self.exp,
            jti: own(self.jti),
            org: own(self.org),
            intent: self.intent.map(own),
        }
    }
}

/// The scopes of a `scope` claim, one by one.
pub fn split_scopes(scope: &str) -> impl Iterator<Item = &str> {
    scope.split(' ').filter(|scope| !scope.is_empty())
}

/// The claims of a token that is known to be one of ours; `payload` is where they are decoded, and
/// what they borrow from. Checks neither header nor signature.
pub fn read_claims<'a>(token: &str, payload: &'a mut Vec<u8>) -> Result<Claims<'a>, Malformed> {
    let (_, jws) = Prefix::split(token).ok_or(Malformed::Prefix)?;
    let encoded = jws.split('.').nth(1).ok_or(Malformed::Parts)?;
    payload.clear();
    URL_SAFE_NO_PAD.decode_vec(encoded, payload).map_err(|_| Malformed::Base64("claims"))?;
    serde_json::from_slice(payload).map_err(|_| Malformed::Claims)
}
