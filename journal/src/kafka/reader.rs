//! Reads without a group: one partition at a time, at exact offsets.
//!
//! Invariant: what is returned as the next offset has everything below it delivered; markers of transactions, which
//! take offsets too, are passed by the log's end as the broker says it.

use super::Shared;
use super::error::sorted;
use super::native::{Batch, Kind, Message, Native, Queue};
use super::onlooker::Onlooker;
use super::records::show_run;
use crate::port::{Committed, JournalError, Reader, RecordRef, TopicPartition};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What is being fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At {
    partition: TopicPartition,
    /// Next offset that the queue would bring.
    next: i64,
}

/// A reader.
pub(super) struct KafkaReader {
    // The order of the fields is the order of their end: messages, queue, client.
    batch: Batch,
    queue: Queue,
    native: Native,
    shared: Arc<Shared>,
    at: Option<At>,
    onlookers: BTreeMap<String, Onlooker>,
}

impl KafkaReader {
    /// A reader; it connects when it is first asked.
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, JournalError> {
        let fatal = |why: String| JournalError::Fatal(format!("a reader: {why}"));
        let mut native =
            Native::new(Kind::Consumer, "reader", &shared.config.reader(), None).map_err(fatal)?;
        native.learn(&shared.names.all()).map_err(|why| sorted("a reader's topics", &why))?;
        let queue = native.own_queue().ok_or_else(|| fatal("no queue".to_owned()))?;
        Ok(Self { batch: Batch::default(), queue, native, shared, at: None, onlookers: BTreeMap::new() })
    }

    /// Fetches from an offset on, unless that is what is being done.
    fn go_to(&mut self, partition: TopicPartition, from: i64) -> Result<(), JournalError> {
        let wanted = At { partition, next: from };
        if self.at == Some(wanted) {
            return Ok(());
        }
        self.stop();
        let number = i32::try_from(partition.partition).unwrap_or(i32::MAX);
        self.native.start(partition.topic, number, from, &self.queue).map_err(|why| {
            self.shared.sorted_read(&format!("reading {partition:?}"), partition.topic, &why)
        })?;
        self.at = Some(wanted);
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(At { partition, .. }) = self.at.take() {
            self.native.stop(partition.topic, i32::try_from(partition.partition).unwrap_or(i32::MAX));
        }
    }

    /// Delivers a batch; returns how many records came and whether the log's end was met.
    fn deliver(
        &mut self,
        at: &mut At,
        visit: &mut dyn FnMut(RecordRef<'_>),
    ) -> Result<(usize, bool), JournalError> {
        let batch = std::mem::take(&mut self.batch);
        let (mut delivered, mut ended, mut trouble) = (0, false, None);
        for messages in batch.messages().chunk_by(Message::are_records_of_one) {
            let ([first, .., last] | [first @ last]) = messages else { continue };
            if self.shared.partition_of(first) != Some(at.partition) {
                continue;
            }
            match first.failure() {
                None => {
                    let show = &mut |records: &[RecordRef<'_>]| records.iter().for_each(|one| visit(*one));
                    delivered += show_run(messages, at.next, show);
                    at.next = at.next.max(last.offset() + 1);
                }
                Some(failure) if failure.code == Code::PartitionEOF => {
                    at.next = at.next.max(first.offset());
                    ended = true;
                }
                Some(failure) => trouble = Some(failure),
            }
        }
        self.batch = batch;
        match trouble {
            Some(failure) if delivered == 0 => {
                self.stop();
                if matches!(failure.code, Code::AutoOffsetReset | Code::OffsetOutOfRange) {
                    let (start, _) = self.bounds(at.partition)?;
                    return Err(JournalError::OutOfRange { partition: at.partition, offset: at.next, start });
                }
                // What cannot be taken apart stays so, however often it is fetched.
                if matches!(failure.code, Code::BadMessage | Code::BadCompression) {
                    let (at, text) = (at.partition, &failure.text);
                    return Err(JournalError::Fatal(format!(
                        "reading {at:?}: its records are damaged: {text}"
                    )));
                }
                Err(self.shared.sorted_read(
                    &format!("reading {:?}", at.partition),
                    at.partition.topic,
                    &failure,
                ))
            }
            _ => Ok((delivered, ended)),
        }
    }
}

impl Reader for KafkaReader {
    fn read(
        &mut self,
        partition: TopicPartition,
        from: i64,
        records_max: usize,
        visit: &mut dyn FnMut(RecordRef<'_>),
    ) -> Result<i64, JournalError> {
        self.shared.check()?;
        self.shared.layout.slot(partition)?;
        let (start, end) = self.bounds(partition)?;
        if from < start {
            return Err(JournalError::OutOfRange { partition, offset: from, start });
        }
        if from >= end || records_max == 0 {
            return Ok(from);
        }
        self.go_to(partition, from)?;
        let deadline = Instant::now() + self.shared.config.answer_timeout;
        let mut at = At { partition, next: from };
        let mut left = records_max;
        while left > 0 && at.next < end {
            let wait = deadline.saturating_duration_since(Instant::now());
            self.batch.take(&self.queue, wait, left);
            self.native.poll(std::time::Duration::ZERO);
            let (delivered, ended) = self.deliver(&mut at, visit)?;
            left -= delivered.min(left);
            if delivered > 0 || ended {
                // What is there is enough: the next call goes on.
                if delivered > 0 && at.next < end {
                    break;
                }
            } else if wait.is_zero() {
                self.stop();
                return Err(JournalError::Retry(format!(
                    "no records of {partition:?} from {from} on came in time"
                )));
            }
        }
        self.at = Some(at);
        if at.next >= end {
            self.stop();
        }
        Ok(at.next)
    }

    fn bounds(&mut self, partition: TopicPartition) -> Result<(i64, i64), JournalError> {
        self.shared.bounds(&self.native, partition)
    }

    fn committed(
        &mut self,
        group: &str,
        partition: TopicPartition,
    ) -> Result<Option<Committed>, JournalError> {
        self.shared.layout.slot(partition)?;
        let mut onlooker = match self.onlookers.remove(group) {
            Some(onlooker) => onlooker,
            None => Onlooker::new(&self.shared, group)?,
        };
        // Whatever one waits for that was not answered, the next one begins by looking for the coordinator.
        let committed = onlooker.committed(&self.shared, partition)?;
        self.onlookers.insert(group.to_owned(), onlooker);
        Ok(committed)
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        self.stop();
    }
}
