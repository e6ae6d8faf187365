//! `[sink]`: bounds of batches, of waits and of the drain.

use chassis::config::Problems;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// `[sink]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawSink {
    /// Records read, and rows written in one transaction, at most.
    pub batch_rows_max: Option<u32>,
    /// Longest wait for a record; also how soon a stop is noticed.
    pub poll_wait: Option<String>,
    /// First wait after the store or the journal could not do it.
    pub retry_wait_min: Option<String>,
    /// Longest wait between attempts.
    pub retry_wait_max: Option<String>,
    /// Longest drain at a stop.
    pub drain_max: Option<String>,
}

/// Resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SinkConfig {
    /// See [`RawSink::batch_rows_max`]; 1 to 10,000.
    pub batch_rows_max: usize,
    /// See [`RawSink::poll_wait`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub poll_wait: Duration,
    /// See [`RawSink::retry_wait_min`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub retry_wait_min: Duration,
    /// See [`RawSink::retry_wait_max`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub retry_wait_max: Duration,
    /// See [`RawSink::drain_max`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub drain_max: Duration,
    /// Store everything up to the end of the topics as it is at the start, then stop. Set by the command line.
    #[serde(skip)]
    pub until_end: bool,
}

impl Default for SinkConfig {
    fn default() -> Self {
        RawSink::default().resolve("sink", &mut Problems::default())
    }
}

impl RawSink {
    /// Checks and resolves.
    pub fn resolve(self, at: &str, problems: &mut Problems) -> SinkConfig {
        const ROWS: std::ops::RangeInclusive<u32> = 1..=10_000;
        let rows = self.batch_rows_max.unwrap_or(1_000);
        if !ROWS.contains(&rows) {
            problems.add(format!("{at}.batch-rows-max"), format!("{rows} is not between 1 and 10000"));
        }
        let mut duration = |name: &str, text: Option<String>, default_ms: u64| {
            problems.duration(&format!("{at}.{name}"), text.as_deref(), Duration::from_millis(default_ms))
        };
        let poll_wait = duration("poll-wait", self.poll_wait, 200);
        let retry_wait_min = duration("retry-wait-min", self.retry_wait_min, 50);
        let retry_wait_max = duration("retry-wait-max", self.retry_wait_max, 5_000);
        let drain_max = duration("drain-max", self.drain_max, 10_000);
        if retry_wait_max < retry_wait_min {
            problems.add(format!("{at}.retry-wait-max"), "is shorter than retry-wait-min");
        }
        SinkConfig {
            batch_rows_max: rows.clamp(*ROWS.start(), *ROWS.end()) as usize,
            poll_wait,
            retry_wait_min,
            retry_wait_max,
            drain_max,
            until_end: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_all_at_once() {
        let raw = RawSink {
            batch_rows_max: Some(0),
            retry_wait_min: Some("1m".to_owned()),
            drain_max: Some("ten".to_owned()),
            ..RawSink::default()
        };
        let mut problems = Problems::default();
        raw.resolve("sink", &mut problems);
        let keys: Vec<&str> = problems.list().iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["sink.batch-rows-max", "sink.drain-max", "sink.retry-wait-max"]);
        let mut none = Problems::default();
        RawSink::default().resolve("sink", &mut none);
        assert_eq!(none.list(), []);
    }
}
