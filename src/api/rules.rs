//! Rules: what a field of a request may hold.
//!
//! A rule is a function from a JSON value to what the field holds, or to what is wrong with it. A
//! message says what would be right and, unless it may be a secret, what was sent. Knows nothing
//! of which field it reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
};

use serde_json::Value;

use super::fields::{Checked, Faults, shortened};

/// What a value is, for "got …": never its content.
pub(super) fn a_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A rule: any string.
pub fn string(value: Value) -> Checked<String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(format!("must be a string; got {}", a_kind(&other)).into()),
    }
}

/// A rule: text for people, without control characters, with this many characters, and not blank
/// unless it may be empty.
pub fn text(chars: RangeInclusive<usize>) -> impl Fn(Value) -> Checked<String> {
    move |value| {
        let text = string(value)?;
        check_text(&text, &chars)?;
        Ok(text)
    }
}

/// What [`text`] checks, of text that is at hand.
fn check_text(text: &str, chars: &RangeInclusive<usize>) -> Result<(), String> {
    let (least, most) = (*chars.start(), *chars.end());
    let length = text.chars().count();
    if length > most {
        return Err(format!("must be at most {most} characters; got {length}"));
    }
    if let Some(place) = text.chars().position(char::is_control) {
        return Err(format!(
            "must not contain control characters; there is one at character {}",
            place + 1
        ));
    }
    if least > 0 && text.trim().is_empty() {
        return Err("must not be empty or blank".into());
    }
    Ok(())
}

/// A rule: a whole number in this range, counted in `unit`.
pub fn integer(range: RangeInclusive<u64>, unit: &str) -> impl Fn(Value) -> Checked<u64> {
    move |value| {
        let Value::Number(number) = &value else {
            return Err(format!("must be a whole number; got {}", a_kind(&value)).into());
        };
        let whole = match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) => Some(whole),
            // JSON has one kind of number: 300.0 is 300.
            (None, Some(float)) if float.fract() == 0.0 => whole_number(float),
            (None, _) => {
                return Err(format!("must be a whole number; got {number}").into());
            }
        };
        whole.filter(|whole| range.contains(whole)).ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
            format!("must be between {least} and {most}{unit}; got {number}").into()
        })
    }
}

/// A float that holds a whole number which a float can hold exactly.
fn whole_number(float: f64) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_991.0;
    (0.0..=EXACT_MAX).contains(&float).then_some(float as u64)
}

/// A rule: true or false.
pub fn boolean(value: Value) -> Checked<bool> {
    match value {
        Value::Bool(truth) => Ok(truth),
        other => Err(format!("must be true or false; got {}", a_kind(&other)).into()),
    }
}

/// A rule: one of these words.
pub fn one_of<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(Value) -> Checked<T> {
    move |value| {
        let text = string(value)?;
        words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            format!("must be {}", known.join(" or ")).into()
        })
    }
}

/// A rule: text that parses as a `T`, of which `what` says what it looks like.
pub fn parsed<T: std::str::FromStr>(what: impl fmt::Display) -> impl Fn(Value) -> Checked<T> {
    move |value| string(value)?.parse().map_err(|_| format!("must be {what}").into())
}

/// A rule: an array with this many items, each by the same rule.
pub fn array<T>(
    count: RangeInclusive<usize>,
    item: impl Fn(Value) -> Checked<T>,
) -> impl Fn(Value) -> Checked<Vec<T>> {
    move |value| {
        let Value::Array(items) = value else {
            return Err(format!("must be an array; got {}", a_kind(&value)).into());
        };
        if !count.contains(&items.len()) {
            let (least, most) = (count.start(), count.end());
            let got = items.len();
            return Err(format!("must have between {least} and {most} items; got {got}").into());
        }
        let mut read = Vec::with_capacity(items.len());
        let mut faults = Vec::new();
        for (place, value) in items.into_iter().enumerate() {
            match item(value) {
                Ok(value) => read.push(value),
                Err(Faults(inner)) => faults.extend(
                    inner.into_iter().map(|(at, message)| (format!("[{place}]{at}"), message)),
                ),
            }
        }
        if faults.is_empty() { Ok(read) } else { Err(Faults(faults)) }
    }
}

/// A rule: as [`array`], and no item twice.
pub fn set<T: Ord + Clone>(
    count: RangeInclusive<usize>,
    item: impl Fn(Value) -> Checked<T>,
) -> impl Fn(Value) -> Checked<Vec<T>> {
    let items = array(count, item);
    move |value| {
        let items = items(value)?;
        let mut seen = BTreeSet::new();
        let repeated = items.iter().enumerate().filter(|(_, item)| !seen.insert((*item).clone()));
        let faults: Vec<_> = repeated
            .map(|(place, _)| (format!("[{place}]"), "repeats an earlier item".to_owned()))
            .collect();
        if faults.is_empty() { Ok(items) } else { Err(Faults(faults)) }
    }
}

/// A rule: an object of strings, checked one by one; `value` reads what stands under a key.
pub fn map<T>(
    entries_max: usize,
    key_chars: RangeInclusive<usize>,
    value: impl Fn(Value) -> Checked<T>,
) -> impl Fn(Value) -> Checked<BTreeMap<String, T>> {
    move |object| {
        let Value::Object(entries) = object else {
            return Err(format!("must be an object; got {}", a_kind(&object)).into());
        };
        if entries.len() > entries_max {
            let got = entries.len();
            return Err(format!("must have at most {entries_max} entries; got {got}").into());
        }
        let mut read = BTreeMap::new();
        let mut faults = Vec::new();
        for (key, entry) in entries {
            let place = format!(".{}", shortened(&key));
            if let Err(message) = check_text(&key, &key_chars) {
                faults.push((place, format!("as a key {message}")));
                continue;
            }
            match value(entry) {
                Ok(entry) => {
                    read.insert(key, entry);
                }
                Err(Faults(inner)) => faults.extend(
                    inner.into_iter().map(|(at, message)| (format!("{place}{at}"), message)),
                ),
            }
        }
        if faults.is_empty() { Ok(read) } else { Err(Faults(faults)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message<T: fmt::Debug>(checked: Checked<T>) -> String {
        let Faults(faults) = checked.unwrap_err();
        faults.iter().map(|(place, message)| format!("{place} {message}")).collect::<String>()
    }

    #[test]
    fn a_ttl_is_a_whole_number_of_seconds_within_its_bounds() {
        let ttl = integer(1..=86_400, "seconds");
        for (good, seconds) in [(json!(1), 1), (json!(86_400), 86_400), (json!(300.0), 300)] {
            assert_eq!(ttl(good), Ok(seconds));
        }
        for (bad, said) in [
            (json!(0), " must be between 1 and 86400 seconds; got 0"),
            (json!(-1), " must be between 1 and 86400 seconds; got -1"),
            (json!(86_401), " must be between 1 and 86400 seconds; got 86401"),
            (json!(u64::MAX), " must be between 1 and 86400 seconds; got 18446744073709551615"),
            (json!(1e300), " must be between 1 and 86400 seconds; got 1e+300"),
            (json!(1.5), " must be a whole number; got 1.5"),
            (json!("300"), " must be a whole number; got a string"),
            (json!([300]), " must be a whole number; got an array"),
        ] {
            assert_eq!(message(ttl(bad)), said);
        }
    }

    #[test]
    fn a_name_is_text_for_people() {
        let name = text(1..=100);
        for good in ["a", "שם בעברית", "اسم", "👩‍🚀", &"é".repeat(100)] {
            assert_eq!(name(json!(good)), Ok(good.to_owned()));
        }
        for (bad, said) in [
            (json!(""), " must not be empty or blank"),
            (json!(" \u{a0}"), " must not be empty or blank"),
            (json!("a\u{0}"), " must not contain control characters; there is one at character 2"),
            (json!("\n"), " must not contain control characters; there is one at character 1"),
            (json!("\u{9f}x"), " must not contain control characters; there is one at character 1"),
            (json!("x".repeat(10_000)), " must be at most 100 characters; got 10000"),
            (json!(true), " must be a string; got a boolean"),
        ] {
            assert_eq!(message(name(bad)), said);
        }
    }

    #[test]
    fn a_set_has_no_item_twice_and_names_the_place() {
        let words = set(1..=3, string);
        assert_eq!(words(json!(["a", "b"])), Ok(vec!["a".into(), "b".into()]));
        for (bad, said) in [
            (json!([]), " must have between 1 and 3 items; got 0"),
            (json!(["a", "b", "c", "d"]), " must have between 1 and 3 items; got 4"),
            (json!(["a", "b", "a"]), "[2] repeats an earlier item"),
            (json!(["a", 1]), "[1] must be a string; got a number"),
            (json!("a"), " must be an array; got a string"),
        ] {
            assert_eq!(message(words(bad)), said);
        }
    }

    #[test]
    fn a_map_names_the_key_that_is_wrong() {
        let metadata = map(2, 1..=4, text(0..=3));
        assert!(metadata(json!({"a": "b", "c": ""})).is_ok());
        for (bad, said) in [
            (json!({"a": "", "b": "", "c": ""}), " must have at most 2 entries; got 3"),
            (json!({"": "x"}), ". as a key must not be empty or blank"),
            (json!({"abcde": "x"}), ".abcde as a key must be at most 4 characters; got 5"),
            (json!({"a": "long"}), ".a must be at most 3 characters; got 4"),
            (json!({"a": 1}), ".a must be a string; got a number"),
        ] {
            assert_eq!(message(metadata(bad)), said);
        }
    }

    #[test]
    fn a_word_is_one_of_those_known() {
        let status = one_of(&[("active", 1), ("paused", 2)]);
        assert_eq!(status(json!("paused")), Ok(2));
        assert_eq!(message(status(json!("Paused"))), " must be \"active\" or \"paused\"");
    }
}
