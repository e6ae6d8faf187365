//! From an assignment to a live partition, and back from trouble.

use super::assigned::{Assigned, Phase};
use super::{RETRY_MAX, RETRY_MIN, Worker, WorkerError};
use crate::controller;
use crate::recovery::{self, NoPlan, Recovery, Verdict};
use crate::state::PartitionState;
use chassis::metrics as names;
use journal::port::{Disposition, JournalError, TopicPartition};
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

/// Setbacks in a row after which `--until-end` gives up: some ten seconds.
const SETBACKS_MAX: u32 = 20;
/// Brakes in a row after which a decision is asked for.
const BRAKES_MAX: u32 = 3;

impl Worker {
    /// Brings partitions forward that wait for something and whose time has come.
    pub(super) fn revive(&mut self) -> Result<(), WorkerError> {
        let now = self.now();
        let due: Vec<u32> = self.parts.iter().filter(|(_, part)| part.is_due(now)).map(|(p, _)| *p).collect();
        for partition in due {
            let Some(mut part) = self.parts.remove(&partition) else { continue };
            let done = match &part.phase {
                Phase::Starting { .. } => self.recover(&mut part),
                _ => self.resume_blocked(&mut part),
            };
            self.reseek.insert(partition);
            self.parts.insert(partition, part);
            self.show(partition);
            done?;
        }
        if !self.warm.is_empty() && self.seated && !self.parts.values().any(Assigned::is_starting) {
            // What did not come back with this assignment is somebody else's, and moves on without us.
            self.warm.clear();
        }
        Ok(())
    }

    fn recover(&mut self, part: &mut Assigned) -> Result<(), WorkerError> {
        let number = part.partition.partition;
        if self.flight.is_some() {
            // What is on its way may move the position that this partition begins at.
            part.phase = Phase::Starting { retry_at: self.now() + RETRY_MIN, why: None };
            return Ok(());
        }
        let warm = self.warm.remove(&number);
        let mut reader = match self.reader() {
            Ok(reader) => reader,
            Err(why) => return self.later(part, why),
        };
        let mut recovery = Recovery {
            partition: number,
            partitions: self.setup.journal.partitions(),
            reader: &mut *reader,
            tools: &self.setup.tools,
        };
        let plan = recovery.plan(part.fetched.as_ref(), warm);
        let skips = controller::skips(&mut *reader, &self.setup.tools.codec, number);
        let target = reader.bounds(part.partition).map(|(_, end)| end);
        self.reader = Some(reader);
        let (skips, target) = match (skips, target) {
            (Ok(skips), Ok(target)) => (skips, target),
            (Err(why), _) | (_, Err(why)) => return self.later(part, why),
        };
        match plan {
            Ok(mut plan) => {
                for note in plan.notes.drain(..).chain(plan.degraded.clone()) {
                    self.report(part.partition, note);
                }
                plan.state.skip_scoring(&skips);
                if self.setup.until_end && part.target.is_none() {
                    part.target = Some(target);
                }
                part.begin(plan);
                part.snapshots.taken_at = self.now();
                self.replay_on(part);
            }
            Err(NoPlan::Later(why)) => {
                part.setbacks += 1;
                let retry_at = self.now() + RETRY_MAX;
                part.phase = Phase::Starting { retry_at, why: Some(why) };
            }
            Err(NoPlan::Quarantine(why)) => self.quarantine(part, why, None),
        }
        Ok(())
    }

    fn later(&mut self, part: &mut Assigned, why: JournalError) -> Result<(), WorkerError> {
        if why.disposition() == Disposition::Fatal {
            return Err(self.journal_error(why));
        }
        part.setbacks += 1;
        let retry_at = self.now() + RETRY_MAX;
        part.phase = Phase::Starting { retry_at, why: Some(why.to_string()) };
        Ok(())
    }

    /// Tries a halted step again; after the third brake the range is kept from the models, by decision.
    fn resume_blocked(&mut self, part: &mut Assigned) -> Result<(), WorkerError> {
        if part.deciding.is_some() {
            self.decided(part);
            return Ok(());
        }
        let waiting = part.state.as_ref().and_then(PartitionState::waiting);
        // What was committed with its scores is folded again with them, however long it takes.
        let committed = matches!(part.phase, Phase::Blocked { expected: Some(_), .. });
        if part.braked.0 >= BRAKES_MAX
            && !committed
            && let Some((first, last)) = waiting
        {
            let partition = part.partition.partition;
            let codec = &self.setup.tools.codec;
            match controller::decide_skip(&*self.appender, codec, partition, (first, last + 1)) {
                Ok(deciding) => {
                    self.report(
                        part.partition,
                        format!("offsets {first} to {last} are kept from the models"),
                    );
                    part.deciding = Some(deciding);
                    self.decided(part);
                }
                Err(why) if why.disposition() == Disposition::Fatal => return Err(self.journal_error(why)),
                Err(why) => part.wait_blocked(self.now() + RETRY_MAX, why.to_string()),
            }
            return Ok(());
        }
        if let Phase::Blocked { expected, .. } = &mut part.phase {
            part.phase = expected.take().map_or(Phase::Live, Phase::Replaying);
        }
        // There may be nothing left to read before the committed position.
        self.replay_on(part);
        Ok(())
    }

    /// Starts over once the decision is durable: folded earlier, the range would be scored by this owner and by no
    /// later one.
    fn decided(&self, part: &mut Assigned) {
        let Some(answer) = &part.deciding else { return };
        match answer.try_recv() {
            Err(TryRecvError::Empty) => {
                part.wait_blocked(self.now() + RETRY_MIN, "a decision is written".to_owned())
            }
            Ok(Ok(_)) => {
                part.deciding = None;
                part.braked.0 = 0;
                part.start_over(self.now());
            }
            Ok(Err(why)) => {
                part.deciding = None;
                part.wait_blocked(self.now() + RETRY_MAX, format!("a decision was not written: {why}"));
            }
            Err(TryRecvError::Disconnected) => {
                part.deciding = None;
                part.wait_blocked(self.now() + RETRY_MAX, "a decision was not answered".to_owned());
            }
        }
    }

    /// A batch of a silent re-fold is done: its outputs are digested, the end is recognised.
    pub(super) fn replay_on(&mut self, part: &mut Assigned) {
        let Phase::Replaying(expected) = &part.phase else { return };
        let until = expected.mark.position;
        let Some(state) = &mut part.state else { return };
        if let Err(halt) = state.settle(&mut self.setup.tools, &mut part.out) {
            self.halt(part, &halt);
            return;
        }
        state.seal(&mut part.out, None);
        if state.position() >= until {
            self.replayed(part);
        }
    }

    /// The committed position is reached: is the state what was committed?
    pub(super) fn replayed(&mut self, part: &mut Assigned) {
        let Phase::Replaying(expected) = &part.phase else { return };
        let expected = expected.clone();
        let Some(state) = &mut part.state else { return };
        if let Err(halt) = state.settle(&mut self.setup.tools, &mut part.out) {
            self.halt(part, &halt);
            return;
        }
        state.seal(&mut part.out, None);
        part.phase = Phase::Live;
        if part.degraded.is_some() {
            self.adopt(part, &expected);
            return;
        }
        match recovery::compare(&state.mark(), &expected, &self.setup.build) {
            Verdict::Same => {}
            Verdict::OtherBuild(what) => {
                metrics::counter!(names::REFOLD_DIFFERS_TOTAL).increment(1);
                self.report(
                    part.partition,
                    format!("another build computed something else; going on: {what}"),
                );
                part.degraded = Some("continued after another build computed something else".to_owned());
                self.adopt(part, &expected);
            }
            Verdict::Differs(what) => {
                metrics::counter!(names::REFOLD_DIFFERS_TOTAL).increment(1);
                self.quarantine(part, what, Some(expected));
            }
        }
    }

    /// Goes on from what was committed.
    pub(super) fn adopt(&mut self, part: &mut Assigned, expected: &recovery::Expected) {
        let Some(state) = &mut part.state else { return };
        let reader = match self.reader.take() {
            Some(reader) => Ok(reader),
            None => self.setup.journal.reader(),
        };
        let adopted = reader.map_err(NoPlan::from).and_then(|mut reader| {
            let mut recovery = Recovery {
                partition: part.partition.partition,
                partitions: state.partitions(),
                reader: &mut *reader,
                tools: &self.setup.tools,
            };
            let adopted = recovery.adopt(state, &expected.mark);
            self.reader = Some(reader);
            adopted
        });
        match adopted {
            Ok(()) => {
                part.continued = Some(expected.mark.position);
                part.phase = Phase::Live;
            }
            Err(why) => {
                let retry_at = self.now() + RETRY_MAX;
                part.phase = Phase::Starting { retry_at, why: Some(why.to_string()) };
                part.state = None;
            }
        }
    }

    pub(super) fn quarantine(&self, part: &mut Assigned, why: String, expected: Option<recovery::Expected>) {
        self.report(part.partition, format!("quarantined: {why}"));
        part.phase = Phase::Quarantined { why, expected };
    }

    /// Retention has run over the position.
    pub(super) fn out_of_range(&mut self, partition: TopicPartition, offset: i64, start: i64) {
        let number = partition.partition;
        let Some(part) = self.parts.get_mut(&number) else { return };
        if let (Phase::Live, Some(state)) = (&part.phase, &mut part.state) {
            let from = state.position();
            // What was told twice was lost once.
            if start > from {
                state.note_lost(from, start);
                // A snapshot from before the gap cannot tell what was lost from what was folded.
                part.continued = Some(start);
                metrics::counter!(names::LOST_RECORDS_TOTAL).increment((start - from).cast_unsigned());
                let last = start - 1;
                let what =
                    format!("retention took offsets {from} to {last} before they were read: they are lost");
                self.report(partition, what);
            }
        } else {
            let now = self.now();
            if let Some(part) = self.parts.get_mut(&number) {
                part.start_over(now);
            }
            self.report(partition, format!("the log starts at {start} now, {offset} is gone; starting over"));
        }
        self.reseek.insert(number);
    }

    /// Lets the consumer deliver what the states want next, and nothing to those that wait.
    pub(super) fn reposition(&mut self) -> Result<(), WorkerError> {
        let Some(mut consumer) = self.consumer.take() else { return Ok(()) };
        let mut failed = None;
        for number in std::mem::take(&mut self.reseek) {
            let Some(part) = self.parts.get_mut(&number) else { continue };
            let wants = part.wants();
            match wants {
                None => {
                    part.paused = true;
                    consumer.pause(part.partition);
                }
                Some(position) => {
                    if part.paused && !self.throttled {
                        consumer.resume(part.partition);
                    }
                    part.paused = false;
                    if let Err(why) = consumer.seek(part.partition, position) {
                        failed = Some(why);
                    }
                }
            }
        }
        self.consumer = Some(consumer);
        failed.map_or(Ok(()), |why| self.trouble(&why))
    }
}

impl Assigned {
    /// Whether it waits for something and its time has come.
    fn is_due(&self, now: Duration) -> bool {
        match &self.phase {
            Phase::Starting { retry_at, .. } | Phase::Blocked { retry_at, .. } => *retry_at <= now,
            _ => false,
        }
    }

    /// Waits on where it is blocked.
    fn wait_blocked(&mut self, until: Duration, what_for: String) {
        if let Phase::Blocked { retry_at, why, .. } = &mut self.phase {
            *retry_at = until;
            *why = what_for;
        }
    }

    fn is_starting(&self) -> bool {
        matches!(self.phase, Phase::Starting { .. })
    }

    /// Throws the state away; it will be folded again from what was committed.
    pub(super) fn start_over(&mut self, now: Duration) {
        self.phase = Phase::Starting { retry_at: now, why: None };
        self.state = None;
        self.out.clear();
        self.unsent.clear();
        self.cut_to = self.committed;
    }

    /// Next offset it wants to be given; none: nothing at the moment.
    fn wants(&self) -> Option<i64> {
        let position = self.position()?;
        let reading = matches!(self.phase, Phase::Live | Phase::Replaying(_));
        (reading && self.target.is_none_or(|target| position < target)).then_some(position)
    }

    /// What keeps it from ever reaching its end, as far as can be told.
    pub(super) fn stuck(&self) -> Option<String> {
        let patience = self.setbacks >= SETBACKS_MAX;
        let why = match &self.phase {
            Phase::Quarantined { why, .. } => why,
            Phase::Blocked { why, .. } | Phase::Starting { why: Some(why), .. } if patience => why,
            _ => return None,
        };
        Some(format!("partition {}: {why}", self.partition.partition))
    }

    /// Nothing is left to be committed.
    pub(super) fn is_clean_or_empty(&self) -> bool {
        self.is_clean() || (matches!(self.phase, Phase::Live) && !self.has_progress() && !self.waits())
    }
}
