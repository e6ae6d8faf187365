//! The configuration in force, proposing another, and how far one has come.

use super::OpsError;
use crate::GROUP;
use crate::controller::{self, Held, Latest};
use crate::recovery::read_metadata;
use crate::state::canonical;
use journal::port::{Journal, JournalError, Reader, TopicPartition};
use schemas::codec::{Codec, DecodeError};
use schemas::pipeline::Pipeline;
use schemas::record::{Control, Raw};
use schemas::roles::Roles;
use schemas::topic::Topic;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a decision may take to become durable.
const DECISION_TIMEOUT: Duration = Duration::from_secs(10);
/// Decisions that may come in between before somebody is told to try again.
const ATTEMPTS_MAX: usize = 8;

/// Records of one read.
const READ_RECORDS: usize = 1_024;

/// A generation of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InForce {
    /// Offset of the decision on `iot.control`.
    pub generation: i64,
    /// What was decided.
    pub pipeline: Pipeline,
    /// Versions of models beside or in the place of those that it names.
    pub roles: Roles,
}

/// The latest decision about the pipeline; none: nothing was decided yet.
///
/// # Errors
/// When the journal does not answer.
pub fn in_force(journal: &dyn Journal, codec: &Codec) -> Result<Option<InForce>, OpsError> {
    let latest = controller::latest(&mut *journal.reader()?, codec)?;
    Ok(latest.and_then(|latest| {
        Some(InForce { generation: latest.generation, pipeline: latest.pipeline()?, roles: latest.roles() })
    }))
}

/// Decides on a pipeline and returns its generation once the decision is durable and holds; made again when another
/// decision has come in between. The controller that runs copies it into every partition.
///
/// # Errors
/// [`OpsError::Refused`] when it is in force already; [`OpsError::Unavailable`] when the journal does not answer.
pub fn propose(journal: &dyn Journal, codec: &Codec, pipeline: &Pipeline) -> Result<i64, OpsError> {
    decided(journal, codec, &|latest| {
        if let Some(current) = latest
            && current.pipeline().as_ref() == Some(pipeline)
        {
            let detail = format!("generation {} says the same already", current.generation);
            return Err(OpsError::Refused(detail));
        }
        Ok(controller::proposal(latest, canonical(pipeline)))
    })
}

/// Makes a decision upon the latest one, again if another came in between; returns its generation.
pub(super) fn decided(
    journal: &dyn Journal,
    codec: &Codec,
    make: &dyn Fn(Option<&Latest>) -> Result<Control, OpsError>,
) -> Result<i64, OpsError> {
    let unanswered = || {
        OpsError::Unavailable(
            "no answer from the journal: look what is in force before trying again".to_owned(),
        )
    };
    for _ in 0..ATTEMPTS_MAX {
        let latest = controller::latest(&mut *journal.reader()?, codec)?;
        let decision = make(latest.as_ref())?;
        let answer = controller::decide(&*journal.appender(), codec, &decision)?;
        let offsets = answer.recv_timeout(DECISION_TIMEOUT).map_err(|_| unanswered())??;
        let generation = offsets.first().copied().ok_or_else(unanswered)?;
        if holds(journal, codec, generation)? {
            return Ok(generation);
        }
    }
    Err(OpsError::Unavailable("other decisions came in between all the time: try again".to_owned()))
}

/// Whether the decision at this offset was not void.
fn holds(journal: &dyn Journal, codec: &Codec, generation: i64) -> Result<bool, JournalError> {
    let (mut latest, mut holds) = (None, false);
    controller::read_decisions(&mut *journal.reader()?, codec, |offset, control| {
        let held = controller::take(&mut latest, offset, control);
        holds |= offset == generation && held == Held::Holds;
    })?;
    Ok(holds)
}

/// Which partitions of `iot.raw` a configuration stands in, found out from the journal alone: a door without a
/// processor in its process asks here, because a reading in front of the first configuration is a dead letter.
pub struct Reach {
    journal: Arc<dyn Journal>,
    codec: Codec,
    reader: Option<Box<dyn Reader>>,
    /// Partitions without one, and up to where they have been looked through; none: not yet.
    missing: BTreeMap<u32, Option<i64>>,
}

impl Reach {
    /// Looked for nowhere yet.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, codec: Codec) -> Self {
        let missing = (0..journal.partitions()).map(|partition| (partition, None)).collect();
        Self { journal, codec, reader: None, missing }
    }

    /// Looks at what has come since the last look; returns the partitions that are still without.
    ///
    /// # Errors
    /// When the journal or the schema table does not answer: that is not "without".
    pub fn look(&mut self) -> Result<Vec<u32>, JournalError> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.journal.reader()?,
        };
        let mut left = BTreeMap::new();
        for (partition, looked) in &self.missing {
            if let Some(looked) = look_through(&mut *reader, &self.codec, *partition, *looked)? {
                left.insert(*partition, Some(looked));
            }
        }
        // After an error the reader is not kept, and everything is looked at again.
        self.reader = Some(reader);
        self.missing = left;
        Ok(self.missing.keys().copied().collect())
    }
}

/// None: a configuration stands there. Else the end of what was looked through.
fn look_through(
    reader: &mut dyn Reader,
    codec: &Codec,
    partition: u32,
    looked: Option<i64>,
) -> Result<Option<i64>, JournalError> {
    let at = TopicPartition { topic: Topic::Raw, partition };
    let committed = reader.committed(GROUP, at)?;
    // Retention may have taken the record itself; the generation stays with the position.
    let known = committed.and_then(|committed| read_metadata(codec, &committed).ok());
    if known.is_some_and(|metadata| metadata.generation >= 0) {
        return Ok(None);
    }
    let (start, end) = reader.bounds(at)?;
    let mut from = looked.unwrap_or(start).max(start);
    let (mut found, mut unread) = (false, None);
    while from < end && !found {
        let next =
            reader.read(at, from, READ_RECORDS, &mut |record| match codec.decode::<Raw>(record.value) {
                Ok(Raw::Control(control)) => found |= control.pipeline.is_some(),
                Err(DecodeError::Retry(why)) => unread = Some(why),
                Ok(_) | Err(DecodeError::Reject(_)) => {}
            })?;
        if let Some(why) = unread.take().filter(|_| !found) {
            return Err(JournalError::Retry(why));
        }
        if next == from {
            break;
        }
        from = next;
    }
    Ok((!found).then_some(from))
}
