//! Reading configuration: what was typed becomes what the program runs on, once, with all mistakes at once.
//!
//! A component has two types. `RawX` (serde, every field optional, `deny_unknown_fields`, kebab-case, units in
//! strings) and `XConfig` (resolved). `RawX::resolve(self, at: &str, problems: &mut Problems) -> XConfig` fills
//! defaults and reports into `Problems`; nothing downstream sees raw values.
//!
//! [`layers`] reads the file, the environment and the command line into one table that remembers where each key
//! came from; [`printed`] shows the resolved values; [`secret`] keeps the ones that must not be shown.

pub mod layers;
pub mod printed;
pub mod secret;

#[cfg(test)]
mod tests;

pub use layers::{Layers, Source};
pub use printed::Printed;
pub use secret::Secret;

use std::fmt;
use std::net::SocketAddr;
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

    /// Whether nothing is wrong so far.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All mistakes as one error; nothing when there is none.
    ///
    /// # Errors
    /// [`ConfigError`] naming every mistake.
    pub fn finish(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError { problems: self.0 }) }
    }

    /// A count between `least` and `most`, both included; the default when absent.
    pub fn count(&mut self, key: &str, value: Option<u64>, default: u64, least: u64, most: u64) -> u64 {
        match value {
            None => default,
            Some(value) if (least..=most).contains(&value) => value,
            Some(value) => {
                self.add(key, format!("`{value}` is outside {least} to {most}"));
                default
            }
        }
    }

    /// An address to listen on such as `"127.0.0.1:8088"`; the default when absent. Port 0: any free port.
    pub fn address(&mut self, key: &str, text: Option<&str>, default: SocketAddr) -> SocketAddr {
        let Some(text) = text else { return default };
        text.parse().unwrap_or_else(|_| {
            self.add(
                key,
                format!("`{text}` is not an address with a port, like \"127.0.0.1:8088\" or \"[::1]:8088\""),
            );
            default
        })
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

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// The mistakes, in the order found.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "the configuration has {count} mistake{}", if count == 1 { "" } else { "s" })?;
        for problem in &self.problems {
            write!(f, "\n  {}: {}", problem.key, problem.message)?;
        }
        Ok(())
    }
}

const DURATIONS: [(&str, u64); 6] = [
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];
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

/// Writes a duration as [`parse_duration`] reads it, in the largest unit that divides it.
#[must_use]
pub fn format_duration(value: Duration) -> String {
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    let (unit, factor) = largest_unit(micros, &DURATIONS, "us");
    format!("{}{unit}", micros / factor)
}

/// Writes a size as [`parse_size`] reads it, in the largest unit that divides it.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let (unit, factor) = largest_unit(bytes, &SIZES, "B");
    format!("{}{unit}", bytes / factor)
}

fn largest_unit(value: u64, units: &'static [(&str, u64)], smallest: &'static str) -> (&'static str, u64) {
    let fitting = units.iter().filter(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    fitting.copied().max_by_key(|(_, factor)| *factor).unwrap_or((smallest, 1))
}
