//! The processor's books of a partition that no worker holds: as last committed, from its audit trail.

use super::books::Line;
use journal::port::{Journal, JournalError, Reader, TopicPartition};
use schemas::codec::Codec;
use schemas::record::{Audit, Totals};
use schemas::topic::Topic;

/// Audit records looked through from the end of a partition; each is one commit of it.
const TAIL_RECORDS: i64 = 64;
/// Records of one read.
const READ_RECORDS: usize = 1_000;

/// Terms of a reading's outcome.
pub(super) const fn outcomes(totals: &Totals) -> [(&'static str, i64); 5] {
    [
        ("aggregated", totals.aggregated),
        ("filtered", totals.filtered),
        ("duplicate", totals.duplicate),
        ("late", totals.late),
        ("rejected", totals.rejected),
    ]
}

/// Records of a partition of `iot.raw` behind what was committed.
///
/// # Errors
/// When the journal does not answer.
pub(super) fn in_flight(reader: &mut dyn Reader, partition: u32) -> Result<i64, JournalError> {
    let raw = TopicPartition { topic: Topic::Raw, partition };
    let committed = reader.committed(processor::GROUP, raw)?.map(|committed| committed.offset);
    let (start, end) = reader.bounds(raw)?;
    Ok(end.saturating_sub(committed.unwrap_or(start)).max(0))
}

/// A partition's line.
///
/// # Errors
/// When the journal does not answer, or the trail is not readable.
pub(super) fn line(reader: &mut dyn Reader, codec: &Codec, partition: u32) -> Result<Line, JournalError> {
    let in_flight = in_flight(reader, partition)?;
    let totals = last(reader, codec, partition)?.map(|audit| audit.totals).unwrap_or_default();
    Ok(Line::new(Some(name(partition)), totals.received, &outcomes(&totals), 0, in_flight))
}

/// All lines.
///
/// # Errors
/// As [`line`].
pub(super) fn lines(journal: &dyn Journal, codec: &Codec) -> Result<Vec<Line>, JournalError> {
    let mut reader = journal.reader()?;
    (0..journal.partitions()).map(|partition| line(reader.as_mut(), codec, partition)).collect()
}

/// A line's name.
pub(super) fn name(partition: u32) -> String {
    format!("{}/{partition}", Topic::Raw)
}

fn last(reader: &mut dyn Reader, codec: &Codec, partition: u32) -> Result<Option<Audit>, JournalError> {
    let trail = TopicPartition { topic: Topic::Audit, partition };
    let (start, end) = reader.bounds(trail)?;
    let mut from = start.max(end - TAIL_RECORDS);
    let mut last = None;
    while from < end {
        let mut broken = None;
        let next = reader.read(trail, from, READ_RECORDS, &mut |record| match codec
            .decode::<Audit>(record.value)
        {
            Ok(audit) => last = Some(audit),
            Err(error) => broken = Some(error),
        })?;
        if let Some(error) = broken {
            return Err(JournalError::Fatal(format!("the audit trail of partition {partition}: {error}")));
        }
        if next == from {
            break;
        }
        from = next;
    }
    Ok(last)
}
