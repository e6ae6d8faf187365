//! Which partitions there are, and what a record, a position or a commit may look like: the rules both embedded
//! homes share, as strict as the distributed one, so that what works here works there.

use crate::port::{Committed, JournalError, NewRecord, TopicPartition};
use schemas::topic::Topic;

/// Largest record (key, value and headers), in bytes: the broker's default bound.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Longest commit metadata, in bytes: the broker's default bound.
pub const METADATA_BYTES_MAX: usize = 4096;
/// Most partitions of a topic.
pub const PARTITIONS_MAX: u32 = 1024;

/// The partitions of every topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    partitions: u32,
}

impl Layout {
    /// A layout of so many partitions for every co-partitioned topic.
    pub(crate) fn new(partitions: u32) -> Result<Self, JournalError> {
        if (1..=PARTITIONS_MAX).contains(&partitions) {
            Ok(Self { partitions })
        } else {
            Err(JournalError::Fatal(format!("{partitions} partitions: 1 to {PARTITIONS_MAX} are possible")))
        }
    }

    /// Partitions of the co-partitioned topics.
    pub(crate) const fn partitions(self) -> u32 {
        self.partitions
    }

    /// Partitions of a topic.
    pub(crate) const fn partitions_of(self, topic: Topic) -> u32 {
        if topic.co_partitioned() { self.partitions } else { 1 }
    }

    /// Every partition, in slot order.
    pub(crate) fn all(self) -> impl Iterator<Item = TopicPartition> {
        Topic::ALL.into_iter().flat_map(move |topic| {
            (0..self.partitions_of(topic)).map(move |partition| TopicPartition { topic, partition })
        })
    }

    /// Dense number of a partition.
    pub(crate) fn slot(self, of: TopicPartition) -> Result<usize, JournalError> {
        if of.partition >= self.partitions_of(of.topic) {
            let TopicPartition { topic, partition } = of;
            return Err(JournalError::Fatal(format!(
                "there is no partition {partition} of {topic}: it has {}",
                self.partitions_of(topic)
            )));
        }
        let before: u32 = Topic::ALL
            .into_iter()
            .take_while(|topic| *topic != of.topic)
            .map(|topic| self.partitions_of(topic))
            .sum();
        Ok((before + of.partition) as usize)
    }

    /// Refuses records that no home takes; returns their size in bytes.
    pub(crate) fn admit(self, records: &[NewRecord]) -> Result<usize, JournalError> {
        let mut total = 0;
        for record in records {
            self.slot(record.to)?;
            let bytes = size_of_record(record);
            if bytes > RECORD_BYTES_MAX {
                return Err(JournalError::Fatal(format!(
                    "a record of {bytes} bytes for {}: at most {RECORD_BYTES_MAX} are possible",
                    record.to.topic
                )));
            }
            total += bytes;
        }
        Ok(total)
    }

    /// Refuses positions that no home takes.
    pub(crate) fn admit_offsets(self, offsets: &[(TopicPartition, Committed)]) -> Result<(), JournalError> {
        for (partition, committed) in offsets {
            self.slot(*partition)?;
            if committed.offset < 0 || committed.metadata.len() > METADATA_BYTES_MAX {
                return Err(JournalError::Fatal(format!(
                    "a commit of offset {} with {} bytes of metadata: offsets start at 0, and at most \
                     {METADATA_BYTES_MAX} bytes are possible",
                    committed.offset,
                    committed.metadata.len()
                )));
            }
        }
        Ok(())
    }
}

/// Bytes of a record's key, value and headers.
fn size_of_record(record: &NewRecord) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    record.key.as_ref().map_or(0, Vec::len) + record.value.len() + headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_dense_and_the_partitions_have_ends() {
        let layout = Layout::new(3).unwrap();
        let slots: Vec<usize> = layout.all().map(|of| layout.slot(of).unwrap()).collect();
        assert_eq!(slots, (0..10 * 3 + 2).collect::<Vec<_>>());
        assert!(layout.slot(TopicPartition { topic: Topic::Raw, partition: 3 }).is_err());
        assert!(layout.slot(TopicPartition { topic: Topic::Control, partition: 1 }).is_err());
        assert!(Layout::new(0).is_err() && Layout::new(PARTITIONS_MAX + 1).is_err());
    }
}
