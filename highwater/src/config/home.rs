//! `[journal]` and `[store]`: which home, and its bounds.

use chassis::config::Problems;
use journal::Retention;
use journal::sqlite::{SqliteConfig, partitions_in};
use schemas::topic::Topic;
use serde::{Deserialize, Serialize, Serializer};
use std::path::{Path, PathBuf};
use std::time::Duration;
use store::sqlite::SqliteOptions;

const WEEK: Duration = Duration::from_secs(7 * 86_400);

/// `[journal]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RawJournal {
    /// `sqlite:PATH`.
    url: Option<String>,
    /// Partitions; fixed when the file is made.
    partitions: Option<u64>,
    /// How long records are kept.
    retention: Option<String>,
    /// Bytes of one partition of a topic kept.
    retention_bytes: Option<String>,
    /// Bound on what waits to be appended.
    append_queue_bytes_max: Option<String>,
    /// Bound on the file.
    file_bytes_max: Option<String>,
}

/// `[journal]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct JournalConfig {
    #[serde(rename = "url", serialize_with = "sqlite_url")]
    pub(crate) path: PathBuf,
    pub(crate) partitions: u32,
    /// Somebody configured them; else an existing file keeps its own count.
    #[serde(skip)]
    pub(crate) partitions_said: bool,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) retention: Duration,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "size_or_none")]
    pub(crate) retention_bytes: Option<u64>,
    #[serde(serialize_with = "chassis::config::printed::size")]
    pub(crate) append_queue_bytes_max: u64,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "size_or_none")]
    pub(crate) file_bytes_max: Option<u64>,
}

/// `[store]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RawStore {
    /// `sqlite:PATH`.
    url: Option<String>,
    /// How long window rows are kept.
    windows_retention: Option<String>,
    /// How long scores are kept.
    scores_retention: Option<String>,
    /// How long alerts are kept.
    alerts_retention: Option<String>,
}

/// `[store]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct StoreConfig {
    #[serde(rename = "url", serialize_with = "sqlite_url")]
    pub(crate) path: PathBuf,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) windows_retention: Duration,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) scores_retention: Duration,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) alerts_retention: Duration,
}

fn sqlite_url<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("sqlite:{}", path.display()))
}

fn size_or_none<S: Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => chassis::config::printed::size(bytes, serializer),
        None => serializer.serialize_none(),
    }
}

fn sqlite_path(key: &str, url: Option<&str>, default: &str, problems: &mut Problems) -> PathBuf {
    let url = url.unwrap_or(default);
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => PathBuf::from(path),
        Some(("kafka" | "cql", _)) => {
            problems.add(key, format!("`{url}`: this version has the embedded home only: `sqlite:PATH`"));
            PathBuf::new()
        }
        _ => {
            problems.add(key, format!("`{url}` is not `sqlite:PATH`"));
            PathBuf::new()
        }
    }
}

fn optional_size(key: &str, text: Option<&str>, problems: &mut Problems) -> Option<u64> {
    text.map(|text| problems.size(key, Some(text), 0))
}

impl RawJournal {
    /// Checks and resolves.
    pub(crate) fn resolve(self, at: &str, problems: &mut Problems) -> JournalConfig {
        const PARTITIONS_MAX: u64 = 256;
        let partitions = problems.count(&format!("{at}.partitions"), self.partitions, 4, 1, PARTITIONS_MAX);
        JournalConfig {
            path: sqlite_path(&format!("{at}.url"), self.url.as_deref(), "sqlite:data/journal.db", problems),
            partitions: u32::try_from(partitions).unwrap_or(4),
            partitions_said: self.partitions.is_some(),
            retention: problems.duration(&format!("{at}.retention"), self.retention.as_deref(), WEEK),
            retention_bytes: optional_size(
                &format!("{at}.retention-bytes"),
                self.retention_bytes.as_deref(),
                problems,
            ),
            append_queue_bytes_max: problems.size(
                &format!("{at}.append-queue-bytes-max"),
                self.append_queue_bytes_max.as_deref(),
                32 << 20,
            ),
            file_bytes_max: optional_size(
                &format!("{at}.file-bytes-max"),
                self.file_bytes_max.as_deref(),
                problems,
            ),
        }
    }
}

impl JournalConfig {
    /// As the adapter takes it.
    pub(crate) fn sqlite(&self) -> SqliteConfig {
        let mut config = SqliteConfig::new(&self.path);
        let found = if self.partitions_said { None } else { partitions_in(&self.path) };
        config.partitions = found.unwrap_or(self.partitions);
        config.append_queue_bytes_max = usize::try_from(self.append_queue_bytes_max).unwrap_or(usize::MAX);
        config.file_bytes_max = self.file_bytes_max;
        let kept = Retention { age: Some(self.retention), partition_bytes_max: self.retention_bytes };
        for topic in Topic::ALL {
            if !matches!(topic, Topic::Control | Topic::Devices) {
                config.retention.insert(topic, kept);
            }
        }
        config
    }
}

impl RawStore {
    /// Checks and resolves.
    pub(crate) fn resolve(self, at: &str, problems: &mut Problems) -> StoreConfig {
        let path = sqlite_path(&format!("{at}.url"), self.url.as_deref(), "sqlite:data/store.db", problems);
        const DAY: Duration = Duration::from_secs(86_400);
        let mut kept = |name: &str, text: Option<String>, days: u32| {
            problems.duration(&format!("{at}.{name}-retention"), text.as_deref(), DAY * days)
        };
        StoreConfig {
            path,
            windows_retention: kept("windows", self.windows_retention, 90),
            scores_retention: kept("scores", self.scores_retention, 30),
            alerts_retention: kept("alerts", self.alerts_retention, 365),
        }
    }
}

impl StoreConfig {
    /// As the adapter takes it.
    pub(crate) fn sqlite(&self) -> SqliteOptions {
        let retention = store::sqlite::Retention {
            windows: Some(self.windows_retention),
            scores: Some(self.scores_retention),
            alerts: Some(self.alerts_retention),
        };
        SqliteOptions { retention, ..SqliteOptions::default() }
    }
}
