//! Decisions: appended to `iot.control`, whose offset is the generation, and copied into every partition of
//! `iot.raw`.
//!
//! One controller decides at a time (the owner of the one partition of `iot.control` in a group of its own), but
//! nothing breaks if two do: a decision is in force from its own offset on, a partition ignores generations at or
//! below its own, and whoever comes next completes what was left half-written.
//!
//! Copies are not written in a transaction: a dead one would stop every partition.

mod decisions;
mod watching;

pub(crate) use decisions::{
    DECISIONS, Held, Latest, decide, decide_skip, latest, pipeline_decision, read_decisions, roles_decision,
    skips, take,
};
pub(crate) use watching::{Trial, Watching};

use crate::recovery::read_metadata;
use crate::rollout::{self, Next};
use crate::state::canonical;
use crate::{CONTROLLER_GROUP, GROUP};
use journal::port::{
    Appender, Consumer, ConsumerEvent, Disposition, Journal, JournalError, NewRecord, TopicPartition,
};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::pipeline::{Model, Pipeline};
use schemas::record::{Control, Raw};
use schemas::roles::{Deployment, Roles};
use schemas::topic::Topic;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Records of one poll.
const POLL_RECORDS_MAX: usize = 256;
/// Between two looks at what versions on trial have done.
const WATCH_EVERY: Micros = 500_000;

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
    latest: Option<Latest>,
    /// The latest decision that was void.
    void: Option<i64>,
    /// The file's pipeline has been weighed against the decisions: once in a controller's life.
    weighed: bool,
    /// The answer to the decision it has made.
    deciding: Option<Written>,
    /// The answer to a step of a trial.
    stepping: Option<Written>,
    watching: Watching,
    /// When it was looked at last.
    watched_at: Micros,
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
        let watching = Watching::new(Arc::clone(&journal), codec.clone());
        Self {
            watching,
            watched_at: 0,
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
            void: None,
            weighed: false,
            deciding: None,
            stepping: None,
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
        self.collect()?;
        if !self.caught_up() {
            return Ok(());
        }
        self.propose()?;
        self.copy()?;
        if self.settled() { self.try_steps() } else { Ok(()) }
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
                        Ok(control) => {
                            if decisions::take(&mut self.latest, record.offset, control) == Held::Void {
                                self.void = Some(record.offset);
                            }
                        }
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
        if self.weighed || self.is_deciding()? {
            return Ok(());
        }
        if let Some(latest) = &self.latest {
            let same = latest.control.pipeline.as_deref().and_then(again).as_deref() == Some(&self.proposal);
            if same || !self.apply {
                if !same {
                    tracing::warn!(
                        generation = latest.generation,
                        "the configuration file says something else than the generation in force; propose it with --apply"
                    );
                }
                self.weighed = true;
                return Ok(());
            }
        }
        let decision = proposal(self.latest.as_ref(), self.proposal.clone());
        self.deciding = Some(decide(&*self.appender, &self.codec, &decision)?);
        Ok(())
    }

    /// Whether a decision of this controller's is on its way. One that was not written, or that nobody knows of, is
    /// weighed again with what has been read by then.
    fn is_deciding(&mut self) -> Result<bool, JournalError> {
        let Some(answer) = &self.deciding else { return Ok(false) };
        match answer.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(Ok(offsets)) => {
                self.deciding = None;
                // Another decision may have come in between: then this one is weighed again.
                self.weighed = self.void.is_none() || self.void != offsets.first().copied();
                // It is not in force before it has been read: who waits for it to be everywhere waits for that.
                let behind = offsets.last().map(|offset| offset + 1);
                self.known_to = self.known_to.max(behind);
            }
            Ok(Err(why)) if why.disposition() == Disposition::Fatal => return Err(why),
            Ok(Err(_)) | Err(TryRecvError::Disconnected) => self.deciding = None,
        }
        Ok(true)
    }

    fn missing(&self) -> Vec<u32> {
        let Some(latest) = &self.latest else { return Vec::new() };
        let has = |partition: &u32| self.has.get(partition).is_some_and(|has| *has >= latest.generation);
        (0..self.journal.partitions()).filter(|partition| !has(partition)).collect()
    }

    /// Copies the latest decision into the partitions that do not have it.
    fn copy(&mut self) -> Result<(), JournalError> {
        let Some(Latest { generation, control, .. }) = self.latest.clone() else { return Ok(()) };
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
        self.collect()
    }

    /// Notes which copies are durable; failed ones are written again, where that may help.
    fn collect(&mut self) -> Result<(), JournalError> {
        let has = &mut self.has;
        let mut fatal = Ok(());
        self.pending.retain(|(partition, generation, answer)| match answer.try_recv() {
            Err(TryRecvError::Empty) => true,
            Ok(Ok(_)) => {
                has.insert(*partition, *generation);
                false
            }
            Ok(Err(why)) => {
                if why.disposition() == Disposition::Fatal {
                    fatal = Err(why);
                }
                false
            }
            Err(TryRecvError::Disconnected) => false,
        });
        fatal
    }

    /// Takes the next step of a trial that is due; the decision is in force once it has been read.
    fn try_steps(&mut self) -> Result<(), JournalError> {
        if let Some(answer) = &self.stepping {
            match answer.try_recv() {
                Err(TryRecvError::Empty) => return Ok(()),
                Ok(Ok(offsets)) => self.known_to = self.known_to.max(offsets.last().map(|offset| offset + 1)),
                Ok(Err(why)) if why.disposition() == Disposition::Fatal => return Err(why),
                // Whatever became of it: what is in force is looked at again.
                Ok(Err(_)) | Err(TryRecvError::Disconnected) => {}
            }
            self.stepping = None;
            return Ok(());
        }
        let Some(latest) = &self.latest else { return Ok(()) };
        let now = self.journal.now();
        if now < self.watched_at + WATCH_EVERY {
            return Ok(());
        }
        self.watched_at = now;
        let roles = latest.roles();
        self.watching.look(&roles)?;
        if let Some(roles) = stepped(latest, roles, &self.watching, now) {
            let decision = roles_decision(latest, None, roles);
            self.stepping = Some(decide(&*self.appender, &self.codec, &decision)?);
        }
        Ok(())
    }

    fn publish_view(&self) {
        let differs = self.latest.as_ref().is_some_and(|latest| {
            let text = latest.control.pipeline.as_deref();
            text.and_then(again).is_some_and(|in_force| in_force != self.proposal)
        });
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = ControllerView {
            leader: self.leader,
            generation: self.latest.as_ref().map(|latest| latest.generation),
            differs,
            missing: self.missing(),
        };
    }
}

/// The canonical text of a pipeline, whoever wrote it.
fn again(text: &str) -> Option<String> {
    serde_json::from_str::<Pipeline>(text).ok().map(|pipeline| canonical(&pipeline))
}

/// The file's pipeline as a decision upon the one in force: roles of models that it says the same of stay.
pub(crate) fn proposal(latest: Option<&Latest>, text: String) -> Control {
    let Some(latest) = latest else { return pipeline_decision(text) };
    let after = serde_json::from_str::<Pipeline>(&text).ok();
    let kept = match (latest.pipeline(), after) {
        (Some(before), Some(after)) => latest.roles().kept(&before, &after),
        _ => Roles::default(),
    };
    roles_decision(latest, Some(text), kept)
}

/// Which trial the counts of workers have to be of.
pub(crate) fn trial_of(model: &Model, deployment: &Deployment) -> Option<Trial> {
    let trial = deployment.trial.as_ref()?;
    let mut beside = model.clone();
    beside.set_version(trial.version.clone());
    Some((model.name.clone(), scoring::version_of(&beside)?, trial.stage.to_string()))
}

/// The roles after the steps that are due; none: nothing changes.
fn stepped(latest: &Latest, mut roles: Roles, watching: &Watching, now: Micros) -> Option<Roles> {
    if roles.roles.values().all(|deployment| deployment.trial.is_none()) {
        return None;
    }
    let (generation, mut changed) = (latest.generation, false);
    for model in &latest.pipeline()?.models {
        let Some(deployment) = roles.roles.get_mut(&model.name) else { continue };
        let Some(trial) = trial_of(model, deployment) else { continue };
        if let Next::Step(after, why) =
            rollout::next(model, deployment, &watching.sums(&trial, generation), now)
        {
            let (model, version, stage) = trial;
            tracing::info!(model, version, stage, why, "a trial goes on or ends");
            *deployment = *after;
            changed = true;
        }
    }
    changed.then_some(roles)
}
