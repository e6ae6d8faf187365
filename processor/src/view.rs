//! What others may see of the workers: a copy per partition, renewed at cuts and commits, and a mailbox for questions
//! that only the owner of a state can answer. Nobody ever waits for a poll thread's lock.

use journal::port::TopicPartition;
use schemas::Micros;
use schemas::record::Totals;
use schemas::topic::Topic;
use scoring::Counters;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use windowing::api::DeviceState;

/// Questions that wait for one worker at most.
const QUESTIONS_MAX: usize = 64;
/// How long an answer may take: a poll, a cut, a slow commit.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// What a partition is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum PartitionPhase {
    /// Assigned; its state is being fetched, or the world does not answer.
    Starting {
        /// What is waited for, if not merely for its turn.
        why: Option<String>,
    },
    /// Folding again what was committed already, silently.
    Recovering {
        /// First offset that is not yet committed.
        until: i64,
    },
    /// Live.
    Ok,
    /// Live, but results may differ from an undisturbed run.
    Degraded {
        /// Why.
        why: String,
    },
    /// Waits for the world: a model, the schema table, the emergency brake.
    Blocked {
        /// For what.
        why: String,
    },
    /// Stopped until a person releases it.
    Quarantined {
        /// Why.
        why: String,
    },
}

impl PartitionPhase {
    /// Every name there is.
    pub const NAMES: [&str; 6] = ["starting", "recovering", "ok", "degraded", "blocked", "quarantined"];

    /// As it is listed.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        let [starting, recovering, ok, degraded, blocked, quarantined] = Self::NAMES;
        match self {
            Self::Starting { .. } => starting,
            Self::Recovering { .. } => recovering,
            Self::Ok => ok,
            Self::Degraded { .. } => degraded,
            Self::Blocked { .. } => blocked,
            Self::Quarantined { .. } => quarantined,
        }
    }

    /// Whether its figures are those of a state that stands at the position: not before it was had.
    #[must_use]
    pub const fn holds_state(&self) -> bool {
        matches!(self, Self::Ok | Self::Degraded { .. } | Self::Recovering { .. } | Self::Blocked { .. })
    }
}

/// A partition as last seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionView {
    /// Partition of `iot.raw`.
    pub partition: u32,
    /// Worker that owns it.
    pub worker: String,
    /// What it is doing.
    #[serde(flatten)]
    pub phase: PartitionPhase,
    /// Next offset to be folded.
    pub position: i64,
    /// Next offset that is not committed; none: nothing was.
    pub committed: Option<i64>,
    /// Configuration in force.
    pub generation: i64,
    /// Chained digest of all outputs so far, hexadecimal.
    pub digest: String,
    /// Write clock.
    #[serde(serialize_with = "crate::ops::rfc3339")]
    pub write_clock: Micros,
    /// Running maximum of receipt times.
    #[serde(serialize_with = "crate::ops::rfc3339")]
    pub receipt_now: Micros,
    /// The books at `position`.
    #[serde(skip)]
    pub totals: Totals,
    /// Readings before `position` that wait for their scores.
    pub pending: usize,
    /// First offset counted.
    pub counted_from: i64,
    /// Offsets that retention took before they were read.
    pub lost: i64,
    /// Values that no window took because the device or the partition had as many names as it may have.
    pub unnamed_values: i64,
    /// Devices known.
    pub devices: usize,
    /// Panes open.
    pub panes: u32,
    /// Receipt time at which something may happen if nothing arrives: never later than the first deadline.
    #[serde(serialize_with = "crate::ops::rfc3339_or_null")]
    pub next_deadline: Option<Micros>,
    /// Latest durable snapshot.
    pub snapshot: Option<SnapshotView>,
    /// Records folded since it was taken.
    pub since_snapshot: u64,
    /// What keeps the next snapshot: `refold-budget` or `snapshot-share-percent`.
    pub snapshot_bound: &'static str,
    /// Records a second at which this worker folds when it is busy.
    pub fold_rate: u64,
    /// What its models have done since they were put in force here.
    #[serde(skip)]
    pub models: Vec<Counters>,
    /// Emergency brakes since the partition was assigned.
    pub brakes: u64,
    /// The journal's clock when this was written.
    #[serde(serialize_with = "crate::ops::rfc3339")]
    pub seen_at: Micros,
}

/// A durable snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SnapshotView {
    /// First offset that is not in it.
    pub covers_to: i64,
    /// Where it lies on `iot.snapshots`.
    pub offset: i64,
    /// Records it consists of.
    pub records: i32,
}

/// Something an operator should know about that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// The journal's clock.
    #[serde(serialize_with = "crate::ops::rfc3339")]
    pub at: Micros,
    /// Partition of `iot.raw`.
    pub partition: u32,
    /// One sentence.
    pub what: String,
}

/// A question for the owner of a partition.
#[derive(Debug)]
pub(crate) enum Question {
    Explain { device: String, reply: SyncSender<Option<DeviceView>> },
    Devices { after: String, limit: usize, reply: SyncSender<Vec<String>> },
    Release { partition: u32, reply: SyncSender<bool> },
}

/// One device's clock and open panes.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceView {
    /// Its partition.
    pub partition: u32,
    /// What the windows know.
    pub windows: DeviceState,
    /// Names of the metrics that `windows` numbers, by number.
    pub metrics: Vec<String>,
    /// Receipt time of its last reading that was taken.
    pub last_receipt: Option<Micros>,
    /// Running maximum of receipt times of its partition.
    pub receipt_now: Micros,
    /// Configuration in force.
    pub generation: i64,
}

/// Incidents kept.
const INCIDENTS_MAX: usize = 256;

#[derive(Debug, Default)]
struct Seen {
    partitions: BTreeMap<u32, PartitionView>,
    incidents: Vec<Incident>,
    owners: BTreeMap<String, SyncSender<Question>>,
    seated: BTreeSet<String>,
}

/// Shared by workers and everybody who asks; clones are the same view.
#[derive(Clone, Debug, Default)]
pub struct View(Arc<Mutex<Seen>>);

impl View {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Partitions that workers of this process own, in order.
    #[must_use]
    pub fn partitions(&self) -> Vec<PartitionView> {
        self.seen().partitions.values().cloned().collect()
    }

    /// One of them.
    #[must_use]
    pub fn partition(&self, partition: u32) -> Option<PartitionView> {
        self.seen().partitions.get(&partition).cloned()
    }

    /// Workers of this process that the group has told which partitions are theirs, be it none.
    #[must_use]
    pub fn seated(&self) -> usize {
        self.seen().seated.len()
    }

    pub(crate) fn seat(&self, worker: &str, seated: bool) {
        let mut seen = self.seen();
        if seated {
            seen.seated.insert(worker.to_owned());
        } else {
            seen.seated.remove(worker);
        }
    }

    /// What has happened, oldest first; the last 256.
    #[must_use]
    pub fn incidents(&self) -> Vec<Incident> {
        self.seen().incidents.clone()
    }

    pub(crate) fn show(&self, partition: PartitionView) {
        self.seen().partitions.insert(partition.partition, partition);
    }

    /// Another worker may have shown it since.
    pub(crate) fn hide(&self, partition: u32, worker: &str) {
        let mut seen = self.seen();
        if seen.partitions.get(&partition).is_some_and(|shown| shown.worker == worker) {
            seen.partitions.remove(&partition);
        }
    }

    pub(crate) fn report(&self, at: Micros, partition: TopicPartition, what: String) {
        debug_assert_eq!(partition.topic, Topic::Raw);
        let mut seen = self.seen();
        if seen.incidents.len() >= INCIDENTS_MAX {
            seen.incidents.remove(0);
        }
        seen.incidents.push(Incident { at, partition: partition.partition, what });
    }

    /// Opens a worker's mailbox.
    pub(crate) fn mailbox(&self, worker: &str) -> Receiver<Question> {
        let (to, from) = sync_channel(QUESTIONS_MAX);
        self.seen().owners.insert(worker.to_owned(), to);
        from
    }

    /// Asks every worker; those that do not own what it is about say so.
    pub(crate) fn ask<T>(&self, question: impl Fn(SyncSender<T>) -> Question) -> Result<Vec<T>, NoAnswer> {
        let owners: Vec<_> = self.seen().owners.values().cloned().collect();
        let mut answers = Vec::new();
        for owner in owners {
            let (reply, answer) = sync_channel(1);
            match owner.try_send(question(reply)) {
                Ok(()) => answers.push(answer),
                Err(TrySendError::Full(_)) => return Err(NoAnswer::Busy),
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
        let wait = |answer: Receiver<T>| match answer.recv_timeout(ANSWER_TIMEOUT) {
            Ok(answer) => Some(Ok(answer)),
            Err(RecvTimeoutError::Timeout) => Some(Err(NoAnswer::Late)),
            // The worker has ended: it owns nothing.
            Err(RecvTimeoutError::Disconnected) => None,
        };
        answers.into_iter().filter_map(wait).collect()
    }
}

/// Why a question was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Too many questions wait already.
    #[error("the worker has too many questions waiting; ask again in a moment")]
    Busy,
    /// The worker does not come round to it.
    #[error("the worker did not answer within 5 s")]
    Late,
}
