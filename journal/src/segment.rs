//! Records packed into segments: what the embedded homes store, and how it is read back without building anything.
//!
//! A piece is a run of records of one partition in one body; the writer joins pieces that are committed together
//! into one stored segment, whose records share their receipt time. A [`Chunk`] is a reader's buffer of segments.
//!
//! Record: `key length + 1` (0: no key), `value length`, `header count` as LEB128, then key, value and headers
//! (`name length`, name, `value length`, value).

use crate::port::{Headers, JournalError, NewRecord, RecordRef, TopicPartition};
use schemas::Micros;

/// Some records of one partition, packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Records in it.
    pub(crate) count: u32,
    /// The packed records.
    pub(crate) body: Vec<u8>,
}

/// Records of one call, packed by partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Each partition's pieces, in order.
    pub(crate) parts: Vec<(TopicPartition, Vec<Piece>)>,
    /// For each record, which of `parts` it went to.
    pub(crate) places: Vec<u32>,
}

impl Packed {
    /// Packs records, in pieces of at most `piece_bytes_max` unless one record is larger.
    pub(crate) fn new(records: &[NewRecord], piece_bytes_max: usize) -> Self {
        let mut packed = Self { parts: Vec::new(), places: Vec::with_capacity(records.len()) };
        for record in records {
            let place = packed.place(record.to);
            packed.places.push(u32::try_from(place).expect("fewer partitions than 2^32"));
            let pieces = &mut packed.parts[place].1;
            if pieces.last().is_none_or(|piece| piece.body.len() >= piece_bytes_max) {
                pieces.push(Piece::default());
            }
            let piece = pieces.last_mut().expect("one was just pushed if there was none");
            piece.count += 1;
            pack(record, &mut piece.body);
        }
        packed
    }

    fn place(&mut self, to: TopicPartition) -> usize {
        let last = self.places.last().map(|place| *place as usize);
        if let Some(place) = last.filter(|place| self.parts[*place].0 == to) {
            return place;
        }
        self.parts.iter().position(|(of, _)| *of == to).unwrap_or_else(|| {
            self.parts.push((to, Vec::new()));
            self.parts.len() - 1
        })
    }

    /// Offsets of the records in the order they came, when each part begins at the offset given.
    pub(crate) fn offsets(&self, first: &[i64]) -> Vec<i64> {
        let mut next = first.to_vec();
        self.places
            .iter()
            .map(|place| {
                let offset = next[*place as usize];
                next[*place as usize] += 1;
                offset
            })
            .collect()
    }
}

fn pack(record: &NewRecord, body: &mut Vec<u8>) {
    put(body, record.key.as_ref().map_or(0, |key| key.len() + 1));
    put(body, record.value.len());
    put(body, record.headers.len());
    body.extend_from_slice(record.key.as_deref().unwrap_or_default());
    body.extend_from_slice(&record.value);
    for (name, value) in &record.headers {
        put(body, name.len());
        body.extend_from_slice(name.as_bytes());
        put(body, value.len());
        body.extend_from_slice(value);
    }
}

fn put(body: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        body.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    body.push(number as u8);
}

/// Takes a packed number off the front.
fn number(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn slice<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

type HeaderRef<'a> = (&'a str, &'a [u8]);

/// Takes a record off the front, its headers to the end of `headers`: key, value.
fn unpack<'a>(rest: &mut &'a [u8], headers: &mut Vec<HeaderRef<'a>>) -> Option<(Option<&'a [u8]>, &'a [u8])> {
    let key_length = number(rest)?;
    let value_length = number(rest)?;
    let header_count = number(rest)?;
    let key = match key_length.checked_sub(1) {
        None => None,
        Some(length) => Some(slice(rest, length)?),
    };
    let value = slice(rest, value_length)?;
    for _ in 0..header_count {
        let name_length = number(rest)?;
        let name = std::str::from_utf8(slice(rest, name_length)?).ok()?;
        let value_length = number(rest)?;
        headers.push((name, slice(rest, value_length)?));
    }
    Some((key, value))
}

#[derive(Clone, Copy, Debug)]
struct Run {
    base: i64,
    count: u32,
    received_at: Micros,
    end: usize,
}

/// Segments of one partition in a reader's memory, and how far they have been read.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    runs: Vec<Run>,
    run: usize,
    byte: usize,
    next: i64,
    headers: Vec<HeaderRef<'static>>,
}

impl Chunk {
    /// Forgets what it holds.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        (self.run, self.byte, self.next) = (0, 0, 0);
    }

    /// Adds the next segment.
    pub(crate) fn push(&mut self, base: i64, count: u32, received_at: Micros, body: &[u8]) {
        if self.runs.is_empty() {
            self.next = base;
        }
        self.bytes.extend_from_slice(body);
        self.runs.push(Run { base, count, received_at, end: self.bytes.len() });
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Offset of the first record, if any is left.
    pub(crate) fn first(&self) -> Option<i64> {
        (self.run < self.runs.len()).then_some(self.next)
    }

    /// Hands out up to `records_max` records from `from` on in one call; returns the offset after the last one
    /// handed out, or none when the chunk does not hold `from`.
    pub(crate) fn take(
        &mut self,
        from: i64,
        records_max: usize,
        visit: &mut dyn FnMut(&[RecordRef<'_>]),
    ) -> Result<Option<i64>, JournalError> {
        if self.first().is_none_or(|first| first > from) || records_max == 0 {
            return Ok(None);
        }
        let mut headers = recycled(std::mem::take(&mut self.headers));
        let mut records = Vec::new();
        let mut starts = Vec::new();
        while let Some(run) = self.runs.get(self.run).copied() {
            let mut rest = &self.bytes[self.byte..run.end];
            while self.next < run.base + i64::from(run.count) && records.len() < records_max {
                let start = headers.len();
                let (key, value) = unpack(&mut rest, &mut headers).ok_or_else(|| damaged(run.base))?;
                if self.next >= from {
                    starts.push(start);
                    let (offset, received_at) = (self.next, run.received_at);
                    records.push(RecordRef { offset, received_at, key, value, headers: Headers::NONE });
                } else {
                    headers.truncate(start);
                }
                self.next += 1;
            }
            self.byte = run.end - rest.len();
            if records.len() == records_max && !rest.is_empty() {
                break;
            }
            self.run += 1;
            if let Some(following) = self.runs.get(self.run) {
                self.next = following.base;
            }
        }
        starts.push(headers.len());
        for (record, bounds) in records.iter_mut().zip(starts.windows(2)) {
            record.headers = Headers::listed(&headers[bounds[0]..bounds[1]]);
        }
        let after = records.last().map(|record| record.offset + 1);
        if after.is_some() {
            visit(&records);
        }
        self.headers = recycled(headers);
        Ok(after)
    }
}

/// An emptied vector, with its memory, for elements that borrow from elsewhere.
fn recycled<T, U>(mut vec: Vec<T>) -> Vec<U> {
    vec.clear();
    vec.into_iter().map(|_| unreachable!("it was emptied")).collect()
}

fn damaged(base: i64) -> JournalError {
    JournalError::Fatal(format!("the segment at offset {base} is damaged: its records do not parse"))
}

#[cfg(test)]
mod tests;
