//! What operators ask and may change, for commands and the admin address: everything answers from shared views, from
//! the log, or through the owners' mailboxes.
//!
//! Does not live here: HTTP, tables, exit codes.

pub mod books;
pub mod decisions;
pub mod devices;
pub mod letters;
pub mod rollout;
pub mod rows;

pub use books::{BooksLine, books};
pub use decisions::{InForce, Reach, in_force, propose};
pub use devices::{DeviceExplained, devices, explain_device};
pub use letters::{Letter, Letters, Redriven};
pub use rollout::{ModelStatus, Rollouts};
pub use rows::{Exported, TrainingRow, training_rows};

use crate::recovery::read_metadata;
use crate::view::{Incident, NoAnswer, PartitionView, Question, View};
use journal::port::{Journal, JournalError, NewRecord, Reader, TopicPartition};
use schemas::Micros;
use schemas::codec::Codec;
use schemas::topic::Topic;
use serde::{Serialize, Serializer};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// Why an operation gave no answer, by what the caller does next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpsError {
    /// There is no such thing here.
    #[error("{0}")]
    NotFound(String),
    /// It is there, and this must not be done with it.
    #[error("{0}")]
    Refused(String),
    /// Ask again.
    #[error("{0}")]
    Unavailable(String),
}

impl From<JournalError> for OpsError {
    fn from(why: JournalError) -> Self {
        match why {
            JournalError::Denied(why) => Self::Refused(why),
            why => Self::Unavailable(why.to_string()),
        }
    }
}

impl From<NoAnswer> for OpsError {
    fn from(why: NoAnswer) -> Self {
        Self::Unavailable(why.to_string())
    }
}

/// Appends, and waits at most so long until it is durable.
pub(crate) fn append_durably(
    journal: &dyn Journal,
    records: Vec<NewRecord>,
    wait: Duration,
) -> Result<(), OpsError> {
    let (done, answer) = sync_channel(1);
    let told = Box::new(move |written: Result<Vec<i64>, JournalError>| {
        let _ = done.send(written);
    });
    journal.appender().append(records, told)?;
    let written = answer.recv_timeout(wait);
    written.map_err(|_| OpsError::Unavailable("no answer from the journal".to_owned()))??;
    Ok(())
}

/// One partition, with what has happened to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartitionExplained {
    /// As last seen.
    #[serde(flatten)]
    pub view: PartitionView,
    /// Oldest first.
    pub incidents: Vec<Incident>,
    /// What an operator can do now.
    pub advice: &'static str,
}

/// One partition of this process.
///
/// # Errors
/// [`OpsError::NotFound`] when no worker of this process owns it.
pub fn explain_partition(view: &View, partition: u32) -> Result<PartitionExplained, OpsError> {
    use crate::view::PartitionPhase as Phase;
    let seen = view.partition(partition).ok_or_else(|| not_owned(partition))?;
    let advice = match &seen.phase {
        Phase::Ok => "nothing to do",
        Phase::Starting { .. } => "it begins as soon as its state can be had",
        Phase::Recovering { .. } => {
            "it is folding again what was committed; nothing is published until it is there"
        }
        Phase::Degraded { .. } => "it is live; windows that were open at the time may lack readings",
        Phase::Blocked { .. } => "it goes on by itself once what it waits for is there",
        Phase::Quarantined { .. } => {
            "nothing is published from it, for the reason given; where the same build computed something else from the \
             same log, keep the incident's text for a report: `partitions release` then goes on from what was committed"
        }
    };
    let incidents = view.incidents().into_iter().filter(|incident| incident.partition == partition).collect();
    Ok(PartitionExplained { view: seen, incidents, advice })
}

/// A partition as it was committed, whoever owns it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommittedPartition {
    /// Partition of `iot.raw`.
    pub partition: u32,
    /// Next offset that is not committed; none: nothing was.
    pub committed: Option<i64>,
    /// Configuration in force there; none: nothing was committed, or by a version that this one cannot read.
    pub generation: Option<i64>,
    /// Build that committed it.
    pub build: Option<String>,
}

/// One partition, from what was committed with its position.
///
/// # Errors
/// When the journal does not answer.
pub fn committed_partition(
    reader: &mut dyn Reader,
    codec: &Codec,
    partition: u32,
) -> Result<CommittedPartition, OpsError> {
    let committed = reader.committed(crate::GROUP, TopicPartition { topic: Topic::Raw, partition })?;
    let metadata = committed.as_ref().and_then(|committed| read_metadata(codec, committed).ok());
    Ok(CommittedPartition {
        partition,
        committed: committed.map(|committed| committed.offset),
        generation: metadata.as_ref().map(|metadata| metadata.generation),
        build: metadata.map(|metadata| metadata.build),
    })
}

/// Lets a quarantined partition go on from what was committed.
///
/// # Errors
/// [`OpsError::Refused`] when it is not quarantined, or there is nothing to go on from.
pub fn release(view: &View, partition: u32) -> Result<(), OpsError> {
    view.partition(partition).ok_or_else(|| not_owned(partition))?;
    let released = view.ask(|reply| Question::Release { partition, reply })?;
    if released.into_iter().any(|released| released) {
        return Ok(());
    }
    Err(OpsError::Refused(format!("partition {partition} is not quarantined, or has nothing to go on from")))
}

fn not_owned(partition: u32) -> OpsError {
    OpsError::NotFound(format!("no worker of this process owns partition {partition}"))
}

/// Microseconds as RFC 3339 in UTC.
pub(crate) fn rfc3339<S: Serializer>(at: &Micros, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&chassis::clock::rfc3339(*at))
}

/// The same where there may be none.
pub(crate) fn rfc3339_or_null<S: Serializer>(at: &Option<Micros>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => rfc3339(at, serializer),
        None => serializer.serialize_none(),
    }
}
