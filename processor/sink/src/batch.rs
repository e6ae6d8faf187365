//! What one poll brought, and what each record becomes: a row, or a dead letter.

use journal::port::{NewRecord, RecordRef, TopicPartition};
use schemas::codec::{Codec, DecodeError};
use schemas::reason::{Reject, RejectReason};
use schemas::record::{DeadLetter, Stage};
use schemas::topic::Topic;
use std::collections::BTreeMap;
use store::port::Write;

/// Bytes of an unusable value that go into its dead letter.
const LETTER_BYTES_MAX: usize = 256 << 10;
/// Bytes of its key.
const LETTER_KEY_BYTES_MAX: usize = 4 << 10;

/// A record kept because it could not be decoded yet.
#[derive(Debug)]
pub(crate) struct Kept {
    partition: TopicPartition,
    offset: i64,
    received_at: i64,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

/// Counts of one partition in one batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Share {
    pub(crate) read: i64,
    pub(crate) writes: i64,
    pub(crate) letters: i64,
    /// Next offset: one past the last record read, or the end that was reached.
    pub(crate) next: i64,
}

/// One poll's records.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) writes: Vec<Write>,
    pub(crate) letters: Vec<NewRecord>,
    /// Their schema could not be asked for.
    pub(crate) kept: Vec<Kept>,
    pub(crate) shares: BTreeMap<TopicPartition, Share>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Forgets a partition's positions: it belongs to another member now. Its writes stay; they change nothing
    /// that the other member's do not.
    pub(crate) fn give_up(&mut self, partition: TopicPartition) {
        self.shares.remove(&partition);
    }

    /// Everything below an offset has been delivered.
    pub(crate) fn reached(&mut self, partition: TopicPartition, offset: i64) {
        let share = self.shares.entry(partition).or_default();
        share.next = share.next.max(offset);
    }

    /// Takes a record in.
    pub(crate) fn add(&mut self, codec: &Codec, partition: TopicPartition, record: &RecordRef<'_>) {
        let share = self.shares.entry(partition).or_default();
        share.read += 1;
        share.next = record.offset + 1;
        let kept = || Kept {
            partition,
            offset: record.offset,
            received_at: record.received_at,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.to_vec(),
        };
        match decode(codec, partition.topic, record.value) {
            Ok(write) => self.write(partition, write),
            Err(DecodeError::Reject(reject)) => self.letter(codec, kept(), &reject),
            Err(DecodeError::Retry(_)) => self.kept.push(kept()),
        }
    }

    /// Decodes what was kept once more.
    ///
    /// # Errors
    /// Why the schema table still does not answer.
    pub(crate) fn decode_kept(&mut self, codec: &Codec) -> Result<(), String> {
        while let Some(kept) = self.kept.pop() {
            match decode(codec, kept.partition.topic, &kept.value) {
                Ok(write) => self.write(kept.partition, write),
                Err(DecodeError::Reject(reject)) => self.letter(codec, kept, &reject),
                Err(DecodeError::Retry(why)) => {
                    self.kept.push(kept);
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, partition: TopicPartition, write: Write) {
        self.shares.entry(partition).or_default().writes += 1;
        self.writes.push(write);
    }

    fn letter(&mut self, codec: &Codec, kept: Kept, reject: &Reject) {
        let Kept { partition, offset, received_at, mut key, mut value } = kept;
        self.shares.entry(partition).or_default().letters += 1;
        metrics::counter!(chassis::metrics::REJECTED_TOTAL, "stage" => Stage::Sink.as_str(),
            "reason" => reject.reason.as_str())
        .increment(1);
        let mut truncated = value.len() > LETTER_BYTES_MAX;
        value.truncate(LETTER_BYTES_MAX);
        if let Some(key) = &mut key {
            truncated |= key.len() > LETTER_KEY_BYTES_MAX;
            key.truncate(LETTER_KEY_BYTES_MAX);
        }
        let letter = DeadLetter {
            reason: reject.reason.as_str().to_owned(),
            detail: reject.detail.clone(),
            stage: Stage::Sink,
            source_topic: Some(partition.topic.name().to_owned()),
            source_partition: i32::try_from(partition.partition).ok(),
            source_offset: Some(offset),
            device_id: key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).map(str::to_owned),
            key: key.clone(),
            value,
            truncated,
            redriven: 0,
            received_at,
            // The sink is no partition's owner and has no write clock of its own.
            write_clock: 0,
        };
        self.letters.push(NewRecord {
            to: TopicPartition { topic: Topic::DeadLetters, partition: partition.partition },
            key,
            value: codec.to_bytes(&letter),
            headers: Vec::new(),
        });
    }
}

fn decode(codec: &Codec, topic: Topic, value: &[u8]) -> Result<Write, DecodeError> {
    match topic {
        Topic::Aggregates => codec.decode(value).map(Write::Aggregate),
        Topic::Alerts => codec.decode(value).map(Write::Alert),
        Topic::Scores => codec.decode(value).map(Write::Score),
        Topic::Devices => codec.decode(value).map(Write::Device),
        other => {
            let detail = format!("the sink does not read {other}");
            Err(Reject::new(RejectReason::ForeignBytes, detail).into())
        }
    }
}
