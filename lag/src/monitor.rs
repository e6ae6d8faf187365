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
    /// From a position up to an offset there is no record, only what transactions leave behind.
    empty: Option<(i64, i64)>,
}

impl Monitor {
    /// Watches partitions `0..partitions`.
    #[must_use]
    pub fn new(reader: Box<dyn Reader>, group: &str, topic: Topic, partitions: u32, rules: Rules) -> Self {
        let watched =
            |partition| Watched { tracker: Tracker::new(partition, rules), oldest: None, empty: None };
        Self { reader, group: group.to_owned(), topic, trackers: (0..partitions).map(watched).collect() }
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
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
            let known = watched.oldest.is_some_and(|(position, _)| position == found.position)
                || watched.empty == Some((found.position, end));
            if !known {
                (watched.oldest, watched.empty) =
                    match first_at(self.reader.as_mut(), at, (found.position, end))? {
                        First::Record(received_at) => (Some((found.position, received_at)), None),
                        First::NoneUpTo(next) => (None, Some((found.position, next))),
                        First::Unknown => (None, None),
                    };
            }
            sample.oldest_unread_at = watched.oldest.map(|(_, received_at)| received_at);
            if let Some((_, next)) = watched.empty {
                // Nobody can read what is no record: it is as good as read.
                sample.committed = Some(next.min(end));
            }
        }
        Ok(watched.tracker.observe(&sample))
    }
}

/// What lies at or after a position.
enum First {
    /// A record, received then.
    Record(Micros),
    /// No record below this offset.
    NoneUpTo(i64),
    /// It could not be looked up.
    Unknown,
}

fn first_at(
    reader: &mut dyn Reader,
    partition: TopicPartition,
    (position, end): (i64, i64),
) -> Result<First, JournalError> {
    let (mut from, mut first) = (position, None);
    while from < end {
        let read = reader.read(partition, from, 1, &mut |record| {
            first.get_or_insert(record.received_at);
        });
        match (read, first) {
            (Ok(_), Some(received_at)) => return Ok(First::Record(received_at)),
            (Ok(next), None) if next > from => from = next,
            (Ok(_), None) => return Ok(First::Unknown),
            // Retention ran over it between two calls: the next look starts at the new beginning.
            (Err(JournalError::OutOfRange { .. }), _) => return Ok(First::Unknown),
            (Err(error), _) => return Err(error),
        }
    }
    Ok(First::NoneUpTo(from))
}

#[cfg(test)]
mod tests;
