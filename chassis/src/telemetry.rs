//! The log: one line an event on standard error; text on a terminal, JSON with service and version elsewhere.
//! Does not live here: figures (`metrics`). Nothing per record is logged, and never a payload or a key.

mod json;

use crate::config::Problems;
use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

const DEFAULT_LEVEL: &str = "info";

/// `[log]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawLog {
    /// `error`, `warn`, `info`, `debug`, `trace`, or by target: `info,journal=debug`.
    pub level: Option<String>,
    /// `auto`, `json` or `text`.
    pub format: Option<Format>,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, else JSON.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Resolved.
#[derive(Clone, Debug, Serialize)]
pub struct LogConfig {
    level: String,
    format: Format,
    #[serde(skip)]
    targets: Targets,
}

impl RawLog {
    /// Checks and resolves.
    pub fn resolve(self, at: &str, problems: &mut Problems) -> LogConfig {
        let level = self.level.unwrap_or_else(|| DEFAULT_LEVEL.to_owned());
        let targets = level.parse().unwrap_or_else(|_| {
            problems.add(
                format!("{at}.level"),
                format!(
                    "`{level}` is not error, warn, info, debug or trace, or a list like `info,journal=debug`"
                ),
            );
            Targets::new()
        });
        LogConfig { level, format: self.format.unwrap_or_default(), targets }
    }
}

/// The log could not be set up: another one is in place already.
#[derive(Debug, thiserror::Error)]
#[error("the log is set up already")]
pub struct AlreadySet;

/// Sets the log up, once a process.
///
/// # Errors
/// [`AlreadySet`].
pub fn init(service: &'static str, version: &'static str, config: &LogConfig) -> Result<(), AlreadySet> {
    let json = match config.format {
        Format::Auto => !std::io::stderr().is_terminal(),
        Format::Json => true,
        Format::Text => false,
    };
    let layer = if json {
        let format = json::Json { service, version };
        tracing_subscriber::fmt::layer().event_format(format).with_writer(std::io::stderr).boxed()
    } else {
        let colors = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        tracing_subscriber::fmt::layer()
            .with_ansi(colors)
            .with_target(false)
            .with_writer(std::io::stderr)
            .boxed()
    };
    let layer = layer.with_filter(config.targets.clone());
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| AlreadySet)?;
    // A panic is one line of the log like any other.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        tracing::error!(location, thread, "panicked: {message}");
    }));
    Ok(())
}

/// Lets a repeating line through once in a while.
#[derive(Debug)]
pub struct Throttle {
    every_us: i64,
    next_us: AtomicI64,
    held_back: AtomicU64,
}

impl Throttle {
    /// At most one line in `every_ms` milliseconds.
    #[must_use]
    pub const fn new(every_ms: i64) -> Self {
        Self {
            every_us: every_ms.saturating_mul(1_000),
            next_us: AtomicI64::new(i64::MIN),
            held_back: AtomicU64::new(0),
        }
    }

    /// Whether to write now ([`crate::clock::Clock::steady`]), and how many lines were held back since.
    pub fn allow(&self, steady_us: i64) -> Option<u64> {
        let next = self.next_us.load(Ordering::Acquire);
        let due = steady_us >= next
            && self
                .next_us
                .compare_exchange(
                    next,
                    steady_us.saturating_add(self.every_us),
                    Ordering::AcqRel,
                    Ordering::Acquire,
                )
                .is_ok();
        if due {
            Some(self.held_back.swap(0, Ordering::AcqRel))
        } else {
            self.held_back.fetch_add(1, Ordering::AcqRel);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeating_line_is_written_once_in_a_while_with_the_number_held_back() {
        let throttle = Throttle::new(10);
        assert_eq!(throttle.allow(0), Some(0));
        assert_eq!((throttle.allow(1), throttle.allow(9_999)), (None, None));
        assert_eq!(throttle.allow(10_000), Some(2));
    }

    #[test]
    fn levels_are_checked() {
        let mut problems = Problems::default();
        let raw = RawLog { level: Some("info,journal=debug".to_owned()), format: None };
        assert_eq!(raw.resolve("log", &mut problems).level, "info,journal=debug");
        assert!(problems.is_empty());
        RawLog { level: Some("journal=loud".to_owned()), format: None }.resolve("log", &mut problems);
        assert!(problems.list()[0].message.starts_with("`journal=loud` is not error"), "{problems:?}");
    }
}
