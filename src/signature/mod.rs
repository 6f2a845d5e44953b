//! Signed requests: an agent's signature on a request, besides the API key.
//!
//! HTTP message signatures (RFC 9421) with Ed25519, over exactly `@method`, `@path` and
//! `content-digest` (RFC 9530), with `created`, `nonce` and `keyid`. [`Presented::read`] takes the
//! headers apart and checks that the digest is the body's; whose key it has to be is the caller's to
//! say, in [`Presented::is_by`]. Strict: one signature, nothing unknown, nothing twice.
//!
//! Must not know agents, clocks, or which nonces were seen.

mod digest;

use ed25519_dalek::{Signature, VerifyingKey};
use sfv::{BareItem, Dictionary, FieldType, InnerList, ListEntry, Parameters, Parser};

use crate::limits;

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Only some of the three headers are there.
    #[error(
        "a signed request has the headers Signature-Input, Signature and Content-Digest; {0} is \
         missing"
    )]
    Missing(&'static str),
    /// A header cannot be read.
    #[error("the header {0} is not what RFC 9421 and RFC 9530 say: {1}")]
    Malformed(&'static str, &'static str),
    /// The digest is not the body's.
    #[error("Content-Digest is not the digest of the body that arrived")]
    WrongDigest,
    /// The signature is not that of the agent's key.
    #[error("the signature does not verify with the agent's key")]
    WrongSignature,
}

/// A request, as far as a signature covers it.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// In capitals.
    pub method: &'a str,
    /// As sent, without the query.
    pub path: &'a str,
    /// The header `Signature-Input`, its lines joined with a comma.
    pub signature_input: Option<&'a str>,
    /// The header `Signature`, its lines joined with a comma.
    pub signature: Option<&'a str>,
    /// The header `Content-Digest`, its lines joined with a comma.
    pub content_digest: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// A signature that is well formed and goes with the body. Whose it is remains to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Whose key it claims to be of.
    pub key_id: String,
    /// When it was made, by the signer's clock. Seconds since the Unix epoch.
    pub created_s: u64,
    /// From when on it counts no more, if the signer said so. Seconds since the Unix epoch.
    pub expires_s: Option<u64>,
    /// What makes it unlike every other of that key.
    pub nonce: String,
    base: String,
    signature: [u8; 64],
}

impl Presented {
    /// Reads the signature of `message`; `None` when it has none.
    pub fn read(message: &Message<'_>) -> Result<Option<Self>, Fault> {
        let headers = [
            ("Signature-Input", message.signature_input),
            ("Signature", message.signature),
            ("Content-Digest", message.content_digest),
        ];
        // A digest alone is no attempt to sign.
        if message.signature_input.is_none() && message.signature.is_none() {
            return Ok(None);
        }
        let [input, signature, digest] = headers.map(|(name, value)| match value {
            None => Err(Fault::Missing(name)),
            Some(long) if long.len() > limits::SIGNATURE_HEADER_MAX_BYTES => {
                Err(Fault::Malformed(name, "it is too long"))
            }
            Some(value) => Ok(value.trim()),
        });
        let digest = digest?;
        let (label, covered) = the_one("Signature-Input", input?)?;
        let ListEntry::InnerList(covered) = covered else {
            return Err(Fault::Malformed("Signature-Input", "it lists no components"));
        };
        digest::check(digest, message.body)?;
        let stated = Stated::read(&covered.params)?;
        Ok(Some(Self {
            base: base(&covered, |name| component(message, digest, name))?,
            signature: signature_bytes(signature?, &label)?,
            key_id: stated.key_id,
            created_s: stated.created_s,
            expires_s: stated.expires_s,
            nonce: stated.nonce,
        }))
    }

    /// Checks that the signature was made with the private half of `public_key`.
    pub fn is_by(&self, public_key: &[u8; 32]) -> Result<(), Fault> {
        let key = VerifyingKey::from_bytes(public_key).map_err(|_| Fault::WrongSignature)?;
        key.verify_strict(self.base.as_bytes(), &Signature::from_bytes(&self.signature))
            .map_err(|_| Fault::WrongSignature)
    }
}

/// The only member of a dictionary: several signatures would leave open which one counts.
fn the_one(header: &'static str, value: &str) -> Result<(String, ListEntry), Fault> {
    let members: Dictionary = Parser::new(value)
        .parse()
        .map_err(|_| Fault::Malformed(header, "it is no structured dictionary (RFC 9651)"))?;
    let mut members = members.into_iter();
    match (members.next(), members.next()) {
        (Some((label, member)), None) => Ok((label.as_str().to_owned(), member)),
        _ => Err(Fault::Malformed(header, "it has to hold exactly one signature")),
    }
}

fn signature_bytes(value: &str, label: &str) -> Result<[u8; 64], Fault> {
    let header = "Signature";
    let (own_label, member) = the_one(header, value)?;
    if own_label != label {
        return Err(Fault::Malformed(header, "its label is not the one of Signature-Input"));
    }
    let ListEntry::Item(item) = member else {
        return Err(Fault::Malformed(header, "it is a list"));
    };
    item.bare_item
        .as_byte_sequence()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(Fault::Malformed(header, "it is not 64 bytes between colons, in base64"))
}

/// What the signer states beside the components.
struct Stated {
    key_id: String,
    created_s: u64,
    expires_s: Option<u64>,
    nonce: String,
}

impl Stated {
    fn read(parameters: &Parameters) -> Result<Self, Fault> {
        let bad = |why| Fault::Malformed("Signature-Input", why);
        let mut created_s = None;
        let mut expires_s = None;
        let mut nonce = None;
        let mut key_id = None;
        for (name, value) in parameters {
            match name.as_str() {
                "created" => created_s = Some(seconds(value).ok_or(bad("created is no time"))?),
                "expires" => expires_s = Some(seconds(value).ok_or(bad("expires is no time"))?),
                "nonce" => nonce = Some(text(value).ok_or(bad("nonce is no string"))?),
                "keyid" => key_id = Some(text(value).ok_or(bad("keyid is no string"))?),
                "alg" if text(value).as_deref() == Some("ed25519") => {}
                "alg" => return Err(bad("alg has to be \"ed25519\"")),
                _ => return Err(bad("it has a parameter that is not known")),
            }
        }
        let nonce = nonce.ok_or(bad("nonce is missing"))?;
        if !(limits::NONCE_MIN_BYTES..=limits::NONCE_MAX_BYTES).contains(&nonce.len()) {
            return Err(bad("nonce has to be 8 to 128 characters long"));
        }
        Ok(Self {
            key_id: key_id.ok_or(bad("keyid is missing"))?,
            created_s: created_s.ok_or(bad("created is missing"))?,
            expires_s,
            nonce,
        })
    }
}

fn seconds(value: &BareItem) -> Option<u64> {
    value.as_integer().and_then(|number| u64::try_from(i64::from(number)).ok())
}

fn text(value: &BareItem) -> Option<String> {
    value.as_string().map(|text| text.as_str().to_owned())
}

fn component<'a>(message: &Message<'a>, digest: &'a str, name: &str) -> Option<&'a str> {
    match name {
        "@method" => Some(message.method),
        "@path" => Some(message.path),
        "content-digest" => Some(digest),
        _ => None,
    }
}

/// The signature base (RFC 9421, section 2.5) of the components that `covered` lists: exactly the
/// three, in the signer's order.
fn base<'a>(covered: &InnerList, value: impl Fn(&str) -> Option<&'a str>) -> Result<String, Fault> {
    let fault = || {
        Fault::Malformed(
            "Signature-Input",
            "it has to cover \"@method\", \"@path\" and \"content-digest\", and nothing else",
        )
    };
    let mut names: Vec<&str> = Vec::new();
    for item in &covered.items {
        let name = item.bare_item.as_string().map(sfv::StringRef::as_str);
        let name = name.filter(|name| item.params.is_empty() && !names.contains(name));
        names.push(name.ok_or_else(fault)?);
    }
    if names.len() != 3 {
        return Err(fault());
    }
    base_of(covered, &names, value).ok_or_else(fault)
}

/// One line a component, then the parameters as they were sent, in canonical form.
fn base_of<'a>(
    covered: &InnerList,
    names: &[&str],
    value: impl Fn(&str) -> Option<&'a str>,
) -> Option<String> {
    let mut base = String::new();
    for name in names {
        base.push_str(&format!("\"{name}\": {}\n", value(name)?));
    }
    let parameters = vec![ListEntry::InnerList(covered.clone())].serialize()?;
    base.push_str("\"@signature-params\": ");
    base.push_str(&parameters);
    Some(base)
}

#[cfg(test)]
mod tests;
