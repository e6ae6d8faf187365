//! What waits for the writer: bounded for appends by bytes, for everything else by its callers, who wait.

use crate::port::{Appended, Committed, GroupToken, JournalError, Queued, TopicPartition};
use crate::segment::Packed;
use crate::wake::locked;
use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// One caller's answer.
pub(super) type Reply<T> = SyncSender<Result<T, JournalError>>;

/// What the writer can be asked.
pub(super) enum Op {
    Append {
        packed: Packed,
        bytes: usize,
        done: Appended,
    },
    Commit {
        producer: Option<(String, u64)>,
        token: GroupToken,
        packed: Packed,
        offsets: Positions,
        reply: Reply<()>,
    },
    Settle {
        group: String,
        of: Vec<TopicPartition>,
        reply: Reply<Vec<Option<Committed>>>,
    },
    Fence {
        id: String,
        reply: Reply<u64>,
    },
    Schema {
        subject: String,
        schema: String,
        reply: Reply<u32>,
    },
    Retain {
        reply: Reply<u64>,
    },
}

/// Positions to be committed.
pub(super) type Positions = Vec<(TopicPartition, Committed)>;

impl Op {
    fn records(&self) -> usize {
        match self {
            Self::Append { packed, .. } | Self::Commit { packed, .. } => packed.places.len(),
            _ => 0,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append { packed, .. } | Self::Commit { packed, .. } => {
                packed.parts.iter().flat_map(|(_, pieces)| pieces).map(|piece| piece.body.len()).sum()
            }
            _ => 0,
        }
    }
}

#[derive(Default)]
struct State {
    ops: VecDeque<Op>,
    queued: Queued,
    /// Why nothing more is taken in.
    shut: Option<JournalError>,
}

/// The writer's queue.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

/// What the writer takes out.
pub(super) enum Taken {
    /// Ops to be committed together.
    Ops(Vec<Op>),
    /// The time came first.
    Time,
    /// Shut, and nothing is left.
    Shut,
}

impl Queue {
    /// A queue for so many bytes of appends.
    pub(super) fn new(bytes_max: usize) -> Self {
        let queued = Queued { bytes_max, ..Queued::default() };
        Self { state: Mutex::new(State { queued, ..State::default() }), changed: Condvar::new() }
    }

    /// Reserves room for an append.
    pub(super) fn reserve(&self, records: usize, bytes: usize) -> Result<(), JournalError> {
        let mut state = locked(&self.state);
        if let Some(why) = &state.shut {
            return Err(why.clone());
        }
        let queued = &mut state.queued;
        if bytes > queued.bytes_max - queued.bytes {
            return Err(JournalError::Full { bytes: queued.bytes, bytes_max: queued.bytes_max });
        }
        queued.records += records;
        queued.bytes += bytes;
        Ok(())
    }

    /// Gives the room of an append back.
    pub(super) fn release(&self, records: usize, bytes: usize) {
        let queued = &mut locked(&self.state).queued;
        queued.records -= records;
        queued.bytes -= bytes;
    }

    /// Queues an op; drops it when the queue is shut.
    pub(super) fn push(&self, op: Op) -> Result<(), JournalError> {
        let mut state = locked(&self.state);
        if let Some(why) = &state.shut {
            return Err(why.clone());
        }
        state.ops.push_back(op);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Level.
    pub(super) fn queued(&self) -> Queued {
        locked(&self.state).queued
    }

    /// Why the queue is shut, if it is.
    pub(super) fn check(&self) -> Result<(), JournalError> {
        locked(&self.state).shut.clone().map_or(Ok(()), Err)
    }

    /// Takes nothing more in; the first reason stays.
    pub(super) fn shut(&self, why: JournalError) {
        locked(&self.state).shut.get_or_insert(why);
        self.changed.notify_all();
    }

    /// Waits for ops until `deadline`; takes at most one more than fits into the bounds.
    pub(super) fn take(&self, records_max: usize, bytes_max: usize, deadline: Instant) -> Taken {
        let mut state = locked(&self.state);
        while state.ops.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.shut.is_some() {
                return Taken::Shut;
            }
            if left.is_zero() {
                return Taken::Time;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let (mut records, mut bytes, mut taken) = (0, 0, Vec::new());
        while records < records_max && bytes < bytes_max {
            let Some(op) = state.ops.pop_front() else { break };
            records += op.records();
            bytes += op.bytes();
            taken.push(op);
        }
        Taken::Ops(taken)
    }

    /// Everything that is left.
    pub(super) fn drain(&self) -> Vec<Op> {
        locked(&self.state).ops.drain(..).collect()
    }
}
