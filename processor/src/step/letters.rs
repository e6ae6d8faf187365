//! Dead letters: what could not be used, with everything needed to see why and to send it round again.

use super::REDRIVEN_HEADER;
use crate::outputs::Outputs;
use crate::state::{Core, PartitionState};
use journal::port::{Headers, RecordRef};
use schemas::Micros;
use schemas::reason::Reject;
use schemas::record::{DeadLetter, Stage};
use schemas::topic::Topic;

/// Bytes of a record that its dead letter carries.
const LETTER_BYTES_MAX: usize = 256 << 10;
/// Bytes of its key, which may be as large as the record: a letter that fits nowhere would stop the partition.
const LETTER_KEY_BYTES_MAX: usize = 4 << 10;
/// Characters of what is said about it, which may quote the record.
const DETAIL_CHARS_MAX: usize = 1_000;

/// Where the refused bytes come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) offset: i64,
    pub(super) received_at: Micros,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: &'a [u8],
    pub(super) rounds: Rounds<'a>,
}

impl<'a> Source<'a> {
    #[inline]
    pub(super) fn of(record: &RecordRef<'a>) -> Self {
        Self {
            offset: record.offset,
            received_at: record.received_at,
            key: record.key,
            value: record.value,
            rounds: Rounds::In(record.headers),
        }
    }
}

/// How often a record has been sent round.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rounds<'a> {
    /// So often.
    Counted(i32),
    /// As a header of it says, which is looked at when a letter is written.
    In(Headers<'a>),
}

impl Rounds<'_> {
    pub(super) fn count(self) -> i32 {
        let header = match self {
            Self::Counted(count) => return count,
            Self::In(headers) => {
                headers.first(REDRIVEN_HEADER, |count| std::str::from_utf8(count).ok()?.parse().ok())
            }
        };
        header.flatten().unwrap_or(0).max(0)
    }
}

impl PartitionState {
    /// Refuses a record before anything of it was applied, and counts it.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        record: &RecordRef<'_>,
        receipt: Micros,
        stage: Stage,
        reject: &Reject,
        device_id: Option<&str>,
        out: &mut Outputs,
    ) {
        self.pass(record.offset, receipt, None, out);
        self.core.books.received += 1;
        self.core.books.rejected += 1;
        out.at(record.offset, receipt);
        self.core.letter(Source::of(record), stage, reject, device_id, out);
    }
}

impl Core {
    /// Writes the letter.
    pub(super) fn letter(
        &self,
        source: Source<'_>,
        stage: Stage,
        reject: &Reject,
        device_id: Option<&str>,
        out: &mut Outputs,
    ) {
        let kept = &source.value[..source.value.len().min(LETTER_BYTES_MAX)];
        let key = source.key.map(|key| &key[..key.len().min(LETTER_KEY_BYTES_MAX)]);
        let whole = kept.len() == source.value.len() && key.map(<[u8]>::len) == source.key.map(<[u8]>::len);
        let letter = DeadLetter {
            reason: reject.reason.as_str().to_owned(),
            detail: reject.detail.chars().take(DETAIL_CHARS_MAX).collect(),
            stage,
            source_topic: Some(Topic::Raw.name().to_owned()),
            source_partition: i32::try_from(self.partition).ok(),
            source_offset: Some(source.offset),
            device_id: device_id.map(str::to_owned),
            key: key.map(<[u8]>::to_vec),
            value: kept.to_vec(),
            truncated: !whole,
            redriven: source.rounds.count(),
            received_at: source.received_at,
            write_clock: 0,
        };
        out.push(Topic::DeadLetters, key, &letter);
    }
}
