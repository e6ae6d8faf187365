//! The decisions on `iot.control`: which of them hold, writing one, reading all.
//!
//! Invariant: whether a decision holds follows from the log alone. One about roles names the generation it was decided
//! upon; if another came in between it is void, for everybody who reads it.

use super::Written;
use crate::decoded::read_all_decoded;
use journal::port::{Appender, JournalError, NewRecord, Reader, TopicPartition};
use schemas::codec::Codec;
use schemas::pipeline::Pipeline;
use schemas::record::Control;
use schemas::roles::Roles;
use schemas::topic::Topic;
use std::sync::mpsc::sync_channel;

/// Where decisions stand.
pub(crate) const DECISIONS: TopicPartition = TopicPartition { topic: Topic::Control, partition: 0 };
/// Records of one read.
const READ_RECORDS: usize = 256;

/// The latest decision about the pipeline that holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Latest {
    pub(crate) generation: i64,
    pub(crate) control: Control,
}

impl Latest {
    /// The configuration as the file says it; none: it cannot be read.
    pub(crate) fn pipeline(&self) -> Option<Pipeline> {
        serde_json::from_str(self.control.pipeline.as_deref()?).ok()
    }

    /// The roles laid over it.
    pub(crate) fn roles(&self) -> Roles {
        let text = self.control.models.as_deref();
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }
}

/// What came of a decision that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// It is the latest now.
    Holds,
    /// It was decided upon something else than what was in force.
    Void,
    /// It is not about the pipeline.
    Other,
}

/// Takes a decision in, in the order of the log.
pub(crate) fn take(latest: &mut Option<Latest>, offset: i64, control: Control) -> Held {
    if control.pipeline.is_none() {
        return Held::Other;
    }
    let base = control.models.as_deref().and_then(|text| serde_json::from_str::<Roles>(text).ok()?.base);
    if base.is_some() && base != latest.as_ref().map(|latest| latest.generation) {
        return Held::Void;
    }
    *latest = Some(Latest { generation: offset, control });
    Held::Holds
}

/// The latest decision that holds; none: nothing was decided yet.
pub(crate) fn latest(reader: &mut dyn Reader, codec: &Codec) -> Result<Option<Latest>, JournalError> {
    let mut latest = None;
    read_decisions(reader, codec, |offset, control| {
        take(&mut latest, offset, control);
    })?;
    Ok(latest)
}

/// A decision about the pipeline; its generation is the offset it gets.
pub(crate) fn pipeline_decision(text: String) -> Control {
    Control { generation: -1, pipeline: Some(text), models: None, skip_from: None, skip_to: None }
}

/// A decision about the roles of models, upon the one that is in force.
pub(crate) fn roles_decision(upon: &Latest, pipeline: Option<String>, roles: Roles) -> Control {
    let roles = Roles { base: Some(upon.generation), ..roles };
    let text = serde_json::to_string(&roles).expect("roles are plain data");
    let pipeline = pipeline.or_else(|| upon.control.pipeline.clone());
    Control { pipeline, models: Some(text), ..pipeline_decision(String::new()) }
}

/// Appends a decision; the answer comes when it is durable.
pub(crate) fn decide(
    appender: &dyn Appender,
    codec: &Codec,
    decision: &Control,
) -> Result<Written, JournalError> {
    let record = NewRecord { to: DECISIONS, key: None, value: codec.to_bytes(decision), headers: Vec::new() };
    let (tell, answer) = sync_channel(1);
    let done = Box::new(move |written: Result<Vec<i64>, JournalError>| {
        match &written {
            Ok(offsets) => tracing::info!(generation = offsets.first(), "a decision was written"),
            Err(why) => tracing::error!(%why, "a decision was not written"),
        }
        let _ = tell.send(written);
    });
    appender.append(vec![record], done)?;
    Ok(answer)
}

/// What `models` says in a decision about one partition only.
fn partition_only(partition: u32) -> String {
    format!("{{\"partition\":{partition}}}")
}

/// Decides that a range of a partition is kept from the models; in force once the answer is there.
pub(crate) fn decide_skip(
    appender: &dyn Appender,
    codec: &Codec,
    partition: u32,
    (from, to): (i64, i64),
) -> Result<Written, JournalError> {
    let decision = Control {
        generation: -1,
        pipeline: None,
        models: Some(partition_only(partition)),
        skip_from: Some(from),
        skip_to: Some(to),
    };
    decide(appender, codec, &decision)
}

/// Ranges of a partition that decisions keep from the models. They are read before anything is folded, so that
/// a re-fold skips what the first fold had to skip.
pub(crate) fn skips(
    reader: &mut dyn Reader,
    codec: &Codec,
    partition: u32,
) -> Result<Vec<(i64, i64)>, JournalError> {
    let mine = partition_only(partition);
    let mut ranges = Vec::new();
    read_decisions(reader, codec, |_, control| {
        if control.models.as_deref() == Some(&mine)
            && let (Some(from), Some(to)) = (control.skip_from, control.skip_to)
        {
            ranges.push((from, to));
        }
    })?;
    Ok(ranges)
}

/// Every decision that can be read, in order, with its offset.
pub(crate) fn read_decisions(
    reader: &mut dyn Reader,
    codec: &Codec,
    mut each: impl FnMut(i64, Control),
) -> Result<(), JournalError> {
    read_all_decoded(reader, codec, DECISIONS, READ_RECORDS, &mut each)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_roles(base: Option<i64>) -> Control {
        let roles = Roles { base, ..Roles::default() };
        Control { models: serde_json::to_string(&roles).ok(), ..pipeline_decision("{}".to_owned()) }
    }

    #[test]
    fn of_two_decisions_upon_the_same_the_first_one_holds() {
        let mut latest = None;
        assert_eq!(take(&mut latest, 0, pipeline_decision("{}".to_owned())), Held::Holds);
        assert_eq!(take(&mut latest, 1, of_roles(Some(0))), Held::Holds);
        assert_eq!(take(&mut latest, 2, of_roles(Some(0))), Held::Void);
        let bare = Control { pipeline: None, ..pipeline_decision(String::new()) };
        assert_eq!(take(&mut latest, 3, bare), Held::Other);
        assert_eq!(latest.as_ref().map(|latest| latest.generation), Some(1));
        assert_eq!(take(&mut latest, 4, of_roles(None)), Held::Holds, "it holds whatever came before");
        assert_eq!(take(&mut latest, 5, of_roles(Some(4))), Held::Holds);
    }
}
