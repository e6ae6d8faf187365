//! Avro's binary encoding, as much of it as the contracts use: reading borrows, writing appends.
//!
//! Does not live here: which record has which fields (`avro/records.rs`), framing and schema ids (`codec`).
//! Source: Apache Avro 1.12 specification, "Binary encoding".
//!
//! Invariants: the bytes of a value are a function of the value (one block per map or array, in the order of the
//! collection); hostile input costs no more memory than its own length.

mod records;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;

/// Where and why bytes do not follow their schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` at byte {at} of the datum: expected {expected}")]
pub struct Malformed {
    /// Field that was being read.
    pub field: &'static str,
    /// Offset within the datum.
    pub at: usize,
    /// What should have stood there.
    pub expected: &'static str,
}

/// Reads a datum from its first byte to its last.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Input<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(datum: &'a [u8]) -> Self {
        Self { rest: datum, length: datum.len() }
    }

    #[cold]
    pub(crate) const fn malformed(&self, field: &'static str, expected: &'static str) -> Malformed {
        Malformed { field, at: self.length - self.rest.len(), expected }
    }

    /// What has not been read yet.
    pub(crate) const fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may follow the datum.
    pub(crate) fn finish(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed("record", "the end of the record")) }
    }

    #[inline]
    pub(crate) fn long(&mut self, field: &'static str) -> Result<i64, Malformed> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(unzigzag(u64::from(*byte)))
            }
            _ => self.long_slow(field),
        }
    }

    fn long_slow(&mut self, field: &'static str) -> Result<i64, Malformed> {
        if let Some((number, length)) =
            self.rest.first_chunk::<8>().and_then(|word| long_in_word(u64::from_le_bytes(*word)))
        {
            self.rest = &self.rest[length..];
            return Ok(number);
        }
        let mut bits = 0_u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte holds the last of 64 bits.
            if index == 9 && *byte > 1 {
                break;
            }
            bits |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(unzigzag(bits));
            }
        }
        Err(self.malformed(field, "a variable-length integer of at most 64 bits"))
    }

    fn int(&mut self, field: &'static str) -> Result<i32, Malformed> {
        let start = self.clone();
        let wide = self.long(field)?;
        i32::try_from(wide).map_err(|_| start.malformed(field, "an integer of at most 32 bits"))
    }

    #[inline]
    fn take(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], Malformed> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.malformed(field, "as many bytes as the length says")),
        }
    }

    #[inline]
    pub(crate) fn double(&mut self, field: &'static str) -> Result<f64, Malformed> {
        match self.rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(f64::from_le_bytes(*bytes))
            }
            None => Err(self.malformed(field, "eight bytes of a double")),
        }
    }

    #[inline]
    pub(crate) fn boolean(&mut self, field: &'static str) -> Result<bool, Malformed> {
        match self.rest {
            [byte @ (0 | 1), rest @ ..] => {
                self.rest = rest;
                Ok(*byte == 1)
            }
            _ => Err(self.malformed(field, "a boolean of 0 or 1")),
        }
    }

    #[inline]
    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], Malformed> {
        let start = self.clone();
        let length = self.long(field)?;
        let length = usize::try_from(length).map_err(|_| start.malformed(field, "a length of 0 or more"))?;
        self.take(length, field)
    }

    #[inline]
    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, Malformed> {
        let start = self.clone();
        std::str::from_utf8(self.bytes(field)?).map_err(|_| start.malformed(field, "text in UTF-8"))
    }

    /// Index of a union's branch or of an enum's symbol, below `count`.
    #[inline]
    pub(crate) fn index(&mut self, count: usize, field: &'static str) -> Result<usize, Malformed> {
        let start = self.clone();
        let index = self.long(field)?;
        match usize::try_from(index) {
            Ok(index) if index < count => Ok(index),
            _ => Err(start.malformed(field, "the index of a branch or symbol of the schema")),
        }
    }

    /// Calls `item` for every item of an array or map, whatever blocks it was written in.
    #[inline]
    pub(crate) fn blocks(
        &mut self,
        field: &'static str,
        mut item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        loop {
            let count = self.long(field)?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // A negative count is followed by the block's size in bytes, for readers that skip it.
                self.long(field)?;
            }
            for _ in 0..count.unsigned_abs() {
                // Items of no bytes would let eight bytes claim 2^63 of them.
                let before = self.rest.len();
                item(self)?;
                if self.rest.len() == before {
                    return Err(self.malformed(field, "items of at least one byte"));
                }
            }
        }
    }
}

/// The variable-length integer that begins in the lowest byte, and its length; none: it is longer than the word.
#[inline]
pub(crate) fn long_in_word(word: u64) -> Option<(i64, usize)> {
    // The first byte without its highest bit is the last one.
    let ends = !word & 0x8080_8080_8080_8080;
    if ends == 0 {
        return None;
    }
    let length = ends.trailing_zeros() / 8 + 1;
    let bits = word & 0x7f7f_7f7f_7f7f_7f7f & (u64::MAX >> (64 - 8 * length));
    // Groups of seven bits become groups of 14, 28 and 56.
    let bits = bits & 0x007f_007f_007f_007f | (bits & 0x7f00_7f00_7f00_7f00) >> 1;
    let bits = bits & 0x0000_3fff_0000_3fff | (bits & 0x3fff_0000_3fff_0000) >> 2;
    let bits = bits & 0x0fff_ffff | (bits & 0x0fff_ffff_0000_0000) >> 4;
    Some((unzigzag(bits), length as usize))
}

const fn unzigzag(bits: u64) -> i64 {
    (bits >> 1).cast_signed() ^ -((bits & 1).cast_signed())
}

/// Appends a variable-length zigzag integer.
#[inline]
pub(crate) fn write_long(value: i64, out: &mut Vec<u8>) {
    let mut bits = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while bits >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits are what is meant")]
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "below 0x80")]
    out.push(bits as u8);
}

/// Appends a collection's length or an index.
#[inline]
pub(crate) fn write_count(count: usize, out: &mut Vec<u8>) {
    write_long(i64::try_from(count).unwrap_or(i64::MAX), out);
}

/// Appends bytes with their length.
#[inline]
pub(crate) fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_count(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Appends one block of items and the block that ends it.
pub(crate) fn write_block<T>(
    items: impl ExactSizeIterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    if items.len() > 0 {
        write_count(items.len(), out);
        items.for_each(|item| write(item, out));
    }
    out.push(0);
}

/// A type with one Avro form.
pub(crate) trait Datum: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed>;
}

impl Datum for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        write_long(*self, out);
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        input.long(field)
    }
}

impl Datum for i32 {
    fn write(&self, out: &mut Vec<u8>) {
        write_long(i64::from(*self), out);
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        input.int(field)
    }
}

impl Datum for f64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        input.double(field)
    }
}

impl Datum for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        input.boolean(field)
    }
}

impl Datum for String {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.as_bytes(), out);
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        input.text(field).map(str::to_owned)
    }
}

/// `bytes`.
impl Datum for Vec<u8> {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self, out);
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        input.bytes(field).map(<[u8]>::to_vec)
    }
}

/// `["null", T]`.
impl<T: Datum> Datum for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        write_count(usize::from(self.is_some()), out);
        if let Some(value) = self {
            value.write(out);
        }
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        match input.index(2, field)? {
            0 => Ok(None),
            _ => T::read(input, field).map(Some),
        }
    }
}

/// `array`.
impl<T: Datum> Datum for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        write_block(self.iter(), out, |item, out| item.write(out));
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        let mut items = Self::new();
        input.blocks(field, |input| {
            items.push(T::read(input, field)?);
            Ok(())
        })?;
        Ok(items)
    }
}

/// `map`, in the order of the entries.
impl<T: Datum> Datum for Vec<(String, T)> {
    fn write(&self, out: &mut Vec<u8>) {
        write_block(self.iter(), out, |(name, value), out| {
            write_bytes(name.as_bytes(), out);
            value.write(out);
        });
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        let mut entries = Self::new();
        input.blocks(field, |input| {
            entries.push((String::read(input, field)?, T::read(input, field)?));
            Ok(())
        })?;
        Ok(entries)
    }
}

/// `map`, in the order of the names.
impl<T: Datum> Datum for BTreeMap<String, T> {
    fn write(&self, out: &mut Vec<u8>) {
        write_block(self.iter(), out, |(name, value), out| {
            write_bytes(name.as_bytes(), out);
            value.write(out);
        });
    }
    fn read(input: &mut Input<'_>, field: &'static str) -> Result<Self, Malformed> {
        let mut entries = Self::new();
        input.blocks(field, |input| {
            let start = input.clone();
            let (name, value) = (String::read(input, field)?, T::read(input, field)?);
            match entries.insert(name, value) {
                None => Ok(()),
                Some(_) => Err(start.malformed(field, "a name that has not occurred in this map")),
            }
        })?;
        Ok(entries)
    }
}
