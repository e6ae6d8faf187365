//! What the group and the log bring.

use super::Worker;
use super::assigned::{Assigned, Phase};
use crate::mutation::{self, Mutation};
use crate::observe;
use crate::step::Halt;
use journal::port::{Assignment, ConsumerEvent, RecordRef, TopicPartition};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a halted step waits before it is tried again.
const HALT_RETRY: Duration = Duration::from_millis(500);

/// Setbacks in a row after which somebody is told.
const SETBACKS_TOLD: u32 = 3;

impl Worker {
    pub(super) fn event(&mut self, event: ConsumerEvent<'_>) {
        match event {
            ConsumerEvent::Assigned(assignments) => self.assigned(assignments),
            ConsumerEvent::Revoked { partitions, lost: true } => self.lose(partitions),
            ConsumerEvent::Revoked { partitions, lost: false } => self.give_up(partitions),
            ConsumerEvent::Batch { partition, records } => self.batch(partition, records),
            // Nobody writes transactions into `iot.raw`: its last record is its end.
            ConsumerEvent::Reached { .. } => {}
        }
    }

    fn seat(&mut self, seated: bool) {
        self.seated = seated;
        self.setup.view.seat(&self.setup.name, seated);
    }

    fn assigned(&mut self, assignments: &[Assignment]) {
        self.seat(true);
        let now = self.now();
        for assignment in assignments {
            let partition = assignment.partition.partition;
            let codec = &self.setup.tools.codec;
            let part = Assigned::new(partition, assignment.committed.clone(), codec, now);
            if self.parts.insert(partition, part).is_some() {
                // Assigned again without a word: what was on its way is of the old assignment.
                self.dropped.insert(partition);
            }
            self.show(partition);
        }
    }

    /// The group wants partitions back and waits for us.
    fn give_up(&mut self, partitions: &[TopicPartition]) {
        self.seat(false);
        let going: BTreeSet<u32> = partitions.iter().map(|partition| partition.partition).collect();
        if let Err(why) = self.drain(&going) {
            self.failure = Some(why.to_string());
        }
        for partition in going {
            if let Some(part) = self.parts.remove(&partition) {
                let clean = part.is_clean();
                if let Some(state) = part.state.filter(|_| clean) {
                    self.warm.insert(partition, state);
                }
            }
            self.forget(partition);
        }
    }

    /// Partitions are gone already: nothing of them may be committed any more.
    pub(super) fn lose(&mut self, partitions: &[TopicPartition]) {
        self.seat(false);
        for partition in partitions {
            self.parts.remove(&partition.partition);
            self.warm.remove(&partition.partition);
            self.forget(partition.partition);
        }
    }

    fn forget(&mut self, partition: u32) {
        self.reseek.remove(&partition);
        self.setup.view.hide(partition, &self.setup.name);
        if self.flight.is_some() && !mutation::is(Mutation::TokenLate) {
            self.dropped.insert(partition);
        }
    }

    fn batch(&mut self, partition: TopicPartition, records: &[RecordRef<'_>]) {
        let started = self.now();
        let Some(mut part) = self.parts.remove(&partition.partition) else { return };
        let before = std::mem::discriminant(&part.phase);
        let replaying = matches!(part.phase, Phase::Replaying(_));
        let folded = self.fold(&mut part, records);
        if folded < records.len() {
            self.reseek.insert(partition.partition);
        }
        let changed = before != std::mem::discriminant(&part.phase);
        self.parts.insert(partition.partition, part);
        if replaying || changed {
            self.show(partition.partition);
        }
        let busy = self.now().saturating_sub(started);
        self.measure_rate(folded, busy);
    }

    /// Folds a batch as far as it goes; returns how many records are behind us.
    fn fold(&mut self, part: &mut Assigned, records: &[RecordRef<'_>]) -> usize {
        for (index, record) in records.iter().enumerate() {
            if let Phase::Replaying(expected) = &part.phase
                && record.offset >= expected.mark.position
            {
                self.replayed(part);
            }
            if !matches!(part.phase, Phase::Live | Phase::Replaying(_)) {
                return index;
            }
            let Some(state) = &mut part.state else { return index };
            if record.offset < state.position() {
                continue;
            }
            if part.reported.is_none() && matches!(part.phase, Phase::Live) {
                part.reported = Some(observe::outcomes(&state.totals()));
            }
            if part.target.is_some_and(|target| state.position() >= target) {
                return index;
            }
            if let Err(halt) = state.step(record, &mut self.setup.tools, &mut part.out) {
                self.halt(part, &halt);
                return index;
            }
            part.snapshots.records += 1;
            part.snapshots.bytes += (record.value.len() + record.key.map_or(0, <[u8]>::len)) as u64;
        }
        if matches!(part.phase, Phase::Replaying(_)) {
            self.replay_on(part);
        }
        records.len()
    }

    /// A step cannot go on: the partition waits, the others do not.
    pub(super) fn halt(&self, part: &mut Assigned, halt: &Halt) {
        let expected = match std::mem::replace(&mut part.phase, Phase::Live) {
            Phase::Replaying(expected) => Some(expected),
            _ => None,
        };
        if matches!(halt, Halt::Braked(_)) {
            part.braked.0 += 1;
            part.braked.1 += 1;
        }
        part.setbacks += 1;
        let why = halt.to_string();
        // Once for each trouble, and not for one that is over at once.
        if part.setbacks == SETBACKS_TOLD {
            self.report(part.partition, why.clone());
        }
        part.phase = Phase::Blocked { retry_at: self.now() + HALT_RETRY, why, expected };
    }

    /// Keeps a running mean of the fold's speed; it decides when snapshots are due, nothing else.
    fn measure_rate(&mut self, records: usize, busy: Duration) {
        if records < 64 || busy.is_zero() {
            return;
        }
        let rate = (records as u128 * 1_000_000_000 / busy.as_nanos().max(1)) as u64;
        self.fold_rate = (self.fold_rate * 15 + rate.max(1_000)) / 16;
    }
}
