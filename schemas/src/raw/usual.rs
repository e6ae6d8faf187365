//! A reading in Avro that is laid out like one before: its names are compared, its values are read. None means "not
//! for me", never "wrong".
//!
//! It takes what our own encoder writes of plain text: each map in one block of at most 63 entries, every length and
//! count in one byte, numbers of at most 56 bits.

use crate::Micros;
use crate::grammar::{BOOT_CHARS_MAX, ReadingLimits, is_device_id_bytes};
use crate::record::Measured;
use crate::usual::{Fixed, Layout};
use crate::view::{Parts, Span};
use std::sync::Arc;

/// A layout in Avro.
#[derive(Debug)]
pub(super) struct AvroLayout {
    pub(super) layout: Arc<Layout>,
    /// What was read last; names are those of the layout, device id, boot and tags are pieces of the value.
    pub(super) parts: Parts,
    /// Before each value the bytes that lead to it: with the first one the count, with each the name.
    measurements: Box<[Fixed]>,
    /// The end of the measurements' map, and of a map without tags.
    tags: Box<[Fixed]>,
    end: Fixed,
}

/// The greatest count or length, as a number in zigzag, that is one byte.
const SHORT_MAX: usize = 63;

impl AvroLayout {
    /// The layout of a reading that was just read in full.
    pub(super) fn learn(parts: &Parts, text: &str) -> Option<Self> {
        let short = |length: usize| length <= SHORT_MAX;
        let names =
            || parts.measurements.iter().map(|(name, _)| name).chain(parts.tags.iter().map(|(name, _)| name));
        if !short(parts.measurements.len())
            || !short(parts.tags.len())
            || !names().all(|name| short(name.of(text).len()))
        {
            return None;
        }
        let mut layout = Layout::default();
        let mut lead = Vec::new();
        let before = |lead: &mut Vec<u8>, name: &str| {
            crate::avro::write_bytes(name.as_bytes(), lead);
            let fixed = Fixed::new(lead);
            lead.clear();
            fixed
        };
        let mut known = Parts::default();
        crate::avro::write_count(parts.measurements.len(), &mut lead);
        let measurements = parts.measurements.iter().map(|(name, measured)| {
            let name = name.of(text);
            known.measurements.push((layout.add_measurement(name), *measured));
            before(&mut lead, name)
        });
        let measurements = measurements.collect();
        lead.push(0);
        if !parts.tags.is_empty() {
            crate::avro::write_count(parts.tags.len(), &mut lead);
        }
        let tags = parts.tags.iter().map(|(name, _)| {
            let name = name.of(text);
            known.tags.push((layout.add(name), Span::default()));
            before(&mut lead, name)
        });
        let tags = tags.collect();
        lead.push(0);
        Some(Self { layout: Arc::new(layout), parts: known, measurements, tags, end: Fixed::new(&lead) })
    }

    /// Reads a reading that begins at `start` of the value.
    #[inline]
    pub(super) fn read(&mut self, value: &[u8], start: usize, limits: &ReadingLimits) -> Option<()> {
        let mut input = Values { value, rest: value.get(start..)? };
        let parts = &mut self.parts;
        let device_id = input.text()?;
        if !is_device_id_bytes(device_id.bytes_of(value)) {
            return None;
        }
        parts.device_id = device_id;
        parts.event_time = None;
        if input.is_there()? {
            let event_time: Micros = input.long()?;
            limits.check_event_time(event_time).ok()?;
            parts.event_time = Some(event_time);
        }
        parts.seq = None;
        if input.is_there()? {
            parts.seq = Some(input.long()?).filter(|seq| *seq >= 0);
            parts.seq?;
        }
        parts.boot = None;
        if input.is_there()? {
            let boot = input.plain(BOOT_CHARS_MAX)?;
            if boot.bytes_of(value).is_empty() {
                return None;
            }
            parts.boot = Some(boot);
        }
        for (lead, (_, measured)) in self.measurements.iter().zip(&mut parts.measurements) {
            input.rest = lead.after(input.rest)?;
            *measured = input.measured()?;
        }
        for (lead, (_, tag)) in self.tags.iter().zip(&mut parts.tags) {
            input.rest = lead.after(input.rest)?;
            *tag = input.plain(limits.tag_chars_max)?;
        }
        (self.end.bytes() == input.rest).then_some(())
    }
}

/// Reads values one after another.
struct Values<'v> {
    value: &'v [u8],
    rest: &'v [u8],
}

impl<'v> Values<'v> {
    /// Whether an optional field is there.
    #[inline]
    fn is_there(&mut self) -> Option<bool> {
        let (branch, rest) = self.rest.split_first()?;
        self.rest = rest;
        match branch {
            0 => Some(false),
            2 => Some(true),
            _ => None,
        }
    }

    /// A number in at most eight bytes, with eight bytes there.
    #[inline]
    fn long(&mut self) -> Option<i64> {
        let (number, length) = crate::avro::long_in_word(u64::from_le_bytes(*self.rest.first_chunk::<8>()?))?;
        self.rest = self.rest.get(length..)?;
        Some(number)
    }

    /// Bytes with a length of one byte.
    #[inline]
    fn text(&mut self) -> Option<Span> {
        let (length, rest) = self.rest.split_first()?;
        if length & 0x81 != 0 {
            return None;
        }
        let start = self.value.len() - rest.len();
        let length = usize::from(length / 2);
        self.rest = rest.get(length..)?;
        Some(Span::new(start, start + length))
    }

    /// Such bytes, printable, at most so many.
    #[inline]
    fn plain(&mut self, most: usize) -> Option<Span> {
        let span = self.text()?;
        let bytes = span.bytes_of(self.value);
        (bytes.len() <= most && super::is_plain(bytes)).then_some(span)
    }

    #[inline]
    fn measured(&mut self) -> Option<Measured> {
        match self.rest {
            [2, rest @ ..] => {
                let (bytes, rest) = rest.split_first_chunk::<8>()?;
                self.rest = rest;
                let value = f64::from_le_bytes(*bytes);
                value.is_finite().then_some(Measured::Number(value))
            }
            [0, rest @ ..] => {
                self.rest = rest;
                Some(Measured::Null)
            }
            [4, truth @ (0 | 1), rest @ ..] => {
                self.rest = rest;
                Some(Measured::Bool(*truth == 1))
            }
            _ => None,
        }
    }
}
