//! Event times of files: numbers as ingest reads them, RFC 3339, or civil times in a zone the user names.

use anyhow::{Context, Result};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

/// The zone of times that carry no offset.
#[derive(Clone, Debug)]
pub(crate) struct Zone(Option<TimeZone>);

impl Zone {
    /// The zone of that name; none: times without offset are refused.
    ///
    /// # Errors
    /// When there is no such zone.
    pub(crate) fn named(name: Option<&str>) -> Result<Self> {
        let Some(name) = name else { return Ok(Self(None)) };
        let zone = TimeZone::get(name)
            .with_context(|| format!("`{name}` is no time zone: use UTC or a name like Europe/Berlin"))?;
        Ok(Self(Some(zone)))
    }

    /// Microseconds since the epoch of a time as found in a file. A number is seconds, milliseconds or
    /// microseconds, told apart by size.
    ///
    /// # Errors
    /// What was found and what would be accepted. A civil time that a clock change skips or repeats is taken as
    /// the later and the earlier instant, as `jiff` does by default.
    pub(crate) fn micros(&self, found: &Value) -> Result<i64, TimeError> {
        let no_time = || TimeError::NoTime(found.to_string());
        match found {
            Value::Number(number) => number.as_f64().and_then(from_number).ok_or_else(no_time),
            Value::String(text) => self.read(text).unwrap_or_else(|| Err(no_time())),
            _ => Err(no_time()),
        }
    }

    /// None: it is no time.
    fn read(&self, text: &str) -> Option<Result<i64, TimeError>> {
        if let Ok(number) = text.parse::<f64>() {
            return from_number(number).map(Ok);
        }
        if let Ok(instant) = text.parse::<jiff::Timestamp>() {
            return Some(Ok(instant.as_microsecond()));
        }
        let civil: DateTime = text.parse().ok()?;
        let Some(zone) = &self.0 else { return Some(Err(TimeError::NoZone(text.to_owned()))) };
        zone.to_zoned(civil).ok().map(|zoned| Ok(zoned.timestamp().as_microsecond()))
    }
}

/// Why there is no instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TimeError {
    /// The user has to say in which zone the file is.
    #[error("`{0}` has no offset: say which zone it is in with --time-zone")]
    NoZone(String),
    /// This row is wrong.
    #[error("{0} is no time like 2021-08-01T19:48:00Z, 2021-08-01 19:48:00 or 1627847280")]
    NoTime(String),
}

fn from_number(number: f64) -> Option<i64> {
    const SECONDS_BELOW: f64 = 1e11;
    const MILLIS_BELOW: f64 = 1e14;
    let micros = match number.abs() {
        size if size < SECONDS_BELOW => number * 1e6,
        size if size < MILLIS_BELOW => number * 1e3,
        size if size < 1e17 => number,
        _ => return None,
    };
    #[expect(clippy::cast_possible_truncation, reason = "bounded above by 1e17")]
    let rounded = micros.round() as i64;
    Some(rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instant_in_every_notation() {
        let berlin = Zone::named(Some("Europe/Berlin")).expect("a zone");
        let instant = 1_627_847_280_000_000;
        for found in ["1627847280", "1627847280000", "2021-08-01T19:48:00Z", "2021-08-01 21:48:00"] {
            assert_eq!(berlin.micros(&Value::from(found)).expect(found), instant, "{found}");
        }
    }

    #[test]
    fn a_civil_time_without_zone_is_refused_with_the_flag_to_give() {
        let none = Zone::named(None).expect("none");
        let error = none.micros(&Value::from("2021-08-01 21:48:00")).expect_err("ambiguous");
        assert!(error.to_string().contains("--time-zone"));
    }
}
