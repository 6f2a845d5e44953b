//! Times as text, RFC 3339 in UTC. Must not know the clock.

use time::{
    OffsetDateTime, format_description::BorrowedFormatItem,
    format_description::well_known::Rfc3339, macros::format_description,
};

/// The last millisecond that RFC 3339 can write, 9999-12-31T23:59:59.999Z.
pub const LAST_MS: u64 = 253_402_300_799_999;

const MILLIS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

fn format(ms: u64, format: &[BorrowedFormatItem<'_>]) -> String {
    let nanos = i128::from(ms.min(LAST_MS)) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|at| at.format(&format).ok())
        .expect("every millisecond from 1970 to LAST_MS has a text")
}

/// `2026-07-01T14:00:00.123Z` for milliseconds since the Unix epoch; the last millisecond of the
/// year 9999 for all later ones.
pub fn millis(ms: u64) -> String {
    format(ms, MILLIS)
}

/// `2026-07-01T14:00:00Z` for seconds since the Unix epoch; the last second of the year 9999 for
/// all later ones.
pub fn seconds(s: u64) -> String {
    format(s.saturating_mul(1000), SECONDS)
}

/// Milliseconds since the Unix epoch of an RFC 3339 time with any offset; what is finer than a
/// millisecond is cut off, and what lies before 1970 is 0. `None` if `text` is no such time.
pub fn parse_ms(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let ms = at.unix_timestamp_nanos().div_euclid(1_000_000);
    u64::try_from(ms.max(0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_utc_with_three_digits_or_none() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_782_914_400_123, "2026-07-01T14:00:00.123Z"),
            (951_782_400_007, "2000-02-29T00:00:00.007Z"),
            (LAST_MS, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(millis(ms), text);
        }
        assert_eq!(seconds(1_782_914_400), "2026-07-01T14:00:00Z");
        assert_eq!(seconds(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn only_rfc_3339_is_read() {
        for (text, ms) in [
            ("2026-07-01T14:00:00Z", Some(1_782_914_400_000)),
            ("2026-07-01T14:00:00.1239Z", Some(1_782_914_400_123)),
            ("2026-07-01T16:00:00+02:00", Some(1_782_914_400_000)),
            ("1969-12-31T23:59:59Z", Some(0)),
            ("2026-07-01", None),
            ("2026-07-01T14:00:00", None),
            ("2026-02-30T14:00:00Z", None),
            ("1782914400", None),
            ("", None),
        ] {
            assert_eq!(parse_ms(text), ms, "{text}");
        }
    }
}
