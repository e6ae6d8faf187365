//! The port: what the pipeline asks of a log. Written for Kafka first (transactions, consumer groups, offset
//! metadata, static membership, batches of borrowed records), so that the embedded adapters are held to it.
//!
//! Everything here is synchronous: consumers and committers live on threads of their own. Only [`Appender`] is
//! called from async code, with a completion callback.

pub use crate::headers::{HeaderSource, Headers};

use schemas::Micros;
use schemas::topic::Topic;
use std::time::Duration;

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic.
    pub topic: Topic,
    /// Partition number.
    pub partition: u32,
}

/// A header: name and value.
pub type Header = (String, Vec<u8>);

/// A record to be written. The journal stamps its receipt time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// Destination; the partition is always explicit.
    pub to: TopicPartition,
    /// Key, or none for control-like records.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Vec<u8>,
    /// Headers; usually empty.
    pub headers: Vec<Header>,
}

/// A record as read, borrowed from the adapter's buffer.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Offset.
    pub offset: i64,
    /// Receipt time: assigned by the journal at the append.
    pub received_at: Micros,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: &'a [u8],
    /// Headers.
    pub headers: Headers<'a>,
}

/// A partition handed to a group member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The partition.
    pub partition: TopicPartition,
    /// What the group has committed there; none: never.
    pub committed: Option<Committed>,
}

/// A committed position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Next offset to be read.
    pub offset: i64,
    /// What was committed with it.
    pub metadata: String,
}

/// Proof of membership at an assignment; captured on the poll thread, never refreshed by a committer. A commit
/// under a token whose partitions have gone to another member is refused with [`JournalError::Fenced`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupToken {
    /// Group.
    pub group: String,
    /// Member.
    pub member: String,
    /// Generation of the assignment.
    pub generation: u64,
    /// What the home knows the member by at this assignment, where that is more than its name; else empty.
    pub proof: String,
}

/// What a poll brought.
#[derive(Debug)]
pub enum ConsumerEvent<'a> {
    /// Partitions gained (all of them, after an eager rebalance). Reading starts where [`Consumer::seek`] says;
    /// until then the partition delivers nothing.
    Assigned(&'a [Assignment]),
    /// Partitions lost. With `lost` false the member may still commit until the visitor returns.
    Revoked {
        /// Which.
        partitions: &'a [TopicPartition],
        /// Taken without asking: nothing may be committed any more.
        lost: bool,
    },
    /// Committed records of one partition, in offset order.
    Batch {
        /// Where from.
        partition: TopicPartition,
        /// The records.
        records: &'a [RecordRef<'a>],
    },
    /// Every record below this offset has been delivered: the position may go here. Homes whose offsets are not all
    /// records (markers of transactions) say so at the log's end; to others it follows from the last record.
    Reached {
        /// Which.
        partition: TopicPartition,
        /// Next offset that can bring a record.
        offset: i64,
    },
}

/// A member of a consumer group, owned by one thread.
pub trait Consumer: Send {
    /// Waits up to `max_wait` for something, then calls `visit` for each event; at most `records_max` records in
    /// all. Returns how many records were delivered.
    ///
    /// # Errors
    /// [`JournalError::OutOfRange`] when the position lies below the log's start (retention ran over it).
    fn poll(
        &mut self,
        max_wait: Duration,
        records_max: usize,
        visit: &mut dyn FnMut(ConsumerEvent<'_>),
    ) -> Result<usize, JournalError>;

    /// Sets the next offset to read of an assigned partition.
    ///
    /// # Errors
    /// [`JournalError::NotAssigned`].
    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), JournalError>;

    /// Stops delivery from a partition until [`Consumer::resume`]; the assignment stays.
    fn pause(&mut self, partition: TopicPartition);

    /// Resumes delivery.
    fn resume(&mut self, partition: TopicPartition);

    /// The token of the current assignment; none before the first.
    fn token(&self) -> Option<GroupToken>;

    /// First offset kept, and the offset after the last committed record.
    ///
    /// # Errors
    /// When the journal does not answer.
    fn bounds(&mut self, partition: TopicPartition) -> Result<(i64, i64), JournalError>;

    /// Commits positions outside a transaction (sinks: after every write succeeded).
    ///
    /// # Errors
    /// [`JournalError::Fenced`] when the partition has gone to another member.
    fn commit(&mut self, offsets: &[(TopicPartition, Committed)]) -> Result<(), JournalError>;

    /// Leaves the group: the last events (`Revoked`) are delivered to `visit`.
    ///
    /// # Errors
    /// When the journal does not answer; the membership then ends by timeout.
    fn leave(&mut self, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> Result<(), JournalError>;
}

/// Everything one commit makes visible at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Outputs, in order.
    pub records: Vec<NewRecord>,
    /// Input positions reached, with metadata.
    pub offsets: Vec<(TopicPartition, Committed)>,
}

/// A transactional producer, owned by one committer thread. A new one with the same id fences the old.
pub trait Committer: Send {
    /// Makes a transaction visible and durable as a whole. After an error other than [`JournalError::Fenced`]
    /// the caller finds out by the committed offsets whether it happened ([`JournalError::Unknown`]) or may send
    /// it again ([`JournalError::Retry`]).
    ///
    /// # Errors
    /// See above.
    fn commit(&mut self, transaction: &Transaction, token: &GroupToken) -> Result<(), JournalError>;
}

/// Completion of an append: the offsets in the order of the records, or why nothing was written. It runs on a
/// thread of the journal's: it is short, and does not call what waits for the journal.
pub type Appended = Box<dyn FnOnce(Result<Vec<i64>, JournalError>) + Send>;

/// The idempotent, non-transactional producer that ingest, the controller and tick writers share.
pub trait Appender: Send + Sync {
    /// Queues records to be written together (all or none where the home can, else record by record in order);
    /// `done` is called once they are durable or have failed. Never blocks.
    ///
    /// # Errors
    /// [`JournalError::Full`] at once, and `done` dropped uncalled, when the bounded queue has no room.
    fn append(&self, records: Vec<NewRecord>, done: Appended) -> Result<(), JournalError>;

    /// Records and bytes now queued: what back-pressure is decided on, and the books' in-flight term.
    fn queued(&self) -> Queued;
}

/// Level of an append queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Records.
    pub records: usize,
    /// Bytes of keys, values and headers.
    pub bytes: usize,
    /// Bound on `bytes`.
    pub bytes_max: usize,
}

/// Reads without a group: exact offsets (snapshots), monitors, one-shot commands.
pub trait Reader: Send {
    /// Calls `visit` with up to `records_max` committed records from `from` on; returns the next offset to ask
    /// for, which is `from` when there is nothing.
    ///
    /// # Errors
    /// [`JournalError::OutOfRange`] when `from` lies below the log's start.
    fn read(
        &mut self,
        partition: TopicPartition,
        from: i64,
        records_max: usize,
        visit: &mut dyn FnMut(RecordRef<'_>),
    ) -> Result<i64, JournalError>;

    /// First offset kept, and the offset after the last committed record.
    ///
    /// # Errors
    /// When the journal does not answer.
    fn bounds(&mut self, partition: TopicPartition) -> Result<(i64, i64), JournalError>;

    /// What a group has committed; ask before [`Reader::bounds`], so that lag is never negative.
    ///
    /// # Errors
    /// When the journal does not answer: that is not "nothing committed".
    fn committed(
        &mut self,
        group: &str,
        partition: TopicPartition,
    ) -> Result<Option<Committed>, JournalError>;
}

/// A journal: where the adapters begin. Cheap to clone behind an `Arc`; every part it opens is independent.
pub trait Journal: Send + Sync {
    /// Partitions of `iot.raw` (and every co-partitioned topic).
    fn partitions(&self) -> u32;

    /// The journal's clock: what it would stamp now. In-memory journals run on virtual time.
    fn now(&self) -> Micros;

    /// Joins a group. `member` is stable for an instance (static membership).
    ///
    /// # Errors
    /// When the journal does not answer.
    fn consumer(
        &self,
        group: &str,
        member: &str,
        topics: &[Topic],
    ) -> Result<Box<dyn Consumer>, JournalError>;

    /// A transactional producer; fences an older one of the same id.
    ///
    /// # Errors
    /// When the journal does not answer.
    fn committer(&self, id: &str) -> Result<Box<dyn Committer>, JournalError>;

    /// The shared appender.
    fn appender(&self) -> std::sync::Arc<dyn Appender>;

    /// A reader.
    ///
    /// # Errors
    /// When the journal does not answer.
    fn reader(&self) -> Result<Box<dyn Reader>, JournalError>;

    /// The id of a schema under a subject. A home that keeps its own ids gives one to a schema that it has not seen; one
    /// whose ids come from a registry asks there and never registers (`highwater schema register` does).
    ///
    /// # Errors
    /// When the id table does not answer, or knows no id for the schema and gives none.
    fn schema_id(&self, subject: &str, schema: &str) -> Result<u32, JournalError>;

    /// The schema of an id.
    ///
    /// # Errors
    /// When the id table does not answer: that is not "unknown id".
    fn schema_of(&self, id: u32) -> Result<Option<String>, JournalError>;
}

/// What can go wrong, sorted by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// The append queue has no room: back off.
    #[error("the journal's append queue is full ({bytes} of {bytes_max} bytes)")]
    Full {
        /// Level.
        bytes: usize,
        /// Bound.
        bytes_max: usize,
    },
    /// Nothing was written; the same call may be made again.
    #[error("the journal could not do it now: {0}")]
    Retry(String),
    /// It may or may not have happened: compare the committed offsets.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// Another member or producer has taken over: throw the buffers away.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The position lies below the log's start: those records are gone.
    #[error("offset {offset} of {partition:?} is gone: the log starts at {start}")]
    OutOfRange {
        /// Partition.
        partition: TopicPartition,
        /// Position asked for.
        offset: i64,
        /// First offset kept.
        start: i64,
    },
    /// The partition is not assigned to this member.
    #[error("{0:?} is not assigned to this member")]
    NotAssigned(TopicPartition),
    /// Another process holds the journal.
    #[error("{path} is in use by another process{holder}; stop it, or ask it through its admin address")]
    InUse {
        /// File.
        path: String,
        /// ` (pid N)` when known.
        holder: String,
    },
    /// The login is refused, or the one who logged in lacks a right: stop. No waiting helps, and the text says what to
    /// grant.
    #[error("{0}")]
    Denied(String),
    /// Ours or the file's fault: stop.
    #[error("{0}")]
    Fatal(String),
}

/// What the caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Back off and try again.
    Retry,
    /// Find out, then decide.
    Resolve,
    /// Drop what is uncommitted and join again.
    Rejoin,
    /// Stop.
    Fatal,
}

impl JournalError {
    /// What the caller does next.
    #[must_use]
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Full { .. } | Self::Retry(_) => Disposition::Retry,
            Self::Unknown(_) => Disposition::Resolve,
            Self::Fenced(_) | Self::NotAssigned(_) => Disposition::Rejoin,
            Self::OutOfRange { .. } | Self::InUse { .. } | Self::Denied(_) | Self::Fatal(_) => {
                Disposition::Fatal
            }
        }
    }
}
