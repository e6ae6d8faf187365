//! A reading in JSON that is laid out like one before: what stands between its values is compared, its values are
//! read. None means "not for me", never "wrong".
//!
//! It takes what the scanner takes, less than all of it: times and counters must be whole numbers.

use super::scanner::Scanner;
use crate::event_time;
use crate::grammar::{BOOT_CHARS_MAX, ReadingLimits, is_device_id_bytes};
use crate::record::Measured;
use crate::usual::{Fixed, Layout};
use crate::view::{Parts, Span};
use std::sync::Arc;

/// A layout in JSON.
#[derive(Debug)]
pub(super) struct JsonLayout {
    pub(super) layout: Arc<Layout>,
    /// What was read last; names are those of the layout, device id, boot and tags are pieces of the text.
    pub(super) parts: Parts,
    /// What leads to each value, and what the value is.
    fields: Box<[(Fixed, Kind)]>,
    end: Fixed,
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    DeviceId,
    EventTime,
    Seq,
    Boot,
    /// A boot that is a number.
    BootNumber,
    /// The next measurement.
    Measurement,
    /// The next tag.
    Tag,
}

impl JsonLayout {
    /// The layout of a flat reading that the scanner has taken.
    pub(super) fn learn(text: &str, read: &Parts) -> Option<Self> {
        let mut layout = Layout::default();
        let mut parts = Parts::default();
        let mut fields = Vec::new();
        let (mut at, mut from) = (0, 0);
        for _ in 0..read.measurements.len() + read.tags.len() + 4 {
            let Some(quote) = text.get(at..)?.find('"') else { break };
            let name = text.get(at + quote + 1..)?.split('"').next()?;
            let colon = at + quote + 1 + name.len() + 1;
            let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b':');
            let mut start =
                colon + text.as_bytes().get(colon..)?.iter().take_while(|byte| space(byte)).count();
            let quoted = text.as_bytes().get(start) == Some(&b'"');
            start += usize::from(quoted);
            let ends = |c: char| if quoted { c == '"' } else { ",} \t\r\n".contains(c) };
            let end = start + text.get(start..)?.find(ends)?;
            let value = text.get(start..end)?;
            let whole = !quoted && value.bytes().all(|byte| byte.is_ascii_digit());
            let kind = match name {
                "device_id" if quoted => Kind::DeviceId,
                "ts" if whole => Kind::EventTime,
                "seq" if whole => Kind::Seq,
                "boot" if quoted => Kind::Boot,
                "boot" if whole => Kind::BootNumber,
                "device_id" | "ts" | "seq" | "boot" => return None,
                name if quoted => {
                    parts.tags.push((layout.add(name), Span::default()));
                    Kind::Tag
                }
                name => {
                    parts.measurements.push((layout.add_measurement(name), Measured::Null));
                    Kind::Measurement
                }
            };
            fields.push((Fixed::new(text.get(from..start)?.as_bytes()), kind));
            from = end;
            at = end + usize::from(quoted);
        }
        let whole =
            parts.measurements.len() == read.measurements.len() && parts.tags.len() == read.tags.len();
        let end = Fixed::new(text.get(from..)?.as_bytes());
        whole.then(|| Self { layout: Arc::new(layout), parts, fields: fields.into(), end })
    }

    /// Reads a reading.
    #[inline]
    pub(super) fn read(&mut self, json: &[u8], limits: &ReadingLimits) -> Option<()> {
        let mut scanner = Scanner::of_bytes(json);
        let parts = &mut self.parts;
        (parts.event_time, parts.seq, parts.boot) = (None, None, None);
        let (mut measurements, mut tags) = (parts.measurements.iter_mut(), parts.tags.iter_mut());
        for (lead, kind) in &self.fields {
            scanner.pass(lead)?;
            match kind {
                Kind::Measurement => measurements.next()?.1 = scanner.measured()?,
                Kind::DeviceId => {
                    parts.device_id = scanner.plain();
                    if !is_device_id_bytes(parts.device_id.bytes_of(json)) {
                        return None;
                    }
                }
                Kind::EventTime => {
                    let event_time = event_time::of_integer(scanner.integer()?)?;
                    limits.check_event_time(event_time).ok()?;
                    parts.event_time = Some(event_time);
                }
                Kind::Seq => parts.seq = Some(i64::try_from(scanner.integer()?).ok()?),
                Kind::Boot => {
                    let boot = scanner.plain();
                    if !(1..=BOOT_CHARS_MAX).contains(&boot.bytes_of(json).len()) {
                        return None;
                    }
                    parts.boot = Some(boot);
                }
                Kind::BootNumber => parts.boot = Some(scanner.digits()?),
                Kind::Tag => {
                    let tag = scanner.plain();
                    if tag.bytes_of(json).len() > limits.tag_chars_max {
                        return None;
                    }
                    tags.next()?.1 = tag;
                }
            }
        }
        (scanner.rest() == self.end.bytes()).then_some(())
    }
}
