//! Appends: one idempotent producer shared by the process, bounded in bytes, acknowledged by delivery reports. It is
//! made by the first append: who only reads needs no right to write.
//!
//! Lives here: admission, what a report means, and a new producer after a fatal error. Does not live here: when to
//! retry (the caller: nothing that failed is sent again behind its back).
//!
//! Invariants:
//! * `done` is called once for every append that was taken in, on the thread that serves the producer.
//! * An append that failed with [`JournalError::Retry`] is not in the log; with [`JournalError::Unknown`] it may be.

use super::error::{About, is_denial, sorted, sorted_about};
use super::native::{Delivery, Failure, Kind, Native, Parcel};
use super::{Shared, Ticking};
use crate::port::{Appended, Appender, JournalError, NewRecord, Queued};
use crate::wake::locked;
use rdkafka::error::RDKafkaErrorCode as Code;
use schemas::topic::Topic;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a turn of the serving thread may wait for reports.
const TURN: Duration = Duration::from_millis(100);
/// How long outstanding reports are waited for when a producer is given up or closed.
const LAST_REPORTS: Duration = Duration::from_secs(5);

/// Levels of the queue.
#[derive(Debug, Default)]
struct Level {
    records: AtomicUsize,
    bytes: AtomicUsize,
}

/// The shared appender.
pub(super) struct KafkaAppender {
    shared: Arc<Shared>,
    level: Arc<Level>,
    producer: Arc<Current>,
    stop: Arc<AtomicBool>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

/// The producer of the moment; none: nothing was appended yet, or the last one is of no more use.
#[derive(Default)]
struct Current {
    native: RwLock<Option<Arc<Native>>>,
    /// What the brokers refused the last producer for.
    denial: std::sync::Mutex<Option<Failure>>,
}

impl Current {
    fn get(&self) -> Option<Arc<Native>> {
        self.native.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn get_or_make(&self, shared: &Shared) -> Result<Arc<Native>, JournalError> {
        if let Some(native) = self.get() {
            return Ok(native);
        }
        let mut native = self.native.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(native) = &*native {
            return Ok(Arc::clone(native));
        }
        let made = Arc::new(produce(shared)?);
        Ok(Arc::clone(native.insert(made)))
    }

    /// Why this login may not produce, if that is so. librdkafka lets go of its records by itself then, before anybody
    /// has noticed.
    fn denied(&self) -> Option<Failure> {
        let noticed = locked(&self.denial).clone();
        noticed.or_else(|| self.get()?.fatal().filter(|why| is_denial(why.code)))
    }

    fn put(&self, native: Option<Arc<Native>>) {
        *self.native.write().unwrap_or_else(PoisonError::into_inner) = native;
    }
}

impl KafkaAppender {
    /// Starts the thread that serves the producer.
    pub(super) fn start(shared: Arc<Shared>) -> Result<Self, JournalError> {
        let producer = Arc::new(Current::default());
        let stop = Arc::new(AtomicBool::new(false));
        let serving =
            Serving { shared: Arc::clone(&shared), producer: Arc::clone(&producer), stop: Arc::clone(&stop) };
        let thread = std::thread::Builder::new()
            .name("kafka-appender".to_owned())
            .spawn(move || serving.run())
            .map_err(|why| JournalError::Fatal(format!("a thread for appends: {why}")))?;
        let level = Arc::default();
        Ok(Self { shared, level, producer, stop, thread: std::sync::Mutex::new(Some(thread)) })
    }

    /// Waits for outstanding reports and stops.
    pub(super) fn close(&self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = locked(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that serves appends had panicked");
        }
    }
}

fn produce(shared: &Shared) -> Result<Native, JournalError> {
    let config = shared.config.appender();
    let mut native = Native::new(Kind::Producer, "appender", &config, shared.statistics.clone())
        .map_err(|why| JournalError::Fatal(format!("the producer: {why}")))?;
    native.learn(&shared.names.all()).map_err(|why| sorted("the producer's topics", &why))?;
    Ok(native)
}

impl Appender for KafkaAppender {
    fn append(&self, records: Vec<NewRecord>, done: Appended) -> Result<(), JournalError> {
        let refused = self.shared.check().and_then(|()| self.shared.layout.admit(&records));
        let bytes = match refused {
            Ok(bytes) => bytes,
            Err(why) => {
                done(Err(why));
                return Ok(());
            }
        };
        let bytes_max = self.shared.config.append_queue_bytes_max;
        let room = |level: usize| level.checked_add(bytes).filter(|after| *after <= bytes_max);
        if let Err(level) = self.level.bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, room) {
            return Err(JournalError::Full { bytes: level, bytes_max });
        }
        let native = match self.producer.get_or_make(&self.shared) {
            Ok(native) => native,
            Err(why) => {
                self.level.bytes.fetch_sub(bytes, Ordering::AcqRel);
                done(Err(why));
                return Ok(());
            }
        };
        let count = records.len();
        self.level.records.fetch_add(count, Ordering::AcqRel);
        let (level, shared) = (Arc::clone(&self.level), Arc::clone(&self.shared));
        let (producer, topics) = (Arc::clone(&self.producer), topics(&records));
        let reported = move |delivery: Delivery| {
            level.records.fetch_sub(count, Ordering::AcqRel);
            level.bytes.fetch_sub(bytes, Ordering::AcqRel);
            if let Some(stamped) = delivery.stamped {
                shared.clock.appended(stamped.saturating_mul(1000));
            }
            let Delivery { outcome, possibly, .. } = delivery;
            done(outcome.map_err(|why| {
                let why = producer.denied().unwrap_or(why);
                meaning(&shared, &topics, &why, possibly)
            }));
        };
        Parcel::send(&native, &records, Box::new(reported));
        Ok(())
    }

    fn queued(&self) -> Queued {
        Queued {
            records: self.level.records.load(Ordering::Acquire),
            bytes: self.level.bytes.load(Ordering::Acquire),
            bytes_max: self.shared.config.append_queue_bytes_max,
        }
    }
}

impl Drop for KafkaAppender {
    fn drop(&mut self) {
        self.close();
    }
}

/// The topics of some records, each once.
fn topics(records: &[NewRecord]) -> Vec<Topic> {
    let mut topics = Vec::new();
    for record in records {
        if !topics.contains(&record.to.topic) {
            topics.push(record.to.topic);
        }
    }
    topics
}

/// What a failure means for the one who appended. A producer that was refused takes its records along: they failed for
/// what it was refused for.
fn meaning(shared: &Shared, topics: &[Topic], failure: &Failure, possibly: bool) -> JournalError {
    let names = topics.iter().map(|topic| shared.names.text(*topic)).collect::<Vec<_>>().join(", ");
    let about = About { operation: "Write", topics: &names, ..About::default() };
    match sorted_about("appending", about, failure) {
        // A fenced or broken producer is replaced: the append may be made again.
        JournalError::Retry(why) | JournalError::Fenced(why) if possibly => JournalError::Unknown(why),
        JournalError::Fenced(why) => JournalError::Retry(why),
        JournalError::Fatal(why) if failure.code == Code::MessageSizeTooLarge => JournalError::Fatal(
            format!("{why}: raise `max.message.bytes` of the topic (`highwater topics check`)"),
        ),
        other => other,
    }
}

/// The thread that serves callbacks.
struct Serving {
    shared: Arc<Shared>,
    producer: Arc<Current>,
    stop: Arc<AtomicBool>,
}

impl Serving {
    fn run(self) {
        let mut complaints = Ticking::default();
        while !self.stop.load(Ordering::Acquire) {
            let Some(native) = self.producer.get() else {
                std::thread::park_timeout(TURN);
                continue;
            };
            native.poll(TURN);
            if let Some(complaint) = native.complaint()
                && complaints.due()
            {
                tracing::warn!("the brokers: {complaint}");
            }
            if let Some(why) = native.fatal() {
                self.renew(&native, why);
            }
        }
        if let Some(native) = self.producer.get()
            && native.flush(LAST_REPORTS).is_err()
        {
            native.purge(LAST_REPORTS);
        }
    }

    /// A fatal error ends an idempotent producer: its records are reported, and another takes its place; at once, or with
    /// the next append when the brokers let nobody of this login produce.
    fn renew(&self, native: &Native, why: Failure) {
        tracing::warn!(why = why.text, "the producer of appends is replaced");
        let denied = is_denial(why.code);
        *locked(&self.producer.denial) = denied.then_some(why);
        if denied {
            // Before its records are reported: who appends again after a report gets another producer.
            self.producer.put(None);
        }
        native.purge(LAST_REPORTS);
        *locked(&self.producer.denial) = None;
        if denied {
            return;
        }
        match produce(&self.shared) {
            Ok(new) => self.producer.put(Some(Arc::new(new))),
            Err(why) => tracing::error!(%why, "no new producer; trying again"),
        }
    }
}
