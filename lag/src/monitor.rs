//! Takes the samples of a group through the journal's port. Needs no member of the group to be alive.

use crate::sample::{Sample, backlog};
use crate::tracker::{GroupLag, PartitionLag, Rules, Tracker, group};
use journal::port::{JournalError, Reader, TopicPartition};
use schemas::Micros;
use schemas::topic::Topic;

/// Watches one group on one topic.
pub struct Monitor {
    reader: Box<dyn Reader>,
    group: String,
    topic: Topic,
    trackers: Vec<Watched>,
}

struct Watched {
    tracker: Tracker,
    /// Receipt time of the first record at or after a position: it never changes while the position does not.
    oldest: Option<(i64, Micros)>,
}

impl Monitor {
    /// Watches partitions `0..partitions`.
    #[must_use]
    pub fn new(reader: Box<dyn Reader>, group: &str, topic: Topic, partitions: u32, rules: Rules) -> Self {
        let watched = |partition| Watched { tracker: Tracker::new(partition, rules), oldest: None };
        Self { reader, group: group.to_owned(), topic, trackers: (0..partitions).map(watched).collect() }
    }

    /// Looks at every partition. `now` is the journal's clock, asked for each partition after its offsets.
    ///
    /// # Errors
    /// When the journal does not answer: that is not a backlog of 0.
    pub fn look(&mut self, now: &dyn Fn() -> Micros) -> Result<GroupLag, JournalError> {
        let mut partitions = Vec::with_capacity(self.trackers.len());
        for number in 0..self.trackers.len() {
            partitions.push(self.look_at(number, now)?);
        }
        Ok(group(&self.group, self.topic.name(), now(), partitions))
    }

    fn look_at(&mut self, number: usize, now: &dyn Fn() -> Micros) -> Result<PartitionLag, JournalError> {
        let partition = u32::try_from(number).unwrap_or(u32::MAX);
        let at = TopicPartition { topic: self.topic, partition };
        // In this order: what is committed in between makes the lag a moment too large, never negative.
        let committed = self.reader.committed(&self.group, at)?.map(|committed| committed.offset);
        let (start, end) = self.reader.bounds(at)?;
        let watched = &mut self.trackers[number];
        let mut sample = Sample { at: now(), committed, start, end, oldest_unread_at: None };
        let found = backlog(&sample);
        if found.records > 0 {
            if watched.oldest.is_none_or(|(position, _)| position != found.position) {
                watched.oldest = first_at(self.reader.as_mut(), at, found.position)?;
            }
            sample.oldest_unread_at = watched.oldest.map(|(_, received_at)| received_at);
        }
        Ok(watched.tracker.observe(&sample))
    }
}

/// The position and the receipt time of the first record at or after it.
fn first_at(
    reader: &mut dyn Reader,
    partition: TopicPartition,
    position: i64,
) -> Result<Option<(i64, Micros)>, JournalError> {
    let mut first = None;
    match reader.read(partition, position, 1, &mut |record| first = Some((position, record.received_at))) {
        Ok(_) => Ok(first),
        // Retention ran over it between two calls: the next look starts at the new beginning.
        Err(JournalError::OutOfRange { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
