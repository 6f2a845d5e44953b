//! Query strings, read parameter by parameter as bodies are field by field.
//!
//! What cannot be read – bad percent-encoding, a number that is none – is a 400; what can be read
//! but is not allowed – out of range, an unknown word, a parameter that is unknown or given twice
//! – is a 422. Each faulty parameter is named. Knows nothing of any one route.

use std::{collections::BTreeMap, ops::RangeInclusive};

use axum::{
    extract::FromRequestParts,
    http::{Uri, request::Parts},
};

use super::{
    fields::shortened,
    problem::{Code, FieldError, Problem},
};

/// A route's query parameters.
pub trait FromQuery: Sized {
    /// Reads them; faults are recorded in `parameters`, and the result is then not used.
    fn read(parameters: &mut Parameters) -> Self;
}

/// A request's query, checked.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: FromQuery> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read(&parts.uri).map(Self)
    }
}

/// The parameters that were not read yet, and the faults so far.
#[derive(Debug, Default)]
pub struct Parameters {
    unread: BTreeMap<String, String>,
    unreadable: Vec<FieldError>,
    invalid: Vec<FieldError>,
}

fn read<T: FromQuery>(uri: &Uri) -> Result<T, Problem> {
    let mut parameters = Parameters::default();
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(name), Some(value)) = (decode(name), decode(value)) else {
            return Err(Problem::new(
                Code::INVALID_QUERY,
                "The query string is not percent-encoded UTF-8.",
            ));
        };
        if parameters.unread.insert(name.clone(), value).is_some() {
            parameters.refuse(&name, "is given more than once");
        }
    }
    let read = T::read(&mut parameters);
    for name in std::mem::take(&mut parameters.unread).into_keys() {
        parameters.refuse(&name, "is not a parameter of this route");
    }
    if !parameters.unreadable.is_empty() {
        let detail = "The query string cannot be read; see errors.";
        return Err(Problem::new(Code::INVALID_QUERY, detail).with_errors(parameters.unreadable));
    }
    if !parameters.invalid.is_empty() {
        return Err(Problem::invalid(parameters.invalid));
    }
    Ok(read)
}

/// Percent-decodes, with `+` for a space; `None` when it is not well-formed or not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                (high * 16 + low) as u8
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

impl Parameters {
    /// A whole number in this range.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.unread.remove(name)?;
        let digits = text.strip_prefix('-').unwrap_or(&text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let message = "must be a whole number".to_owned();
            self.unreadable.push(FieldError { field: name.into(), message });
            return None;
        }
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (least, most) = (range.start(), range.end());
            let got = shortened(&text);
            self.refuse(name, format!("must be between {least} and {most}; got {got}"));
        }
        number
    }

    /// One of these words.
    pub fn one_of<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.unread.remove(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.refuse(name, format!("must be one of: {}", known.join(", ")));
        }
        found
    }

    /// Text that parses as a `T`, of which `what` says what it looks like.
    pub fn parsed<T: std::str::FromStr>(&mut self, name: &str, what: &str) -> Option<T> {
        self.read_with(name, |text| text.parse().map_err(|_| format!("must be {what}")))
    }

    /// Whatever `read` makes of the text; its error says what would be right.
    pub fn read_with<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match read(&self.unread.remove(name)?) {
            Ok(read) => Some(read),
            Err(message) => {
                self.refuse(name, message);
                None
            }
        }
    }

    fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.invalid.push(FieldError { field: shortened(name), message: message.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Sample(Option<u64>, Option<bool>);

    impl FromQuery for Sample {
        fn read(parameters: &mut Parameters) -> Self {
            let limit = parameters.integer("limit", 1..=100);
            Self(limit, parameters.one_of("status", &[("on", true), ("off", false)]))
        }
    }

    fn outcome(query: &str) -> Result<Sample, (u16, Vec<String>)> {
        read(&format!("/x?{query}").parse().unwrap()).map_err(|problem: Problem| {
            let names = problem.errors.iter().map(|error| error.field.clone()).collect();
            (problem.code.status, names)
        })
    }

    #[test]
    fn what_is_well_formed_and_allowed_is_read() {
        assert_eq!(outcome(""), Ok(Sample(None, None)));
        assert_eq!(outcome("limit=100&status=off"), Ok(Sample(Some(100), Some(false))));
        assert_eq!(outcome("%6cimit=1&&"), Ok(Sample(Some(1), None)));
    }

    #[test]
    fn what_cannot_be_read_is_400_and_what_is_not_allowed_422() {
        for (query, status, named) in [
            ("limit=x", 400, &["limit"][..]),
            ("limit=", 400, &["limit"]),
            ("limit=1.5", 400, &["limit"]),
            ("limit=%ff", 400, &[]),
            ("limit=%f", 400, &[]),
            ("limit=0", 422, &["limit"]),
            ("limit=101", 422, &["limit"]),
            ("limit=-1", 422, &["limit"]),
            ("limit=99999999999999999999999", 422, &["limit"]),
            ("limit=1&limit=2", 422, &["limit"]),
            ("status=maybe&limit=0", 422, &["limit", "status"]),
            ("stauts=on", 422, &["stauts"]),
        ] {
            let named = named.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(outcome(query), Err((status, named)), "{query}");
        }
    }
}
