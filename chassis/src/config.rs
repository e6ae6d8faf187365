//! Reading configuration: what was typed becomes what the program runs on, once, with all mistakes at once.
//!
//! A component has two types. `RawX` (serde, every field optional, `deny_unknown_fields`, kebab-case, units in
//! strings) and `XConfig` (resolved). `RawX::resolve(self, at: &str, problems: &mut Problems) -> XConfig` fills
//! defaults and reports into `Problems`; nothing downstream sees raw values.

use std::time::Duration;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Dotted key.
    pub key: String,
    /// What was found and what would be accepted.
    pub message: String,
}

/// All mistakes found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Notes a mistake.
    pub fn add(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { key: key.into(), message: message.into() });
    }

    /// The mistakes, in the order found.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.0
    }

    /// A duration such as `"250ms"`, `"10s"`, `"5m"`, `"24h"`, `"30d"`; the default when absent.
    pub fn duration(&mut self, key: &str, text: Option<&str>, default: Duration) -> Duration {
        match text.map(parse_duration) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(message)) => {
                self.add(key, message);
                default
            }
        }
    }

    /// A size such as `"64KiB"`, `"8MiB"`, `"1GiB"`, `"500B"`; the default when absent.
    pub fn size(&mut self, key: &str, text: Option<&str>, default: u64) -> u64 {
        match text.map(parse_size) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(message)) => {
                self.add(key, message);
                default
            }
        }
    }
}

const DURATIONS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
const SIZES: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];

fn with_unit(text: &str, units: &[(&str, u64)], example: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim()).map(|(_, factor)| *factor);
    match (number.parse::<u64>(), factor) {
        (Ok(number), Some(factor)) => {
            number.checked_mul(factor).ok_or_else(|| format!("`{text}` is too large"))
        }
        _ => Err(format!("`{text}` is not a number with a unit, like {example}")),
    }
}

/// Reads a duration with its unit: us, ms, s, m, h or d.
///
/// # Errors
/// A sentence naming what was found and what would be accepted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    with_unit(text, &DURATIONS, "\"250ms\", \"10s\", \"5m\" or \"24h\"").map(Duration::from_micros)
}

/// Reads a size with its unit: B, KiB, MiB or GiB.
///
/// # Errors
/// A sentence naming what was found and what would be accepted.
pub fn parse_size(text: &str) -> Result<u64, String> {
    with_unit(text, &SIZES, "\"64KiB\" or \"8MiB\"")
}
