//! The journal on Kafka, through librdkafka.
//!
//! Lives here: opening a home and its parts. Below: settings (`config`), the foreign interface (`native`), group
//! members (`member`), transactions (`committer`), appends (`appender`), reads without a group (`reader`), which
//! tokens are good (`seats`), the brokers' clock (`clock`), and what an error means (`error`).
//!
//! Invariants:
//! * Only `native` is unsafe; it knows pointers and nothing of the pipeline.
//! * A token is bound to its assignment in this process too: the broker checks member and generation, not who owns
//!   a partition.
//! * A commit that may have been retried in silence is followed by a new producer.

mod appender;
mod clock;
mod committer;
mod config;
mod error;
mod member;
mod names;
mod native;
mod onlooker;
pub mod owners;
mod reader;
mod records;
mod seats;
#[cfg(test)]
mod tests;
pub mod topics;

pub use config::{KafkaConfig, OURS};

use crate::layout::Layout;
use crate::port::{Appender, Committed, Committer, Consumer, Journal, JournalError, Reader, TopicPartition};
use appender::KafkaAppender;
use clock::BrokerClock;
use committer::KafkaCommitter;
use error::{About, sorted, sorted_about};
use member::Member;
use names::Names;
use native::{Failure, Message, Native, PartitionCount, Positions};
use reader::KafkaReader;
use schemas::Micros;
use schemas::codec::IdTable;
use schemas::topic::Topic;
use seats::Seats;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at topics that the brokers do not know yet.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long an answer is waited for before it is looked whether the login was refused.
const ANSWER_SLICE: Duration = Duration::from_millis(500);

/// Told what librdkafka measures: the client's role, and its statistics as JSON text.
pub type Statistics = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// What all parts of a home share.
struct Shared {
    config: KafkaConfig,
    layout: Layout,
    names: Names,
    clock: BrokerClock,
    seats: Seats,
    statistics: Option<Statistics>,
    aborted: AtomicU64,
    renewed: AtomicU64,
    closed: AtomicBool,
}

/// What happened to transactions since the home was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaCounts {
    /// Transactions that were not committed.
    pub aborted: u64,
    /// Producers that took over from the one before.
    pub renewed: u64,
}

/// A home on Kafka.
pub struct KafkaJournal {
    shared: Arc<Shared>,
    appender: Arc<KafkaAppender>,
    ids: Arc<dyn IdTable>,
}

impl KafkaJournal {
    /// Connects, and finds out how many partitions there are. Topics are made before (`highwater topics create`).
    ///
    /// # Errors
    /// [`JournalError::Retry`] when no broker answers, [`JournalError::Fatal`] when a setting, a topic or a
    /// permission is not as it must be.
    pub fn open(
        config: KafkaConfig,
        ids: Arc<dyn IdTable>,
        statistics: Option<Statistics>,
    ) -> Result<Arc<Self>, JournalError> {
        if let Some((name, why)) = config.refused().into_iter().next() {
            return Err(JournalError::Fatal(format!("`librdkafka.{name}`: {why}")));
        }
        let names = Names::new(&config.prefix)?;
        let layout = found_layout(&config, &names)?;
        let shared = Arc::new(Shared {
            config,
            layout,
            names,
            clock: BrokerClock::new(),
            seats: Seats::default(),
            statistics,
            aborted: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let appender = Arc::new(KafkaAppender::start(Arc::clone(&shared))?);
        Ok(Arc::new(Self { shared, appender, ids }))
    }

    /// What happened since it was opened.
    #[must_use]
    pub fn counts(&self) -> KafkaCounts {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        KafkaCounts { aborted: count(&self.shared.aborted), renewed: count(&self.shared.renewed) }
    }

    /// Waits for the reports of outstanding appends; every part is of no more use afterwards.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.appender.close();
    }
}

/// A first conversation with the brokers: whether they answer, take the login, and know the topics.
struct Opening<'a> {
    config: &'a KafkaConfig,
    native: Native,
    deadline: Instant,
}

impl<'a> Opening<'a> {
    /// Not a producer: to ask as one for a topic by its name may make it.
    fn begin(config: &'a KafkaConfig, names: &Names) -> Result<Self, JournalError> {
        let mut native = Native::new(native::Kind::Consumer, "opening", &config.client(), None)
            .map_err(|why| JournalError::Fatal(format!("the brokers' client: {why}")))?;
        native.learn(&names.all()).map_err(|why| sorted("the topics", &why))?;
        Ok(Self { config, native, deadline: Instant::now() + config.answer_timeout })
    }

    /// What the brokers say of the topics. A login that is refused is told at once, an answer that does not come at the
    /// deadline.
    fn counts(&self) -> Result<Vec<PartitionCount>, JournalError> {
        let brokers = &self.config.brokers;
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let why = match self.native.partition_counts(left.min(ANSWER_SLICE)) {
                Ok(counts) => return Ok(counts),
                Err(why) => why,
            };
            self.native.poll(Duration::ZERO);
            if let Some(refusal) = self.native.refusal() {
                return Err(JournalError::Denied(format!("{brokers}: {refusal}: {}", error::LOGIN_REFUSED)));
            }
            let complaint = || self.native.complaint().unwrap_or(why.text.clone());
            match sorted(&format!("asking {brokers} for its topics"), &why) {
                JournalError::Retry(_) if left > ANSWER_SLICE => {}
                JournalError::Retry(_) => {
                    return Err(JournalError::Retry(format!(
                        "no broker of {brokers} answers: {}",
                        complaint()
                    )));
                }
                other => return Err(other),
            }
        }
    }
}

/// Asks until every topic is known, or the time is over.
fn found_layout(config: &KafkaConfig, names: &Names) -> Result<Layout, JournalError> {
    let opening = Opening::begin(config, names)?;
    loop {
        match names.layout(&opening.counts()?) {
            Err(JournalError::Retry(_)) if Instant::now() + LOOK_AGAIN < opening.deadline => {
                opening.native.poll(LOOK_AGAIN);
            }
            Err(JournalError::Retry(why)) => return Err(JournalError::Fatal(why)),
            answer => return answer,
        }
    }
}

impl Shared {
    fn check(&self) -> Result<(), JournalError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(JournalError::Fatal("the journal is closed".to_owned()));
        }
        Ok(())
    }

    /// Whose a message is; none: not of a partition of ours.
    fn partition_of(&self, message: &Message) -> Option<TopicPartition> {
        let topic = self.names.topic(message.topic()?.to_bytes())?;
        Some(TopicPartition { topic, partition: u32::try_from(message.partition()).ok()? })
    }

    fn bounds(&self, native: &Native, of: TopicPartition) -> Result<(i64, i64), JournalError> {
        self.layout.slot(of)?;
        let number = i32::try_from(of.partition).unwrap_or(i32::MAX);
        let deadline = Instant::now() + self.config.answer_timeout;
        loop {
            let wait = deadline.saturating_duration_since(Instant::now());
            match native.bounds(self.names.name(of.topic), number, wait) {
                Ok(bounds) => return Ok(bounds),
                // A leader is being elected.
                Err(why) if error::is_moving(why.code) && Instant::now() + LOOK_AGAIN < deadline => {
                    std::thread::park_timeout(LOOK_AGAIN);
                }
                Err(why) => return Err(self.sorted_read(&format!("the bounds of {of:?}"), of.topic, &why)),
            }
        }
    }

    /// Sorts a failure of something that reads a topic.
    fn sorted_read(&self, what: &str, topic: Topic, why: &Failure) -> JournalError {
        let about = About { operation: "Read", topics: self.names.text(topic), ..About::default() };
        sorted_about(what, about, why)
    }

    /// What a client's group has committed, in the order asked.
    fn committed(
        &self,
        native: &Native,
        group: &str,
        of: &[TopicPartition],
    ) -> Result<Vec<Option<Committed>>, JournalError> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = Positions::new();
        of.iter().for_each(|of| asked.add(self.names.text(of.topic), of.partition));
        let places = native.committed(&asked, self.config.answer_timeout).map_err(|why| {
            let topics = of.first().map_or("", |of| self.names.text(of.topic));
            let group = &format!("{}{group}", self.config.prefix);
            let about = About { operation: "Describe", topics, group, ..About::default() };
            sorted_about("asking for committed positions", about, &why)
        })?;
        let committed = places
            .into_iter()
            .map(|place| place.offset.map(|offset| Committed { offset, metadata: place.metadata }));
        Ok(committed.collect())
    }
}

/// Lets something through once in a while.
#[derive(Default)]
struct Ticking(Option<Instant>);

impl Ticking {
    /// Whether it is time again.
    fn due(&mut self) -> bool {
        const EVERY: Duration = Duration::from_secs(10);
        let now = Instant::now();
        let due = self.0.is_none_or(|last| now.duration_since(last) >= EVERY);
        if due {
            self.0 = Some(now);
        }
        due
    }
}

impl Journal for KafkaJournal {
    fn partitions(&self) -> u32 {
        self.shared.layout.partitions()
    }

    fn now(&self) -> Micros {
        self.shared.clock.now()
    }

    fn consumer(
        &self,
        group: &str,
        member: &str,
        topics: &[Topic],
    ) -> Result<Box<dyn Consumer>, JournalError> {
        self.shared.check()?;
        Ok(Box::new(Member::join(Arc::clone(&self.shared), group, member, topics)?))
    }

    fn committer(&self, id: &str) -> Result<Box<dyn Committer>, JournalError> {
        self.shared.check()?;
        Ok(Box::new(KafkaCommitter::new(Arc::clone(&self.shared), id)?))
    }

    fn appender(&self) -> Arc<dyn Appender> {
        Arc::clone(&self.appender) as Arc<dyn Appender>
    }

    fn reader(&self) -> Result<Box<dyn Reader>, JournalError> {
        self.shared.check()?;
        Ok(Box::new(KafkaReader::new(Arc::clone(&self.shared))?))
    }

    fn schema_id(&self, subject: &str, schema: &str) -> Result<u32, JournalError> {
        self.ids.id_of(subject, schema).map_err(JournalError::from)
    }

    fn schema_of(&self, id: u32) -> Result<Option<String>, JournalError> {
        self.ids.schema_of(id).map_err(JournalError::from)
    }
}
