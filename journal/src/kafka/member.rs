//! A member of a consumer group: polls, rebalances, positions.
//!
//! Lives here: the order of things in a poll. Records come first, then what the group wants: a rebalance is told
//! after every record that was delivered under the old assignment. Does not live here: pointers (`native`).
//!
//! Invariants:
//! * A partition delivers from where the owner said, and not before it said so: what librdkafka is assigned are the
//!   partitions that have a position, at that position.
//! * The group waits for us until `assign` or `unassign`: one of them follows every change, even one that nobody was
//!   told of.
//! * A committed position that could not be asked for is asked for again; it is never taken for "none".

use super::Shared;
use super::error::{About, is_denial, sorted, sorted_about};
use super::native::{Batch, Change, Failure, Kind, Message, Native, Place, Positions, Proof, Queue};
use super::records::show_run;
use crate::port::{Assignment, Committed, Consumer, ConsumerEvent, GroupToken, JournalError, TopicPartition};
use rdkafka::error::RDKafkaErrorCode as Code;
use schemas::topic::Topic;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// One partition that is ours.
#[derive(Clone, Copy, Debug, Default)]
struct Feed {
    /// Next offset; none: the owner has not said where to begin.
    position: Option<i64>,
    paused: bool,
    /// librdkafka is assigned to it.
    fetching: bool,
    /// librdkafka was told to pause it; it would stay so over assignments.
    held: bool,
}

/// A member.
pub(super) struct Member {
    // The order of the fields is the order of their end: messages, queue, client.
    batch: Batch,
    queue: Queue,
    native: Native,
    shared: Arc<Shared>,
    group: String,
    member: String,
    topics: Vec<Topic>,
    token: Option<GroupToken>,
    feeds: BTreeMap<TopicPartition, Feed>,
    /// Assigned by the group, not told yet: their committed positions are not known.
    unsettled: Option<Vec<TopicPartition>>,
    /// What librdkafka is assigned is not what the feeds say.
    stale: bool,
    /// To be returned by the next polls, one each: several partitions may have one at a time.
    trouble: VecDeque<JournalError>,
    left: bool,
}

impl Member {
    /// Joins a group.
    pub(super) fn join(
        shared: Arc<Shared>,
        group: &str,
        member: &str,
        topics: &[Topic],
    ) -> Result<Self, JournalError> {
        // Only transactional topics have ends that lie behind their last record.
        let ends = topics.iter().any(|topic| *topic != Topic::Raw);
        let config = shared.config.member(group, member, ends);
        let role = format!("{group} {member}");
        let native = Native::new(Kind::Consumer, &role, &config, shared.statistics.clone())
            .map_err(|why| JournalError::Fatal(format!("joining {group}: {why}")))?;
        let mut wanted = Positions::new();
        topics.iter().for_each(|topic| wanted.add(shared.names.text(*topic), 0));
        let what = format!("joining {group}");
        let queue = native.consumer_queue().map_err(|why| sorted(&what, &why))?;
        native.subscribe(&wanted).map_err(|why| sorted(&what, &why))?;
        Ok(Self {
            batch: Batch::default(),
            queue,
            native,
            shared,
            group: group.to_owned(),
            member: member.to_owned(),
            topics: topics.to_vec(),
            token: None,
            feeds: BTreeMap::new(),
            unsettled: None,
            stale: false,
            trouble: VecDeque::new(),
            left: false,
        })
    }

    /// Tells what the group wants; returns whether anything was told.
    fn changes(&mut self, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> Result<bool, JournalError> {
        let mut told = false;
        for change in self.native.changes() {
            match change {
                Change::Revoked { lost } => {
                    self.unsettled = None;
                    told |= self.give_up(lost || self.native.fatal().is_some(), visit);
                    let answer = self.native.unassign();
                    self.stale = false;
                    answer.map_err(|why| sorted("giving partitions up", &why))?;
                }
                Change::Assigned(places) => {
                    let partitions = self.partitions_of(&places)?;
                    self.unsettled = Some(partitions);
                }
            }
        }
        if self.unsettled.is_some() {
            told |= self.settle(visit)?;
        }
        Ok(told)
    }

    fn partitions_of(&self, places: &[Place]) -> Result<Vec<TopicPartition>, JournalError> {
        let mut partitions = Vec::with_capacity(places.len());
        for place in places {
            let Some(topic) = self.shared.names.topic(place.topic.as_bytes()) else { continue };
            let of = TopicPartition { topic, partition: u32::try_from(place.partition).unwrap_or(u32::MAX) };
            self.shared.layout.slot(of).map_err(|_| {
                JournalError::Fatal(format!(
                    "{} has got more partitions than the {} it had at the start: keys have moved, and Kafka takes no \
                     partition away; replay into a wider topic set under another `journal.topic-prefix`",
                    place.topic,
                    self.shared.layout.partitions_of(topic)
                ))
            })?;
            partitions.push(of);
        }
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// Asks for what was committed, and tells the assignment.
    fn settle(&mut self, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> Result<bool, JournalError> {
        let Some(partitions) = self.unsettled.clone() else { return Ok(false) };
        let committed = self.shared.committed(&self.native, &self.group, &partitions)?;
        self.unsettled = None;
        let proof = self.native.proof().unwrap_or(Proof { member: String::new(), generation: -1 });
        let token = GroupToken {
            group: self.group.clone(),
            member: self.member.clone(),
            generation: u64::try_from(proof.generation).unwrap_or(0),
            proof: proof.member,
        };
        self.shared.seats.take(&token);
        self.token = Some(token);
        self.feeds = partitions.iter().map(|of| (*of, Feed::default())).collect();
        let assignments: Vec<Assignment> = partitions
            .into_iter()
            .zip(committed)
            .map(|(partition, committed)| Assignment { partition, committed })
            .collect();
        visit(ConsumerEvent::Assigned(&assignments));
        // Nothing has a position yet; the group only waits for the call.
        self.stale = true;
        self.assign()?;
        Ok(true)
    }

    /// Tells the owner that its partitions go.
    fn give_up(&mut self, lost: bool, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> bool {
        self.release();
        let held: Vec<TopicPartition> = std::mem::take(&mut self.feeds).into_keys().collect();
        if lost && let Some(token) = &self.token {
            self.shared.seats.vacate(token);
        }
        if !held.is_empty() {
            visit(ConsumerEvent::Revoked { partitions: &held, lost });
        }
        if let Some(token) = &self.token {
            self.shared.seats.vacate(token);
        }
        !held.is_empty()
    }

    /// Takes back what librdkafka was told to pause: the next assignment leaves out what is paused.
    fn release(&mut self) {
        let mut which = Positions::new();
        for (of, feed) in &mut self.feeds {
            if std::mem::take(&mut feed.held) {
                which.add(self.shared.names.text(of.topic), of.partition);
            }
        }
        self.native.resume(&which);
    }

    /// Makes librdkafka's assignment what the feeds say.
    fn assign(&mut self) -> Result<(), JournalError> {
        if !std::mem::take(&mut self.stale) {
            return Ok(());
        }
        self.release();
        let mut positions = Positions::new();
        for (of, feed) in &mut self.feeds {
            feed.fetching = feed.position.is_some() && !feed.paused;
            if let Some(position) = feed.position.filter(|_| feed.fetching) {
                positions.add_at(self.shared.names.text(of.topic), of.partition, position, "");
            }
        }
        self.native.assign(&positions).map_err(|why| {
            self.stale = true;
            sorted("taking partitions", &why)
        })
    }

    /// Delivers what a poll took, in runs of one partition.
    fn deliver(&mut self, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> usize {
        let batch = std::mem::take(&mut self.batch);
        let mut delivered = 0;
        for messages in batch.messages().chunk_by(Message::are_records_of_one) {
            let first = &messages[0];
            let of = self.shared.partition_of(first);
            if let Some(failure) = first.failure() {
                self.failed(of, first.offset(), &failure, visit);
            } else if let Some(of) = of {
                delivered += self.deliver_run(of, messages, visit);
            }
        }
        self.batch = batch;
        delivered
    }

    fn deliver_run(
        &mut self,
        of: TopicPartition,
        messages: &[Message],
        visit: &mut dyn FnMut(ConsumerEvent<'_>),
    ) -> usize {
        let Some(feed) = self.feeds.get_mut(&of) else { return 0 };
        let Some(position) = feed.position else { return 0 };
        if feed.paused {
            // It came in spite of the pause: fetched again from its position later.
            self.stale = true;
            return 0;
        }
        let clock = &self.shared.clock;
        let mut next = position;
        let count = show_run(messages, position, &mut |records| {
            if let Some(last) = records.last() {
                next = last.offset + 1;
                clock.read(last.received_at);
            }
            visit(ConsumerEvent::Batch { partition: of, records });
        });
        feed.position = Some(next);
        count
    }

    /// What came instead of a record.
    fn failed(
        &mut self,
        of: Option<TopicPartition>,
        offset: i64,
        failure: &Failure,
        visit: &mut dyn FnMut(ConsumerEvent<'_>),
    ) {
        let feed = of.and_then(|of| self.feeds.get_mut(&of));
        match (failure.code, of, feed) {
            (Code::PartitionEOF, Some(partition), Some(feed)) => {
                if feed.position.is_some_and(|position| position < offset) {
                    feed.position = Some(offset);
                    visit(ConsumerEvent::Reached { partition, offset });
                }
            }
            (Code::PartitionEOF, ..) => {}
            (Code::AutoOffsetReset | Code::OffsetOutOfRange, Some(of), Some(feed)) => {
                feed.fetching = false;
                let position = feed.position.take();
                let trouble = self.out_of_range(of, position.unwrap_or(offset));
                self.trouble.push_back(trouble);
            }
            (Code::AutoOffsetReset | Code::OffsetOutOfRange, ..) => {}
            (_, of, feed) => {
                // librdkafka tries again by itself, or the fatal error is noticed by the poll.
                if feed.is_some() || failure.fatal || is_denial(failure.code) {
                    let trouble = self.meaning(of, failure);
                    self.trouble.push_back(trouble);
                } else {
                    tracing::debug!(why = failure.text, group = self.group, "the group's client");
                }
            }
        }
    }

    /// What a failure of the group or of a fetch means.
    fn meaning(&self, of: Option<TopicPartition>, failure: &Failure) -> JournalError {
        let (topics, group) = (self.topics_of(of), format!("{}{}", self.shared.config.prefix, self.group));
        let about = About { operation: "Read", topics: &topics, group: &group, ..About::default() };
        let what = of.map_or_else(|| format!("in the group {group}"), |of| format!("reading {of:?}"));
        sorted_about(&what, about, failure)
    }

    /// The topic of a partition; of none, those that were subscribed to.
    fn topics_of(&self, of: Option<TopicPartition>) -> String {
        let names = self.topics.iter().filter(|topic| of.is_none_or(|of| of.topic == **topic));
        names.map(|topic| self.shared.names.text(*topic)).collect::<Vec<_>>().join(", ")
    }

    fn out_of_range(&mut self, partition: TopicPartition, offset: i64) -> JournalError {
        match self.bounds(partition) {
            Ok((start, end)) if offset > end => JournalError::Fatal(format!(
                "the log of {partition:?} ends at {end}, before the position {offset}: acknowledged records are gone \
                 (an unclean election, or a topic made anew); it starts at {start}"
            )),
            Ok((start, _)) => JournalError::OutOfRange { partition, offset, start },
            Err(why) => {
                // Asked again by the same way: the partition is fetched from its position once more.
                if let Some(feed) = self.feeds.get_mut(&partition) {
                    feed.position = Some(offset);
                }
                self.stale = true;
                why
            }
        }
    }

    /// Nothing can be read any more: who has the seat now?
    fn ended(&mut self, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> Result<bool, JournalError> {
        let Some(failure) = self.native.fatal() else { return Ok(false) };
        if self.give_up(true, visit) {
            return Ok(true);
        }
        Err(sorted(&format!("the membership of {} in {}", self.member, self.group), &failure))
    }
}

impl Consumer for Member {
    fn poll(
        &mut self,
        max_wait: Duration,
        records_max: usize,
        visit: &mut dyn FnMut(ConsumerEvent<'_>),
    ) -> Result<usize, JournalError> {
        self.shared.check()?;
        if let Some(trouble) = self.trouble.pop_front() {
            return Err(trouble);
        }
        if self.ended(visit)? || self.changes(visit)? {
            return Ok(0);
        }
        self.assign()?;
        self.batch.take(&self.queue, max_wait, records_max);
        let delivered = self.deliver(visit);
        let told = self.changes(visit)?;
        if delivered == 0
            && !told
            && let Some(trouble) = self.trouble.pop_front()
        {
            return Err(trouble);
        }
        Ok(delivered)
    }

    fn seek(&mut self, partition: TopicPartition, offset: i64) -> Result<(), JournalError> {
        let feed = self.feeds.get_mut(&partition).ok_or(JournalError::NotAssigned(partition))?;
        feed.position = Some(offset);
        self.stale = true;
        Ok(())
    }

    fn pause(&mut self, partition: TopicPartition) {
        let Some(feed) = self.feeds.get_mut(&partition) else { return };
        if !std::mem::replace(&mut feed.paused, true) && feed.fetching {
            feed.held = true;
            let mut which = Positions::new();
            which.add(self.shared.names.text(partition.topic), partition.partition);
            self.native.pause(&which);
        }
    }

    fn resume(&mut self, partition: TopicPartition) {
        let Some(feed) = self.feeds.get_mut(&partition) else { return };
        if std::mem::take(&mut feed.paused) {
            if feed.fetching {
                feed.held = false;
                let mut which = Positions::new();
                which.add(self.shared.names.text(partition.topic), partition.partition);
                self.native.resume(&which);
            } else {
                self.stale = true;
            }
        }
    }

    fn token(&self) -> Option<GroupToken> {
        self.token.clone()
    }

    fn bounds(&mut self, partition: TopicPartition) -> Result<(i64, i64), JournalError> {
        self.shared.bounds(&self.native, partition)
    }

    fn commit(&mut self, offsets: &[(TopicPartition, Committed)]) -> Result<(), JournalError> {
        self.shared.check()?;
        self.shared.layout.admit_offsets(offsets)?;
        let token =
            self.token.as_ref().ok_or_else(|| JournalError::Fenced("nothing was assigned yet".to_owned()))?;
        self.shared.seats.admit(token)?;
        let mut positions = Positions::new();
        for (of, committed) in offsets {
            positions.add_at(
                self.shared.names.text(of.topic),
                of.partition,
                committed.offset,
                &committed.metadata,
            );
        }
        self.native.commit(&positions).map_err(|why| self.meaning(None, &why))
    }

    fn leave(&mut self, visit: &mut dyn FnMut(ConsumerEvent<'_>)) -> Result<(), JournalError> {
        if std::mem::replace(&mut self.left, true) {
            return Ok(());
        }
        let lost = self.native.assignment_lost() || self.native.fatal().is_some();
        self.give_up(lost, visit);
        self.native.close().map_err(|why| sorted(&format!("leaving {}", self.group), &why))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(token) = &self.token {
            self.shared.seats.vacate(token);
        }
    }
}
