//! The parts an open file hands out: appender, committer, and how its rows are read.

use super::{Core, Op, Open, SqliteJournal, file};
use crate::consumer::{GroupConsumer, Home, LogReader, Segments};
use crate::group::Coordinator;
use crate::port::{
    Appended, Appender, Committed, Committer, Consumer, GroupToken, Journal, JournalError, NewRecord, Queued,
    Reader, TopicPartition, Transaction,
};
use crate::segment::{Chunk, Packed};
use crate::wake::{Bell, locked};
use rusqlite::Connection;
use schemas::Micros;
use schemas::topic::Topic;
use std::sync::{Arc, Mutex};

impl Home for Open {
    fn check(&self) -> Result<(), JournalError> {
        self.core.queue.check()
    }

    fn bounds(&self, partition: TopicPartition) -> Result<(i64, i64), JournalError> {
        self.check()?;
        let slot = self.core.layout.slot(partition)?;
        Ok(locked(&self.core.visible).bounds[slot])
    }

    fn committed(&self, group: &str, partition: TopicPartition) -> Result<Option<Committed>, JournalError> {
        self.check()?;
        self.core.layout.slot(partition)?;
        Ok(locked(&self.core.visible).published.committed(group, partition))
    }

    fn settled(&self, group: &str, of: &[TopicPartition]) -> Result<Vec<Option<Committed>>, JournalError> {
        self.core.ask(|reply| Op::Settle { group: group.to_owned(), of: of.to_vec(), reply })
    }

    fn commit(
        &self,
        offsets: &[(TopicPartition, Committed)],
        token: &GroupToken,
    ) -> Result<(), JournalError> {
        self.core.commit(None, &[], offsets, token)
    }

    fn groups(&self) -> &Mutex<Coordinator> {
        &self.core.groups
    }

    fn bell(&self) -> &Bell {
        &self.core.bell
    }

    fn elapsed(&self) -> Micros {
        i64::try_from(self.core.opened.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

impl Core {
    fn commit(
        &self,
        producer: Option<(String, u64)>,
        records: &[NewRecord],
        offsets: &[(TopicPartition, Committed)],
        token: &GroupToken,
    ) -> Result<(), JournalError> {
        self.layout.admit(records)?;
        self.layout.admit_offsets(offsets)?;
        let packed = Packed::new(records, self.config.segment_bytes_max);
        let (token, offsets) = (token.clone(), offsets.to_vec());
        self.ask(|reply| Op::Commit { producer, token, packed, offsets, reply })
    }
}

struct SqliteAppender {
    open: Arc<Open>,
}

impl Appender for SqliteAppender {
    fn append(&self, records: Vec<NewRecord>, done: Appended) -> Result<(), JournalError> {
        let Core { layout, queue, config, .. } = self.open.core.as_ref();
        let bytes = layout.admit(&records)?;
        queue.reserve(records.len(), bytes)?;
        let packed = Packed::new(&records, config.segment_bytes_max);
        queue.push(Op::Append { packed, bytes, done }).inspect_err(|_| {
            queue.release(records.len(), bytes);
        })
    }

    fn queued(&self) -> Queued {
        self.open.core.queue.queued()
    }
}

struct SqliteCommitter {
    open: Arc<Open>,
    id: String,
    epoch: u64,
}

impl Committer for SqliteCommitter {
    fn commit(&mut self, transaction: &Transaction, token: &GroupToken) -> Result<(), JournalError> {
        let producer = Some((self.id.clone(), self.epoch));
        self.open.core.commit(producer, &transaction.records, &transaction.offsets, token)
    }
}

/// The stored segments, over a connection of the reading thread's own.
pub(super) struct Rows {
    pub(super) connection: Connection,
    pub(super) bytes_max: usize,
}

impl Segments for Rows {
    fn load(
        &mut self,
        partition: TopicPartition,
        from: i64,
        end: i64,
        chunk: &mut Chunk,
    ) -> Result<(), JournalError> {
        let id = |offset| file::row_id(partition, offset);
        self.fill([id(0), id(from), id(end)], chunk).map_err(|error| file::statement_error(&error))?
    }
}

impl Rows {
    fn fill(&self, ids: [i64; 3], chunk: &mut Chunk) -> rusqlite::Result<Result<(), JournalError>> {
        let mut select = self.connection.prepare_cached(
            "SELECT id, count, received_us, crc, body FROM segments
             WHERE id >= coalesce((SELECT max(id) FROM segments WHERE id BETWEEN ?1 AND ?2), ?2) AND id < ?3
             ORDER BY id",
        )?;
        let mut rows = select.query(ids)?;
        while chunk.len() < self.bytes_max
            && let Some(row) = rows.next()?
        {
            let base = file::offset_of(row.get(0)?);
            let body = row.get_ref(4)?.as_blob()?;
            if crc32fast::hash(body) != row.get::<_, u32>(3)? {
                // What lies before it is handed out first; then it is met again.
                if chunk.len() > 0 {
                    break;
                }
                return Ok(Err(JournalError::Fatal(format!(
                    "the segment at offset {base} is damaged: its checksum does not fit"
                ))));
            }
            chunk.push(base, row.get(1)?, row.get(2)?, body);
        }
        Ok(Ok(()))
    }
}

impl Journal for SqliteJournal {
    fn partitions(&self) -> u32 {
        self.open.core.layout.partitions()
    }

    fn now(&self) -> Micros {
        self.open.core.stamp()
    }

    fn consumer(
        &self,
        group: &str,
        member: &str,
        topics: &[Topic],
    ) -> Result<Box<dyn Consumer>, JournalError> {
        self.open.check()?;
        let rows = self.rows()?;
        Ok(Box::new(GroupConsumer::join(Arc::clone(&self.open), rows, group, member, topics)))
    }

    fn committer(&self, id: &str) -> Result<Box<dyn Committer>, JournalError> {
        let epoch = self.open.core.ask(|reply| Op::Fence { id: id.to_owned(), reply })?;
        Ok(Box::new(SqliteCommitter { open: Arc::clone(&self.open), id: id.to_owned(), epoch }))
    }

    fn appender(&self) -> Arc<dyn Appender> {
        Arc::new(SqliteAppender { open: Arc::clone(&self.open) })
    }

    fn reader(&self) -> Result<Box<dyn Reader>, JournalError> {
        self.open.check()?;
        Ok(Box::new(LogReader::new(Arc::clone(&self.open), self.rows()?)))
    }

    fn schema_id(&self, subject: &str, schema: &str) -> Result<u32, JournalError> {
        self.open.check()?;
        let known = locked(&self.open.core.visible).published.id_under(subject, schema);
        known.map_or_else(
            || {
                let (subject, schema) = (subject.to_owned(), schema.to_owned());
                self.open.core.ask(|reply| Op::Schema { subject, schema, reply })
            },
            Ok,
        )
    }

    fn schema_of(&self, id: u32) -> Result<Option<String>, JournalError> {
        self.open.check()?;
        Ok(locked(&self.open.core.visible).published.schemas.get(&id).cloned())
    }
}
