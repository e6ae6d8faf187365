//! What survives a crash: the logs, the positions, the schema ids, and the virtual clock.

use super::MemoryConfig;
use super::faults::{Call, Fault, Plan};
use crate::layout::Layout;
use crate::port::{Committed, JournalError, TopicPartition};
use crate::published::Published;
use crate::segment::{Chunk, Packed};
use schemas::Micros;
use std::collections::VecDeque;

struct Segment {
    base: i64,
    count: u32,
    received_at: Micros,
    body: Vec<u8>,
}

/// A partition's log.
#[derive(Default)]
pub(super) struct Log {
    pub(super) start: i64,
    pub(super) end: i64,
    bytes: i64,
    segments: VecDeque<Segment>,
}

impl Log {
    fn pop(&mut self) {
        if let Some(first) = self.segments.pop_front() {
            self.start = first.base + i64::from(first.count);
            self.bytes -= first.body.len() as i64;
        }
    }

    /// Removes the segments that end at or below an offset.
    pub(super) fn trim(&mut self, below: i64) {
        while self.segments.front().is_some_and(|first| first.base + i64::from(first.count) <= below) {
            self.pop();
        }
    }
}

/// What survives a crash.
pub(super) struct Disk {
    pub(super) layout: Layout,
    pub(super) logs: Vec<Log>,
    pub(super) published: Published,
    pub(super) now: Micros,
    /// Which opening may write; the others have crashed or were closed.
    pub(super) opening: u64,
    pub(super) down: bool,
    pub(super) calls: u64,
    pub(super) plan: Option<Plan>,
}

/// How a call goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// As it should.
    Well,
    /// It has its effect, then the caller gets the error.
    Then(Ending),
}

/// How an effect ends that is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    AnswerLost,
    Crash,
}

impl Disk {
    pub(super) fn new(config: &MemoryConfig, layout: Layout) -> Self {
        Self {
            layout,
            logs: layout.all().map(|_| Log::default()).collect(),
            published: Published::default(),
            now: config.start,
            opening: 0,
            down: false,
            calls: 0,
            plan: None,
        }
    }

    /// Fails unless this opening is the one that is up.
    pub(super) fn check(&self, opening: u64) -> Result<(), JournalError> {
        if self.down || self.opening != opening { Err(crashed()) } else { Ok(()) }
    }

    /// Counts a call and asks the plan.
    pub(super) fn enter(&mut self, opening: u64, call: Call) -> Result<Fate, JournalError> {
        self.check(opening)?;
        let number = self.calls;
        self.calls += 1;
        let fault = self.plan.as_mut().and_then(|plan| plan(number, call));
        match fault {
            None => Ok(Fate::Well),
            Some(Fault::LoseAnswer { happened: true }) if call.writes() => Ok(Fate::Then(Ending::AnswerLost)),
            Some(Fault::LoseAnswer { .. }) if call.writes() => Err(answer_lost()),
            Some(Fault::Refuse | Fault::LoseAnswer { .. }) => {
                Err(JournalError::Retry(format!("refused by plan at call {number}")))
            }
            Some(Fault::CrashAfter) if call.writes() => Ok(Fate::Then(Ending::Crash)),
            Some(Fault::CrashBefore | Fault::CrashAfter) => {
                self.down = true;
                Err(crashed())
            }
        }
    }

    /// Ends a call that had its effect.
    pub(super) fn leave(&mut self, fate: Fate) -> Result<(), JournalError> {
        match fate {
            Fate::Well => Ok(()),
            Fate::Then(Ending::AnswerLost) => Err(answer_lost()),
            Fate::Then(Ending::Crash) => {
                self.down = true;
                Err(crashed())
            }
        }
    }

    /// Writes a call's records; returns their offsets in the order they came.
    pub(super) fn write(&mut self, packed: &Packed) -> Vec<i64> {
        let mut first = Vec::with_capacity(packed.parts.len());
        for (to, pieces) in &packed.parts {
            let slot = self.layout.slot(*to).expect("admitted by the layout before");
            let log = &mut self.logs[slot];
            first.push(log.end);
            for piece in pieces {
                let (base, body) = (log.end, piece.body.clone());
                log.bytes += body.len() as i64;
                log.end += i64::from(piece.count);
                log.segments.push_back(Segment { base, count: piece.count, received_at: self.now, body });
            }
        }
        packed.offsets(&first)
    }

    /// Commits positions.
    pub(super) fn position(&mut self, group: &str, offsets: &[(TopicPartition, Committed)]) {
        let positions = self.published.committed.entry(group.to_owned()).or_default();
        positions.extend(offsets.iter().cloned());
    }

    /// Fills a chunk from the segment that holds an offset on.
    pub(super) fn load(&self, partition: TopicPartition, from: i64, bytes_max: usize, chunk: &mut Chunk) {
        let Ok(slot) = self.layout.slot(partition) else { return };
        let segments = &self.logs[slot].segments;
        let first = segments.partition_point(|segment| segment.base + i64::from(segment.count) <= from);
        for segment in segments.range(first..) {
            chunk.push(segment.base, segment.count, segment.received_at, &segment.body);
            if chunk.len() >= bytes_max {
                break;
            }
        }
    }

    /// Applies retention.
    pub(super) fn retain(&mut self, config: &MemoryConfig) {
        for (of, log) in self.layout.all().zip(&mut self.logs) {
            let Some(retention) = config.retention.get(&of.topic) else { continue };
            while let Some(first) = log.segments.front()
                && retention.over(self.now, first.received_at, log.bytes)
            {
                log.pop();
            }
        }
    }
}

pub(super) fn crashed() -> JournalError {
    JournalError::Fatal("the journal is down: reopen it".to_owned())
}

fn answer_lost() -> JournalError {
    JournalError::Unknown("the answer was lost".to_owned())
}
