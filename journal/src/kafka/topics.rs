//! The topics of a home on Kafka: what they have to be like, making those that are missing, comparing those that are
//! there.
//!
//! Does not live here: when that is done, and how it is shown.
//!
//! Invariants:
//! * What is there is never changed: a difference is told, and what is needed to set it right.
//! * Nothing is made beside a topic that no home can use.

use super::names::Names;
use super::native::PartitionCount;
use super::{KafkaConfig, Opening};
use crate::layout::RECORD_BYTES_MAX;
use crate::port::JournalError;
use crate::retention::Retention;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Partitions of a home that says nothing else.
pub const PARTITIONS_DEFAULT: u32 = 4;
/// Copies of each partition, where there are as many brokers and nobody says otherwise.
const COPIES_DEFAULT: u32 = 3;
/// Bound on a batch of records: one record of the greatest size and what stands around it.
const BATCH_BYTES_MAX: usize = RECORD_BYTES_MAX + (64 << 10);
/// Between two looks at topics that were made.
const LOOK_EVERY: Duration = Duration::from_millis(100);

const TIMESTAMP: &str = "message.timestamp.type";
const CLEANUP: &str = "cleanup.policy";
const BATCH_BYTES: &str = "max.message.bytes";
const KEPT_MS: &str = "retention.ms";
const KEPT_BYTES: &str = "retention.bytes";
const IN_SYNC: &str = "min.insync.replicas";
const PARTITIONS: &str = "partitions";
const COPIES: &str = "replication factor";

/// What the topics have to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Partitions of every topic but `iot.control`; none: as many as `iot.raw` has, or 4.
    pub partitions: Option<u32>,
    /// Copies of each partition; none: three, or as many as there are brokers.
    pub copies: Option<u32>,
    /// Copies that must have a record before it is acknowledged; none: all but one.
    pub in_sync: Option<u32>,
    /// What is kept how long; topics that are not named are kept for ever.
    pub kept: BTreeMap<Topic, Retention>,
}

/// A topic and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicLine {
    /// Which.
    pub topic: Topic,
    /// Its name on this cluster.
    pub name: String,
    /// Partitions it has, or should have.
    pub partitions: u32,
    /// Copies of each, or how many there should be.
    pub copies: u32,
    /// Its settings as they are wanted, by name.
    pub settings: BTreeMap<&'static str, String>,
    /// What was found.
    pub found: Found,
}

/// What was found of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is not there.
    Missing,
    /// It was not there, and is now.
    Made,
    /// It is there as it should be.
    Right,
    /// It is there and differs.
    Differs(Vec<Difference>),
}

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub setting: &'static str,
    /// What should be there.
    pub wanted: String,
    /// What is there.
    pub found: String,
    /// What it leads to, or what sets it right.
    pub advice: &'static str,
    /// No home can use the topic as it is.
    pub unusable: bool,
}

impl TopicLine {
    /// Whether a home can use it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        match &self.found {
            Found::Missing => false,
            Found::Made | Found::Right => true,
            Found::Differs(differences) => !differences.iter().any(|difference| difference.unusable),
        }
    }
}

/// Compares what is there with the plan, and changes nothing.
///
/// # Errors
/// [`JournalError::Retry`] when no broker answers, [`JournalError::Fatal`] when the answer is a refusal.
pub fn check(config: &KafkaConfig, plan: &Plan) -> Result<Vec<TopicLine>, JournalError> {
    Cluster::connect(config)?.compare(plan)
}

/// Makes what is missing and compares the rest. When a topic that is there cannot be used, nothing is made.
///
/// # Errors
/// As [`check`].
pub fn create(config: &KafkaConfig, plan: &Plan) -> Result<Vec<TopicLine>, JournalError> {
    let cluster = Cluster::connect(config)?;
    let mut lines = cluster.compare(plan)?;
    if lines.iter().any(|line| line.found != Found::Missing && !line.is_usable()) {
        return Ok(lines);
    }
    let mut missing: Vec<&mut TopicLine> =
        lines.iter_mut().filter(|line| line.found == Found::Missing).collect();
    if !missing.is_empty() {
        cluster.make(&missing)?;
        for line in &mut missing {
            line.found = Found::Made;
        }
    }
    Ok(lines)
}

/// Removes every topic of a home that a test has made, with all that is in it.
///
/// # Errors
/// As [`check`]; topics that are not there are none.
#[cfg(any(test, feature = "conformance"))]
pub fn delete(config: &KafkaConfig) -> Result<(), JournalError> {
    let cluster = Cluster::connect(config)?;
    let names: Vec<String> = Topic::ALL.into_iter().map(|topic| cluster.name(topic)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let deleted = block_on(cluster.admin.delete_topics(&names, &cluster.options()));
    deleted.map(drop).map_err(|why| cluster.failed("deleting the topics", "Delete on the topics", &why))
}

/// A topic as it is.
struct Seen {
    partitions: u32,
    copies: u32,
    settings: BTreeMap<String, String>,
}

struct Cluster<'a> {
    config: &'a KafkaConfig,
    admin: AdminClient<DefaultClientContext>,
    timeout: Duration,
}

impl<'a> Cluster<'a> {
    fn connect(config: &'a KafkaConfig) -> Result<Self, JournalError> {
        // The admin's own client hears of a login that is refused only as of an answer that does not come; and it lists
        // topics without those that it may not see.
        visible(config)?;
        let admin = config.client().create::<AdminClient<DefaultClientContext>>();
        let admin = admin.map_err(|why| JournalError::Fatal(format!("the brokers' client: {why}")))?;
        Ok(Self { config, admin, timeout: config.answer_timeout })
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.timeout)).operation_timeout(Some(self.timeout))
    }

    fn name(&self, topic: Topic) -> String {
        format!("{}{topic}", self.config.prefix)
    }

    fn failed(&self, what: &str, right: &str, why: &KafkaError) -> JournalError {
        sorted(&format!("{what} ({})", self.config.brokers), right, why)
    }

    fn compare(&self, plan: &Plan) -> Result<Vec<TopicLine>, JournalError> {
        let (seen, brokers) = self.seen()?;
        let raw = seen.get(&Topic::Raw).map(|seen| seen.partitions);
        let partitions = plan.partitions.or(raw).unwrap_or(PARTITIONS_DEFAULT);
        let usual = plan.copies.unwrap_or_else(|| COPIES_DEFAULT.min(brokers.max(1)));
        let line = |topic: Topic| {
            let there = seen.get(&topic);
            // Copies that nobody has asked for are as they are.
            let copies = match (plan.copies, there) {
                (None, Some(there)) => there.copies,
                _ => usual,
            };
            let wanted = if topic.co_partitioned() { partitions } else { 1 };
            let settings = settings(topic, plan, copies);
            let (has, copied) = there.map_or((wanted, copies), |there| (there.partitions, there.copies));
            let found = match there {
                None => Found::Missing,
                Some(there) => compared(topic, (wanted, copies), &settings, there),
            };
            TopicLine { topic, name: self.name(topic), partitions: has, copies: copied, settings, found }
        };
        Ok(Topic::ALL.into_iter().map(line).collect())
    }

    /// The topics that are there, and how many brokers there are.
    fn seen(&self) -> Result<(BTreeMap<Topic, Seen>, u32), JournalError> {
        // All topics are asked for: to ask for one by its name may make it.
        let metadata = self.admin.inner().fetch_metadata(None, self.timeout);
        let metadata =
            metadata.map_err(|why| self.failed("asking for the topics", "Describe on the topics", &why))?;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let mut seen = BTreeMap::new();
        for topic in Topic::ALL {
            let name = self.name(topic);
            if let Some(found) = metadata.topics().iter().find(|found| found.name() == name) {
                let copies = found.partitions().iter().map(|one| one.replicas().len()).min();
                let (partitions, copies) = (count(found.partitions().len()), count(copies.unwrap_or(0)));
                seen.insert(topic, Seen { partitions, copies, settings: BTreeMap::new() });
            }
        }
        let brokers = count(metadata.brokers().len());
        self.learn_settings(&mut seen)?;
        Ok((seen, brokers))
    }

    fn learn_settings(&self, seen: &mut BTreeMap<Topic, Seen>) -> Result<(), JournalError> {
        if seen.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = seen.keys().map(|topic| self.name(*topic)).collect();
        let resources: Vec<ResourceSpecifier<'_>> =
            names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let described = block_on(self.admin.describe_configs(&resources, &self.options()));
        let described = described.map_err(|why| {
            self.failed("asking for the topics' settings", "DescribeConfigs on the topics", &why)
        })?;
        for (seen, described) in seen.values_mut().zip(described) {
            let described = described.map_err(|code| {
                let why = KafkaError::AdminOp(code);
                self.failed("asking for a topic's settings", "DescribeConfigs on the topics", &why)
            })?;
            // Every topic has settings; who may not see them is told of none.
            if described.entries.is_empty() {
                return Err(self.failed(
                    "asking for the topics' settings",
                    "DescribeConfigs on the topics",
                    &KafkaError::AdminOp(Code::TopicAuthorizationFailed),
                ));
            }
            let told = described.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?)));
            seen.settings.extend(told);
        }
        Ok(())
    }

    fn make(&self, lines: &[&mut TopicLine]) -> Result<(), JournalError> {
        let number = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
        let new: Vec<NewTopic<'_>> = lines
            .iter()
            .map(|line| {
                let copies = TopicReplication::Fixed(number(line.copies));
                let new = NewTopic::new(&line.name, number(line.partitions), copies);
                line.settings.iter().fold(new, |new, (name, value)| new.set(name, value))
            })
            .collect();
        let made = block_on(self.admin.create_topics(&new, &self.options()));
        for made in made.map_err(|why| self.failed("making the topics", "Create on the topics", &why))? {
            match made {
                // Somebody made it at the same time; the next check compares it.
                Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => {
                    let right = format!("Create on the topic `{name}` (or on its prefix, or on the cluster)");
                    return Err(self.failed(&format!("making {name}"), &right, &KafkaError::AdminOp(code)));
                }
            }
        }
        self.wait_for(lines)
    }

    /// A topic that was made is known to every broker a moment later.
    fn wait_for(&self, lines: &[&mut TopicLine]) -> Result<(), JournalError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let metadata = self.admin.inner().fetch_metadata(None, self.timeout);
            let metadata = metadata
                .map_err(|why| self.failed("looking for the new topics", "Describe on the topics", &why))?;
            let known = |line: &TopicLine| {
                let found = metadata.topics().iter().find(|found| found.name() == line.name);
                found.is_some_and(|found| {
                    let led = found.partitions().iter().all(|one| one.leader() >= 0);
                    led && found.partitions().len() == line.partitions as usize
                })
            };
            if lines.iter().all(|line| known(line)) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let timeout = self.timeout;
                return Err(JournalError::Retry(format!(
                    "not all new topics have leaders after {timeout:?}"
                )));
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

/// A topic's settings as they are wanted.
fn settings(topic: Topic, plan: &Plan, copies: u32) -> BTreeMap<&'static str, String> {
    let mut wanted = BTreeMap::new();
    // Receipt times are the brokers': no producer's clock moves a result.
    wanted.insert(TIMESTAMP, "LogAppendTime".to_owned());
    wanted.insert(BATCH_BYTES, BATCH_BYTES_MAX.to_string());
    let in_sync = plan.in_sync.unwrap_or_else(|| copies.saturating_sub(1).max(1));
    wanted.insert(IN_SYNC, in_sync.min(copies.max(1)).to_string());
    if topic == Topic::Devices {
        wanted.insert(CLEANUP, "compact".to_owned());
        return wanted;
    }
    wanted.insert(CLEANUP, "delete".to_owned());
    let kept = plan.kept.get(&topic).copied().unwrap_or_default();
    let millis = kept.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    wanted.insert(KEPT_MS, millis.unwrap_or(-1).to_string());
    let bytes = kept.partition_bytes_max.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    wanted.insert(KEPT_BYTES, bytes.unwrap_or(-1).to_string());
    wanted
}

fn compared(
    topic: Topic,
    (partitions, copies): (u32, u32),
    settings: &BTreeMap<&'static str, String>,
    there: &Seen,
) -> Found {
    let mut differences = Vec::new();
    if there.partitions != partitions {
        differences.push(Difference {
            setting: PARTITIONS,
            wanted: partitions.to_string(),
            found: there.partitions.to_string(),
            advice: "another count sends devices to other partitions than their state is in: replay into a set of \
                     topics with another `journal.topic-prefix`",
            unusable: true,
        });
    }
    if there.copies != copies {
        differences.push(Difference {
            setting: COPIES,
            wanted: copies.to_string(),
            found: there.copies.to_string(),
            advice: "reassign the partitions (kafka-reassign-partitions)",
            unusable: false,
        });
    }
    for (&setting, wanted) in settings {
        let found = there.settings.get(setting).map_or("unknown", String::as_str);
        if is_good(setting, wanted, found) {
            continue;
        }
        let stamped = setting == TIMESTAMP;
        let compacted = setting == CLEANUP && topic != Topic::Devices;
        let advice = match setting {
            TIMESTAMP => "receipt times must be the brokers': set it before anything is written",
            CLEANUP if compacted => {
                "records of one key are not versions of each other: compaction loses them"
            }
            BATCH_BYTES => "larger records are refused; set it (kafka-configs)",
            IN_SYNC => "an acknowledged record may be lost with a broker; set it (kafka-configs)",
            _ => "set it (kafka-configs), or say it in the configuration",
        };
        // What is lost by compaction, or stamped by somebody else's clock, no later change repairs.
        let unusable = (stamped && topic == Topic::Raw) || (compacted && found.contains("compact"));
        differences.push(Difference {
            setting,
            wanted: wanted.clone(),
            found: found.to_owned(),
            advice,
            unusable,
        });
    }
    if differences.is_empty() { Found::Right } else { Found::Differs(differences) }
}

/// Some may be more than is wanted.
fn is_good(setting: &str, wanted: &str, found: &str) -> bool {
    let at_least = || Some(found.parse::<i64>().ok()? >= wanted.parse::<i64>().ok()?);
    match setting {
        BATCH_BYTES => at_least().unwrap_or(false),
        _ => found == wanted,
    }
}

/// Whether the brokers let us see the topics: those that are there, and those that are not.
fn visible(config: &KafkaConfig) -> Result<(), JournalError> {
    let names = Names::new(&config.prefix)?;
    let counts = Opening::begin(config, &names)?.counts()?;
    let hidden = |count: &&PartitionCount| {
        count.1.as_ref().is_err_and(|why| why.code == Code::TopicAuthorizationFailed)
    };
    let hidden: Vec<String> = counts.iter().filter(hidden).map(|(name, _)| format!("`{name}`")).collect();
    if hidden.is_empty() {
        return Ok(());
    }
    Err(JournalError::Denied(format!(
        "{}: this login may not see the topics {}: it lacks Describe on them (grant it with kafka-acls)",
        config.brokers,
        hidden.join(", ")
    )))
}

/// What a failure means; `right` is what whoever is refused lacks.
fn sorted(what: &str, right: &str, why: &KafkaError) -> JournalError {
    let text = format!("{what}: {why}");
    let code = match why {
        // Which has no code by its own account.
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    };
    if code.is_some_and(super::error::is_denial) {
        return JournalError::Denied(format!(
            "{text}: this login may not do that: it lacks {right} (grant it with kafka-acls)"
        ));
    }
    let refused = matches!(
        code,
        Some(
            Code::PolicyViolation
                | Code::InvalidReplicationFactor
                | Code::InvalidPartitions
                | Code::InvalidConfig
                | Code::InvalidTopic
                | Code::UnsupportedVersion
                | Code::UnsupportedFeature
                | Code::InvalidArgument
        )
    );
    if refused { JournalError::Fatal(text) } else { JournalError::Retry(text) }
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread for an answer; every question has a timeout of its own.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(answer) = future.as_mut().poll(&mut context) {
            return answer;
        }
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let week = Retention { age: Some(Duration::from_hours(7 * 24)), partition_bytes_max: None };
        Plan { kept: BTreeMap::from([(Topic::Raw, week), (Topic::Alerts, week)]), ..Plan::default() }
    }

    fn there(topic: Topic, change: (&str, &str)) -> Seen {
        let wanted = settings(topic, &plan(), 3);
        let mut settings: BTreeMap<String, String> =
            wanted.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        settings.insert(change.0.to_owned(), change.1.to_owned());
        Seen { partitions: 4, copies: 3, settings }
    }

    fn found(topic: Topic, there: &Seen) -> Vec<(&'static str, bool)> {
        match compared(topic, (4, 3), &settings(topic, &plan(), 3), there) {
            Found::Differs(differences) => {
                differences.iter().map(|difference| (difference.setting, difference.unusable)).collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_is_as_it_should_be_is_right_and_more_room_is_no_difference() {
        assert_eq!(found(Topic::Raw, &there(Topic::Raw, ("other.setting", "x"))), []);
        assert_eq!(found(Topic::Raw, &there(Topic::Raw, (BATCH_BYTES, "99999999"))), []);
        assert_eq!(found(Topic::Raw, &there(Topic::Raw, (BATCH_BYTES, "1000"))), [(BATCH_BYTES, false)]);
    }

    #[test]
    fn what_no_home_can_use_is_told_apart() {
        let mut moved = there(Topic::Raw, ("x", "x"));
        moved.partitions = 5;
        assert_eq!(found(Topic::Raw, &moved), [(PARTITIONS, true)]);
        let stamped = (TIMESTAMP, "CreateTime");
        assert_eq!(found(Topic::Raw, &there(Topic::Raw, stamped)), [(TIMESTAMP, true)]);
        assert_eq!(found(Topic::Alerts, &there(Topic::Alerts, stamped)), [(TIMESTAMP, false)]);
        let compacted = (CLEANUP, "compact");
        assert_eq!(found(Topic::Aggregates, &there(Topic::Aggregates, compacted)), [(CLEANUP, true)]);
        assert_eq!(found(Topic::Devices, &there(Topic::Devices, (CLEANUP, "delete"))), [(CLEANUP, false)]);
    }

    #[test]
    fn decisions_and_devices_are_kept_for_ever() {
        let wanted = settings(Topic::Control, &plan(), 1);
        assert_eq!((&*wanted[KEPT_MS], &*wanted[KEPT_BYTES], &*wanted[CLEANUP]), ("-1", "-1", "delete"));
        let wanted = settings(Topic::Devices, &plan(), 1);
        assert_eq!((&*wanted[CLEANUP], wanted.get(KEPT_MS)), ("compact", None));
        assert_eq!(settings(Topic::Raw, &plan(), 1)[KEPT_MS], "604800000");
    }

    #[test]
    fn what_waiting_does_not_cure_is_not_tried_again() {
        let sorted = |code| sorted("making x.iot.raw", "Create on the topic", &KafkaError::AdminOp(code));
        let denied = sorted(Code::TopicAuthorizationFailed);
        assert!(
            matches!(&denied, JournalError::Denied(why) if why.contains("lacks Create on")),
            "{denied:?}"
        );
        assert!(matches!(sorted(Code::InvalidReplicationFactor), JournalError::Fatal(_)));
        assert!(matches!(sorted(Code::RequestTimedOut), JournalError::Retry(_)));
    }

    #[test]
    fn one_copy_may_be_missing_unless_somebody_says_otherwise() {
        let of = |copies, in_sync| settings(Topic::Raw, &Plan { in_sync, ..plan() }, copies)[IN_SYNC].clone();
        assert_eq!((&*of(1, None), &*of(2, None), &*of(3, None)), ("1", "1", "2"));
        assert_eq!((&*of(3, Some(3)), &*of(3, Some(1)), &*of(1, Some(2))), ("3", "1", "1"));
    }

    #[test]
    fn an_answer_from_another_thread_is_waited_for() {
        let (tell, told) = std::sync::mpsc::channel();
        let mut asked = false;
        let answer = std::future::poll_fn(move |context: &mut Context<'_>| {
            if asked {
                return Poll::Ready(told.recv());
            }
            asked = true;
            let (tell, waker) = (tell.clone(), context.waker().clone());
            std::thread::spawn(move || {
                if tell.send(7).is_ok() {
                    waker.wake();
                }
            });
            Poll::Pending
        });
        assert_eq!(block_on(answer), Ok(7));
    }
}
