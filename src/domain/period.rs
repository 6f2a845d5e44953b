//! Billing periods: calendar months in UTC, told from the log's time. Must not know clocks.

use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime};

use super::Millis;
use crate::rfc3339;

/// A calendar month: how many months have begun since the year 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Period(u32);

impl Period {
    /// The month in which `at` lies; the last one of the year 9999 for all later times.
    pub fn of(at: Millis) -> Self {
        let nanos = i128::from(at.min(rfc3339::LAST_MS)) * 1_000_000;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).map_or(Self(0), |at| {
            let (year, month) = (at.year().unsigned_abs(), u32::from(u8::from(at.month())));
            Self(year * 12 + month - 1)
        })
    }

    /// Its first millisecond.
    pub fn starts_at(self) -> Millis {
        let month = Month::try_from((self.0 % 12) as u8 + 1).unwrap_or(Month::January);
        let year = i32::try_from(self.0 / 12).unwrap_or(i32::MAX);
        Date::from_calendar_date(year, month, 1).map_or(rfc3339::LAST_MS, |first| {
            let seconds = first.midnight().assume_utc().unix_timestamp();
            u64::try_from(seconds).map_or(0, |seconds| seconds * 1000)
        })
    }

    /// The first millisecond after it.
    pub fn ends_at(self) -> Millis {
        Self(self.0.saturating_add(1)).starts_at()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_a_calendar_month_in_utc() {
        for (at, starts_at, ends_at) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1970-02-01T00:00:00Z"),
            ("2026-07-01T00:00:00Z", "2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z"),
            ("2026-07-31T23:59:59.999Z", "2026-07-01T00:00:00Z", "2026-08-01T00:00:00Z"),
            ("2026-07-31T23:00:00-02:00", "2026-08-01T00:00:00Z", "2026-09-01T00:00:00Z"),
            ("2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            let period = Period::of(rfc3339::parse_ms(at).expect("a time"));
            let text = |ms: Millis| rfc3339::seconds(ms / 1000);
            assert_eq!(
                (text(period.starts_at()).as_str(), text(period.ends_at()).as_str()),
                (starts_at, ends_at)
            );
        }
    }

    #[test]
    fn no_time_is_without_a_period() {
        for at in [rfc3339::LAST_MS, u64::MAX] {
            assert_eq!(Period::of(at).ends_at(), rfc3339::LAST_MS, "the calendar ends there");
        }
        assert_eq!(Period(u32::MAX).starts_at(), rfc3339::LAST_MS);
    }
}
