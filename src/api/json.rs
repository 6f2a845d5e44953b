//! JSON in: bytes to a value, with what serde_json leaves open decided.
//!
//! A name that occurs twice in an object is refused: two readers could take different ones. A
//! number too large for a float is well-formed JSON, so it is told apart from a syntax error, and
//! the place of either is named. Knows nothing of fields and their meaning.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why bytes are no JSON value that this API takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// Not JSON, or JSON with a name twice in one object. Says what and where.
    Malformed(String),
    /// JSON, but the number at this place is beyond every range.
    NumberTooLarge(String),
}

/// What serde_json says of a number that overflows a float.
const OUT_OF_RANGE: &str = "number out of range";

/// Reads one JSON value; nothing may follow it.
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let path = RefCell::new(Vec::new());
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Place { path: &path }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| {
        let said = error.to_string();
        if said.starts_with(OUT_OF_RANGE) {
            JsonError::NumberTooLarge(path_text(&path.borrow()))
        } else {
            JsonError::Malformed(said)
        }
    })
}

/// One step into a value.
enum Step {
    Name(String),
    Index(usize),
}

fn path_text(path: &[Step]) -> String {
    path.iter().fold(String::new(), |mut text, step| {
        match step {
            Step::Name(name) if text.is_empty() => text.push_str(name),
            Step::Name(name) => text.extend([".", name]),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
        text
    })
}

/// Reads a value and keeps the path to where it is. A step is taken back only when what stands
/// there was read, so after an error the path names its place.
#[derive(Clone, Copy)]
struct Place<'p> {
    path: &'p RefCell<Vec<Step>>,
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        self.path.borrow_mut().push(Step::Index(0));
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
            if let Some(step) = self.path.borrow_mut().last_mut() {
                *step = Step::Index(array.len());
            }
        }
        self.path.borrow_mut().pop();
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom("a name occurs twice in one object"));
            }
            self.path.borrow_mut().push(Step::Name(name.clone()));
            let value = entries.next_value_seed(self)?;
            self.path.borrow_mut().pop();
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            "true",
            "-1",
            "18446744073709551615",
            "1.5",
            "\"\\u0000 שלום\"",
            "[1,[2,{}],\"x\"]",
            "{\"a\":{\"a\":1},\"b\":[{\"a\":2}]}",
        ] {
            assert_eq!(parse(text.as_bytes()), Ok(serde_json::from_str(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        let deep = "[".repeat(200);
        for bytes in [
            &b""[..],
            b"{",
            b"{\"a\":}",
            b"{'a':1}",
            b"{} {}",
            b"nul",
            b"01",
            b"NaN",
            b"\"\xff\"",
            b"\"\\ud800\"",
            b"\"\n\"",
            b"{\"a\":1,\"a\":1}",
            b"[{\"a\":{\"b\":1,\"b\":2}}]",
            deep.as_bytes(),
        ] {
            assert!(matches!(parse(bytes), Err(JsonError::Malformed(_))), "{bytes:?}");
        }
    }

    #[test]
    fn a_number_beyond_every_range_is_well_formed_and_its_place_is_named() {
        for (text, place) in [
            ("{\"ttl\":1e999}", "ttl"),
            ("{\"a\":{\"b\":[1,{},-1e999]}}", "a.b[2]"),
            ("1e999", ""),
            ("{\"a\":[[1],2],\"b\":1e999}", "b"),
        ] {
            assert_eq!(parse(text.as_bytes()), Err(JsonError::NumberTooLarge(place.into())));
        }
    }
}
