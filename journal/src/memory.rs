//! The journal in memory: virtual time, one lock, faults by plan. For tests and simulations.
//!
//! Lives here: the handle tests hold, the parts it hands out. Below: what survives a crash (`disk`), what goes
//! wrong when ([`faults`]). Groups, polls and packing are the same code as in the SQLite home.
//!
//! Invariants:
//! * With polls that do not wait, one thread can drive everything, and the same calls give the same answers.
//! * A write is durable at once unless appends are held; a crash loses what is held, and every part of that opening.

mod disk;
pub mod faults;
mod parts;

use self::disk::{Disk, Fate, crashed};
use self::faults::{Call, Plan};
use self::parts::Shelf;
use crate::StoredRecord;
use crate::consumer::Home;
use crate::group::Coordinator;
use crate::layout::Layout;
use crate::port::{Appended, Committed, GroupToken, JournalError, Queued, TopicPartition};
use crate::retention::Retention;
use crate::segment::{Chunk, Packed};
use crate::wake::{Bell, locked};
use schemas::Micros;
use schemas::topic::Topic;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How an in-memory journal is made.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// Partitions of the co-partitioned topics.
    pub partitions: u32,
    /// Where virtual time begins.
    pub start: Micros,
    /// Bound on held appends.
    pub append_queue_bytes_max: usize,
    /// What is kept how long; applied when time advances.
    pub retention: BTreeMap<Topic, Retention>,
    /// How long, in virtual time, a rebalance waits for a member.
    pub rebalance_wait_max: Duration,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            partitions: 4,
            start: 1_700_000_000_000_000,
            append_queue_bytes_max: 32 << 20,
            retention: BTreeMap::new(),
            rebalance_wait_max: Duration::from_secs(30),
        }
    }
}

/// A journal in memory; clones are the same journal.
#[derive(Clone)]
pub struct MemoryJournal {
    open: Arc<Open>,
}

#[derive(Default)]
struct Held {
    on: bool,
    queued: Queued,
    appends: VecDeque<(Packed, usize, Appended)>,
}

/// One opening: what a crash takes away.
struct Open {
    config: MemoryConfig,
    number: u64,
    disk: Arc<Mutex<Disk>>,
    groups: Mutex<Coordinator>,
    epochs: Mutex<BTreeMap<String, u64>>,
    held: Mutex<Held>,
    bell: Bell,
}

impl Open {
    fn new(config: MemoryConfig, number: u64, disk: Arc<Mutex<Disk>>) -> Self {
        let wait_max_us = i64::try_from(config.rebalance_wait_max.as_micros()).unwrap_or(i64::MAX);
        let bytes_max = config.append_queue_bytes_max;
        Self {
            groups: Mutex::new(Coordinator::new(config.partitions, wait_max_us, number << 32)),
            held: Mutex::new(Held { queued: Queued { bytes_max, ..Queued::default() }, ..Held::default() }),
            epochs: Mutex::default(),
            bell: Bell::default(),
            config,
            number,
            disk,
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        locked(&self.disk)
    }

    /// Counts a call that does not write.
    fn enter(&self, call: Call) -> Result<(), JournalError> {
        let entered = self.disk().enter(self.number, call).map(|_| ());
        if matches!(entered, Err(JournalError::Fatal(_))) {
            self.bell.ring();
        }
        entered
    }

    /// A write: counted, made, and answered as the plan says.
    fn write<T>(
        &self,
        call: Call,
        write: impl FnOnce(&mut Disk) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut disk = self.disk();
        let written = disk.enter(self.number, call).and_then(|fate: Fate| {
            let written = write(&mut disk)?;
            disk.leave(fate).map(|()| written)
        });
        drop(disk);
        self.bell.ring();
        written
    }

    fn append_now(&self, packed: &Packed, done: Appended) {
        let appended = self.write(Call::Append, |disk| Ok(disk.write(packed)));
        done(appended);
    }
}

impl Home for Open {
    fn check(&self) -> Result<(), JournalError> {
        self.disk().check(self.number)
    }

    fn bounds(&self, partition: TopicPartition) -> Result<(i64, i64), JournalError> {
        let disk = self.disk();
        disk.check(self.number)?;
        let log = &disk.logs[disk.layout.slot(partition)?];
        Ok((log.start, log.end))
    }

    fn committed(&self, group: &str, partition: TopicPartition) -> Result<Option<Committed>, JournalError> {
        let disk = self.disk();
        disk.check(self.number)?;
        disk.layout.slot(partition)?;
        Ok(disk.published.committed(group, partition))
    }

    fn settled(&self, group: &str, of: &[TopicPartition]) -> Result<Vec<Option<Committed>>, JournalError> {
        of.iter().map(|partition| self.committed(group, *partition)).collect()
    }

    fn commit(
        &self,
        offsets: &[(TopicPartition, Committed)],
        token: &GroupToken,
    ) -> Result<(), JournalError> {
        self.write(Call::CommitPositions, |disk| {
            disk.layout.admit_offsets(offsets)?;
            locked(&self.groups).admit(token, offsets.iter().map(|(partition, _)| partition))?;
            disk.position(&token.group, offsets);
            Ok(())
        })
    }

    fn groups(&self) -> &Mutex<Coordinator> {
        &self.groups
    }

    fn bell(&self) -> &Bell {
        &self.bell
    }

    fn elapsed(&self) -> Micros {
        self.disk().now
    }
}

impl MemoryJournal {
    /// An empty journal.
    ///
    /// # Errors
    /// [`JournalError::Fatal`] when the partition count is impossible.
    pub fn new(config: MemoryConfig) -> Result<Self, JournalError> {
        let disk = Disk::new(&config, Layout::new(config.partitions)?);
        Ok(Self { open: Arc::new(Open::new(config, 0, Arc::new(Mutex::new(disk)))) })
    }

    /// Moves virtual time on and applies retention.
    pub fn advance(&self, by: Duration) {
        let mut disk = self.open.disk();
        disk.now = disk.now.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX));
        disk.retain(&self.open.config);
        drop(disk);
        self.open.bell.ring();
    }

    /// Removes the records below an offset, as far as whole appends allow.
    ///
    /// # Errors
    /// When there is no such partition.
    pub fn trim(&self, partition: TopicPartition, below: i64) -> Result<(), JournalError> {
        let mut disk = self.open.disk();
        let slot = disk.layout.slot(partition)?;
        disk.logs[slot].trim(below);
        Ok(())
    }

    /// Sets a group's position as an operator's tool does, without metadata; none: forgets it, as brokers do in time.
    pub fn reposition(&self, group: &str, partition: TopicPartition, offset: Option<i64>) {
        let mut disk = self.open.disk();
        let of_group = disk.published.committed.entry(group.to_owned()).or_default();
        match offset {
            Some(offset) => of_group.insert(partition, Committed { offset, metadata: String::new() }),
            None => of_group.remove(&partition),
        };
    }

    /// Replaces the fault plan; none: all goes well. The plan stays over a reopening.
    pub fn inject(&self, plan: Option<Plan>) {
        self.open.disk().plan = plan;
    }

    /// Calls counted so far, over the journal's life: the number the next one will have.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.open.disk().calls
    }

    /// Holds appends back: they queue up, not durable, until [`MemoryJournal::release`].
    pub fn hold(&self) {
        locked(&self.open.held).on = true;
    }

    /// Writes held appends in order and completes them; later ones are written at once.
    pub fn release(&self) {
        loop {
            let mut held = locked(&self.open.held);
            let Some((packed, bytes, done)) = held.appends.pop_front() else {
                held.on = false;
                return;
            };
            held.queued.records -= packed.places.len();
            held.queued.bytes -= bytes;
            drop(held);
            self.open.append_now(&packed, done);
        }
    }

    /// The power goes: held appends fail, every part answers [`JournalError::Fatal`].
    pub fn crash(&self) {
        self.open.disk().down = true;
        self.open.bell.ring();
        let held = std::mem::take(&mut locked(&self.open.held).appends);
        for (_, _, done) in held {
            done(Err(crashed()));
        }
    }

    /// Whether a crash has happened and the journal was not reopened since.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.open.check().is_err()
    }

    /// The journal as the next opening finds it: what was durable, at the same virtual time. The parts of this
    /// opening are dead from now on.
    #[must_use]
    pub fn reopen(&self) -> Self {
        self.crash();
        let mut disk = self.open.disk();
        disk.opening += 1;
        disk.down = false;
        let number = disk.opening;
        drop(disk);
        Self { open: Arc::new(Open::new(self.open.config.clone(), number, Arc::clone(&self.open.disk))) }
    }

    /// Every committed record of a partition that is still kept, also after a crash. Not counted as a call.
    #[must_use]
    pub fn records(&self, partition: TopicPartition) -> Vec<StoredRecord> {
        let disk = self.open.disk();
        let mut chunk = Chunk::default();
        let Some(start) = disk.layout.slot(partition).ok().map(|slot| disk.logs[slot].start) else {
            return Vec::new();
        };
        disk.load(partition, start, usize::MAX, &mut chunk);
        let mut records = Vec::new();
        chunk
            .take(start, usize::MAX, &mut |found| {
                records.extend(found.iter().map(|record| StoredRecord::copy(partition, record)));
            })
            .expect("what this journal packed unpacks");
        records
    }

    /// Every committed record of a topic, by partition and offset.
    #[must_use]
    pub fn topic(&self, topic: Topic) -> Vec<StoredRecord> {
        let layout = self.open.disk().layout;
        layout.all().filter(|of| of.topic == topic).flat_map(|of| self.records(of)).collect()
    }

    /// What a group has committed, also after a crash. Not counted as a call.
    #[must_use]
    pub fn positions(&self, group: &str) -> BTreeMap<TopicPartition, Committed> {
        self.open.disk().published.committed.get(group).cloned().unwrap_or_default()
    }

    fn shelf(&self) -> Shelf {
        Shelf { disk: Arc::clone(&self.open.disk) }
    }
}

#[cfg(test)]
mod tests;
