//! Decisions: appended to `iot.control`, whose offset is the generation, and copied into every partition of
//! `iot.raw`.
//!
//! One controller decides at a time (the owner of the one partition of `iot.control` in a group of its own), but
//! nothing breaks if two do: a decision is in force from its own offset on, a partition ignores generations at or
//! below its own, and whoever comes next completes what was left half-written.
//!
//! Copies are not written in a transaction: a dead one would stop every partition.

use crate::recovery::read_metadata;
use crate::state::canonical;
use crate::{CONTROLLER_GROUP, GROUP};
use journal::port::{
    Appender, Consumer, ConsumerEvent, Disposition, Journal, JournalError, NewRecord, Reader, TopicPartition,
};
use schemas::codec::{Codec, DecodeError};
use schemas::pipeline::Pipeline;
use schemas::record::{Control, Raw};
use schemas::topic::Topic;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) const DECISIONS: TopicPartition = TopicPartition { topic: Topic::Control, partition: 0 };
/// Records of one poll.
const POLL_RECORDS_MAX: usize = 256;

/// How the file's pipeline stands to the one in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ControllerView {
    /// This instance decides.
    pub leader: bool,
    /// Latest generation; none: nothing was decided yet.
    pub generation: Option<i64>,
    /// The file says something else than the generation in force.
    pub differs: bool,
    /// Partitions that do not have the latest generation yet.
    pub missing: Vec<u32>,
}

/// The answer to an append.
pub(crate) type Written = Receiver<Result<Vec<i64>, JournalError>>;

/// Proposes, copies, completes.
pub struct Controller {
    journal: Arc<dyn Journal>,
    codec: Codec,
    consumer: Option<Box<dyn Consumer>>,
    member: String,
    appender: Arc<dyn Appender>,
    proposal: String,
    apply: bool,
    leader: bool,
    /// Offset up to which decisions have been read, and where they ended when leadership came.
    read_to: i64,
    known_to: Option<i64>,
    latest: Option<(i64, Control)>,
    /// The file's pipeline has been weighed against the decisions: once in a controller's life.
    weighed: bool,
    /// The answer to the decision it has made.
    deciding: Option<Written>,
    /// Partition -> generation it is known to have.
    has: BTreeMap<u32, i64>,
    pending: Vec<(u32, i64, Written)>,
    view: Arc<Mutex<ControllerView>>,
}

impl Controller {
    /// A controller that stands for this pipeline; it replaces another only with `apply`.
    #[must_use]
    pub fn new(
        journal: Arc<dyn Journal>,
        codec: Codec,
        member: &str,
        pipeline: &Pipeline,
        apply: bool,
    ) -> Self {
        let appender = journal.appender();
        Self {
            journal,
            codec,
            consumer: None,
            member: member.to_owned(),
            appender,
            proposal: canonical(pipeline),
            apply,
            leader: false,
            read_to: 0,
            known_to: None,
            latest: None,
            weighed: false,
            deciding: None,
            has: BTreeMap::new(),
            pending: Vec::new(),
            view: Arc::default(),
        }
    }

    /// What it sees, renewed with every turn.
    #[must_use]
    pub fn view(&self) -> Arc<Mutex<ControllerView>> {
        Arc::clone(&self.view)
    }

    /// Once round: reads decisions, proposes, copies.
    ///
    /// # Errors
    /// Only what cannot be tried again.
    pub fn turn(&mut self, wait: Duration) -> Result<(), JournalError> {
        let done = self.try_turn(wait);
        self.publish_view();
        match done {
            Err(why) if why.disposition() == Disposition::Fatal => Err(why),
            Err(why) => {
                tracing::debug!(%why, "the controller tries again");
                if why.disposition() == Disposition::Rejoin {
                    self.consumer = None;
                    self.leader = false;
                }
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Whether every partition has the latest generation, as far as this controller knows.
    #[must_use]
    pub fn settled(&self) -> bool {
        self.leader
            && self.caught_up()
            && self.weighed
            && self.deciding.is_none()
            && self.latest.is_some()
            && self.missing().is_empty()
            && self.pending.is_empty()
    }

    /// Whether decisions are this controller's to copy.
    pub(crate) const fn leads(&self) -> bool {
        self.leader
    }

    fn caught_up(&self) -> bool {
        self.known_to.is_some_and(|end| self.read_to >= end)
    }

    fn try_turn(&mut self, wait: Duration) -> Result<(), JournalError> {
        self.read(wait)?;
        if !self.leader {
            return Ok(());
        }
        self.collect();
        if !self.caught_up() {
            return Ok(());
        }
        self.propose()?;
        self.copy()
    }

    fn read(&mut self, wait: Duration) -> Result<(), JournalError> {
        let mut consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.journal.consumer(CONTROLLER_GROUP, &self.member, &[Topic::Control])?,
        };
        let mut gained = false;
        let polled = consumer.poll(wait, POLL_RECORDS_MAX, &mut |event| match event {
            ConsumerEvent::Assigned(list) => gained |= list.iter().any(|one| one.partition == DECISIONS),
            ConsumerEvent::Revoked { .. } => self.leader = false,
            ConsumerEvent::Reached { offset, .. } => self.read_to = self.read_to.max(offset),
            ConsumerEvent::Batch { records, .. } => {
                for record in records {
                    self.read_to = record.offset + 1;
                    match self.codec.decode::<Control>(record.value) {
                        Ok(control) if control.pipeline.is_some() => {
                            self.latest = Some((record.offset, control))
                        }
                        Ok(_) => {}
                        Err(why) => {
                            tracing::error!(offset = record.offset, %why, "a decision cannot be read")
                        }
                    }
                }
            }
        });
        let led = if gained { self.lead(&mut *consumer) } else { Ok(()) };
        self.consumer = Some(consumer);
        polled?;
        led
    }

    /// Leadership has come: all decisions are read from the first one.
    fn lead(&mut self, consumer: &mut dyn Consumer) -> Result<(), JournalError> {
        let (start, end) = consumer.bounds(DECISIONS)?;
        consumer.seek(DECISIONS, start)?;
        self.leader = true;
        self.read_to = start;
        self.known_to = Some(end);
        self.latest = None;
        self.has.clear();
        self.pending.clear();
        let mut reader = self.journal.reader()?;
        for partition in 0..self.journal.partitions() {
            let at = TopicPartition { topic: Topic::Raw, partition };
            if let Some(committed) = reader.committed(GROUP, at)?
                && let Ok(metadata) = read_metadata(&self.codec, &committed)
            {
                self.has.insert(partition, metadata.generation);
            }
        }
        Ok(())
    }

    /// Appends the file's pipeline as a decision, if there is none yet or it may replace the one in force. Later
    /// decisions of others stand.
    fn propose(&mut self) -> Result<(), JournalError> {
        if self.weighed || self.is_deciding() {
            return Ok(());
        }
        if let Some((generation, control)) = &self.latest {
            let same = control.pipeline.as_deref().and_then(again).as_deref() == Some(&self.proposal);
            if same || !self.apply {
                if !same {
                    tracing::warn!(
                        generation,
                        "the configuration file says something else than the generation in force; propose it with --apply"
                    );
                }
                self.weighed = true;
                return Ok(());
            }
        }
        self.deciding =
            Some(decide(&*self.appender, &self.codec, &pipeline_decision(self.proposal.clone()))?);
        Ok(())
    }

    /// Whether a decision of this controller's is on its way. One that was not written, or that nobody knows of, is
    /// weighed again with what has been read by then.
    fn is_deciding(&mut self) -> bool {
        let Some(answer) = &self.deciding else { return false };
        match answer.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(Ok(offsets)) => {
                self.deciding = None;
                self.weighed = true;
                // It is not in force before it has been read: who waits for it to be everywhere waits for that.
                let behind = offsets.last().map(|offset| offset + 1);
                self.known_to = self.known_to.max(behind);
            }
            Ok(Err(_)) | Err(TryRecvError::Disconnected) => self.deciding = None,
        }
        true
    }

    fn missing(&self) -> Vec<u32> {
        let Some((generation, _)) = &self.latest else { return Vec::new() };
        let has = |partition: &u32| self.has.get(partition).is_some_and(|has| has >= generation);
        (0..self.journal.partitions()).filter(|partition| !has(partition)).collect()
    }

    /// Copies the latest decision into the partitions that do not have it.
    fn copy(&mut self) -> Result<(), JournalError> {
        let Some((generation, control)) = self.latest.clone() else { return Ok(()) };
        let on_its_way: BTreeSet<u32> = self.pending.iter().map(|(partition, ..)| *partition).collect();
        for partition in self.missing().into_iter().filter(|partition| !on_its_way.contains(partition)) {
            let copy = Raw::Control(Control { generation, ..control.clone() });
            let record = NewRecord {
                to: TopicPartition { topic: Topic::Raw, partition },
                key: None,
                value: self.codec.to_bytes(&copy),
                headers: Vec::new(),
            };
            let (done, answer) = sync_channel(1);
            let told = Box::new(move |written| {
                let _ = done.send(written);
            });
            self.appender.append(vec![record], told)?;
            self.pending.push((partition, generation, answer));
        }
        self.collect();
        Ok(())
    }

    /// Notes which copies are durable; failed ones are written again.
    fn collect(&mut self) {
        let has = &mut self.has;
        self.pending.retain(|(partition, generation, answer)| match answer.try_recv() {
            Err(TryRecvError::Empty) => true,
            Ok(Ok(_)) => {
                has.insert(*partition, *generation);
                false
            }
            Ok(Err(_)) | Err(TryRecvError::Disconnected) => false,
        });
    }

    fn publish_view(&self) {
        let differs = self.latest.as_ref().is_some_and(|(_, control)| {
            control.pipeline.as_deref().and_then(again).is_some_and(|in_force| in_force != self.proposal)
        });
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = ControllerView {
            leader: self.leader,
            generation: self.latest.as_ref().map(|(generation, _)| *generation),
            differs,
            missing: self.missing(),
        };
    }
}

/// The canonical text of a pipeline, whoever wrote it.
fn again(text: &str) -> Option<String> {
    serde_json::from_str::<Pipeline>(text).ok().map(|pipeline| canonical(&pipeline))
}

/// A decision about the pipeline; its generation is the offset it gets.
pub(crate) fn pipeline_decision(text: String) -> Control {
    Control { generation: -1, pipeline: Some(text), models: None, skip_from: None, skip_to: None }
}

/// Appends a decision; the answer comes when it is durable.
fn decide(appender: &dyn Appender, codec: &Codec, decision: &Control) -> Result<Written, JournalError> {
    let record = NewRecord { to: DECISIONS, key: None, value: codec.to_bytes(decision), headers: Vec::new() };
    let (tell, answer) = sync_channel(1);
    let done = Box::new(move |written: Result<Vec<i64>, JournalError>| {
        match &written {
            Ok(offsets) => tracing::info!(generation = offsets.first(), "a decision was written"),
            Err(why) => tracing::error!(%why, "a decision was not written"),
        }
        let _ = tell.send(written);
    });
    appender.append(vec![record], done)?;
    Ok(answer)
}

/// What `models` says in a decision about one partition only.
fn partition_only(partition: u32) -> String {
    format!("{{\"partition\":{partition}}}")
}

/// Decides that a range of a partition is kept from the models; in force once the answer is there.
pub(crate) fn decide_skip(
    appender: &dyn Appender,
    codec: &Codec,
    partition: u32,
    (from, to): (i64, i64),
) -> Result<Written, JournalError> {
    let decision = Control {
        generation: -1,
        pipeline: None,
        models: Some(partition_only(partition)),
        skip_from: Some(from),
        skip_to: Some(to),
    };
    decide(appender, codec, &decision)
}

/// Ranges of a partition that decisions keep from the models. They are read before anything is folded, so that
/// a re-fold skips what the first fold had to skip.
pub(crate) fn skips(
    reader: &mut dyn Reader,
    codec: &Codec,
    partition: u32,
) -> Result<Vec<(i64, i64)>, JournalError> {
    let mine = partition_only(partition);
    let mut ranges = Vec::new();
    read_decisions(reader, codec, |_, control| {
        if control.models.as_deref() == Some(&mine)
            && let (Some(from), Some(to)) = (control.skip_from, control.skip_to)
        {
            ranges.push((from, to));
        }
    })?;
    Ok(ranges)
}

/// Every decision that can be read, in order, with its offset.
pub(crate) fn read_decisions(
    reader: &mut dyn Reader,
    codec: &Codec,
    mut each: impl FnMut(i64, Control),
) -> Result<(), JournalError> {
    let (mut from, end) = reader.bounds(DECISIONS)?;
    let mut unread = None;
    while from < end {
        let next = reader.read(DECISIONS, from, POLL_RECORDS_MAX, &mut |record| {
            match codec.decode::<Control>(record.value) {
                Ok(control) => each(record.offset, control),
                Err(DecodeError::Retry(why)) => unread = Some(why),
                // Nobody can read it, now or later: it decides nothing.
                Err(DecodeError::Reject(_)) => {}
            }
        })?;
        if let Some(why) = unread {
            return Err(JournalError::Retry(why));
        }
        if next == from {
            break;
        }
        from = next;
    }
    Ok(())
}
