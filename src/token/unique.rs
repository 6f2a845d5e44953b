//! A JSON object in which no object, at any depth, names a member twice.
//!
//! Parsers disagree on which of two equal members counts, so one that says `"alg"` twice says two
//! things (RFC 8725, section 2.4, RFC 7515, section 4). Must not know what the members mean.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// Any JSON value without duplicate members; holds whether it is an object.
struct Unique {
    is_object: bool,
}

/// Whether `json` is one JSON object, and no object in it names a member twice.
pub(super) fn is_object(json: &[u8]) -> bool {
    serde_json::from_slice::<Unique>(json).is_ok_and(|value| value.is_object)
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Members)
    }
}

struct Members;

const OTHER: Unique = Unique { is_object: false };

impl<'de> Visitor<'de> for Members {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
        Ok(OTHER)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
        Ok(OTHER)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
        Ok(OTHER)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
        Ok(OTHER)
    }

    fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
        Ok(OTHER)
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(OTHER)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        while items.next_element::<Unique>()?.is_some() {}
        Ok(OTHER)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unique, A::Error> {
        let mut seen = BTreeSet::new();
        while let Some((name, Unique { .. })) = members.next_entry::<String, Unique>()? {
            if !seen.insert(name) {
                return Err(A::Error::custom("a member stands there twice"));
            }
        }
        Ok(Unique { is_object: true })
    }
}

#[cfg(test)]
mod tests {
    use super::is_object;

    #[test]
    fn an_object_names_each_member_once() {
        for good in [r"{}", r#"{"a":1,"b":[null,true,-1,0.5,"x",{"a":{}}]}"#, r#" {"a":{"a":1}} "#]
        {
            assert!(is_object(good.as_bytes()), "{good}");
        }
        for bad in [
            r"",
            r"[]",
            r"1",
            r#""a""#,
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"a":[{"b":1,"b":2}]}"#,
            r"{}{}",
            r"{'a':1}",
        ] {
            assert!(!is_object(bad.as_bytes()), "{bad}");
        }
        assert!(!is_object(b"{\"a\":\"\xff\"}"));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(4_000), "]".repeat(4_000));
        assert!(!is_object(deep.as_bytes()));
    }
}
