//! Books of partitions that nobody holds here, as last committed: the processor's from its audit trail, the sink's
//! from its position.

use super::books::Line;
use journal::port::{Journal, JournalError, Reader, TopicPartition};
use schemas::codec::Codec;
use schemas::record::{Audit, Totals};
use schemas::topic::Topic;

/// Offsets of the audit trail looked through from its end, at first; each record is one commit. Commits leave offsets
/// without a record: when none of these has one, more are looked through.
const TAIL_OFFSETS: i64 = 64;
/// So many times more.
const TAIL_GROWS: i64 = 16;
/// A gap up to this is looked through for records when in flight is counted; a longer one is taken for records.
const GAP_OFFSETS_MAX: i64 = 1_000;
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

/// The sink's books as committed. Offsets at the end that have no record are not in flight.
///
/// # Errors
/// When the journal does not answer.
pub(super) fn sink(
    journal: &dyn Journal,
    reader: &mut dyn Reader,
) -> Result<sink::books::Books, JournalError> {
    let mut books = sink::books::committed(journal)?;
    for entry in &mut books.entries {
        entry.in_flight = unread(reader, entry.partition, entry.position, entry.in_flight)?;
    }
    Ok(books)
}

/// Records among `offsets` offsets from a position on, at most.
fn unread(
    reader: &mut dyn Reader,
    partition: TopicPartition,
    position: i64,
    offsets: i64,
) -> Result<i64, JournalError> {
    if offsets == 0 || offsets > GAP_OFFSETS_MAX {
        return Ok(offsets);
    }
    let (mut from, end, mut records) = (position, position + offsets, 0);
    while from < end {
        let next = match reader.read(partition, from, READ_RECORDS, &mut |_| records += 1) {
            // Retention has run over it: what is left is the journal's to say next time.
            Err(JournalError::OutOfRange { .. }) => return Ok(offsets),
            read => read?,
        };
        if next == from {
            break;
        }
        from = next;
    }
    // Not looked through to its end: then it is what the offsets say.
    Ok(if from >= end { records } else { offsets })
}

fn last(reader: &mut dyn Reader, codec: &Codec, partition: u32) -> Result<Option<Audit>, JournalError> {
    let trail = TopicPartition { topic: Topic::Audit, partition };
    let (start, end) = reader.bounds(trail)?;
    let mut tail = TAIL_OFFSETS;
    loop {
        let from = start.max(end.saturating_sub(tail));
        let found = last_from(reader, codec, trail, (from, end))?;
        if found.is_some() || from == start {
            return Ok(found);
        }
        tail *= TAIL_GROWS;
    }
}

fn last_from(
    reader: &mut dyn Reader,
    codec: &Codec,
    trail: TopicPartition,
    (mut from, end): (i64, i64),
) -> Result<Option<Audit>, JournalError> {
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
            let partition = trail.partition;
            return Err(JournalError::Fatal(format!("the audit trail of partition {partition}: {error}")));
        }
        if next == from {
            break;
        }
        from = next;
    }
    Ok(last)
}
