//! How a key is spelled: a prefix that says what it is, 43 base64url characters (32 bytes), and 6
//! base62 characters, the CRC-32 (IEEE) of all before.
//!
//! The checksum lets a secret scanner tell a real key from a lookalike offline, and this node
//! refuse a mistyped one before it looks anything up. It is written most significant digit first,
//! in the alphabet `0`–`9`, `A`–`Z`, `a`–`z`, padded with `0`.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

const BODY_CHARS: usize = 43;
const CHECK_CHARS: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What a key opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// `rai_pk_live_…`: the API, for the live half of an organisation.
    ApiLive,
    /// `rai_pk_test_…`: the API, for the test half of an organisation.
    ApiTest,
    /// `sk_live_…`: an agent's own key, in the live half; its 32 bytes are the Ed25519 seed.
    AgentLive,
    /// `sk_test_…`: an agent's own key, in the test half; its 32 bytes are the Ed25519 seed.
    AgentTest,
    /// `rai_op_…`: the cluster itself.
    Operator,
}

impl KeyKind {
    /// Every kind there is.
    pub const ALL: [Self; 5] =
        [Self::ApiLive, Self::ApiTest, Self::AgentLive, Self::AgentTest, Self::Operator];

    /// What its text starts with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::ApiLive => "rai_pk_live_",
            Self::ApiTest => "rai_pk_test_",
            Self::AgentLive => "sk_live_",
            Self::AgentTest => "sk_test_",
            Self::Operator => "rai_op_",
        }
    }
}

/// A key's text. Wiped when dropped; the only way to see it is [`Secret::expose`].
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A new key.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give: nothing safe can be done without.
    pub fn mint(kind: KeyKind) -> Self {
        Self::from_bytes(kind, &super::random())
    }

    /// The key with these 32 bytes.
    pub fn from_bytes(kind: KeyKind, bytes: &[u8; 32]) -> Self {
        // Whole from the start: a string that grew would leave copies behind.
        let length = kind.prefix().len() + BODY_CHARS + CHECK_CHARS;
        let mut text = Zeroizing::new(String::with_capacity(length));
        text.push_str(kind.prefix());
        URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
        let check = checksum(&text);
        text.extend(check.map(char::from));
        Self(text)
    }

    /// The key with this text.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn read(text: &str) -> Result<Self, BadSecret> {
        let (kind, bytes) = parse(text)?;
        Ok(Self::from_bytes(kind, &bytes))
    }

    /// The key itself, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the whole text: what is kept of it.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// Its last four characters, for the masked form.
    pub fn last_four(&self) -> &str {
        &self.0[self.0.len() - 4..]
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A text that is not a key. Says nothing of the text itself, which may be nearly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// Starts as no key does.
    #[error("a key starts with rai_pk_live_, rai_pk_test_, sk_live_, sk_test_ or rai_op_")]
    Prefix,
    /// Too short or too long.
    #[error(
        "a key is its prefix and 49 characters: part of this one is missing, or more was added"
    )]
    Length,
    /// The checksum does not fit.
    #[error("the key's checksum is wrong: a character was changed on its way here")]
    Checksum,
    /// The checksum fits, but the bytes are spelled in no way that we spell them.
    #[error("the key is not spelled in base64url")]
    Spelling,
}

/// Reads a key: what kind it is, and its 32 bytes.
pub fn parse(text: &str) -> Result<(KeyKind, Zeroizing<[u8; 32]>), BadSecret> {
    let kind = KeyKind::ALL
        .into_iter()
        .find(|kind| text.starts_with(kind.prefix()))
        .ok_or(BadSecret::Prefix)?;
    let prefix = kind.prefix().len();
    if text.len() != prefix + BODY_CHARS + CHECK_CHARS || !text.is_ascii() {
        return Err(BadSecret::Length);
    }
    let (checked, check) = text.split_at(prefix + BODY_CHARS);
    if check.as_bytes() != checksum(checked) {
        return Err(BadSecret::Checksum);
    }
    // As long as the decoder wants its output to be before it knows what comes.
    let mut bytes = Zeroizing::new([0; 33]);
    let read = URL_SAFE_NO_PAD.decode_slice(&checked[prefix..], bytes.as_mut());
    if read != Ok(32) {
        return Err(BadSecret::Spelling);
    }
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&bytes[..32]);
    bytes.zeroize();
    Ok((kind, key))
}

fn checksum(text: &str) -> [u8; CHECK_CHARS] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [0; CHECK_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_key_is_prefix_body_and_checksum() {
        // The checksums as Python's zlib.crc32 computes them.
        for (kind, byte, text) in [
            (
                KeyKind::ApiLive,
                0x00,
                "rai_pk_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA2aRypR",
            ),
            (
                KeyKind::ApiTest,
                0xff,
                "rai_pk_test___________________________________________82Zxqmc",
            ),
            (KeyKind::AgentLive, 0x5a, "sk_live_WlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo1aQwBX"),
            (KeyKind::AgentTest, 0x01, "sk_test_AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE1cznR4"),
            (KeyKind::Operator, 0x80, "rai_op_gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIA4WhXSU"),
        ] {
            let secret = Secret::from_bytes(kind, &[byte; 32]);
            assert_eq!(secret.expose(), text);
            assert_eq!(parse(text), Ok((kind, Zeroizing::new([byte; 32]))));
            assert!(text.ends_with(secret.last_four()) && secret.last_four().len() == 4);
        }
    }

    #[test]
    fn minted_keys_differ_and_read_back() {
        for kind in KeyKind::ALL {
            let (one, other) = (Secret::mint(kind), Secret::mint(kind));
            assert_ne!(one.expose(), other.expose());
            assert_ne!(one.hash(), other.hash());
            assert_eq!(parse(one.expose()).unwrap().0, kind);
        }
    }

    #[test]
    fn a_key_shows_itself_to_nobody_who_does_not_ask() {
        let secret = Secret::mint(KeyKind::ApiLive);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_told_why() {
        let good = Secret::from_bytes(KeyKind::AgentLive, &[7; 32]);
        let good = good.expose();
        let respelled = |body: &str| {
            let text = format!("sk_live_{body}");
            let check = String::from_utf8(checksum(&text).to_vec()).unwrap();
            text + &check
        };
        for (bad, why) in [
            (String::new(), BadSecret::Prefix),
            ("sk_".into(), BadSecret::Prefix),
            (format!(" {good}"), BadSecret::Prefix),
            (good.replace("sk_live_", "rai_live_"), BadSecret::Prefix),
            ("sk_live_".into(), BadSecret::Length),
            (good[..good.len() - 1].into(), BadSecret::Length),
            (format!("{good}0"), BadSecret::Length),
            (format!("{}é", &good[..good.len() - 2]), BadSecret::Length),
            (good.replace("sk_live_", "sk_test_"), BadSecret::Checksum),
            (good.replacen('B', "C", 1), BadSecret::Checksum),
            (respelled(&"*".repeat(43)), BadSecret::Spelling),
            (respelled(&"/".repeat(43)), BadSecret::Spelling),
            // 43 characters hold 258 bits: the last two must be zero.
            (respelled(&format!("{}B", "A".repeat(42))), BadSecret::Spelling),
        ] {
            assert_eq!(parse(&bad), Err(why), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_key_reads_back_and_no_text_panics(
            bytes: [u8; 32], kind in 0..KeyKind::ALL.len(), place in 0..68usize, any: String
        ) {
            let kind = KeyKind::ALL[kind];
            let secret = Secret::from_bytes(kind, &bytes);
            prop_assert_eq!(parse(secret.expose()), Ok((kind, Zeroizing::new(bytes))));
            let mut changed: Vec<char> = secret.expose().chars().collect();
            if let Some(character) = changed.get_mut(place) {
                *character = if *character == 'x' { 'y' } else { 'x' };
                let changed: String = changed.into_iter().collect();
                prop_assert!(parse(&changed).is_err());
            }
            let prefixed = format!("{}{any}", kind.prefix());
            prop_assert!(parse(&any).is_err());
            prop_assert!(parse(&prefixed).is_err());
        }
    }
}
