//! Records of a contract, read from a partition without a group.
//!
//! Invariant: what the schema table does not answer for now is asked again; what nobody can read is passed over.

use journal::port::{JournalError, Reader, TopicPartition};
use schemas::codec::{Codec, DecodeError};
use schemas::contract::Contract;

/// Reads at most so many records from `from` on and shows those that can be decoded, with their offsets; returns where
/// to go on, which is `from` when there is nothing.
///
/// # Errors
/// The reader's, and [`JournalError::Retry`] when the schema table does not answer.
pub(crate) fn read_decoded<T: Contract>(
    reader: &mut dyn Reader,
    codec: &Codec,
    at: TopicPartition,
    (from, records_max): (i64, usize),
    each: &mut dyn FnMut(i64, T),
) -> Result<i64, JournalError> {
    let mut unread = None;
    let next = reader.read(at, from, records_max, &mut |record| match codec.decode::<T>(record.value) {
        Ok(decoded) => each(record.offset, decoded),
        Err(DecodeError::Retry(why)) => unread = Some(why),
        Err(DecodeError::Reject(_)) => {}
    })?;
    unread.map_or(Ok(next), |why| Err(JournalError::Retry(why)))
}

/// The same from the first record to the end.
///
/// # Errors
/// As [`read_decoded`].
pub(crate) fn read_all_decoded<T: Contract>(
    reader: &mut dyn Reader,
    codec: &Codec,
    at: TopicPartition,
    records_max: usize,
    each: &mut dyn FnMut(i64, T),
) -> Result<(), JournalError> {
    let (mut from, end) = reader.bounds(at)?;
    while from < end {
        let next = read_decoded(reader, codec, at, (from, records_max), each)?;
        if next == from {
            break;
        }
        from = next;
    }
    Ok(())
}
