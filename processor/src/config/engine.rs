//! How the processor runs: threads, batches, commits, snapshots. Nothing in it changes a byte of any output.

use chassis::config::Problems;
use serde::{Deserialize, Serialize, Serializer};
use std::time::Duration;

/// `[process]` as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawProcessorConfig {
    /// Stable name of this instance in the group; start it under the same name and it takes over at once.
    pub instance: Option<String>,
    /// Workers (poll thread and committer thread each) in this process.
    pub workers: Option<usize>,
    /// At the latest so long after the last one a commit is made under load.
    pub commit_interval: Option<String>,
    /// At the earliest so long after the last one a commit is made.
    pub commit_gap_min: Option<String>,
    /// Outputs of one commit.
    pub commit_bytes_max: Option<String>,
    /// Outputs waiting behind a slow commit before reading pauses.
    pub waiting_bytes_max: Option<String>,
    /// Records of one poll.
    pub poll_records_max: Option<usize>,
    /// Longest wait of an idle poll.
    pub poll_wait_max: Option<String>,
    /// How long a partition that goes away may still commit.
    pub drain_timeout: Option<String>,
    /// A snapshot is taken when re-folding since the last one would take longer.
    pub refold_budget: Option<String>,
    /// Snapshot bytes stay below this share of the input bytes, in percent.
    pub snapshot_share_percent: Option<u64>,
    /// A snapshot is taken at the latest so long after the last one: a quarter of the shorter retention.
    pub snapshot_interval_max: Option<String>,
    /// At most one tick a partition in so long.
    pub tick_gap_min: Option<String>,
}

/// `[process]`, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessorConfig {
    /// See [`RawProcessorConfig::instance`].
    pub instance: String,
    /// See [`RawProcessorConfig::workers`].
    pub workers: usize,
    /// See [`RawProcessorConfig::commit_interval`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub commit_interval: Duration,
    /// See [`RawProcessorConfig::commit_gap_min`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub commit_gap_min: Duration,
    /// See [`RawProcessorConfig::commit_bytes_max`].
    #[serde(serialize_with = "bytes")]
    pub commit_bytes_max: usize,
    /// See [`RawProcessorConfig::waiting_bytes_max`].
    #[serde(serialize_with = "bytes")]
    pub waiting_bytes_max: usize,
    /// See [`RawProcessorConfig::poll_records_max`].
    pub poll_records_max: usize,
    /// See [`RawProcessorConfig::poll_wait_max`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub poll_wait_max: Duration,
    /// See [`RawProcessorConfig::drain_timeout`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub drain_timeout: Duration,
    /// See [`RawProcessorConfig::refold_budget`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub refold_budget: Duration,
    /// See [`RawProcessorConfig::snapshot_share_percent`].
    pub snapshot_share_percent: u64,
    /// See [`RawProcessorConfig::snapshot_interval_max`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub snapshot_interval_max: Duration,
    /// See [`RawProcessorConfig::tick_gap_min`].
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub tick_gap_min: Duration,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn bytes<S: Serializer>(value: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    chassis::config::printed::size(&(*value as u64), serializer)
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        RawProcessorConfig::default().resolve("process", &mut Problems::default())
    }
}

impl RawProcessorConfig {
    /// Fills defaults and checks relations; `at` is the section's name in the file.
    #[must_use]
    pub fn resolve(self, at: &str, problems: &mut Problems) -> ProcessorConfig {
        let mut span = |name: &str, text: &Option<String>, default: u64| {
            problems.duration(&format!("{at}.{name}"), text.as_deref(), Duration::from_millis(default))
        };
        let commit_interval = span("commit-interval", &self.commit_interval, 100);
        let commit_gap_min = span("commit-gap-min", &self.commit_gap_min, 20);
        let poll_wait_max = span("poll-wait-max", &self.poll_wait_max, 50);
        let drain_timeout = span("drain-timeout", &self.drain_timeout, 5_000);
        let refold_budget = span("refold-budget", &self.refold_budget, 1_000);
        let snapshot_interval_max = span("snapshot-interval-max", &self.snapshot_interval_max, 3_600_000);
        let tick_gap_min = span("tick-gap-min", &self.tick_gap_min, 20);
        let mut size = |name: &str, text: &Option<String>, default: u64| {
            let bytes = problems.size(&format!("{at}.{name}"), text.as_deref(), default);
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        let commit_bytes_max = size("commit-bytes-max", &self.commit_bytes_max, 1 << 20);
        let waiting_bytes_max = size("waiting-bytes-max", &self.waiting_bytes_max, 8 << 20);
        let config = ProcessorConfig {
            instance: self.instance.unwrap_or_else(|| "processor-0".to_owned()),
            workers: self.workers.unwrap_or(1),
            commit_interval,
            commit_gap_min,
            commit_bytes_max,
            waiting_bytes_max,
            poll_records_max: self.poll_records_max.unwrap_or(2_048),
            poll_wait_max,
            drain_timeout,
            refold_budget,
            snapshot_share_percent: self.snapshot_share_percent.unwrap_or(10),
            snapshot_interval_max,
            tick_gap_min,
        };
        config.check(at, problems);
        config
    }
}

impl ProcessorConfig {
    fn check(&self, at: &str, problems: &mut Problems) {
        let mut unless = |holds: bool, name: &str, message: String| {
            if !holds {
                problems.add(format!("{at}.{name}"), message);
            }
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        unless(
            (1..=64).contains(&self.instance.len()) && self.instance.chars().all(plain),
            "instance",
            format!("`{}` is not 1 to 64 letters, digits, `.`, `_` or `-`", self.instance),
        );
        unless((1..=64).contains(&self.workers), "workers", format!("{} is not 1 to 64", self.workers));
        unless(
            (1..=1_000_000).contains(&self.poll_records_max),
            "poll-records-max",
            format!("{} is not 1 to 1000000", self.poll_records_max),
        );
        unless(
            (1..=100).contains(&self.snapshot_share_percent),
            "snapshot-share-percent",
            format!("{} is not 1 to 100", self.snapshot_share_percent),
        );
        unless(
            self.commit_gap_min <= self.commit_interval,
            "commit-gap-min",
            format!("{:?} is longer than commit-interval, {:?}", self.commit_gap_min, self.commit_interval),
        );
        unless(self.commit_bytes_max > 0, "commit-bytes-max", "0 lets nothing be committed".to_owned());
        unless(
            self.commit_bytes_max <= self.waiting_bytes_max,
            "waiting-bytes-max",
            format!("{} is less than commit-bytes-max, {}", self.waiting_bytes_max, self.commit_bytes_max),
        );
        unless(
            !self.poll_wait_max.is_zero(),
            "poll-wait-max",
            "0 would keep a core busy for nothing".to_owned(),
        );
    }
}
