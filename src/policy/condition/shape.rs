//! Shapes: the type of a value and how large it can be.
//!
//! Types are those of CEL that a condition can meet; sizes are upper bounds over every agent and
//! request that the API lets in. Two shapes are of one type whatever their sizes.

use std::fmt;

use crate::limits;

/// Bytes of a character in UTF-8, at most.
const CHAR_MAX_BYTES: u64 = 4;
/// Bytes that a number or a time counts for.
const SCALAR_BYTES: u64 = 8;

/// The type and the largest size of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// True or false.
    Bool,
    /// A 64-bit signed integer.
    Int,
    /// A 64-bit float.
    Double,
    /// A point in time.
    Timestamp,
    /// A length of time.
    Duration,
    /// A text, and its most bytes.
    Text(u64),
    /// A list: its most elements, and their shape; none for a list that is empty.
    List(u64, Option<Box<Shape>>),
    /// A map from texts to texts: its most entries, and the most bytes of a key and a value.
    Map(u64, u64, u64),
}

impl Shape {
    /// A text of at most `chars` characters.
    pub const fn text_of_chars(chars: usize) -> Self {
        Self::Text(chars as u64 * CHAR_MAX_BYTES)
    }

    /// An agent's metadata.
    pub const fn metadata() -> Self {
        Self::Map(
            limits::METADATA_ENTRIES_MAX as u64,
            limits::METADATA_KEY_MAX_CHARS as u64 * CHAR_MAX_BYTES,
            limits::METADATA_VALUE_MAX_CHARS as u64 * CHAR_MAX_BYTES,
        )
    }

    /// The scopes of a request.
    pub fn scopes() -> Self {
        Self::List(
            limits::SCOPES_MAX as u64,
            Some(Box::new(Self::Text(limits::SCOPE_MAX_BYTES as u64))),
        )
    }

    /// The most bytes of such a value.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Bool | Self::Int | Self::Double | Self::Timestamp | Self::Duration => {
                SCALAR_BYTES
            }
            Self::Text(bytes) => *bytes,
            Self::List(most, item) => {
                let item = item.as_ref().map_or(0, |item| item.bytes());
                most.saturating_mul(item.saturating_add(SCALAR_BYTES))
            }
            Self::Map(most, key, value) => most.saturating_mul(key.saturating_add(*value)),
        }
    }

    /// The shape of what both are: of one type, and as large as the larger. `None` when they are of
    /// different types.
    pub fn join(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(Self::Text(*a.max(b))),
            (Self::List(a, None), Self::List(b, item))
            | (Self::List(a, item), Self::List(b, None)) => {
                Some(Self::List(*a.max(b), item.clone()))
            }
            (Self::List(a, Some(x)), Self::List(b, Some(y))) => {
                Some(Self::List(*a.max(b), Some(Box::new(x.join(y)?))))
            }
            (Self::Map(a, k, v), Self::Map(b, l, w)) => {
                Some(Self::Map(*a.max(b), *k.max(l), *v.max(w)))
            }
            _ => (self == other).then(|| self.clone()),
        }
    }

    /// Whether both are of one type.
    pub fn same_type(&self, other: &Self) -> bool {
        self.join(other).is_some()
    }

    /// What a loop over such a value meets, and how often at most.
    pub fn elements(&self) -> Option<(u64, Self)> {
        match self {
            Self::List(most, Some(item)) => Some((*most, (**item).clone())),
            Self::Map(most, key, _) => Some((*most, Self::Text(*key))),
            _ => None,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Double => f.write_str("double"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::Text(_) => f.write_str("string"),
            Self::List(_, None) => f.write_str("list"),
            Self::List(_, Some(item)) => write!(f, "list({item})"),
            Self::Map(..) => f.write_str("map(string, string)"),
        }
    }
}
