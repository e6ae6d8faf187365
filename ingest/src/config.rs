//! `[ingest]`: the address, and a limit for everything that a client could make large or slow.

use crate::scrub::Scrubber;
use chassis::config::{Problems, Secret, format_size, printed};
use chassis::server::ServerLimits;
use schemas::grammar::ReadingLimits;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// Least of every size.
const BYTES_MIN: u64 = 64;
/// Most of a reading: as Avro, with its headers, it has to fit a record of the journal (1 MiB).
const READING_BYTES_MAX: u64 = 512 << 10;
/// Most of a body, and of all of them.
const BODIES_BYTES_MAX: u64 = 64 << 30;

/// As written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawIngest {
    /// Address to listen on.
    pub listen: Option<String>,
    /// Bytes of one reading.
    pub reading_max: Option<String>,
    /// Measurements of one reading.
    pub measurements_max: Option<u64>,
    /// Readings of one request.
    pub readings_max: Option<u64>,
    /// Bytes of one request, as sent and again after decompression.
    pub body_max: Option<String>,
    /// How many times larger than sent a body may become.
    pub ratio_max: Option<u64>,
    /// Bytes of all requests being worked on.
    pub bodies_in_flight_max: Option<String>,
    /// Time for a body to arrive.
    pub body_timeout: Option<String>,
    /// Time for a request head, and for a connection to stay idle.
    pub header_timeout: Option<String>,
    /// Time for a request from its head to its answer.
    pub request_timeout: Option<String>,
    /// Open connections.
    pub connections_max: Option<u64>,
    /// Time for requests in progress when the service stops.
    pub drain_max: Option<String>,
    /// Names under which nothing is kept.
    pub scrub_drop: Option<Vec<String>>,
    /// Names under which a keyed hash is kept.
    pub scrub_hash: Option<Vec<String>>,
    /// The key.
    pub scrub_key: Option<Secret>,
}

/// Resolved.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct IngestConfig {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Bytes of one reading.
    #[serde(serialize_with = "printed::size")]
    pub reading_max: u64,
    /// Measurements of one reading.
    pub measurements_max: u64,
    /// Readings of one request.
    pub readings_max: u64,
    /// Bytes of one request, as sent and again after decompression.
    #[serde(serialize_with = "printed::size")]
    pub body_max: u64,
    /// How many times larger than sent a body may become.
    pub ratio_max: u64,
    /// Bytes of all requests being worked on: bodies, decompressed bodies, and records beyond their size.
    #[serde(serialize_with = "printed::size")]
    pub bodies_in_flight_max: u64,
    /// Time for a body to arrive.
    #[serde(serialize_with = "printed::duration")]
    pub body_timeout: Duration,
    /// Time for a request head, and for a connection to stay idle.
    #[serde(serialize_with = "printed::duration")]
    pub header_timeout: Duration,
    /// Time for a request from its head to its answer.
    #[serde(serialize_with = "printed::duration")]
    pub request_timeout: Duration,
    /// Open connections.
    pub connections_max: u64,
    /// Time for requests in progress when the service stops.
    #[serde(serialize_with = "printed::duration")]
    pub drain_max: Duration,
    /// Names under which nothing is kept.
    pub scrub_drop: Vec<String>,
    /// Names under which a keyed hash is kept.
    pub scrub_hash: Vec<String>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrub_key: Option<Secret>,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8088)),
            reading_max: 64 << 10,
            measurements_max: 64,
            readings_max: 10_000,
            body_max: 8 << 20,
            // Readings of a fleet, alike as they are, shrink 10 to 25 times.
            ratio_max: 50,
            bodies_in_flight_max: 64 << 20,
            body_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            connections_max: 768,
            drain_max: Duration::from_secs(10),
            scrub_drop: Vec::new(),
            scrub_hash: Vec::new(),
            scrub_key: None,
        }
    }
}

impl RawIngest {
    /// Fills defaults and reports what is wrong.
    pub fn resolve(self, at: &str, problems: &mut Problems) -> IngestConfig {
        const SECONDS_MAX: Duration = Duration::from_secs(3_600);
        let default = IngestConfig::default();
        let key = |name: &str| format!("{at}.{name}");
        let mut size = |name: &str, text: Option<String>, default: u64, most: u64| {
            let value = problems.size(&key(name), text.as_deref(), default);
            if !(BYTES_MIN..=most).contains(&value) {
                let (text, most) = (text.unwrap_or_default(), format_size(most));
                problems.add(key(name), format!("`{text}` is outside {BYTES_MIN}B to {most}"));
            }
            value
        };
        let reading_max = size("reading-max", self.reading_max, default.reading_max, READING_BYTES_MAX);
        let body_max = size("body-max", self.body_max, default.body_max, BODIES_BYTES_MAX);
        let bodies_in_flight_max = size(
            "bodies-in-flight-max",
            self.bodies_in_flight_max,
            default.bodies_in_flight_max,
            BODIES_BYTES_MAX,
        );
        let mut time = |name: &str, text: Option<String>, default: Duration| {
            let value = problems.duration(&key(name), text.as_deref(), default);
            if value.is_zero() || value > SECONDS_MAX {
                problems.add(key(name), format!("`{}` is outside 1us to 1h", text.unwrap_or_default()));
            }
            value
        };
        let body_timeout = time("body-timeout", self.body_timeout, default.body_timeout);
        let header_timeout = time("header-timeout", self.header_timeout, default.header_timeout);
        let request_timeout = time("request-timeout", self.request_timeout, default.request_timeout);
        let drain_max = time("drain-max", self.drain_max, default.drain_max);
        let mut count = |name: &str, value: Option<u64>, default: u64, most: u64| {
            problems.count(&key(name), value, default, 1, most)
        };
        let config = IngestConfig {
            measurements_max: count(
                "measurements-max",
                self.measurements_max,
                default.measurements_max,
                4_096,
            ),
            readings_max: count("readings-max", self.readings_max, default.readings_max, 1_000_000),
            ratio_max: count("ratio-max", self.ratio_max, default.ratio_max, 10_000),
            connections_max: count(
                "connections-max",
                self.connections_max,
                default.connections_max,
                1_000_000,
            ),
            listen: problems.address(&key("listen"), self.listen.as_deref(), default.listen),
            reading_max,
            body_max,
            bodies_in_flight_max,
            body_timeout,
            header_timeout,
            request_timeout,
            drain_max,
            scrub_drop: self.scrub_drop.unwrap_or_default(),
            scrub_hash: self.scrub_hash.unwrap_or_default(),
            scrub_key: self.scrub_key,
        };
        config.check_relations(at, problems);
        Scrubber::check(&config, at, problems);
        config
    }
}

impl IngestConfig {
    fn check_relations(&self, at: &str, problems: &mut Problems) {
        let mut at_most = |small: &str, large: &str, holds: bool| {
            if !holds {
                problems.add(format!("{at}.{small}"), format!("is more than {at}.{large}; it must not be"));
            }
        };
        at_most("reading-max", "body-max", self.reading_max <= self.body_max);
        // A compressed body and what it becomes are held together.
        at_most(
            "body-max",
            "bodies-in-flight-max (half of it)",
            self.body_max <= self.bodies_in_flight_max / 2,
        );
        at_most("body-timeout", "request-timeout", self.body_timeout <= self.request_timeout);
    }

    /// What `schemas` checks.
    pub(crate) fn reading_limits(&self) -> ReadingLimits {
        ReadingLimits {
            reading_bytes_max: in_memory(self.reading_max),
            measurements_max: in_memory(self.measurements_max),
            ..ReadingLimits::DEFAULT
        }
    }

    /// What the listener checks.
    pub(crate) fn server_limits(&self) -> ServerLimits {
        ServerLimits {
            connections_max: in_memory(self.connections_max),
            header_timeout: self.header_timeout,
            request_timeout: self.request_timeout,
            drain_max: self.drain_max,
            ..ServerLimits::default()
        }
    }
}

/// A limit as a size in memory.
pub(crate) fn in_memory(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::config::parse_size;

    #[test]
    fn the_defaults_hold_together() {
        let mut problems = Problems::default();
        let config = RawIngest::default().resolve("ingest", &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(config.body_max, parse_size("8MiB").unwrap());
        assert_eq!(config.reading_limits(), ReadingLimits::DEFAULT);
    }

    #[test]
    fn the_documentation_lists_every_setting_with_its_default() {
        let page = include_str!("../../docs/ingest.md");
        let serde_json::Value::Object(settings) = serde_json::to_value(IngestConfig::default()).unwrap()
        else {
            panic!("no map")
        };
        for (key, value) in settings.iter().filter(|(key, _)| *key != "listen") {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let row = format!("| `{key}` | {value} |");
            assert!(page.contains(&row), "no row {row}");
        }
        assert!(page.contains("http://127.0.0.1:8088/v1/readings"));
    }

    #[test]
    fn every_mistake_is_reported() {
        let text = |text: &str| Some(text.to_owned());
        let raw = RawIngest {
            listen: text("localhost"),
            reading_max: text("16MiB"),
            body_max: text("8mb"),
            bodies_in_flight_max: text("9MiB"),
            body_timeout: text("2m"),
            drain_max: text("0s"),
            readings_max: Some(0),
            ..RawIngest::default()
        };
        let mut problems = Problems::default();
        raw.resolve("ingest", &mut problems);
        let mut keys: Vec<&str> = problems.list().iter().map(|problem| problem.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "ingest.body-max",
                "ingest.body-max",
                "ingest.body-timeout",
                "ingest.drain-max",
                "ingest.listen",
                "ingest.reading-max",
                "ingest.reading-max",
                "ingest.readings-max"
            ]
        );
    }
}
