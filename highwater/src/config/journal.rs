//! `[journal]` and `[librdkafka]`: which log, and its bounds.
//!
//! Invariant: a setting of the other home is a mistake that is reported, never one that does nothing.

use super::address::{self, Other, sqlite_path};
use chassis::config::{Problems, Secret};
use journal::Retention;
use journal::kafka::KafkaConfig;
use journal::sqlite::{SqliteConfig, partitions_in};
use schemas::topic::Topic;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::{Table, Value};

const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Longest prefix: with a topic's or a group's name it stays below the broker's bound.
const PREFIX_CHARS_MAX: usize = 100;
/// Parts of a name whose value is shown to nobody.
const SECRET_WORDS: [&str; 6] = ["password", "key", "secret", "token", "credential", "oauthbearer.config"];

/// Where the log is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JournalAt {
    /// One file.
    Sqlite(PathBuf),
    /// Brokers, `host:port,host:port`.
    Kafka(String),
}

impl fmt::Display for JournalAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Kafka(brokers) => write!(f, "kafka://{brokers}"),
        }
    }
}

/// `[journal]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RawJournal {
    /// `sqlite:PATH` or `kafka://host:port,host:port`.
    url: Option<String>,
    /// Partitions; fixed when the log is made.
    partitions: Option<u64>,
    /// How long records are kept.
    retention: Option<String>,
    /// Bytes of one partition of a topic kept.
    retention_bytes: Option<String>,
    /// Bound on what waits to be appended.
    append_queue_bytes_max: Option<String>,
    /// Embedded: bound on the file.
    file_bytes_max: Option<String>,
    /// Kafka: put before every topic, group and transactional id.
    topic_prefix: Option<String>,
    /// Kafka: an append that is not durable after this time has failed.
    append_timeout: Option<String>,
    /// Kafka: a commit that is not over after this time is aborted.
    commit_timeout: Option<String>,
    /// Kafka: a member that is silent for so long loses its partitions.
    session_timeout: Option<String>,
    /// Kafka: how long a question may take.
    answer_timeout: Option<String>,
    /// Kafka: copies of each partition of topics that are made.
    replication_factor: Option<u64>,
    /// Kafka: copies that must be there for an append.
    min_insync_replicas: Option<u64>,
}

/// `[journal]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct JournalConfig {
    #[serde(rename = "url", serialize_with = "address::shown")]
    pub(crate) at: JournalAt,
    pub(crate) partitions: u32,
    /// Somebody configured them; else an existing log keeps its own count.
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
    #[serde(flatten)]
    pub(crate) kafka: Option<KafkaSettings>,
}

/// What only a Kafka home has.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct KafkaSettings {
    pub(crate) topic_prefix: String,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) append_timeout: Duration,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) commit_timeout: Duration,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) session_timeout: Duration,
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) answer_timeout: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) replication_factor: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) min_insync_replicas: Option<u32>,
}

fn size_or_none<S: Serializer>(bytes: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => chassis::config::printed::size(bytes, serializer),
        None => serializer.serialize_none(),
    }
}

fn optional_size(key: &str, text: Option<&str>, problems: &mut Problems) -> Option<u64> {
    text.map(|text| problems.size(key, Some(text), 0))
}

fn place(key: &str, url: Option<&str>, problems: &mut Problems) -> JournalAt {
    const WANTED: &str = "`sqlite:PATH` or `kafka://host:port,host:port`";
    let url = url.unwrap_or("sqlite:data/journal.db");
    if let Some(path) = sqlite_path(url) {
        return JournalAt::Sqlite(path);
    }
    let brokers = url.strip_prefix("kafka://").map(|rest| address::hosts(rest.trim_end_matches('/')));
    match brokers {
        Some(Ok(brokers)) => JournalAt::Kafka(brokers.join(",")),
        Some(Err(why)) => {
            problems.add(key, format!("`{url}`: {why}; wanted is {WANTED}"));
            JournalAt::Kafka(String::new())
        }
        None => {
            problems.add(key, format!("`{url}` is not {WANTED}"));
            JournalAt::Sqlite(PathBuf::new())
        }
    }
}

impl RawJournal {
    /// Checks and resolves.
    pub(crate) fn resolve(self, at: &str, problems: &mut Problems) -> JournalConfig {
        const PARTITIONS_MAX: u64 = 256;
        let key = |name: &str| format!("{at}.{name}");
        let place = place(&key("url"), self.url.as_deref(), problems);
        let partitions = problems.count(&key("partitions"), self.partitions, 4, 1, PARTITIONS_MAX);
        let retention = problems.duration(&key("retention"), self.retention.as_deref(), WEEK);
        let retention_bytes =
            optional_size(&key("retention-bytes"), self.retention_bytes.as_deref(), problems);
        let queue = self.append_queue_bytes_max.as_deref();
        let append_queue_bytes_max = problems.size(&key("append-queue-bytes-max"), queue, 32 << 20);
        let mut config = JournalConfig {
            partitions: u32::try_from(partitions).unwrap_or(4),
            partitions_said: self.partitions.is_some(),
            retention,
            retention_bytes,
            append_queue_bytes_max,
            file_bytes_max: None,
            kafka: None,
            at: place,
        };
        if matches!(config.at, JournalAt::Kafka(_)) {
            Other { section: at, url: &config.at, wants: "an embedded journal, `sqlite:PATH`" }
                .refuse(&[("file-bytes-max", self.file_bytes_max.is_some())], problems);
            config.kafka = Some(self.kafka(at, problems));
        } else {
            Other { section: at, url: &config.at, wants: "a Kafka journal, `kafka://host:port`" }
                .refuse(&self.of_kafka(), problems);
            config.file_bytes_max =
                optional_size(&key("file-bytes-max"), self.file_bytes_max.as_deref(), problems);
        }
        config
    }

    /// Settings that only Kafka has, and whether they are there.
    fn of_kafka(&self) -> [(&'static str, bool); 7] {
        [
            ("topic-prefix", self.topic_prefix.is_some()),
            ("append-timeout", self.append_timeout.is_some()),
            ("commit-timeout", self.commit_timeout.is_some()),
            ("session-timeout", self.session_timeout.is_some()),
            ("answer-timeout", self.answer_timeout.is_some()),
            ("replication-factor", self.replication_factor.is_some()),
            ("min-insync-replicas", self.min_insync_replicas.is_some()),
        ]
    }

    fn kafka(self, at: &str, problems: &mut Problems) -> KafkaSettings {
        let defaults = KafkaConfig::new("");
        let topic_prefix = self.topic_prefix.unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if topic_prefix.len() > PREFIX_CHARS_MAX || !topic_prefix.chars().all(plain) {
            problems.add(
                format!("{at}.topic-prefix"),
                format!("`{topic_prefix}` is not up to {PREFIX_CHARS_MAX} letters, digits, `.`, `_` or `-`"),
            );
        }
        let mut span = |name: &str, text: Option<String>, default: Duration| {
            let key = format!("{at}.{name}");
            let span = problems.duration(&key, text.as_deref(), default);
            if span < Duration::from_secs(1) {
                problems.add(key, "is shorter than a second");
            }
            span
        };
        let append_timeout = span("append-timeout", self.append_timeout, defaults.append_timeout);
        let commit_timeout = span("commit-timeout", self.commit_timeout, defaults.commit_timeout);
        let session_timeout = span("session-timeout", self.session_timeout, defaults.session_timeout);
        let answer_timeout = span("answer-timeout", self.answer_timeout, defaults.answer_timeout);
        let mut copies = |name: &str, count: Option<u64>| {
            let count = count.map(|count| problems.count(&format!("{at}.{name}"), Some(count), 1, 1, 100));
            count.and_then(|count| u32::try_from(count).ok())
        };
        let replication_factor = copies("replication-factor", self.replication_factor);
        let min_insync_replicas = copies("min-insync-replicas", self.min_insync_replicas);
        if let (Some(all), Some(least)) = (replication_factor, min_insync_replicas)
            && least > all
        {
            let key = format!("{at}.min-insync-replicas");
            problems.add(key, format!("{least} is more than replication-factor, {all}"));
        }
        KafkaSettings {
            topic_prefix,
            append_timeout,
            commit_timeout,
            session_timeout,
            answer_timeout,
            replication_factor,
            min_insync_replicas,
        }
    }
}

impl JournalConfig {
    /// The embedded file; none: the log is elsewhere.
    pub(crate) fn file(&self) -> Option<&Path> {
        match &self.at {
            JournalAt::Sqlite(path) => Some(path),
            JournalAt::Kafka(_) => None,
        }
    }

    /// As the embedded adapter takes it; none: the log is elsewhere.
    pub(crate) fn sqlite(&self) -> Option<SqliteConfig> {
        let path = self.file()?;
        let mut config = SqliteConfig::new(path);
        let found = if self.partitions_said { None } else { partitions_in(path) };
        config.partitions = found.unwrap_or(self.partitions);
        config.append_queue_bytes_max = usize::try_from(self.append_queue_bytes_max).unwrap_or(usize::MAX);
        config.file_bytes_max = self.file_bytes_max;
        config.retention = self.kept();
        Some(config)
    }

    /// What is kept how long; topics that are not named are kept for ever.
    pub(crate) fn kept(&self) -> BTreeMap<Topic, Retention> {
        let kept = Retention { age: Some(self.retention), partition_bytes_max: self.retention_bytes };
        let for_ever = |topic: &Topic| matches!(topic, Topic::Control | Topic::Devices | Topic::Models);
        Topic::ALL.into_iter().filter(|topic| !for_ever(topic)).map(|topic| (topic, kept)).collect()
    }

    /// As the Kafka adapter takes it; none: the log is a file.
    pub(crate) fn kafka(&self, instance: &str, librdkafka: &Librdkafka) -> Option<KafkaConfig> {
        let (JournalAt::Kafka(brokers), Some(settings)) = (&self.at, &self.kafka) else { return None };
        let mut config = KafkaConfig::new(brokers);
        instance.clone_into(&mut config.client_id);
        config.prefix.clone_from(&settings.topic_prefix);
        config.append_queue_bytes_max = usize::try_from(self.append_queue_bytes_max).unwrap_or(usize::MAX);
        config.append_timeout = settings.append_timeout;
        config.commit_timeout = settings.commit_timeout;
        config.session_timeout = settings.session_timeout;
        config.answer_timeout = settings.answer_timeout;
        config.librdkafka.clone_from(&librdkafka.0);
        Some(config)
    }
}

/// Settings passed through to librdkafka, by their names there.
#[derive(Clone, Default)]
pub(crate) struct Librdkafka(BTreeMap<String, String>);

impl Librdkafka {
    /// Reads the section. A name's dots may be TOML's own, so that the environment can say it too.
    pub(crate) fn resolve(table: &Table, at: &str, journal: &JournalConfig, problems: &mut Problems) -> Self {
        let mut found = BTreeMap::new();
        flatten(at, "", table, &mut found, problems);
        let found = Self(found);
        if found.is_empty() {
            return found;
        }
        match journal.kafka("highwater", &found) {
            Some(config) => {
                for (name, why) in config.refused() {
                    problems.add(format!("{at}.{name}"), why);
                }
            }
            None => problems.add(
                at,
                format!("belongs to a Kafka journal, `kafka://host:port`; `journal.url` is `{}`", journal.at),
            ),
        }
        found
    }

    /// Nothing is passed through.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn flatten(
    at: &str,
    prefix: &str,
    table: &Table,
    into: &mut BTreeMap<String, String>,
    problems: &mut Problems,
) {
    for (name, value) in table {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => flatten(at, &name, inner, into, problems),
            Value::String(text) => drop(into.insert(name, text.clone())),
            Value::Integer(_) | Value::Boolean(_) | Value::Float(_) => {
                into.insert(name, value.to_string());
            }
            Value::Array(_) | Value::Datetime(_) => {
                problems.add(format!("{at}.{name}"), "is neither a text nor a number nor true or false");
            }
        }
    }
}

fn is_secret(name: &str) -> bool {
    SECRET_WORDS.iter().any(|word| name.contains(word)) && !name.ends_with(".location")
}

impl fmt::Debug for Librdkafka {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Serialize for Librdkafka {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| {
            let shown = if is_secret(name) { Secret::new("").to_string() } else { value.clone() };
            (name, shown)
        }))
    }
}
