//! The consumer and the reader of the embedded homes: positions, pauses, fairness and waiting, over any log.
//!
//! Lives here: what a poll does and in which order. Does not live here: where records are kept (the homes).

use crate::group::{Coordinator, Notice, Seat};
use crate::port::{
    Assignment, Committed, Consumer, ConsumerEvent, GroupToken, JournalError, Reader, RecordRef,
    TopicPartition,
};
use crate::segment::Chunk;
use crate::wake::{Bell, locked};
use schemas::Micros;
use schemas::topic::Topic;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What all parts of an embedded journal share.
pub(crate) trait Home: Send + Sync {
    /// Fails once the journal is closed or broken.
    fn check(&self) -> Result<(), JournalError>;
    /// First offset kept, and the offset after the last committed record.
    fn bounds(&self, partition: TopicPartition) -> Result<(i64, i64), JournalError>;
    /// What a group has committed.
    fn committed(&self, group: &str, partition: TopicPartition) -> Result<Option<Committed>, JournalError>;
    /// The same, after every commit that was admitted before this call has ended: what a new owner starts from.
    fn settled(&self, group: &str, of: &[TopicPartition]) -> Result<Vec<Option<Committed>>, JournalError>;
    /// Commits positions, if the token is admitted.
    fn commit(&self, offsets: &[(TopicPartition, Committed)], token: &GroupToken)
    -> Result<(), JournalError>;
    /// The groups.
    fn groups(&self) -> &Mutex<Coordinator>;
    /// Rung when records, groups or the journal's state have changed.
    fn bell(&self) -> &Bell;
    /// The groups' clock: monotonic microseconds. Never asked under the groups' lock, which the home may take under
    /// its own.
    fn elapsed(&self) -> Micros;
}

/// A log's segments, as one thread reads them.
pub(crate) trait Segments: Send {
    /// Fills an empty chunk with segments from the one that holds `from` on, of offsets below `end`.
    fn load(
        &mut self,
        partition: TopicPartition,
        from: i64,
        end: i64,
        chunk: &mut Chunk,
    ) -> Result<(), JournalError>;
}

/// Reads one partition on: from the chunk while it lasts.
fn read_on(
    home: &dyn Home,
    segments: &mut dyn Segments,
    chunk: &mut Chunk,
    (partition, from): (TopicPartition, i64),
    records_max: usize,
    visit: &mut dyn FnMut(&[RecordRef<'_>]),
) -> Result<i64, JournalError> {
    let (start, end) = home.bounds(partition)?;
    if from < start {
        return Err(JournalError::OutOfRange { partition, offset: from, start });
    }
    if let Some(next) = chunk.take(from, records_max, visit)? {
        return Ok(next);
    }
    if from >= end || records_max == 0 {
        return Ok(from);
    }
    chunk.clear();
    segments.load(partition, from, end, chunk)?;
    // Retention may have run between the look at the bounds and the load.
    let first = chunk.first().unwrap_or(end);
    if first > from {
        return Err(JournalError::OutOfRange { partition, offset: from, start: first });
    }
    Ok(chunk.take(from, records_max, visit)?.unwrap_or(from))
}

struct Feed {
    partition: TopicPartition,
    position: Option<i64>,
    paused: bool,
    chunk: Chunk,
}

/// A group member over any embedded log.
pub(crate) struct GroupConsumer<H: Home, S: Segments> {
    home: Arc<H>,
    segments: S,
    seat: Seat,
    generation: Option<u64>,
    feeds: Vec<Feed>,
    turn: usize,
    seated: bool,
}

impl<H: Home, S: Segments> GroupConsumer<H, S> {
    /// Joins a group.
    pub(crate) fn join(home: Arc<H>, segments: S, group: &str, member: &str, topics: &[Topic]) -> Self {
        let now = home.elapsed();
        let seat = locked(home.groups()).join(group, member, topics, now);
        home.bell().ring();
        Self { home, segments, seat, generation: None, feeds: Vec::new(), turn: 0, seated: true }
    }

    fn feed(&mut self, partition: TopicPartition) -> Option<&mut Feed> {
        self.feeds.iter_mut().find(|feed| feed.partition == partition)
    }

    /// Tells the member what the coordinator has for it; returns whether there was anything.
    fn notices(&mut self, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> Result<bool, JournalError> {
        let mut told = false;
        loop {
            let now = self.home.elapsed();
            let notice = locked(self.home.groups()).next(&self.seat, now);
            match notice {
                Ok(None) => return Ok(told),
                Ok(Some(Notice::Revoke(partitions))) => {
                    visit(ConsumerEvent::Revoked { partitions: &partitions, lost: false });
                    self.feeds.clear();
                    let acknowledged = locked(self.home.groups()).acknowledge(&self.seat);
                    self.home.bell().ring();
                    acknowledged?;
                }
                Ok(Some(Notice::Lost(partitions))) => {
                    self.feeds.clear();
                    self.home.bell().ring();
                    visit(ConsumerEvent::Revoked { partitions: &partitions, lost: true });
                }
                Ok(Some(Notice::Assigned { partitions, generation })) => {
                    self.assigned(&partitions, generation, visit)?;
                }
                Err(fenced) => {
                    if self.feeds.is_empty() {
                        return Err(fenced);
                    }
                    let partitions: Vec<TopicPartition> =
                        self.feeds.drain(..).map(|feed| feed.partition).collect();
                    visit(ConsumerEvent::Revoked { partitions: &partitions, lost: true });
                    return Ok(true);
                }
            }
            told = true;
        }
    }

    fn assigned(
        &mut self,
        partitions: &[TopicPartition],
        generation: u64,
        visit: &mut dyn FnMut(ConsumerEvent<'_>),
    ) -> Result<(), JournalError> {
        let committed = self.home.settled(&self.seat.group, partitions)?;
        self.generation = Some(generation);
        self.turn = 0;
        self.feeds = partitions
            .iter()
            .map(|partition| Feed {
                partition: *partition,
                position: None,
                paused: false,
                chunk: Chunk::default(),
            })
            .collect();
        let assignments: Vec<Assignment> = partitions
            .iter()
            .zip(committed)
            .map(|(partition, committed)| Assignment { partition: *partition, committed })
            .collect();
        visit(ConsumerEvent::Assigned(&assignments));
        Ok(())
    }

    /// Delivers records, each partition in its turn.
    fn deliver(
        &mut self,
        records_max: usize,
        visit: &mut dyn FnMut(ConsumerEvent<'_>),
    ) -> Result<usize, JournalError> {
        let mut delivered = 0;
        let count = self.feeds.len();
        let mut last = None;
        for index in (0..count).map(|step| (self.turn + step) % count) {
            let feed = &mut self.feeds[index];
            let Some(position) = feed.position.filter(|_| !feed.paused) else { continue };
            let partition = feed.partition;
            let mut position = position;
            while delivered < records_max {
                let next = read_on(
                    self.home.as_ref(),
                    &mut self.segments,
                    &mut feed.chunk,
                    (partition, position),
                    records_max - delivered,
                    &mut |records| {
                        delivered += records.len();
                        visit(ConsumerEvent::Batch { partition, records });
                    },
                );
                match next {
                    // What was delivered counts first; the next poll begins with this partition and meets it again.
                    Err(_) if delivered > 0 => {
                        self.turn = index;
                        return Ok(delivered);
                    }
                    Err(error) => return Err(error),
                    Ok(next) if next == position => break,
                    Ok(next) => {
                        position = next;
                        feed.position = Some(next);
                        last = Some(index);
                    }
                }
            }
        }
        self.turn = last.map_or(self.turn, |last| (last + 1) % count);
        Ok(delivered)
    }

    /// Waits for news; false when the time is up.
    fn wait(&self, seen: u64, deadline: Option<Instant>) -> bool {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return false;
        }
        let rebalance = locked(self.home.groups()).deadline(&self.seat.group);
        let rebalance = rebalance.and_then(|at| {
            let left = u64::try_from(at.saturating_sub(self.home.elapsed())).unwrap_or(0);
            Instant::now().checked_add(Duration::from_micros(left.max(1000)))
        });
        self.home.bell().wait(seen, deadline.into_iter().chain(rebalance).min());
        true
    }
}

impl<H: Home, S: Segments> Consumer for GroupConsumer<H, S> {
    fn poll(
        &mut self,
        max_wait: Duration,
        records_max: usize,
        visit: &mut dyn FnMut(ConsumerEvent<'_>),
    ) -> Result<usize, JournalError> {
        let deadline = Instant::now().checked_add(max_wait);
        loop {
            let seen = self.home.bell().count();
            self.home.check()?;
            let told = self.notices(visit)?;
            let delivered = self.deliver(records_max, visit)?;
            if told || delivered > 0 || max_wait.is_zero() || !self.wait(seen, deadline) {
                return Ok(delivered);
            }
        }
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), JournalError> {
        let feed = self.feed(partition).ok_or(JournalError::NotAssigned(partition))?;
        feed.position = Some(offset);
        Ok(())
    }

    fn pause(&mut self, partition: TopicPartition) {
        if let Some(feed) = self.feed(partition) {
            feed.paused = true;
        }
    }

    fn resume(&mut self, partition: TopicPartition) {
        if let Some(feed) = self.feed(partition) {
            feed.paused = false;
        }
    }

    fn token(&self) -> Option<GroupToken> {
        let generation = self.generation?;
        let (group, member) = (self.seat.group.clone(), self.seat.member.clone());
        Some(GroupToken { group, member, generation, proof: String::new() })
    }

    fn bounds(&mut self, partition: TopicPartition) -> Result<(i64, i64), JournalError> {
        self.home.bounds(partition)
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Committed)]) -> Result<(), JournalError> {
        let token =
            self.token().ok_or_else(|| JournalError::Fenced("nothing was assigned yet".to_owned()))?;
        self.home.commit(offsets, &token)
    }

    fn leave(&mut self, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> Result<(), JournalError> {
        self.home.check()?;
        let held: Vec<TopicPartition> = self.feeds.drain(..).map(|feed| feed.partition).collect();
        if !held.is_empty() {
            let token = self.token();
            let lost = token.is_none_or(|token| locked(self.home.groups()).admit(&token, &held).is_err());
            visit(ConsumerEvent::Revoked { partitions: &held, lost });
        }
        self.vacate();
        Ok(())
    }
}

impl<H: Home, S: Segments> GroupConsumer<H, S> {
    fn vacate(&mut self) {
        if std::mem::take(&mut self.seated) {
            let now = self.home.elapsed();
            locked(self.home.groups()).leave(&self.seat, now);
            self.home.bell().ring();
        }
    }
}

impl<H: Home, S: Segments> Drop for GroupConsumer<H, S> {
    fn drop(&mut self) {
        self.vacate();
    }
}

/// A reader over any embedded log.
pub(crate) struct LogReader<H: Home, S: Segments> {
    home: Arc<H>,
    segments: S,
    at: Option<TopicPartition>,
    chunk: Chunk,
}

impl<H: Home, S: Segments> LogReader<H, S> {
    /// A reader.
    pub(crate) fn new(home: Arc<H>, segments: S) -> Self {
        Self { home, segments, at: None, chunk: Chunk::default() }
    }
}

impl<H: Home, S: Segments> Reader for LogReader<H, S> {
    fn read(
        &mut self,
        partition: TopicPartition,
        from: i64,
        records_max: usize,
        visit: &mut dyn FnMut(RecordRef<'_>),
    ) -> Result<i64, JournalError> {
        self.home.check()?;
        if self.at.replace(partition) != Some(partition) {
            self.chunk.clear();
        }
        let mut next = from;
        let mut left = records_max;
        while left > 0 {
            let after = read_on(
                self.home.as_ref(),
                &mut self.segments,
                &mut self.chunk,
                (partition, next),
                left,
                &mut |records| {
                    left -= records.len();
                    records.iter().for_each(|record| visit(*record));
                },
            );
            match after {
                Err(_) if next > from => return Ok(next),
                Err(error) => return Err(error),
                Ok(after) if after == next => return Ok(next),
                Ok(after) => next = after,
            }
        }
        Ok(next)
    }

    fn bounds(&mut self, partition: TopicPartition) -> Result<(i64, i64), JournalError> {
        self.home.bounds(partition)
    }

    fn committed(
        &mut self,
        group: &str,
        partition: TopicPartition,
    ) -> Result<Option<Committed>, JournalError> {
        self.home.committed(group, partition)
    }
}
