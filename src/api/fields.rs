//! Validation: a JSON object, read field by field, so that every faulty field is named at once.
//!
//! A request body implements [`FromFields`]; each field is read with a rule, a function from a
//! JSON value to what the field holds or to what is wrong with it. A message says what would be
//! right and, unless it may be a secret, what was sent. Knows nothing of HTTP.

use serde_json::{Map, Value};

use super::{problem::FieldError, rules};

/// A request body.
pub trait FromFields: Sized {
    /// Reads it. `None` only when a fault was recorded.
    fn read(fields: &mut Fields) -> Option<Self>;
}

/// What is wrong with one field: one fault for itself, or several for places inside it. Each is a
/// place (`[2]`, `.key`, or nothing for the field itself) and a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<(String, String)>);

impl<M: Into<String>> From<M> for Faults {
    fn from(message: M) -> Self {
        Self(vec![(String::new(), message.into())])
    }
}

/// The outcome of a rule.
pub type Checked<T> = Result<T, Faults>;

/// An object's fields that were not read yet, and the faults so far.
#[derive(Debug, Default)]
pub struct Fields {
    unread: Map<String, Value>,
    faults: Vec<FieldError>,
}

/// Reads a whole body.
pub fn read<T: FromFields>(body: Value) -> Result<T, Vec<FieldError>> {
    read_inner(body).map_err(|faults| {
        let named = |(field, message): (String, String)| FieldError {
            field: if field.is_empty() { "body".into() } else { field },
            message,
        };
        faults.0.into_iter().map(named).collect()
    })
}

/// A rule: an object read as `T`; its faults name the places inside it.
pub fn object<T: FromFields>(value: Value) -> Checked<T> {
    read_inner(value).map_err(|Faults(faults)| {
        Faults(faults.into_iter().map(|(place, message)| (nested(&place), message)).collect())
    })
}

fn nested(place: &str) -> String {
    if place.is_empty() || place.starts_with('[') { place.into() } else { format!(".{place}") }
}

fn read_inner<T: FromFields>(value: Value) -> Checked<T> {
    let Value::Object(unread) = value else {
        return Err(format!("must be a JSON object; got {}", rules::a_kind(&value)).into());
    };
    let mut fields = Fields { unread, faults: Vec::new() };
    let read = T::read(&mut fields);
    for name in fields.unread.keys() {
        let message = "is not a field of this request".to_owned();
        fields.faults.push(FieldError { field: shortened(name), message });
    }
    match read {
        Some(read) if fields.faults.is_empty() => Ok(read),
        _ => Err(Faults(
            fields.faults.into_iter().map(|fault| (fault.field, fault.message)).collect(),
        )),
    }
}

/// A caller's own name for a field, fit for an error message.
pub(super) fn shortened(name: &str) -> String {
    const SHOWN_MAX_CHARS: usize = 64;
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text: String = name.chars().take(SHOWN_MAX_CHARS).map(visible).collect();
    if name.chars().nth(SHOWN_MAX_CHARS).is_some() {
        text.push('…');
    }
    text
}

impl Fields {
    /// A field that must be there.
    pub fn required<T>(&mut self, name: &str, rule: impl FnOnce(Value) -> Checked<T>) -> Option<T> {
        match self.unread.remove(name) {
            None => {
                self.fault(name, "is required");
                None
            }
            Some(Value::Null) => {
                self.fault(name, "is required; got null");
                None
            }
            Some(value) => self.check(name, value, rule),
        }
    }

    /// A field that may be left out, or be null, which means the same.
    pub fn optional<T>(&mut self, name: &str, rule: impl FnOnce(Value) -> Checked<T>) -> Option<T> {
        match self.unread.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.check(name, value, rule),
        }
    }

    /// A field of a merge patch (RFC 7396) that can be cleared: `None` leaves it, `Some(None)`
    /// clears it.
    pub fn clearable<T>(
        &mut self,
        name: &str,
        rule: impl FnOnce(Value) -> Checked<T>,
    ) -> Option<Option<T>> {
        match self.unread.remove(name)? {
            Value::Null => Some(None),
            value => self.check(name, value, rule).map(Some),
        }
    }

    /// A field of a merge patch that can be changed but not cleared.
    pub fn changeable<T>(
        &mut self,
        name: &str,
        rule: impl FnOnce(Value) -> Checked<T>,
    ) -> Option<T> {
        match self.unread.remove(name)? {
            Value::Null => {
                self.fault(name, "cannot be null: leave it out to keep it as it is");
                None
            }
            value => self.check(name, value, rule),
        }
    }

    /// Records a fault that no rule of one field can see.
    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.push(FieldError { field: name.into(), message: message.into() });
    }

    /// Whether no fault was recorded so far.
    pub fn is_faultless(&self) -> bool {
        self.faults.is_empty()
    }

    fn check<T>(
        &mut self,
        name: &str,
        value: Value,
        rule: impl FnOnce(Value) -> Checked<T>,
    ) -> Option<T> {
        match rule(value) {
            Ok(checked) => Some(checked),
            Err(Faults(faults)) => {
                self.faults.extend(faults.into_iter().map(|(place, message)| FieldError {
                    field: format!("{name}{place}"),
                    message,
                }));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::rules::{array, integer, text};

    #[derive(Debug, PartialEq)]
    struct Sample {
        name: String,
        ttl: Option<u64>,
        note: Option<Option<String>>,
        inner: Vec<Inner>,
    }

    #[derive(Debug, PartialEq)]
    struct Inner {
        size: u64,
    }

    impl FromFields for Sample {
        fn read(fields: &mut Fields) -> Option<Self> {
            let name = fields.required("name", text(1..=5));
            let ttl = fields.optional("ttl", integer(1..=9, "seconds"));
            let note = fields.clearable("note", text(0..=5));
            let inner = fields.optional("inner", array(0..=2, object));
            Some(Self { name: name?, ttl, note, inner: inner.unwrap_or_default() })
        }
    }

    impl FromFields for Inner {
        fn read(fields: &mut Fields) -> Option<Self> {
            Some(Self { size: fields.required("size", integer(0..=9, ""))? })
        }
    }

    #[test]
    fn null_is_absent_except_where_it_clears() {
        let read: Sample = read(json!({"name": "a", "ttl": null, "note": null})).unwrap();
        assert_eq!(read, Sample { name: "a".into(), ttl: None, note: Some(None), inner: vec![] });
    }

    #[test]
    fn every_faulty_field_is_named_at_once_with_its_place() {
        let body = json!({
            "name": null,
            "ttl": 0,
            "note": 7,
            "inner": [{"size": 1}, {"size": 10, "seize": 1}],
            "nmae": "x",
        });
        let errors = read::<Sample>(body).unwrap_err();
        let said: Vec<_> =
            errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        assert_eq!(
            said,
            [
                "name: is required; got null",
                "ttl: must be between 1 and 9 seconds; got 0",
                "note: must be a string; got a number",
                "inner[1].size: must be between 0 and 9; got 10",
                "inner[1].seize: is not a field of this request",
                "nmae: is not a field of this request",
            ]
        );
    }

    #[test]
    fn a_body_that_is_no_object_says_so() {
        let errors = read::<Sample>(json!([1])).unwrap_err();
        assert_eq!(errors[0].field, "body");
        assert_eq!(errors[0].message, "must be a JSON object; got an array");
    }
}
