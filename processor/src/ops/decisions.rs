//! The configuration in force, and proposing another.

use super::OpsError;
use crate::controller::{self, DECISIONS};
use crate::state::canonical;
use journal::port::Journal;
use schemas::codec::Codec;
use schemas::pipeline::Pipeline;
use schemas::record::Control;
use serde::Serialize;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How long a proposal may take to become durable.
const PROPOSAL_TIMEOUT: Duration = Duration::from_secs(10);

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
