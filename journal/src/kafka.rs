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
mod reader;
mod records;
mod seats;
#[cfg(test)]
mod tests;

pub use config::{KafkaConfig, OURS};

use crate::layout::Layout;
use crate::port::{Appender, Committed, Committer, Consumer, Journal, JournalError, Reader, TopicPartition};
use appender::KafkaAppender;
use clock::BrokerClock;
use committer::KafkaCommitter;
use error::sorted;
use member::Member;
use names::Names;
use native::{Native, Piece, Positions};
use reader::KafkaReader;
use records::RecordRun;
use schemas::Micros;
use schemas::codec::IdTable;
use schemas::topic::Topic;
use seats::Seats;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two looks at topics that the brokers do not know yet.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

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
    closed: AtomicBool,
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
            closed: AtomicBool::new(false),
        });
        let appender = Arc::new(KafkaAppender::start(Arc::clone(&shared))?);
        Ok(Arc::new(Self { shared, appender, ids }))
    }

    /// Waits for the reports of outstanding appends; every part is of no more use afterwards.
    pub fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.appender.close();
    }
}

/// Asks until every topic is known, or the time is over.
fn found_layout(config: &KafkaConfig, names: &Names) -> Result<Layout, JournalError> {
    let mut native = Native::new(native::Kind::Producer, "opening", &config.client(), None)
        .map_err(|why| JournalError::Fatal(format!("the brokers' client: {why}")))?;
    native.learn(&names.all()).map_err(|why| sorted("the topics", &why))?;
    let deadline = Instant::now() + config.answer_timeout;
    loop {
        let wait = deadline.saturating_duration_since(Instant::now());
        let counts = native.partition_counts(wait).map_err(|why| {
            native.poll(Duration::ZERO);
            let complaint = native.complaint().unwrap_or(why.text.clone());
            match sorted(&format!("asking {} for its topics", config.brokers), &why) {
                JournalError::Retry(_) => {
                    JournalError::Retry(format!("no broker of {} answers: {complaint}", config.brokers))
                }
                other => other,
            }
        })?;
        match names.layout(&counts) {
            Err(JournalError::Retry(_)) if Instant::now() + LOOK_AGAIN < deadline => {
                native.poll(LOOK_AGAIN);
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

    /// Whose a piece is; none: not of a partition of ours.
    fn partition_of(&self, piece: Piece<'_>) -> Option<TopicPartition> {
        let topic = self.names.topic(piece.topic()?.to_bytes())?;
        Some(TopicPartition { topic, partition: u32::try_from(piece.partition()).ok()? })
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
                Err(why) => return Err(sorted(&format!("the bounds of {of:?}"), &why)),
            }
        }
    }

    /// What a client's group has committed, in the order asked.
    fn committed(
        &self,
        native: &Native,
        of: &[TopicPartition],
    ) -> Result<Vec<Option<Committed>>, JournalError> {
        if of.is_empty() {
            return Ok(Vec::new());
        }
        let mut asked = Positions::new();
        of.iter().for_each(|of| asked.add(self.names.text(of.topic), of.partition));
        let places = native
            .committed(&asked, self.config.answer_timeout)
            .map_err(|why| sorted("asking for committed positions", &why))?;
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
