//! From a body to durable records: what a request is turned away for, and what it is told afterwards.

use crate::admission::{Budget, NoRoom, Reservation};
use crate::batch::{Batch, Recorder, Rejection};
use crate::books::{Ledger, Ticket};
use crate::config::{IngestConfig, in_memory};
use crate::encoding::{DecodedLimits, Encoding, EncodingError, decode};
use crate::split::{SplitError, split};
use axum::body::Body;
use chassis::admin::Readiness;
use chassis::body::{self, BodyError};
use chassis::clock::Clock;
use chassis::metrics as names;
use chassis::shutdown::{Phase, Shutdown};
use journal::port::{Appender, Disposition, JournalError, NewRecord};
use schemas::reason::{Reject, RejectReason};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Notify, oneshot};

/// Name under which the journal stands in `/readyz`.
const READY_PART: &str = "ingest: journal";

/// Everything that requests share.
pub(crate) struct Door {
    pub(crate) config: IngestConfig,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Clock,
    pub(crate) ledger: Ledger,
    pub(crate) budget: Budget,
    /// Bounds how many large bodies are taken apart at a time.
    pub(crate) workers: Arc<tokio::sync::Semaphore>,
    pub(crate) outage: Arc<Outage>,
    appender: Arc<dyn Appender>,
    shutdown: Shutdown,
    turned_away: AtomicU64,
}

/// Why a request got nothing acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Send fewer or smaller ones.
    #[error("{0}")]
    TooLarge(String),
    /// Send it again later: we are full.
    #[error("{detail}")]
    Busy { cause: &'static str, detail: String },
    /// Send it again later: the journal does not write.
    #[error("the journal cannot write now: {0}")]
    Unavailable(String),
}

/// Why a body was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// Ours: no room.
    Refused(Refused),
    /// The sender's.
    Body(BodyError),
}

/// How many records became durable, once that is known.
type Durable = oneshot::Receiver<Result<usize, JournalError>>;

/// A request whose records wait for their durability.
pub(crate) struct Waiting {
    done: Durable,
    rejections: Vec<Rejection>,
    readings: usize,
}

/// What a request is told once it is durable.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    pub(crate) accepted: usize,
    pub(crate) rejections: Vec<Rejection>,
}

/// Whether the journal can write, as far as the last append tells.
#[derive(Debug)]
pub(crate) struct Outage {
    failing: AtomicBool,
    readiness: Readiness,
    /// Rung when the journal will not write again.
    pub(crate) fatal: Notify,
}

impl Outage {
    pub(crate) fn new(readiness: Readiness) -> Self {
        readiness.ready(READY_PART);
        Self { failing: AtomicBool::new(false), readiness, fatal: Notify::new() }
    }

    fn began(&self, error: &JournalError) {
        if !self.failing.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "the journal does not write; requests are answered 503");
        }
        self.readiness.missing(READY_PART, error.to_string());
        if error.disposition() == Disposition::Fatal {
            self.fatal.notify_one();
        }
    }

    fn over(&self) {
        if self.failing.load(Ordering::Acquire) && self.failing.swap(false, Ordering::AcqRel) {
            tracing::info!("the journal writes again");
            self.readiness.ready(READY_PART);
        }
    }
}

impl Door {
    pub(crate) fn new(
        config: IngestConfig,
        recorder: Recorder,
        clock: Clock,
        appender: Arc<dyn Appender>,
        readiness: Readiness,
        shutdown: Shutdown,
    ) -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            budget: Budget::new(in_memory(config.bodies_in_flight_max)),
            config,
            recorder,
            clock,
            ledger: Ledger::default(),
            workers: Arc::new(tokio::sync::Semaphore::new(workers)),
            outage: Arc::new(Outage::new(readiness)),
            appender,
            shutdown,
            turned_away: AtomicU64::new(0),
        }
    }

    /// Turns a body away before any of it is read, where its announced length tells already that it does not fit.
    pub(crate) fn admit(&self, announced: Option<u64>) -> Result<Reservation, Refused> {
        let bytes_max = self.config.body_max;
        let bytes = announced.unwrap_or(0);
        if bytes > bytes_max {
            return Err(Refused::TooLarge(format!(
                "the body has {bytes} bytes; expected at most {bytes_max}"
            )));
        }
        let queued = self.appender.queued();
        // An empty queue takes whatever fits it at all.
        if queued.records > 0 && in_memory(bytes.max(1)) > queued.bytes_max.saturating_sub(queued.bytes) {
            let detail = format!("{} of {} bytes wait to be written", queued.bytes, queued.bytes_max);
            return Err(Refused::Busy { cause: "queue", detail });
        }
        drop(self.budget.reserve(in_memory(bytes)).map_err(|full| no_room(&full))?);
        // Room is taken as the body arrives: a sender that announces much and sends nothing holds nothing.
        self.budget.reserve(0).map_err(|full| no_room(&full))
    }

    /// Reads an admitted body into its room.
    pub(crate) async fn read(&self, body: Body, room: &mut Reservation) -> Result<Vec<u8>, Unread> {
        let mut full = None;
        let admit = |more| room.grow(more).map_err(|why| full = Some(why)).is_ok();
        let bytes_max = in_memory(self.config.body_max);
        let read = body::read_admitted(body, bytes_max, self.config.body_timeout, admit).await;
        self.show_budget();
        read.map_err(|error| match full {
            Some(full) => Unread::Refused(no_room(&full)),
            None => Unread::Body(error),
        })
    }

    /// Takes a body apart and hands its records to the journal. Either all of it is queued or nothing is.
    pub(crate) fn take(
        &self,
        sent: &[u8],
        encoding: Encoding,
        lines: bool,
        room: &mut Reservation,
    ) -> Result<Waiting, Refused> {
        let limits = DecodedLimits {
            bytes_max: in_memory(self.config.body_max),
            ratio_max: in_memory(self.config.ratio_max),
        };
        let now = self.clock.now();
        let (ticket, received, batch) = match decode(sent, encoding, limits, room) {
            Ok(body) => match split(&body, lines, in_memory(self.config.readings_max)) {
                Ok(slices) => {
                    let ticket = self.ledger.receive(slices.len());
                    (ticket, slices.len(), self.recorder.batch(&slices, now))
                }
                Err(SplitError::Malformed(reject)) => {
                    (self.ledger.receive(1), 1, self.recorder.unreadable(&body, reject, now))
                }
                Err(SplitError::TooMany { readings_max }) => {
                    let detail =
                        format!("the request has more than {readings_max} readings; send several requests");
                    return Err(Refused::TooLarge(detail));
                }
            },
            Err(EncodingError::NoRoom(full)) => return Err(no_room(&full)),
            Err(EncodingError::Malformed(why)) => {
                let detail = format!("the body is not what Content-Encoding says: {why}");
                let reject = Reject::new(RejectReason::ForeignBytes, detail);
                (self.ledger.receive(1), 1, self.recorder.unreadable(sent, reject, now))
            }
            Err(error) => return Err(Refused::TooLarge(error.to_string())),
        };
        if let Err(full) = room.grow(batch.bytes()) {
            ticket.returned(received);
            return Err(no_room(&full));
        }
        self.show_budget();
        metrics::histogram!(names::INGEST_BATCH_RECORDS).record(received as f64);
        self.append(batch, received, ticket)
    }

    fn append(&self, batch: Batch, received: usize, ticket: Ticket) -> Result<Waiting, Refused> {
        let Batch { records, readings, rejections } = batch;
        if records.is_empty() {
            ticket.written(0, 0);
            let (tell, done) = oneshot::channel();
            // The receiver is still here.
            let _ = tell.send(Ok(0));
            return Ok(Waiting { done, rejections, readings });
        }
        let reasons: Vec<&'static str> = rejections.iter().map(|line| line.reason).collect();
        let mut guard = Returning { ticket: Some(ticket), received };
        let done = self.hand_over(records, move |told| {
            let Some(ticket) = guard.ticket.take() else { return };
            let Ok(durable) = told else { return ticket.returned(received) };
            // ORDER: readings stand before dead letters.
            ticket.written((*durable).min(readings), durable.saturating_sub(readings));
            for reason in &reasons {
                metrics::counter!(names::REJECTED_TOTAL, "stage" => "ingest", "reason" => *reason)
                    .increment(1);
            }
        })?;
        Ok(Waiting { done, rejections, readings })
    }

    /// Writes records that are not readings, and waits until they are durable.
    pub(crate) async fn write(&self, records: Vec<NewRecord>) -> Result<(), Refused> {
        let done = self.hand_over(records, |_| {})?;
        Waiting { done, rejections: Vec::new(), readings: 0 }.finish().await.map(drop)
    }

    /// Queues records. `settle` is told how many became durable, or why none did; it is dropped unused when the
    /// journal drops the completion.
    fn hand_over(
        &self,
        records: Vec<NewRecord>,
        mut settle: impl FnMut(&Result<usize, JournalError>) + Send + 'static,
    ) -> Result<Durable, Refused> {
        let (tell, done) = oneshot::channel();
        let (outage, clock, began) = (Arc::clone(&self.outage), self.clock.clone(), self.clock.steady());
        // The phase in which intake stops does not end before the journal has answered, whoever is still listening.
        let hold = self.shutdown.hold(Phase::StopIntake, "ingest append");
        let completion = Box::new(move |appended: Result<Vec<i64>, JournalError>| {
            metrics::histogram!(names::INGEST_APPEND_SECONDS).record((clock.steady() - began) as f64 / 1e6);
            let told = appended.map(|offsets| offsets.len());
            match &told {
                Ok(_) => outage.over(),
                Err(error) => outage.began(error),
            }
            settle(&told);
            drop(hold);
            // Nobody listens any more when the sender has hung up.
            let _ = tell.send(told);
        });
        match self.appender.append(records, completion) {
            Ok(()) => Ok(done),
            Err(error @ JournalError::Full { .. }) => {
                Err(Refused::Busy { cause: "queue", detail: error.to_string() })
            }
            Err(other) => {
                self.outage.began(&other);
                Err(Refused::Unavailable(other.to_string()))
            }
        }
    }

    /// Counts a request that is turned away; gives the seconds after which to come again, spread so that not all
    /// come at once.
    pub(crate) fn turn_away(&self, cause: &'static str, seconds: u64) -> u64 {
        metrics::counter!(names::INGEST_BACK_PRESSURE_TOTAL, "cause" => cause).increment(1);
        // Golden-ratio hashing of a counter: evenly spread without randomness.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let nth = self.turned_away.fetch_add(1, Ordering::Relaxed);
        seconds + (nth.wrapping_mul(SPREAD) >> 32) % (seconds + 2)
    }

    fn show_budget(&self) {
        metrics::gauge!(names::INGEST_BODY_BYTES).set(self.budget.used() as f64);
    }
}

/// The readings of an append go back to the sender when the journal drops the completion uncalled: that is how it
/// says that it had no room, or that it was closed.
struct Returning {
    ticket: Option<Ticket>,
    received: usize,
}

impl Drop for Returning {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.returned(self.received);
        }
    }
}

impl Waiting {
    /// Waits for the journal. CANCEL: the records are written all the same, and stand in the books.
    pub(crate) async fn finish(self) -> Result<Acknowledged, Refused> {
        match self.done.await {
            Ok(Ok(durable)) => {
                Ok(Acknowledged { accepted: durable.min(self.readings), rejections: self.rejections })
            }
            Ok(Err(error @ JournalError::Full { .. })) => {
                Err(Refused::Busy { cause: "queue", detail: error.to_string() })
            }
            Ok(Err(error)) => Err(Refused::Unavailable(error.to_string())),
            Err(_) => Err(Refused::Unavailable("it was closed before it answered".to_owned())),
        }
    }
}

fn no_room(full: &NoRoom) -> Refused {
    if full.ever() {
        Refused::Busy { cause: "bodies", detail: full.to_string() }
    } else {
        Refused::TooLarge(format!("{full}; send smaller requests"))
    }
}
