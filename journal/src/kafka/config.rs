//! What a Kafka home is made of, and how each kind of client of it is set up.
//!
//! Lives here: the settings, which of librdkafka's own may be passed through, and what each role needs for the
//! port's promises. Does not live here: topics and their settings (`topics`).
//!
//! Invariant: no passed-through setting can weaken a promise of the port; those that could are [`OURS`].

use crate::layout::RECORD_BYTES_MAX;
use rdkafka::ClientConfig;
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings of librdkafka that are decided here, with the reason.
pub const OURS: &[(&str, &str)] = &[
    ("bootstrap.servers", "it stands in `journal.url`"),
    ("metadata.broker.list", "it stands in `journal.url`"),
    ("client.id", "it follows from `process.instance`"),
    ("group.id", "each part has its own group"),
    ("group.instance.id", "it follows from `process.instance`"),
    ("group.protocol", "positions are bound to the classic protocol's generations"),
    (
        "partition.assignment.strategy",
        "partitions of one number belong together, and buffers to an eager assignment",
    ),
    ("enable.auto.commit", "positions are committed with their results"),
    ("enable.auto.offset.store", "positions are committed with their results"),
    ("enable.partition.eof", "the adapter follows a log's end by it"),
    ("auto.offset.reset", "a position that retention ran over is reported, never skipped"),
    ("isolation.level", "only committed records are read"),
    ("session.timeout.ms", "it is `journal.session-timeout`"),
    ("transactional.id", "each worker has its own"),
    ("transaction.timeout.ms", "it is `journal.commit-timeout`"),
    ("message.timeout.ms", "it is `journal.append-timeout`"),
    ("delivery.timeout.ms", "it is `journal.append-timeout`"),
    ("acks", "a record is acknowledged when every in-sync replica has it"),
    ("request.required.acks", "a record is acknowledged when every in-sync replica has it"),
    ("enable.idempotence", "a retried append is one append"),
    ("enable.gapless.guarantee", "it would stop a home for one refused record"),
    ("message.max.bytes", "a record may have 1 MiB, as in every home"),
    ("retry.backoff.ms", "how a slow commit is told from a fast one depends on it"),
    ("plugin.library.paths", "no code is loaded"),
];

/// Retries inside librdkafka wait so long. A commit that took most of it may have been retried in silence, and is
/// followed by a new producer (`committer`).
pub(super) const RETRY_BACKOFF: Duration = Duration::from_millis(300);

/// A Kafka home.
#[derive(Clone)]
pub struct KafkaConfig {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Name of this instance in the brokers' logs and quotas.
    pub client_id: String,
    /// Put before every topic, group and transactional id: several pipelines on one cluster.
    pub prefix: String,
    /// Bound on what waits to be appended, in bytes.
    pub append_queue_bytes_max: usize,
    /// An append that is not durable after this time has failed.
    pub append_timeout: Duration,
    /// A commit that is not over after this time is aborted by the broker.
    pub commit_timeout: Duration,
    /// A member that is silent for so long loses its partitions.
    pub session_timeout: Duration,
    /// How long a question (bounds, committed positions, metadata) may take.
    pub answer_timeout: Duration,
    /// How often librdkafka's statistics are told; none: never.
    pub statistics_every: Option<Duration>,
    /// librdkafka's own settings, passed through: TLS, SASL, sockets, fetch sizes.
    pub librdkafka: BTreeMap<String, String>,
}

impl KafkaConfig {
    /// The defaults.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            client_id: "highwater".to_owned(),
            prefix: String::new(),
            append_queue_bytes_max: 32 << 20,
            append_timeout: Duration::from_secs(10),
            commit_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(10),
            statistics_every: Some(Duration::from_secs(10)),
            librdkafka: BTreeMap::new(),
        }
    }

    /// Settings that cannot be passed through, and why: `(name, reason)`.
    #[must_use]
    pub fn refused(&self) -> Vec<(String, String)> {
        let ours = |name: &str| OURS.iter().find(|(ours, _)| *ours == name).map(|(_, why)| (*why).to_owned());
        let mut refused: Vec<(String, String)> =
            self.librdkafka.keys().filter_map(|name| Some((name.clone(), ours(name)?))).collect();
        for (name, value) in &self.librdkafka {
            if let Some(why) = no_mechanism(name, value) {
                refused.push((name.clone(), why));
                continue;
            }
            let mut one = ClientConfig::new();
            one.set(name, value);
            if ours(name).is_none()
                && let Err(why) = one.create_native_config()
            {
                refused.push((name.clone(), explained(&why.to_string())));
            }
        }
        refused
    }

    /// What every client has in common.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("reconnect.backoff.max.ms", "2000").set("topic.metadata.refresh.interval.ms", "30000");
        for (name, value) in &self.librdkafka {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", &self.client_id)
            .set("retry.backoff.ms", millis(RETRY_BACKOFF));
        config
    }

    /// With statistics, for clients that live as long as the process.
    fn measured(&self, mut config: ClientConfig) -> ClientConfig {
        if let Some(every) = self.statistics_every {
            config.set("statistics.interval.ms", millis(every));
        }
        config
    }

    /// A producer of either kind.
    fn producer(&self) -> ClientConfig {
        let mut config = self.measured(self.client());
        for (name, value) in [("compression.codec", "lz4"), ("linger.ms", "2")] {
            if !self.librdkafka.contains_key(name) {
                config.set(name, value);
            }
        }
        let largest = RECORD_BYTES_MAX + (64 << 10);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.max.bytes", largest.to_string());
        config
    }

    /// The appender: idempotent, without transactions.
    pub(super) fn appender(&self) -> ClientConfig {
        let mut config = self.producer();
        // Our own bound refuses first.
        let kilobytes = (self.append_queue_bytes_max / 1024 * 2).clamp(1024, 2_000_000);
        config
            .set("queue.buffering.max.kbytes", kilobytes.to_string())
            .set("queue.buffering.max.messages", "10000000")
            .set("message.timeout.ms", millis(self.append_timeout));
        config
    }

    /// A committer: transactions under this id.
    pub(super) fn committer(&self, id: &str) -> ClientConfig {
        let mut config = self.producer();
        config
            .set("transactional.id", format!("{}{id}", self.prefix))
            .set("transaction.timeout.ms", millis(self.commit_timeout))
            .set("message.timeout.ms", millis(self.commit_timeout));
        config
    }

    /// Anything that reads.
    fn reading(&self) -> ClientConfig {
        let mut config = self.client();
        // With the defaults fetching pauses for up to a second once the queue is full.
        for (name, value) in [
            ("fetch.queue.backoff.ms", "5"),
            ("queued.max.messages.kbytes", "16384"),
            ("queued.min.messages", "20000"),
            // With the default of 1 MiB a fetch unpacks into tens of thousands of records a partition, which costs memory
            // and brings nothing (bench/README.md).
            ("fetch.message.max.bytes", "262144"),
        ] {
            if !self.librdkafka.contains_key(name) {
                config.set(name, value);
            }
        }
        if !self.librdkafka.contains_key("coordinator.query.interval.ms") {
            // A tenth of it while the coordinator is away: by default a group would not be found again for a minute.
            config.set("coordinator.query.interval.ms", "10000");
        }
        config
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error");
        config
    }

    /// A group's member.
    pub(super) fn member(&self, group: &str, member: &str, ends: bool) -> ClientConfig {
        let mut config = self.measured(self.reading());
        let heartbeat = self.session_timeout / 5;
        config
            .set("group.id", format!("{}{group}", self.prefix))
            .set("group.instance.id", member)
            .set("partition.assignment.strategy", "range")
            .set("session.timeout.ms", millis(self.session_timeout))
            .set("heartbeat.interval.ms", millis(heartbeat))
            .set("enable.partition.eof", if ends { "true" } else { "false" });
        config
    }

    /// A reader without a group.
    pub(super) fn reader(&self) -> ClientConfig {
        let mut config = self.reading();
        // It reads below an end that it knows, and elsewhere next: a fetch that waits for more would be in the way.
        config
            .set("fetch.wait.max.ms", "20")
            .set("queued.min.messages", "10000")
            .set("enable.partition.eof", "true");
        config
    }

    /// Who asks for a group's positions without being of it.
    pub(super) fn onlooker(&self, group: &str) -> ClientConfig {
        let mut config = self.reading();
        config.set("group.id", format!("{}{group}", self.prefix));
        config
    }
}

/// Without passwords and keys.
impl std::fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("client_id", &self.client_id)
            .field("prefix", &self.prefix)
            .field("librdkafka", &self.librdkafka.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

fn millis(of: Duration) -> String {
    of.as_millis().max(1).to_string()
}

/// Why a mechanism of logging in is not to be had in this build: librdkafka would say so when the first client is
/// made, or never, while it waits for a token that nobody fetches.
fn no_mechanism(name: &str, value: &str) -> Option<String> {
    if !["sasl.mechanism", "sasl.mechanisms"].contains(&name) {
        return None;
    }
    match value {
        "OAUTHBEARER" => Some(NO_TOKENS.to_owned()),
        "GSSAPI" => Some("no build of this program has Kerberos; PLAIN and SCRAM are to be had".to_owned()),
        scram if scram.starts_with("SCRAM-") && !cfg!(feature = "tls") => {
            Some(format!("`{scram}` needs OpenSSL: build with `--features tls`"))
        }
        _ => None,
    }
}

/// What OAUTHBEARER lacks.
const NO_TOKENS: &str = "no build of this program fetches tokens: OAUTHBEARER needs librdkafka with libcurl (method \
                         `oidc`), which is not built in; PLAIN and SCRAM are to be had";

/// librdkafka's reason, and what to do where it does not say.
fn explained(why: &str) -> String {
    if why.contains("OIDC") {
        NO_TOKENS.to_owned()
    } else if why.contains("not available at build time") || why.contains("OpenSSL") {
        format!("{why}: this build has no TLS; build with `--features tls`")
    } else {
        why.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_weaken_a_promise_is_refused_by_name() {
        let mut config = KafkaConfig::new("127.0.0.1:9092");
        for (name, value) in [
            ("isolation.level", "read_uncommitted"),
            ("fetch.min.bytes", "1000"),
            ("fetch.min.byte", "1"),
            ("socket.timeout.ms", "soon"),
        ] {
            config.librdkafka.insert(name.to_owned(), value.to_owned());
        }
        let names: Vec<String> = config.refused().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["isolation.level", "fetch.min.byte", "socket.timeout.ms"]);
    }

    #[test]
    fn a_mechanism_that_no_build_has_is_refused_before_anybody_connects() {
        let refused = |name: &str, value: &str| {
            let mut config = KafkaConfig::new("127.0.0.1:9092");
            config.librdkafka.insert(name.to_owned(), value.to_owned());
            config.refused().into_iter().map(|(_, why)| why).collect::<String>()
        };
        for (name, value) in [
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.mechanisms", "OAUTHBEARER"),
            ("sasl.oauthbearer.method", "oidc"),
        ] {
            assert!(refused(name, value).contains("fetches tokens"), "{}", refused(name, value));
        }
        assert!(refused("sasl.mechanism", "GSSAPI").contains("Kerberos"));
        assert_eq!(refused("sasl.mechanism", "SCRAM-SHA-512").is_empty(), cfg!(feature = "tls"));
        assert_eq!(refused("sasl.mechanism", "PLAIN"), "");
    }

    #[test]
    fn every_role_is_a_configuration_that_librdkafka_takes() {
        let config = KafkaConfig::new("127.0.0.1:9092");
        let roles = [
            config.appender(),
            config.committer("worker-0"),
            config.member("group", "worker-0", true),
            config.reader(),
            config.onlooker("group"),
        ];
        for role in roles {
            role.create_native_config().unwrap();
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut config = KafkaConfig::new("127.0.0.1:9092");
        config.librdkafka.insert("sasl.password".to_owned(), "hunter2".to_owned());
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
