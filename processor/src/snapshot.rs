//! Snapshots as blobs on `iot.snapshots`: a header, then chunks at consecutive offsets. A blob is never changed, is
//! found by the locator that is committed with a later position, and is believed only if its hash agrees.

use journal::port::{Appender, Journal, JournalError, NewRecord, Reader, TopicPartition};
use schemas::codec::{Codec, DecodeError};
use schemas::contract::SnapshotChunk;
use schemas::record::{SnapshotHeader, SnapshotLocator};
use schemas::topic::Topic;
use sha2::{Digest, Sha256};
#[cfg(test)]
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes of a chunk: below the usual limit of a record.
const CHUNK_BYTES: usize = 900_000;
/// Chunks appended together.
const APPEND_RECORDS: usize = 8;
/// How long an append of a piece may take.
const APPEND_TIMEOUT: Duration = Duration::from_secs(30);
/// A header that claims more is not believed.
const BLOB_BYTES_MAX: usize = 8 << 30;

/// The bytes of a state, taken at a cut.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) partition: u32,
    pub(crate) covers_to: i64,
    pub(crate) build: String,
    pub(crate) bytes: Vec<u8>,
}

/// Why a snapshot cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unusable {
    /// These bytes will never do: try the one before.
    #[error("{0}")]
    Damaged(String),
    /// This build does not know the format yet: not for it to go on from something older.
    #[error("{0}")]
    Newer(String),
    /// The journal does not answer: try again.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Writes a blob; returns where it lies once it is durable.
///
/// # Errors
/// A sentence. What was written of the blob is never referred to.
pub(crate) fn write(blob: &Blob, appender: &dyn Appender, codec: &Codec) -> Result<SnapshotLocator, String> {
    let sha256 = Sha256::digest(&blob.bytes).to_vec();
    let chunks = blob.bytes.chunks(CHUNK_BYTES);
    let to = TopicPartition { topic: Topic::Snapshots, partition: blob.partition };
    let record = |value| NewRecord { to, key: None, value, headers: Vec::new() };
    let number = |count: usize| i32::try_from(count).map_err(|_| "the state is too large".to_owned());
    let header = SnapshotHeader {
        format: crate::state::FORMAT,
        build: blob.build.clone(),
        partition: number(blob.partition as usize)?,
        covers_to: blob.covers_to,
        bytes: i64::try_from(blob.bytes.len()).unwrap_or(i64::MAX),
        chunks: number(chunks.len())?,
        sha256: sha256.clone(),
    };
    let locator = SnapshotLocator {
        partition: header.partition,
        offset: 0,
        records: header.chunks + 1,
        covers_to: blob.covers_to,
        sha256,
    };
    let mut first = None;
    let mut next = None;
    let mut put = |records: Vec<NewRecord>| {
        for offset in append(appender, records)? {
            if next.is_some_and(|expected| expected != offset) {
                return Err("another writer's records lie between those of the snapshot".to_owned());
            }
            first.get_or_insert(offset);
            next = Some(offset + 1);
        }
        Ok(())
    };
    let mut group = vec![record(codec.to_bytes(&header))];
    for piece in chunks {
        group.push(record(codec.to_bytes(&SnapshotChunk { bytes: piece.to_vec() })));
        if group.len() >= APPEND_RECORDS {
            put(std::mem::take(&mut group))?;
        }
    }
    if !group.is_empty() {
        put(group)?;
    }
    Ok(SnapshotLocator { offset: first.unwrap_or_default(), ..locator })
}

/// Appends and waits until it is durable.
fn append(appender: &dyn Appender, records: Vec<NewRecord>) -> Result<Vec<i64>, String> {
    let (done, answer) = sync_channel(1);
    let told = Box::new(move |offsets| {
        let _ = done.send(offsets);
    });
    appender.append(records, told).map_err(|why| why.to_string())?;
    let appended = answer.recv_timeout(APPEND_TIMEOUT).map_err(|_| "no answer to the append".to_owned())?;
    appended.map_err(|why| why.to_string())
}

/// Reads a blob and checks it against its header and locator; returns the format of its bytes, too.
pub(crate) fn read(
    locator: &SnapshotLocator,
    partition: u32,
    reader: &mut dyn Reader,
    codec: &Codec,
) -> Result<(i32, Vec<u8>), Unusable> {
    let from = TopicPartition { topic: Topic::Snapshots, partition };
    let damaged = |what: &str| Unusable::Damaged(format!("snapshot at {}: {what}", locator.offset));
    let last = locator.offset + i64::from(locator.records);
    let mut header: Option<SnapshotHeader> = None;
    let mut bytes = Vec::new();
    let mut failed = None;
    let mut next = locator.offset;
    while next < last && failed.is_none() {
        let records_max = usize::try_from(last - next).unwrap_or(1);
        let asked = next;
        let read = reader.read(from, asked, records_max, &mut |record| {
            let taken = match &header {
                None => codec.decode::<SnapshotHeader>(record.value).map(|read| header = Some(read)),
                Some(_) => codec
                    .decode::<SnapshotChunk>(record.value)
                    .map(|chunk| bytes.extend_from_slice(&chunk.bytes)),
            };
            if let Err(why) = taken {
                failed = Some(why);
            }
        });
        next = match read {
            Ok(next) => next,
            Err(JournalError::OutOfRange { .. }) => return Err(damaged("retention has taken it")),
            // A journal that goes on answering has a damaged place there; one that does not is not to be believed.
            Err(JournalError::Fatal(why)) => {
                reader.bounds(from)?;
                return Err(damaged(&why));
            }
            Err(why) => return Err(why.into()),
        };
        if next == asked || bytes.len() > BLOB_BYTES_MAX {
            return Err(damaged("its chunks are not there"));
        }
    }
    match failed {
        Some(DecodeError::Retry(why)) => return Err(JournalError::Retry(why).into()),
        Some(DecodeError::Reject(why)) => return Err(damaged(&why.to_string())),
        None => {}
    }
    let header = header.ok_or_else(|| damaged("it has no header"))?;
    let hash = Sha256::digest(&bytes);
    if header.format > crate::state::FORMAT {
        return Err(Unusable::Newer(format!(
            "snapshot at {}: it was written by a newer version (build {}, format {}; this build knows {}): start that \
             version again, or a later one",
            locator.offset,
            header.build,
            header.format,
            crate::state::FORMAT
        )));
    }
    if !crate::state::PartitionState::reads(header.format) {
        return Err(damaged(&format!(
            "its format is {}: this build reads {} and the one before",
            header.format,
            crate::state::FORMAT
        )));
    }
    if header.covers_to != locator.covers_to || hash[..] != locator.sha256[..] {
        return Err(damaged("its hash is not the one that was committed"));
    }
    Ok((header.format, bytes))
}

/// Where blobs go and come back as locators; one at a time.
pub(crate) trait SnapshotLane: Send {
    /// Hands a blob over; nothing may be on its way.
    fn submit(&mut self, blob: Blob);
    /// What has come of it.
    fn outcome(&mut self, wait: Duration) -> Option<Written>;
}

/// What became of a blob.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) partition: u32,
    pub(crate) bytes: usize,
    pub(crate) outcome: Result<SnapshotLocator, String>,
}

fn written(blob: &Blob, appender: &dyn Appender, codec: &Codec) -> Written {
    Written { partition: blob.partition, bytes: blob.bytes.len(), outcome: write(blob, appender, codec) }
}

/// Writes on the calling thread.
#[cfg(test)]
pub(crate) struct InlineSnapshots {
    appender: Arc<dyn Appender>,
    codec: Codec,
    done: Option<Written>,
}

#[cfg(test)]
impl InlineSnapshots {
    pub(crate) fn new(journal: &dyn Journal, codec: Codec) -> Self {
        Self { appender: journal.appender(), codec, done: None }
    }
}

#[cfg(test)]
impl SnapshotLane for InlineSnapshots {
    fn submit(&mut self, blob: Blob) {
        self.done = Some(written(&blob, &*self.appender, &self.codec));
    }

    fn outcome(&mut self, _: Duration) -> Option<Written> {
        self.done.take()
    }
}

/// The snapshot thread.
pub(crate) struct SnapshotThread {
    to: Option<SyncSender<Blob>>,
    from: Receiver<Written>,
    thread: Option<JoinHandle<()>>,
}

impl SnapshotThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(crate) fn start(journal: &dyn Journal, codec: Codec, name: &str) -> std::io::Result<Self> {
        let appender = journal.appender();
        let (to, blobs) = sync_channel::<Blob>(1);
        let (outcomes, from) = sync_channel(1);
        let body = move || {
            for blob in blobs {
                if outcomes.send(written(&blob, &*appender, &codec)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name(format!("{name}-snapshots")).spawn(body)?;
        Ok(Self { to: Some(to), from, thread: Some(thread) })
    }
}

impl SnapshotLane for SnapshotThread {
    fn submit(&mut self, blob: Blob) {
        let to = self.to.as_ref().expect("the lane is open until it is dropped");
        let _ = to.send(blob);
    }

    fn outcome(&mut self, wait: Duration) -> Option<Written> {
        let gone = || {
            let outcome = Err("the snapshot thread has ended".to_owned());
            Some(Written { partition: u32::MAX, bytes: 0, outcome })
        };
        if wait.is_zero() {
            return match self.from.try_recv() {
                Ok(written) => Some(written),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => gone(),
            };
        }
        match self.from.recv_timeout(wait) {
            Ok(written) => Some(written),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => gone(),
        }
    }
}

impl Drop for SnapshotThread {
    fn drop(&mut self) {
        self.to = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the snapshot thread had panicked");
        }
    }
}
