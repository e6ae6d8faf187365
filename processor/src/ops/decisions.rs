//! The configuration in force, proposing another, and how far one has come.

use super::OpsError;
use crate::GROUP;
use crate::controller::{self, DECISIONS};
use crate::recovery::read_metadata;
use crate::state::canonical;
use journal::port::{Journal, JournalError, Reader, TopicPartition};
use schemas::codec::{Codec, DecodeError};
use schemas::pipeline::Pipeline;
use schemas::record::{Control, Raw};
use schemas::topic::Topic;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How long a proposal may take to become durable.
const PROPOSAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Records of one read.
const READ_RECORDS: usize = 1_024;

/// A generation of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InForce {
    /// Offset of the decision on `iot.control`.
    pub generation: i64,
    /// What was decided.
    pub pipeline: Pipeline,
}

/// The latest decision about the pipeline; none: nothing was decided yet.
///
/// # Errors
/// When the journal does not answer.
pub fn in_force(journal: &dyn Journal, codec: &Codec) -> Result<Option<InForce>, OpsError> {
    let mut latest = None;
    controller::read_decisions(&mut *journal.reader()?, codec, |generation, control: Control| {
        let pipeline = control.pipeline.and_then(|text| serde_json::from_str(&text).ok());
        if let Some(pipeline) = pipeline {
            latest = Some(InForce { generation, pipeline });
        }
    })?;
    Ok(latest)
}

/// Decides on a pipeline and returns its generation once the decision is durable. The controller that runs copies it
/// into every partition.
///
/// # Errors
/// [`OpsError::Refused`] when it is in force already; [`OpsError::Unavailable`] when the journal does not answer.
pub fn propose(journal: &dyn Journal, codec: &Codec, pipeline: &Pipeline) -> Result<i64, OpsError> {
    if let Some(current) = in_force(journal, codec)?
        && current.pipeline == *pipeline
    {
        let detail = format!("generation {} says the same already", current.generation);
        return Err(OpsError::Refused(detail));
    }
    let (done, answer) = sync_channel(1);
    let told = Box::new(move |written| {
        let _ = done.send(written);
    });
    let decision = controller::pipeline_decision(canonical(pipeline));
    let record = journal::port::NewRecord {
        to: DECISIONS,
        key: None,
        value: codec.to_bytes(&decision),
        headers: Vec::new(),
    };
    journal.appender().append(vec![record], told)?;
    let written = answer.recv_timeout(PROPOSAL_TIMEOUT);
    let offsets = written.map_err(|_| OpsError::Unavailable("no answer from the journal".to_owned()))??;
    offsets.first().copied().ok_or_else(|| OpsError::Unavailable("the journal named no offset".to_owned()))
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
