//! The one thread that writes: what has queued up is committed together, and answered after the commit.
//!
//! Invariants:
//! * Nothing is answered with success before its transaction is synced.
//! * Published bounds, positions and schemas are those of a committed transaction, published before the answers.
//! * A commit is admitted (producer epoch, group token) on this thread only, so that [`Op::Settle`] and
//!   [`Op::Fence`], answered after their batch is committed, have every earlier commit behind them.

use super::file;
use super::queue::{Op, Taken};
use super::{Core, Limits};
use crate::port::{Appended, Committed, GroupToken, JournalError, TopicPartition};
use crate::published::Published;
use crate::segment::Packed;
use crate::wake::locked;
use rusqlite::{Connection, params};
use schemas::Micros;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A partition as the file has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    pub(super) start: i64,
    pub(super) end: i64,
    pub(super) received_at: Micros,
    pub(super) bytes: i64,
}

/// First offset kept and the offset after the last, of every slot.
pub(super) fn bounds_of(slots: &[Slot]) -> Vec<(i64, i64)> {
    slots.iter().map(|slot| (slot.start, slot.end)).collect()
}

/// The writer's own.
pub(super) struct Writer {
    pub(super) core: Arc<Core>,
    pub(super) connection: Connection,
    pub(super) slots: Vec<Slot>,
    pub(super) limits: Limits,
    /// When a commit that failed was last spoken of.
    pub(super) said: Option<Instant>,
}

/// A disk that stays full is spoken of so often.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// What an op is answered with, once the batch is committed.
enum Answer {
    Appended(Vec<i64>),
    Done,
    Settled,
    Epoch(u64),
    Id(u32),
    Refused(JournalError),
    Retain,
}

impl Answer {
    /// Whether it promises a write.
    const fn writes(&self) -> bool {
        matches!(self, Self::Appended(_) | Self::Done | Self::Id(_))
    }

    /// Why there is no other answer.
    fn error(self) -> JournalError {
        match self {
            Self::Refused(error) => error,
            _ => JournalError::Fatal("the writer's answer does not fit the call".to_owned()),
        }
    }

    /// Turns it into a refusal; one that is there already keeps its reason.
    fn refuse(&mut self, error: &JournalError) {
        if !matches!(self, Self::Refused(_)) {
            *self = Self::Refused(error.clone());
        }
    }
}

/// What a batch will have changed.
struct Draft {
    slots: Vec<Slot>,
    published: Published,
    /// Pieces by op and part, per slot, in order.
    pieces: Vec<Vec<(usize, usize)>>,
    touched: bool,
}

impl Writer {
    /// Runs until the queue is shut and empty.
    pub(super) fn run(mut self) {
        let mut due = Instant::now() + self.limits.retention_interval;
        loop {
            match self.core.queue.take(self.limits.group_records_max, self.limits.group_bytes_max, due) {
                Taken::Ops(ops) => self.batch(ops),
                Taken::Time => {}
                Taken::Shut => break,
            }
            if Instant::now() >= due {
                let more = self.retain_slice();
                due = Instant::now()
                    + if more { self.limits.retention_pause } else { self.limits.retention_interval };
            }
        }
        if let Err(error) = self.connection.pragma_query(None, "wal_checkpoint", |_| Ok(())) {
            tracing::warn!(%error, "the journal's last checkpoint failed; the next opening makes it");
        }
    }

    /// Commits a batch and answers it.
    fn batch(&mut self, ops: Vec<Op>) {
        let mut draft = Draft {
            slots: self.slots.clone(),
            published: Published::default(),
            pieces: vec![Vec::new(); self.slots.len()],
            touched: false,
        };
        let mut answers: Vec<Answer> =
            ops.iter().enumerate().map(|(index, op)| self.stage(index, op, &mut draft)).collect();
        match self.commit(&ops, draft) {
            Ok(()) => {}
            // Nothing was written: what only waited for its turn has had it.
            Err(error @ JournalError::Retry(_)) => {
                if self.said.is_none_or(|said| said.elapsed() >= SAY_AGAIN_AFTER) {
                    self.said = Some(Instant::now());
                    tracing::warn!(%error, ops = ops.len(), "the journal could not commit; the callers try again");
                }
                answers.iter_mut().filter(|answer| answer.writes()).for_each(|answer| answer.refuse(&error));
                self.make_room();
            }
            Err(error) => {
                self.core.break_down(&error);
                answers.iter_mut().for_each(|answer| answer.refuse(&error));
            }
        }
        for (op, answer) in ops.into_iter().zip(answers) {
            self.answer(op, answer);
        }
    }

    fn commit(&mut self, ops: &[Op], mut draft: Draft) -> Result<(), JournalError> {
        if let Some(why) = self.core.broken() {
            return Err(why);
        }
        if !draft.touched {
            return Ok(());
        }
        if let Err(error) = self.write(ops, &mut draft) {
            self.core.stats.failed.fetch_add(1, Ordering::Relaxed);
            self.roll_back()?;
            return Err(error);
        }
        self.publish(draft);
        Ok(())
    }

    /// Ends a failed transaction, unless SQLite has done so itself.
    pub(super) fn roll_back(&self) -> Result<(), JournalError> {
        if self.connection.is_autocommit() {
            return Ok(());
        }
        self.connection.execute_batch("ROLLBACK").map_err(|error| file::commit_error(&error))
    }

    /// After a refused write: the write-ahead log is copied into the file and begun anew, which needs no new room
    /// on the disk, and what retention does not keep is removed.
    fn make_room(&mut self) {
        let emptied = self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        if let Err(error) = emptied {
            tracing::debug!(%error, "the write-ahead log could not be copied into the file");
        }
        self.retain_slice();
    }

    /// Decides on an op; what it will write goes into the draft.
    fn stage(&self, index: usize, op: &Op, draft: &mut Draft) -> Answer {
        match op {
            Op::Append { packed, .. } => Answer::Appended(packed.offsets(&self.place(index, packed, draft))),
            Op::Commit { producer, token, packed, offsets, .. } => {
                if let Err(refusal) = self.admit(producer.as_ref(), token, offsets) {
                    return Answer::Refused(refusal);
                }
                self.place(index, packed, draft);
                draft.touched |= !offsets.is_empty();
                let group = draft.published.committed.entry(token.group.clone()).or_default();
                group.extend(offsets.iter().cloned());
                Answer::Done
            }
            Op::Settle { .. } => Answer::Settled,
            Op::Fence { id, .. } => {
                let mut epochs = locked(&self.core.epochs);
                let epoch = epochs.entry(id.clone()).or_default();
                *epoch += 1;
                Answer::Epoch(*epoch)
            }
            Op::Schema { subject, schema, .. } => {
                let visible = locked(&self.core.visible);
                let (id, new) = visible.published.assign(subject, schema, &mut draft.published);
                draft.touched |= new;
                Answer::Id(id)
            }
            Op::Retain { .. } => Answer::Retain,
        }
    }

    /// Gives a call's records their offsets; returns the first one of each part.
    fn place(&self, index: usize, packed: &Packed, draft: &mut Draft) -> Vec<i64> {
        let now = self.core.stamp();
        let mut first = Vec::with_capacity(packed.parts.len());
        for (part, (to, pieces)) in packed.parts.iter().enumerate() {
            let slot = self.core.layout.slot(*to).expect("admitted by the layout before it was queued");
            let at = &mut draft.slots[slot];
            first.push(at.end);
            at.end += pieces.iter().map(|piece| i64::from(piece.count)).sum::<i64>();
            at.received_at = at.received_at.max(now);
            at.bytes += pieces.iter().map(|piece| piece.body.len() as i64).sum::<i64>();
            draft.pieces[slot].push((index, part));
            draft.touched = true;
        }
        first
    }

    fn admit(
        &self,
        producer: Option<&(String, u64)>,
        token: &GroupToken,
        offsets: &[(TopicPartition, Committed)],
    ) -> Result<(), JournalError> {
        if let Some((id, epoch)) = producer
            && locked(&self.core.epochs).get(id) != Some(epoch)
        {
            return Err(JournalError::Fenced(format!("a newer producer {id} has taken over")));
        }
        locked(&self.core.groups).admit(token, offsets.iter().map(|(partition, _)| partition))
    }

    fn write(&self, ops: &[Op], draft: &mut Draft) -> Result<(), JournalError> {
        let connection = &self.connection;
        let statement = |error: rusqlite::Error| file::statement_error(&error);
        connection.execute_batch("BEGIN IMMEDIATE").map_err(statement)?;
        for (slot, partition) in self.core.layout.all().enumerate() {
            if !draft.pieces[slot].is_empty() {
                let written = self.rows(ops, partition, slot, draft).map_err(statement)?;
                debug_assert_eq!(written, draft.slots[slot].end, "every record has its offset");
            }
        }
        self.tables(draft).map_err(statement)?;
        connection.execute_batch("COMMIT").map_err(|error| file::commit_error(&error))
    }

    /// Writes a partition's pieces as segments; returns the offset after the last.
    fn rows(&self, ops: &[Op], of: TopicPartition, slot: usize, draft: &Draft) -> rusqlite::Result<i64> {
        let mut insert =
            self.connection.prepare_cached("INSERT INTO segments VALUES (?1, ?2, ?3, ?4, ?5)")?;
        let received_at = draft.slots[slot].received_at;
        let mut base = self.slots[slot].end;
        let (mut count, mut joined) = (0_u32, Vec::new());
        let mut row = |base: i64, count: u32, body: &[u8]| {
            insert.execute(params![file::row_id(of, base), count, received_at, crc32fast::hash(body), body])
        };
        let parts = draft.pieces[slot].iter().map(|(index, part)| match &ops[*index] {
            Op::Append { packed, .. } | Op::Commit { packed, .. } => &packed.parts[*part].1,
            _ => unreachable!("only appends and commits have pieces"),
        });
        for piece in parts.flatten() {
            if count > 0 && joined.len() + piece.body.len() > self.limits.segment_bytes_max {
                row(base, count, &joined)?;
                base += i64::from(count);
                count = 0;
                joined.clear();
            }
            count += piece.count;
            joined.extend_from_slice(&piece.body);
        }
        row(base, count, &joined)?;
        let Slot { start, end, received_at, bytes } = draft.slots[slot];
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO partitions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
            .execute(params![of.topic.name(), of.partition, start, end, received_at, bytes])?;
        Ok(base + i64::from(count))
    }

    fn tables(&self, draft: &Draft) -> rusqlite::Result<()> {
        let connection = &self.connection;
        let mut offsets =
            connection.prepare_cached("INSERT OR REPLACE INTO offsets VALUES (?1, ?2, ?3, ?4, ?5)")?;
        for (group, positions) in &draft.published.committed {
            for (TopicPartition { topic, partition }, committed) in positions {
                offsets.execute(params![
                    group,
                    topic.name(),
                    partition,
                    committed.offset,
                    committed.metadata
                ])?;
            }
        }
        for (id, schema) in &draft.published.schemas {
            connection.execute("INSERT INTO schemas VALUES (?1, ?2)", params![id, schema])?;
        }
        for (subject, ids) in &draft.published.subjects {
            for id in ids {
                connection.execute(
                    "INSERT INTO subjects SELECT ?1, 1 + count(*), ?2 FROM subjects WHERE subject = ?1",
                    params![subject, id],
                )?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, draft: Draft) {
        self.slots = draft.slots;
        let mut visible = locked(&self.core.visible);
        visible.bounds = bounds_of(&self.slots);
        visible.published.extend(draft.published);
        drop(visible);
        self.core.stats.groups.fetch_add(1, Ordering::Relaxed);
        self.core.bell.ring();
    }

    /// Answers an op; a caller that no longer listens is not an error.
    fn answer(&mut self, op: Op, answer: Answer) {
        let stats = &self.core.stats;
        let count = |count: &AtomicU64, by: usize| count.fetch_add(by as u64, Ordering::Relaxed);
        match (op, answer) {
            (Op::Append { packed, bytes, done }, answer) => {
                let records = packed.places.len();
                self.core.queue.release(records, bytes);
                let appended =
                    if let Answer::Appended(offsets) = answer { Ok(offsets) } else { Err(answer.error()) };
                count(if appended.is_ok() { &stats.appended } else { &stats.refused }, records);
                complete(done, appended);
            }
            (Op::Commit { packed, reply, .. }, Answer::Done) => {
                count(&stats.commits, 1);
                count(&stats.committed, packed.places.len());
                let _ = reply.send(Ok(()));
            }
            (Op::Commit { reply, .. }, answer) => {
                count(&stats.commits_refused, 1);
                let _ = reply.send(Err(answer.error()));
            }
            (Op::Settle { group, of, reply }, Answer::Settled) => {
                let visible = locked(&self.core.visible);
                let committed =
                    of.iter().map(|partition| visible.published.committed(&group, *partition)).collect();
                let _ = reply.send(Ok(committed));
            }
            (Op::Settle { reply, .. }, answer) => drop(reply.send(Err(answer.error()))),
            (Op::Fence { reply, .. }, Answer::Epoch(epoch)) => drop(reply.send(Ok(epoch))),
            (Op::Fence { reply, .. }, answer) => drop(reply.send(Err(answer.error()))),
            (Op::Schema { reply, .. }, Answer::Id(id)) => drop(reply.send(Ok(id))),
            (Op::Schema { reply, .. }, answer) => drop(reply.send(Err(answer.error()))),
            (Op::Retain { reply }, Answer::Retain) => drop(reply.send(self.retain_all())),
            (Op::Retain { reply }, answer) => drop(reply.send(Err(answer.error()))),
        }
    }
}

/// Runs a completion. One that panics is its owner's fault, and must not take the others' answers with it.
fn complete(done: Appended, appended: Result<Vec<i64>, JournalError>) {
    if catch_unwind(AssertUnwindSafe(|| done(appended))).is_err() {
        tracing::error!("the completion of an append panicked");
    }
}

/// Ends every wait when the writer ends, even by a panic.
pub(super) struct Guard(pub(super) Arc<Core>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.break_down(&JournalError::Fatal("its writer panicked".to_owned()));
        }
        self.0.queue.shut(super::closed());
        for op in self.0.queue.drain() {
            if let Op::Append { done, .. } = op {
                complete(done, Err(self.0.broken().unwrap_or_else(super::closed)));
            }
        }
    }
}
