//! The one way in which values become stored bytes and come back.
//!
//! A version byte, then the value in bincode; a cap on the bytes, the same in both directions, and
//! nothing may be left over.
//! Only plain structs of our own go through here: bincode over serde silently mangles flattened,
//! untagged and skipped fields. Must not know what is stored, or where.

use serde::{Serialize, de::DeserializeOwned};

use crate::limits::{CODEC_CLAIM_MAX_BYTES, CODEC_MAX_BYTES};

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    /// Written by another version of this program, or not written by it at all.
    #[error("version {found} where this program reads version {supported}")]
    Version { found: u8, supported: u8 },
    #[error("{bytes} bytes where at most {limit} are allowed")]
    TooLong { bytes: usize, limit: usize },
    #[error("{bytes} bytes left over")]
    Leftover { bytes: usize },
    #[error("{0}")]
    Malformed(String),
}

const CONFIG: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<CODEC_CLAIM_MAX_BYTES>,
> = bincode::config::standard().with_limit::<CODEC_CLAIM_MAX_BYTES>();

/// `value` behind a version byte.
pub(crate) fn encode<T: Serialize>(version: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let body = bincode::serde::encode_to_vec(value, CONFIG)
        .map_err(|e| CodecError::Malformed(e.to_string()))?;
    if body.len() >= CODEC_MAX_BYTES {
        return Err(CodecError::TooLong { bytes: body.len() + 1, limit: CODEC_MAX_BYTES });
    }
    let mut out = Vec::with_capacity(body.len() + 1);
    out.push(version);
    out.extend_from_slice(&body);
    Ok(out)
}

/// What [`encode`] wrote, if it is all there and nothing else is.
pub(crate) fn decode<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<T, CodecError> {
    if bytes.len() > CODEC_MAX_BYTES {
        return Err(CodecError::TooLong { bytes: bytes.len(), limit: CODEC_MAX_BYTES });
    }
    let Some((&found, body)) = bytes.split_first() else {
        return Err(CodecError::Malformed("nothing at all".into()));
    };
    if found != version {
        return Err(CodecError::Version { found, supported: version });
    }
    let (value, read) = bincode::serde::decode_from_slice(body, CONFIG)
        .map_err(|e| CodecError::Malformed(e.to_string()))?;
    if read != body.len() {
        return Err(CodecError::Leftover { bytes: body.len() - read });
    }
    Ok(value)
}

/// Serde for byte strings: one copy instead of a visit per byte, and no allocation before the
/// bytes are known to be there.
pub(crate) mod bytes {
    use std::fmt;

    use serde::{Deserializer, Serializer, de::Error, de::Visitor};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        from.deserialize_bytes(Bytes)
    }

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a byte string")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        n: u64,
        #[serde(with = "super::bytes")]
        b: Vec<u8>,
    }

    fn sample() -> Sample {
        Sample { n: 300, b: vec![1, 2, 3] }
    }

    #[test]
    fn a_value_is_its_version_then_its_fields() {
        let bytes = encode(7, &sample()).expect("encodes");
        assert_eq!(bytes, [7, 251, 44, 1, 3, 1, 2, 3]);
        assert_eq!(decode::<Sample>(7, &bytes), Ok(sample()));
    }

    #[test]
    fn another_version_a_leftover_and_a_cut_are_refused() {
        let bytes = encode(7, &sample()).expect("encodes");
        let more = [bytes.as_slice(), &[0]].concat();
        assert_eq!(
            decode::<Sample>(8, &bytes),
            Err(CodecError::Version { found: 7, supported: 8 })
        );
        assert_eq!(decode::<Sample>(7, &more), Err(CodecError::Leftover { bytes: 1 }));
        for cut in 0..bytes.len() {
            let got = decode::<Sample>(7, &bytes[..cut]);
            assert!(matches!(got, Err(CodecError::Malformed(_))), "{cut}: {got:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_bytes_allocates_nothing() {
        // A claimed length of u64::MAX.
        let bytes = [7, 0, 253, 255, 255, 255, 255, 255, 255, 255, 255];
        assert!(matches!(decode::<Sample>(7, &bytes), Err(CodecError::Malformed(_))));
    }

    /// Values that bincode counts as far more bytes than they have.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Small {
        texts: Vec<String>,
        numbers: Vec<u64>,
        wide: Vec<u128>,
    }

    #[test]
    fn whatever_encodes_decodes_however_the_decoder_counts_it() {
        // Counted as eight times as many bytes, or sixteen: far more than the cap.
        let whole = CODEC_MAX_BYTES / 8 + 64;
        for small in [
            Small { texts: vec![String::new(); whole], numbers: vec![], wide: vec![] },
            Small { texts: vec![], numbers: vec![1; whole], wide: vec![] },
            Small { texts: vec![], numbers: vec![], wide: vec![1; whole] },
        ] {
            let bytes = encode(7, &small).expect("encodes");
            assert!(decode::<Small>(7, &bytes).as_ref() == Ok(&small));
        }
        // From either side of the cap, both directions agree.
        for length in CODEC_MAX_BYTES - 9..CODEC_MAX_BYTES + 2 {
            let sample = Sample { n: 0, b: vec![0; length] };
            match encode(7, &sample) {
                Ok(bytes) => assert!(decode::<Sample>(7, &bytes).as_ref() == Ok(&sample)),
                Err(error) => assert!(matches!(error, CodecError::TooLong { .. }), "{error:?}"),
            }
        }
    }

    #[test]
    fn a_value_over_the_cap_is_refused_both_ways() {
        let big = Sample { n: 0, b: vec![0; CODEC_MAX_BYTES] };
        assert!(encode(7, &big).is_err());
        assert!(matches!(
            decode::<Sample>(7, &vec![7; CODEC_MAX_BYTES + 1]),
            Err(CodecError::TooLong { .. })
        ));
    }
}
