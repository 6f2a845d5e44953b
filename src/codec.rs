//! The stored form of everything that AuthRAI writes to the log or a snapshot.
//!
//! bincode with a version byte in front, a length cap, and a check that nothing is left over.
//! Encoding has no cap, so a command that is about to be proposed is read back first, under limits
//! far stricter than those that stored bytes are read under.
//! Stored enums are declared with `stored_enum!`, or `stored_tags!` where variants hold nothing:
//! each variant has an explicit tag, so that moving a line never changes the meaning of bytes on
//! disk. A stored type is a plain DTO:
//! bincode cannot read `flatten`, `untagged`, `tag =`, `skip_serializing_if` or
//! `serde_json::Value` back. Knows nothing of what is stored.

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::{PROPOSED_MAX_BYTES, STORED_ITEM_MAX_BYTES};

/// The version of the stored form, the first byte of everything encoded here.
pub const VERSION: u8 = 1;

/// What bincode may count while it decodes one item. It counts a length as 8 bytes and a number as
/// the bytes of its type, at most 16, however few bytes hold them: so no item within
/// [`STORED_ITEM_MAX_BYTES`] meets this limit. It bounds what a forged length can make the decoder
/// reserve.
const CLAIM_MAX_BYTES: usize = 16 * STORED_ITEM_MAX_BYTES;

/// Why stored bytes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// There was nothing at all.
    #[error("empty")]
    Empty,
    /// Written by another version of this program.
    #[error("stored version {0}, this program reads version {VERSION}")]
    Version(u8),
    /// Longer than anything that this program writes.
    #[error("{0} bytes, more than {STORED_ITEM_MAX_BYTES}")]
    TooLong(usize),
    /// It counts as more than may be proposed.
    #[error("counts as more than {PROPOSED_MAX_BYTES} bytes")]
    CountsTooMuch,
    /// Bytes remained after the item.
    #[error("{0} bytes left over")]
    LeftOver(usize),
    /// The bytes are not such an item.
    #[error("{0}")]
    Malformed(String),
}

/// The stored form of `item`.
///
/// # Panics
///
/// Never for the DTOs of this crate: their `Serialize` does not fail and writing to memory does
/// not either.
pub fn encode<T: Serialize>(item: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(item, &mut bytes, bincode::config::standard())
        .expect("plain DTOs encode into memory");
    bytes
}

/// How long the stored form of `item` is. Copies nothing.
///
/// # Panics
///
/// Never for the DTOs of this crate, as [`encode`].
pub fn encoded_len<T: Serialize>(item: &T) -> usize {
    let mut length = Length(1);
    bincode::serde::encode_into_std_write(item, &mut length, bincode::config::standard())
        .expect("plain DTOs are counted");
    length.0
}

/// Takes bytes, and keeps only how many there were.
struct Length(usize);

impl std::io::Write for Length {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Reads an item back. The whole of `bytes` must be that item.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_counting::<T, CLAIM_MAX_BYTES>(bytes)
}

/// The same for an item that is about to be proposed: more than [`PROPOSED_MAX_BYTES`], as the
/// decoder counts them, are refused.
pub fn decode_proposed<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    decode_counting::<T, PROPOSED_MAX_BYTES>(bytes)
}

fn decode_counting<T: DeserializeOwned, const CLAIM: usize>(
    bytes: &[u8],
) -> Result<T, DecodeError> {
    if bytes.len() > STORED_ITEM_MAX_BYTES {
        return Err(DecodeError::TooLong(bytes.len()));
    }
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != VERSION {
        return Err(DecodeError::Version(*version));
    }
    let configuration = bincode::config::standard().with_limit::<CLAIM>();
    let (item, read) =
        bincode::serde::decode_from_slice(body, configuration).map_err(|error| match error {
            bincode::error::DecodeError::LimitExceeded => DecodeError::CountsTooMuch,
            other => DecodeError::Malformed(other.to_string()),
        })?;
    match body.len() - read {
        0 => Ok(item),
        rest => Err(DecodeError::LeftOver(rest)),
    }
}

/// Declares an enum whose variants each hold one payload and carry an explicit stored tag.
///
/// Stored as the pair (tag, payload). A tag is never reused; an unknown one does not decode.
macro_rules! stored_enum {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$variant_meta:meta])* $tag:literal => $variant:ident($payload:ty) ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis enum $name {
            $( $(#[$variant_meta])* $variant($payload) ),+
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $( Self::$variant(payload) => {
                        serde::Serialize::serialize(&($tag as u16, payload), serializer)
                    } )+
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Pair;
                impl<'de> serde::de::Visitor<'de> for Pair {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a tagged ", stringify!($name)))
                    }

                    fn visit_seq<A: serde::de::SeqAccess<'de>>(
                        self,
                        mut pair: A,
                    ) -> Result<$name, A::Error> {
                        use serde::de::Error;
                        let tag: u16 =
                            pair.next_element()?.ok_or_else(|| A::Error::custom("no tag"))?;
                        match tag {
                            $( $tag => pair
                                .next_element::<$payload>()?
                                .map($name::$variant)
                                .ok_or_else(|| A::Error::custom("no payload")), )+
                            other => Err(A::Error::custom(format_args!(
                                concat!("unknown ", stringify!($name), " tag {}"),
                                other
                            ))),
                        }
                    }
                }
                deserializer.deserialize_tuple(2, Pair)
            }
        }
    };
}

/// Declares an enum whose variants hold nothing, each with an explicit stored tag, one byte, and a
/// name for people and the wire.
///
/// Stored as the tag. A tag is never reused; an unknown one does not decode.
macro_rules! stored_tags {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$variant_meta:meta])* $tag:literal => $variant:ident = $text:literal ),+ $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(into = "u8", try_from = "u8")]
        $vis enum $name {
            $( $(#[$variant_meta])* $variant ),+
        }

        impl $name {
            /// Every one there is, in the order of declaration.
            pub const ALL: [Self; [$( $text ),+].len()] = [$( Self::$variant ),+];

            /// Its name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $text ),+
                }
            }
        }

        impl From<$name> for u8 {
            fn from(one: $name) -> u8 {
                match one {
                    $( $name::$variant => $tag ),+
                }
            }
        }

        impl TryFrom<u8> for $name {
            type Error = String;

            fn try_from(tag: u8) -> Result<Self, String> {
                match tag {
                    $( $tag => Ok(Self::$variant), )+
                    other => Err(format!(concat!("unknown ", stringify!($name), " tag {}"), other)),
                }
            }
        }
    };
}

pub(crate) use {stored_enum, stored_tags};

#[cfg(test)]
mod tests {
    use super::*;

    stored_enum! {
        #[derive(Debug, PartialEq)]
        enum Sample {
            7 => Number(u64),
            300 => Text(String),
        }
    }

    stored_tags! {
        enum Light {
            9 => Red = "red",
            4 => Green = "green",
        }
    }

    #[test]
    fn an_enum_of_names_is_stored_as_its_tag() {
        assert_eq!(Light::ALL.map(|light| encode(&light)), [[1, 9], [1, 4]]);
        assert_eq!(Light::ALL.map(Light::as_str), ["red", "green"]);
        assert_eq!(decode(&[1, 4]), Ok(Light::Green));
        assert!(matches!(decode::<Light>(&[1, 5]), Err(DecodeError::Malformed(_))));
    }

    #[test]
    fn a_stored_item_is_version_tag_payload() {
        assert_eq!(encode(&Sample::Number(5)), [1, 7, 5]);
        assert_eq!(encode(&Sample::Text("a".into())), [1, 251, 44, 1, 1, b'a']);
    }

    #[test]
    fn what_was_stored_reads_back() {
        for item in [Sample::Number(u64::MAX), Sample::Text("é".into())] {
            assert_eq!(encoded_len(&item), encode(&item).len());
            assert_eq!(decode::<Sample>(&encode(&item)), Ok(item));
        }
    }

    #[test]
    fn what_this_program_did_not_write_is_refused() {
        assert_eq!(decode::<Sample>(&[]), Err(DecodeError::Empty));
        assert_eq!(decode::<Sample>(&[2, 7, 5]), Err(DecodeError::Version(2)));
        assert_eq!(decode::<Sample>(&[1, 7, 5, 0]), Err(DecodeError::LeftOver(1)));
        assert!(matches!(decode::<Sample>(&[1, 8, 5]), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<Sample>(&[1, 7]), Err(DecodeError::Malformed(_))));
        assert!(matches!(
            decode::<Sample>(&vec![1; STORED_ITEM_MAX_BYTES + 1]),
            Err(DecodeError::TooLong(_))
        ));
    }

    #[test]
    fn whatever_fits_is_read_however_the_decoder_counts_it() {
        // One byte each, counted as 8 and as 16: together far more than an item may have.
        let most = STORED_ITEM_MAX_BYTES / 8 + 64;
        let texts = encode(&vec![String::new(); most]);
        assert_eq!(decode::<Vec<String>>(&texts).map(|texts| texts.len()), Ok(most));
        let wide = encode(&vec![1_u128; most]);
        assert_eq!(decode::<Vec<u128>>(&wide).map(|wide| wide.len()), Ok(most));
    }

    #[test]
    fn what_may_be_proposed_is_read_from_then_on_and_counted_by_its_parts() {
        // On both sides of the limit, for one long text and for many empty ones.
        for (parts, each, limit) in
            [(1, 1, PROPOSED_MAX_BYTES - 16), (8, 0, PROPOSED_MAX_BYTES / 8 - 1)]
        {
            for count in limit - 2..limit + 3 {
                let texts = match each {
                    0 => vec![String::new(); count],
                    _ => vec!["x".repeat(count); parts],
                };
                let bytes = encode(&texts);
                assert_eq!(decode::<Vec<String>>(&bytes).as_ref(), Ok(&texts));
                let proposed = decode_proposed::<Vec<String>>(&bytes);
                let fits = count <= limit;
                assert_eq!(proposed.is_ok(), fits, "{parts} {count}: {limit}");
                assert!(fits || proposed == Err(DecodeError::CountsTooMuch));
            }
        }
    }
}
