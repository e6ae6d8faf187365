//! The parts an in-memory opening hands out, each call counted and met by the fault plan.

use super::disk::Disk;
use super::faults::Call;
use super::{MemoryJournal, Open};
use crate::consumer::{GroupConsumer, LogReader, Segments};
use crate::port::{
    Appended, Appender, Committed, Committer, Consumer, ConsumerEvent, GroupToken, Journal, JournalError,
    NewRecord, Queued, Reader, RecordRef, TopicPartition, Transaction,
};
use crate::published::Published;
use crate::segment::{Chunk, Packed};
use crate::wake::locked;
use schemas::Micros;
use schemas::topic::Topic;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PIECE_BYTES_MAX: usize = 16 << 10;
const READ_BYTES_MAX: usize = 64 << 10;

/// The logs as one reading part sees them.
pub(super) struct Shelf {
    pub(super) disk: Arc<Mutex<Disk>>,
}

impl Segments for Shelf {
    fn load(
        &mut self,
        partition: TopicPartition,
        from: i64,
        _: i64,
        chunk: &mut Chunk,
    ) -> Result<(), JournalError> {
        locked(&self.disk).load(partition, from, READ_BYTES_MAX, chunk);
        Ok(())
    }
}

struct MemoryConsumer {
    open: Arc<Open>,
    inner: GroupConsumer<Open, Shelf>,
}

impl Consumer for MemoryConsumer {
    fn poll(
        &mut self,
        max_wait: Duration,
        records_max: usize,
        visit: &mut dyn FnMut(ConsumerEvent<'_>),
    ) -> Result<usize, JournalError> {
        self.open.enter(Call::Poll)?;
        self.inner.poll(max_wait, records_max, visit)
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), JournalError> {
        self.inner.seek(partition, offset)
    }

    fn pause(&mut self, partition: TopicPartition) {
        self.inner.pause(partition);
    }

    fn resume(&mut self, partition: TopicPartition) {
        self.inner.resume(partition);
    }

    fn token(&self) -> Option<GroupToken> {
        self.inner.token()
    }

    fn bounds(&mut self, partition: TopicPartition) -> Result<(i64, i64), JournalError> {
        self.open.enter(Call::Look)?;
        self.inner.bounds(partition)
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Committed)]) -> Result<(), JournalError> {
        self.inner.commit(offsets)
    }

    fn leave(&mut self, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> Result<(), JournalError> {
        self.open.enter(Call::Open)?;
        self.inner.leave(visit)
    }
}

struct MemoryReader {
    open: Arc<Open>,
    inner: LogReader<Open, Shelf>,
}

impl Reader for MemoryReader {
    fn read(
        &mut self,
        partition: TopicPartition,
        from: i64,
        records_max: usize,
        visit: &mut dyn FnMut(RecordRef<'_>),
    ) -> Result<i64, JournalError> {
        self.open.enter(Call::Read)?;
        self.inner.read(partition, from, records_max, visit)
    }

    fn bounds(&mut self, partition: TopicPartition) -> Result<(i64, i64), JournalError> {
        self.open.enter(Call::Look)?;
        self.inner.bounds(partition)
    }

    fn committed(
        &mut self,
        group: &str,
        partition: TopicPartition,
    ) -> Result<Option<Committed>, JournalError> {
        self.open.enter(Call::Look)?;
        self.inner.committed(group, partition)
    }
}

struct MemoryCommitter {
    open: Arc<Open>,
    id: String,
    epoch: u64,
}

impl Committer for MemoryCommitter {
    fn commit(&mut self, transaction: &Transaction, token: &GroupToken) -> Result<(), JournalError> {
        self.open.write(Call::Commit, |disk| {
            disk.layout.admit(&transaction.records)?;
            disk.layout.admit_offsets(&transaction.offsets)?;
            if locked(&self.open.epochs).get(&self.id) != Some(&self.epoch) {
                return Err(JournalError::Fenced(format!("a newer producer {} has taken over", self.id)));
            }
            let partitions = transaction.offsets.iter().map(|(partition, _)| partition);
            locked(&self.open.groups).admit(token, partitions)?;
            disk.write(&Packed::new(&transaction.records, PIECE_BYTES_MAX));
            disk.position(&token.group, &transaction.offsets);
            Ok(())
        })
    }
}

struct MemoryAppender {
    open: Arc<Open>,
}

impl Appender for MemoryAppender {
    fn append(&self, records: Vec<NewRecord>, done: Appended) -> Result<(), JournalError> {
        let layout = {
            let disk = self.open.disk();
            disk.check(self.open.number)?;
            disk.layout
        };
        let bytes = layout.admit(&records)?;
        let packed = Packed::new(&records, PIECE_BYTES_MAX);
        let mut held = locked(&self.open.held);
        if bytes > held.queued.bytes_max - held.queued.bytes {
            return Err(JournalError::Full { bytes: held.queued.bytes, bytes_max: held.queued.bytes_max });
        }
        if held.on {
            held.queued.records += records.len();
            held.queued.bytes += bytes;
            held.appends.push_back((packed, bytes, done));
        } else {
            drop(held);
            self.open.append_now(&packed, done);
        }
        Ok(())
    }

    fn queued(&self) -> Queued {
        locked(&self.open.held).queued
    }
}

impl Journal for MemoryJournal {
    fn partitions(&self) -> u32 {
        self.open.config.partitions
    }

    fn now(&self) -> Micros {
        self.open.disk().now
    }

    fn consumer(
        &self,
        group: &str,
        member: &str,
        topics: &[Topic],
    ) -> Result<Box<dyn Consumer>, JournalError> {
        self.open.enter(Call::Open)?;
        let inner = GroupConsumer::join(Arc::clone(&self.open), self.shelf(), group, member, topics);
        Ok(Box::new(MemoryConsumer { open: Arc::clone(&self.open), inner }))
    }

    fn committer(&self, id: &str) -> Result<Box<dyn Committer>, JournalError> {
        self.open.enter(Call::Open)?;
        let mut epochs = locked(&self.open.epochs);
        let epoch = epochs.entry(id.to_owned()).or_default();
        *epoch += 1;
        Ok(Box::new(MemoryCommitter { open: Arc::clone(&self.open), id: id.to_owned(), epoch: *epoch }))
    }

    fn appender(&self) -> Arc<dyn Appender> {
        Arc::new(MemoryAppender { open: Arc::clone(&self.open) })
    }

    fn reader(&self) -> Result<Box<dyn Reader>, JournalError> {
        self.open.enter(Call::Open)?;
        let inner = LogReader::new(Arc::clone(&self.open), self.shelf());
        Ok(Box::new(MemoryReader { open: Arc::clone(&self.open), inner }))
    }

    fn schema_id(&self, subject: &str, schema: &str) -> Result<u32, JournalError> {
        self.open.enter(Call::Schema)?;
        let published = &mut self.open.disk().published;
        let mut draft = Published::default();
        let (id, _) = published.assign(subject, schema, &mut draft);
        published.extend(draft);
        Ok(id)
    }

    fn schema_of(&self, id: u32) -> Result<Option<String>, JournalError> {
        self.open.enter(Call::Schema)?;
        Ok(self.open.disk().published.schemas.get(&id).cloned())
    }
}
