//! The journal in one SQLite file: for one process, durable without a server.
//!
//! Lives here: opening, the parts handed out, what they share. Below: the file and its tables (`file`), what waits
//! for the writer (`queue`), the thread that writes (`writer`), `retention`. Group logic is in `group`, what a poll
//! does in `consumer`.
//!
//! Invariants:
//! * One process, one writing thread, any number of reading ones.
//! * After a failure that leaves the file's state unknown nothing more is written: open it again.

mod file;
mod parts;
mod queue;
mod retention;
mod writer;

use self::parts::Rows;
use self::queue::{Op, Queue, Reply};
use self::writer::{Guard, Slot, Writer, bounds_of};
use crate::group::Coordinator;
use crate::layout::Layout;
use crate::port::{Committed, JournalError, Queued, TopicPartition};
use crate::published::Published;
use crate::retention::Retention;
use crate::wake::{Bell, locked};
use rusqlite::Connection;
use schemas::Micros;
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A clock: microseconds since the epoch.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// How a journal file is opened. [`SqliteConfig::new`] has the defaults.
#[derive(Clone)]
pub struct SqliteConfig {
    /// The file; its directory is made when it is missing.
    pub path: PathBuf,
    /// Partitions of the co-partitioned topics; fixed when the file is made.
    pub partitions: u32,
    /// Bound on what waits to be appended. A single append above it never fits.
    pub append_queue_bytes_max: usize,
    /// Records committed together, beyond which the next commit begins.
    pub group_records_max: usize,
    /// Bytes committed together, beyond which the next commit begins.
    pub group_bytes_max: usize,
    /// Bytes of records stored in one row; a larger record has a row of its own.
    pub segment_bytes_max: usize,
    /// Bytes a reading thread fetches at a time.
    pub read_bytes_max: usize,
    /// What is kept how long; topics that are not named are kept for ever.
    pub retention: BTreeMap<Topic, Retention>,
    /// How often retention looks.
    pub retention_interval: Duration,
    /// Segments removed in one slice, between two batches.
    pub retention_segments_max: usize,
    /// Pages in the write-ahead log from which on it is copied into the file.
    pub checkpoint_pages: u32,
    /// Bound on the file; appends and commits beyond it are refused with [`JournalError::Retry`].
    pub file_bytes_max: Option<u64>,
    /// How long a rebalance waits for a member to give its partitions up.
    pub rebalance_wait_max: Duration,
    /// The host's clock.
    pub clock: Clock,
}

/// What the writer needs of the configuration.
#[derive(Clone, Copy)]
struct Limits {
    group_records_max: usize,
    group_bytes_max: usize,
    segment_bytes_max: usize,
    retention_interval: Duration,
    retention_pause: Duration,
    retention_segments_max: usize,
}

impl SqliteConfig {
    /// Defaults: 4 partitions, records kept for 7 days (decisions, devices, models: for ever), 32 MiB of appends queued.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let week = Retention { age: Some(Duration::from_secs(7 * 24 * 3600)), partition_bytes_max: None };
        let kept = |topic: &Topic| !matches!(topic, Topic::Control | Topic::Devices | Topic::Models);
        Self {
            path: path.into(),
            partitions: 4,
            append_queue_bytes_max: 32 << 20,
            group_records_max: 16_384,
            group_bytes_max: 4 << 20,
            segment_bytes_max: 64 << 10,
            read_bytes_max: 128 << 10,
            retention: Topic::ALL.into_iter().filter(kept).map(|topic| (topic, week)).collect(),
            retention_interval: Duration::from_secs(10),
            retention_segments_max: 64,
            checkpoint_pages: 4096,
            file_bytes_max: None,
            rebalance_wait_max: Duration::from_secs(30),
            clock: Arc::new(host_now),
        }
    }
}

/// Partitions of the journal in a file, when there is one that can be read now: an existing journal keeps its count.
#[must_use]
pub fn partitions_in(path: &Path) -> Option<u32> {
    file::partitions_in(path)
}

fn host_now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// What has happened since the journal was opened. Every count only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Records acknowledged to appenders.
    pub appended: u64,
    /// Records refused to appenders after they were queued.
    pub refused: u64,
    /// Transactions and position commits made.
    pub commits: u64,
    /// Transactions and position commits refused.
    pub commits_refused: u64,
    /// Output records of those transactions.
    pub committed: u64,
    /// Groups written, each with one sync.
    pub groups: u64,
    /// Groups that failed.
    pub failed: u64,
    /// Records removed by retention.
    pub expired: u64,
    /// The append queue.
    pub queued: Queued,
}

#[derive(Default)]
struct Stats {
    appended: AtomicU64,
    refused: AtomicU64,
    commits: AtomicU64,
    commits_refused: AtomicU64,
    committed: AtomicU64,
    groups: AtomicU64,
    failed: AtomicU64,
    expired: AtomicU64,
}

/// What readers see, replaced as a whole at every commit.
struct Visible {
    bounds: Vec<(i64, i64)>,
    published: Published,
}

/// What every part of an open journal shares, the writer included.
struct Core {
    config: SqliteConfig,
    layout: Layout,
    queue: Queue,
    visible: Mutex<Visible>,
    groups: Mutex<Coordinator>,
    epochs: Mutex<BTreeMap<String, u64>>,
    bell: Bell,
    stats: Stats,
    broken: OnceLock<String>,
    writer: OnceLock<ThreadId>,
    opened: Instant,
    stamped: AtomicI64,
}

impl Core {
    /// The journal's clock: the host's, never going back.
    fn stamp(&self) -> Micros {
        let now = (self.config.clock)();
        self.stamped.fetch_max(now, Ordering::Relaxed).max(now)
    }

    fn retention_of(&self, topic: Topic) -> Retention {
        self.config.retention.get(&topic).copied().unwrap_or_default()
    }

    fn broken(&self) -> Option<JournalError> {
        self.broken.get().map(|why| JournalError::Fatal(why.clone()))
    }

    /// Takes nothing more in: the file's state is not known any more.
    fn break_down(&self, error: &JournalError) {
        let why = format!("the journal {} stopped: {error}", self.config.path.display());
        if self.broken.set(why.clone()).is_ok() {
            tracing::error!("{why}");
        }
        self.queue.shut(JournalError::Fatal(why));
        self.bell.ring();
    }

    /// Queues an op and waits for its answer. It comes when the disk answers: giving up earlier would only turn
    /// an outcome that will be known into one that is not.
    fn ask<T>(&self, op: impl FnOnce(Reply<T>) -> Op) -> Result<T, JournalError> {
        if self.writer.get() == Some(&std::thread::current().id()) {
            return Err(JournalError::Fatal(
                "an append's completion must not wait for the journal".to_owned(),
            ));
        }
        let (reply, answer) = sync_channel(1);
        self.queue.push(op(reply))?;
        answer.recv().unwrap_or_else(|_| Err(self.broken().unwrap_or_else(closed)))
    }
}

fn closed() -> JournalError {
    JournalError::Fatal("the journal is closed".to_owned())
}

/// The open file: closed when the last part that was opened from it is gone.
struct Open {
    core: Arc<Core>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Open {
    fn close(&self) {
        self.core.queue.shut(closed());
        self.core.bell.ring();
        let writer = locked(&self.writer).take();
        // The last part may be dropped by a completion, on the writer's own thread.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != std::thread::current().id())
            && writer.join().is_err()
        {
            tracing::error!("the journal's writer panicked");
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

/// A journal in an SQLite file.
#[derive(Clone)]
pub struct SqliteJournal {
    open: Arc<Open>,
}

impl SqliteJournal {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// [`JournalError::InUse`] when another journal, of this or another process, has it open;
    /// [`JournalError::Fatal`] when it cannot be opened or is something else.
    pub fn open(config: SqliteConfig) -> Result<Arc<Self>, JournalError> {
        let layout = Layout::new(config.partitions)?;
        let lock = file::lock(&config.path)?;
        let connection = file::open_writer(&config)?;
        let (published, slots, opened) =
            load(&connection, layout).map_err(|error| file::open_error(&config.path, &error))?;
        let limits = Limits {
            group_records_max: config.group_records_max.max(1),
            group_bytes_max: config.group_bytes_max.max(1),
            segment_bytes_max: config.segment_bytes_max,
            retention_interval: config.retention_interval,
            retention_pause: config.retention_interval.min(Duration::from_millis(20)),
            retention_segments_max: config.retention_segments_max.max(1),
        };
        let wait_max_us = i64::try_from(config.rebalance_wait_max.as_micros()).unwrap_or(i64::MAX);
        let core = Arc::new(Core {
            layout,
            queue: Queue::new(config.append_queue_bytes_max),
            stamped: AtomicI64::new(slots.iter().map(|slot| slot.received_at).max().unwrap_or(0)),
            visible: Mutex::new(Visible { bounds: bounds_of(&slots), published }),
            // Tokens of earlier openings never admit.
            groups: Mutex::new(Coordinator::new(config.partitions, wait_max_us, opened << 32)),
            epochs: Mutex::default(),
            bell: Bell::default(),
            stats: Stats::default(),
            broken: OnceLock::new(),
            writer: OnceLock::new(),
            opened: Instant::now(),
            config,
        });
        let writer = Writer { core: Arc::clone(&core), connection, slots, limits, said: None };
        let thread = std::thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || {
                // Dropped last: the next opening finds the file closed.
                let _lock = lock;
                let _guard = Guard(Arc::clone(&writer.core));
                let _ = writer.core.writer.set(std::thread::current().id());
                writer.run();
            })
            .map_err(|error| JournalError::Fatal(format!("cannot start the journal's writer: {error}")))?;
        Ok(Arc::new(Self { open: Arc::new(Open { core, writer: Mutex::new(Some(thread)) }) }))
    }

    /// Writes what is queued and closes the file. Parts that are still there answer [`JournalError::Fatal`].
    pub fn close(&self) {
        self.open.close();
    }

    /// Applies retention now; returns how many records it removed.
    ///
    /// # Errors
    /// When the file does not answer.
    pub fn retain(&self) -> Result<u64, JournalError> {
        self.open.core.ask(|reply| Op::Retain { reply })
    }

    /// What has happened since the opening.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        let Stats { appended, refused, commits, commits_refused, committed, groups, failed, expired } =
            &self.open.core.stats;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        JournalStats {
            appended: read(appended),
            refused: read(refused),
            commits: read(commits),
            commits_refused: read(commits_refused),
            committed: read(committed),
            groups: read(groups),
            failed: read(failed),
            expired: read(expired),
            queued: self.open.core.queue.queued(),
        }
    }

    fn rows(&self) -> Result<Rows, JournalError> {
        let Core { config, .. } = self.open.core.as_ref();
        Ok(Rows { connection: file::open_reader(&config.path)?, bytes_max: config.read_bytes_max })
    }
}

/// Reads what is kept in memory: the published state, the writer's slots, how often the file was opened.
fn load(connection: &Connection, layout: Layout) -> rusqlite::Result<(Published, Vec<Slot>, u64)> {
    let mut slots = vec![Slot::default(); layout.all().count()];
    let mut published = Published::default();
    let place = |topic: &str, partition: u32| {
        let of = TopicPartition { topic: Topic::from_name(topic)?, partition };
        Some((of, layout.slot(of).ok()?))
    };
    let mut select = connection.prepare("SELECT * FROM partitions")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        if let Some((_, slot)) = place(row.get_ref(0)?.as_str()?, row.get(1)?) {
            let (start, end, received_at, bytes) = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
            slots[slot] = Slot { start, end, received_at, bytes };
        }
    }
    let mut select = connection.prepare("SELECT * FROM offsets")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        if let Some((of, _)) = place(row.get_ref(1)?.as_str()?, row.get(2)?) {
            let committed = Committed { offset: row.get(3)?, metadata: row.get(4)? };
            published.committed.entry(row.get(0)?).or_default().insert(of, committed);
        }
    }
    let mut select = connection.prepare("SELECT id, schema FROM schemas")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        published.schemas.insert(row.get(0)?, row.get(1)?);
    }
    let mut select = connection.prepare("SELECT subject, id FROM subjects ORDER BY subject, version")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        published.subjects.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    let opened: i64 =
        connection.query_row("SELECT value FROM about WHERE name = 'opened'", [], |row| row.get(0))?;
    Ok((published, slots, opened.unsigned_abs()))
}

#[cfg(test)]
mod tests;
