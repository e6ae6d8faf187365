//! Retention: whole segments off the front of a log, by age and by size, in slices between the batches.
//!
//! Invariant: the start moves in the same transaction that deletes, and is published after it.

use super::file;
use super::writer::{Slot, Writer, bounds_of};
use crate::port::{JournalError, TopicPartition};
use crate::retention::Retention;
use crate::wake::locked;
use rusqlite::{OptionalExtension as _, params};
use std::sync::atomic::Ordering;

impl Writer {
    /// Runs retention until nothing is left to remove; returns how many records went.
    pub(super) fn retain_all(&mut self) -> Result<u64, JournalError> {
        let mut removed = 0;
        loop {
            match self.slice()? {
                0 => return Ok(removed),
                more => removed += more,
            }
        }
    }

    /// One slice; returns whether there may be more to do.
    pub(super) fn retain_slice(&mut self) -> bool {
        if self.core.broken().is_some() {
            return false;
        }
        self.slice().map_or_else(
            |error| {
                tracing::warn!(%error, "retention failed; it is tried again");
                false
            },
            |removed| removed > 0,
        )
    }

    fn slice(&mut self) -> Result<u64, JournalError> {
        let mut slots = self.slots.clone();
        let deleted =
            self.delete(&mut slots).map_err(|error| file::statement_error(&error)).and_then(|removed| {
                if !self.connection.is_autocommit() {
                    self.connection.execute_batch("COMMIT").map_err(|error| file::commit_error(&error))?;
                }
                Ok(removed)
            });
        let removed = match deleted {
            Ok(removed) => removed,
            Err(error) => {
                let ended = self.roll_back();
                if !matches!((&error, &ended), (JournalError::Retry(_), Ok(()))) {
                    self.core.break_down(&error);
                }
                return Err(error);
            }
        };
        if removed > 0 {
            self.slots = slots;
            locked(&self.core.visible).bounds = bounds_of(&self.slots);
            self.core.stats.expired.fetch_add(removed, Ordering::Relaxed);
        }
        Ok(removed)
    }

    /// Deletes in a transaction that it leaves open if there was anything to delete.
    fn delete(&self, slots: &mut [Slot]) -> rusqlite::Result<u64> {
        let mut left = self.limits.retention_segments_max;
        let mut removed = 0;
        for (index, of) in self.core.layout.all().enumerate() {
            let retention = self.core.retention_of(of.topic);
            if retention == Retention::default() {
                continue;
            }
            let slot = &mut slots[index];
            let before = slot.start;
            while left > 0 && slot.start < slot.end && self.delete_first(of, slot, retention)? {
                left -= 1;
            }
            if slot.start > before {
                removed += (slot.start - before).unsigned_abs();
                self.connection
                    .prepare_cached(
                        "UPDATE partitions SET start = ?3, bytes = ?4 WHERE topic = ?1 AND partition = ?2",
                    )?
                    .execute(params![of.topic.name(), of.partition, slot.start, slot.bytes])?;
            }
        }
        Ok(removed)
    }

    /// Deletes the partition's first segment if a bound says so.
    fn delete_first(
        &self,
        of: TopicPartition,
        slot: &mut Slot,
        retention: Retention,
    ) -> rusqlite::Result<bool> {
        let first: Option<(i64, i64, i64, i64)> = self
            .connection
            .prepare_cached(
                "SELECT id, count, received_us, length(body) FROM segments WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1",
            )?
            .query_row(params![file::row_id(of, slot.start), file::row_id(of, slot.end)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let Some((id, count, received_at, bytes)) = first else { return Ok(false) };
        if !retention.over(self.core.stamp(), received_at, slot.bytes) {
            return Ok(false);
        }
        if self.connection.is_autocommit() {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
        }
        self.connection.prepare_cached("DELETE FROM segments WHERE id = ?1")?.execute([id])?;
        slot.start = file::offset_of(id) + count;
        slot.bytes -= bytes;
        Ok(true)
    }
}
