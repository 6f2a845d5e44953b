//! The fence round every text that a command carries: lengths in characters, no control
//! characters (Unicode general category Cc), no empty names. The API checks first and names every
//! bad field at once; this is what keeps the state sound whoever proposes. Must not know which
//! command a text came from.

use super::Refusal;
use crate::limits;

/// `field` is invalid because `message`.
pub(super) fn invalid(field: &str, message: impl Into<String>) -> Refusal {
    Refusal::Invalid((field.to_owned(), message.into()))
}

fn check(field: &str, text: &str, most_chars: usize) -> Result<(), Refusal> {
    let chars = text.chars().count();
    if chars > most_chars {
        return Err(invalid(field, format!("has {chars} characters, at most {most_chars} fit")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(field, "contains a control character"));
    }
    Ok(())
}

fn filled(field: &str, text: &str, most_chars: usize) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err(invalid(field, "must not be empty"));
    }
    check(field, text, most_chars)
}

/// A name or an owner: 1 to [`limits::NAME_MAX_CHARS`] characters, not only spaces.
pub(super) fn name(field: &str, text: &str) -> Result<(), Refusal> {
    filled(field, text, limits::NAME_MAX_CHARS)
}

/// A description, a model or a framework: up to [`limits::DESCRIPTION_MAX_CHARS`] characters.
pub(super) fn description(field: &str, text: Option<&str>) -> Result<(), Refusal> {
    text.map_or(Ok(()), |text| check(field, text, limits::DESCRIPTION_MAX_CHARS))
}

/// What a token is for: up to [`limits::INTENT_MAX_CHARS`] characters.
pub(super) fn intent(text: Option<&str>) -> Result<(), Refusal> {
    text.map_or(Ok(()), |text| check("intent", text, limits::INTENT_MAX_CHARS))
}

/// Where a token is for: 1 to [`limits::TARGET_SERVICE_MAX_CHARS`] characters.
pub(super) fn target_service(text: &str) -> Result<(), Refusal> {
    filled("target_service", text, limits::TARGET_SERVICE_MAX_CHARS)
}

/// One entry of an agent's metadata.
pub(super) fn metadata_entry(key: &str, value: &str) -> Result<(), Refusal> {
    filled("metadata", key, limits::METADATA_KEY_MAX_CHARS)?;
    check("metadata", value, limits::METADATA_VALUE_MAX_CHARS)
}

/// The last four characters of a secret.
pub(super) fn last_four(text: &str) -> Result<(), Refusal> {
    if text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    Err(invalid("last_four", "must be four printable ASCII characters"))
}

/// A request id: up to [`limits::REQUEST_ID_MAX_BYTES`] bytes.
pub(super) fn request_id(text: &str) -> Result<(), Refusal> {
    if text.len() > limits::REQUEST_ID_MAX_BYTES || text.chars().any(char::is_control) {
        return Err(invalid(
            "request_id",
            format!(
                "must be at most {} bytes without control characters",
                limits::REQUEST_ID_MAX_BYTES
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_fenced_by_characters_and_without_controls() {
        let limit = limits::NAME_MAX_CHARS;
        for good in ["a", "é\u{202e}ש", &"é".repeat(limit)] {
            assert_eq!(name("name", good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", "must not be empty"),
            (" \u{2003}", "must not be empty"),
            ("a\nb", "contains a control character"),
            ("a\u{85}b", "contains a control character"),
            (&"é".repeat(limit + 1), "has 101 characters, at most 100 fit"),
        ] {
            assert_eq!(name("owner", bad), Err(invalid("owner", why)), "{bad:?}");
        }
    }

    #[test]
    fn every_kind_of_text_has_its_bound() {
        let long = |chars: usize| "x".repeat(chars);
        assert!(description("d", Some(&long(limits::DESCRIPTION_MAX_CHARS))).is_ok());
        assert!(description("d", Some(&long(limits::DESCRIPTION_MAX_CHARS + 1))).is_err());
        assert!(description("d", Some("")).is_ok() && description("d", None).is_ok());
        assert!(intent(Some(&long(limits::INTENT_MAX_CHARS))).is_ok());
        assert!(intent(Some(&long(limits::INTENT_MAX_CHARS + 1))).is_err());
        assert!(target_service(&long(limits::TARGET_SERVICE_MAX_CHARS)).is_ok());
        assert!(target_service(&long(limits::TARGET_SERVICE_MAX_CHARS + 1)).is_err());
        assert!(target_service("").is_err());
        assert!(metadata_entry(&long(limits::METADATA_KEY_MAX_CHARS), "").is_ok());
        assert!(metadata_entry(&long(limits::METADATA_KEY_MAX_CHARS + 1), "").is_err());
        assert!(metadata_entry("", "v").is_err());
        assert!(metadata_entry("k", &long(limits::METADATA_VALUE_MAX_CHARS + 1)).is_err());
        assert!(last_four("aZ9_").is_ok());
        assert!(last_four("aZ9").is_err() && last_four("éé").is_err());
        assert!(request_id("").is_ok());
        assert!(request_id(&long(limits::REQUEST_ID_MAX_BYTES + 1)).is_err());
    }
}
