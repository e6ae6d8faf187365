//! What stands on `iot.raw`, read without allocating: framed Avro, or bare JSON from foreign producers.
//!
//! The first byte tells them apart: 0x00 begins a frame; `{`, also after white space, begins JSON; anything else is
//! foreign. Readings pass the same checks whichever way they came.

use crate::avro::{Datum as _, Input};
use crate::codec::{Codec, Datum, DecodeError, MAGIC, foreign_bytes};
use crate::contract::Subject;
use crate::grammar::{
    ReadingLimits, bad_seq, check_boot, check_device_id, check_measured, duplicate, no_measurements,
    too_large, too_many_measurements, too_many_tags,
};
use crate::json::ReadingParser;
use crate::reason::{Reject, RejectReason};
use crate::record::{Control, Device, End, Measured, Raw};
use crate::view::{Parts, ReadingView, Seen, Span};

#[cfg(test)]
mod tests;

/// A record of `iot.raw`; a reading is borrowed.
#[derive(Clone, Debug)]
pub enum RawView<'d> {
    /// A reading.
    Reading(ReadingView<'d>),
    /// Device metadata.
    Device(Device),
    /// Configuration.
    Control(Control),
    /// Time has passed.
    Tick,
    /// No more readings are expected.
    End(End),
}

impl RawView<'_> {
    /// A record of its own.
    #[must_use]
    pub fn to_owned(&self) -> Raw {
        match self {
            Self::Reading(view) => Raw::Reading(view.to_owned()),
            Self::Device(device) => Raw::Device(device.clone()),
            Self::Control(control) => Raw::Control(control.clone()),
            Self::Tick => Raw::Tick,
            Self::End(end) => Raw::End(end.clone()),
        }
    }
}

/// Decodes values of `iot.raw`, one after another, in scratch of its own.
#[derive(Debug, Default)]
pub struct RawDecoder {
    parser: ReadingParser,
    resolved: Vec<u8>,
}

impl RawDecoder {
    /// With these limits.
    #[must_use]
    pub fn new(limits: ReadingLimits) -> Self {
        Self { parser: ReadingParser::new(limits), resolved: Vec::new() }
    }

    /// Decodes one value. Bare JSON is refused unless `bare_json`.
    ///
    /// # Errors
    /// [`DecodeError`], by what the caller does next.
    #[inline]
    pub fn decode<'d>(
        &'d mut self,
        codec: &Codec,
        value: &'d [u8],
        bare_json: bool,
    ) -> Result<RawView<'d>, DecodeError> {
        match value.first() {
            Some(&MAGIC) => self.decode_framed(codec, value),
            _ if value.trim_ascii_start().first() == Some(&b'{') => {
                if !bare_json {
                    let detail = "the value is bare JSON, which is switched off; expected framed Avro";
                    return Err(Reject::new(RejectReason::BareJsonRefused, detail).into());
                }
                Ok(RawView::Reading(self.parser.parse(value)?))
            }
            _ => Err(foreign_bytes(value).into()),
        }
    }

    fn decode_framed<'d>(&'d mut self, codec: &Codec, value: &[u8]) -> Result<RawView<'d>, DecodeError> {
        let datum = match codec.datum(Subject::Raw, value)? {
            Datum::Own(datum) => datum,
            Datum::Resolved(bytes) => {
                self.resolved = bytes;
                &self.resolved
            }
        };
        let mut input = Input::new(datum);
        // The order of the union in `raw.avsc`.
        let view = match input.index(5, "record")? {
            0 => {
                let ReadingParser { limits, buffer, parts } = &mut self.parser;
                if value.len() > limits.reading_bytes_max {
                    return Err(too_large(value.len(), limits).into());
                }
                read_reading(&mut input, limits, buffer, parts)?;
                input.finish()?;
                return Ok(RawView::Reading(ReadingView::new(buffer, parts)));
            }
            1 => RawView::Device(Device::read(&mut input, "record")?),
            2 => RawView::Control(Control::read(&mut input, "record")?),
            3 => RawView::Tick,
            _ => RawView::End(End::read(&mut input, "record")?),
        };
        input.finish()?;
        match &view {
            RawView::Device(device) => self.parser.limits.check_device(device)?,
            RawView::End(End { device_id: Some(device_id) }) => check_device_id(device_id)?,
            _ => {}
        }
        Ok(view)
    }
}

/// Reads a reading: texts into `buffer`, the parts into `parts`.
#[inline]
fn read_reading(
    input: &mut Input<'_>,
    limits: &ReadingLimits,
    buffer: &mut String,
    parts: &mut Parts,
) -> Result<(), DecodeError> {
    parts.clear();
    buffer.clear();
    let device_id = input.text("device_id")?;
    check_device_id(device_id)?;
    parts.device_id = keep(buffer, device_id);
    if input.index(2, "event_time")? == 1 {
        let event_time = input.long("event_time")?;
        limits.check_event_time(event_time)?;
        parts.event_time = Some(event_time);
    }
    if input.index(2, "seq")? == 1 {
        let seq = input.long("seq")?;
        if seq < 0 {
            return Err(bad_seq(&seq.to_string()).into());
        }
        parts.seq = Some(seq);
    }
    if input.index(2, "boot")? == 1 {
        let boot = input.text("boot")?;
        check_boot(boot)?;
        parts.boot = Some(keep(buffer, boot));
    }
    let mut seen = Seen::default();
    let mut refusal = None;
    let measurements = input.blocks("measurements", |input| {
        let name = input.text("measurements")?;
        let measured = Measured::read(input, "measurements")?;
        if refusal.is_none() {
            refusal = keep_measurement(name, measured, limits, &mut seen, buffer, parts).err();
        }
        Ok(())
    });
    measurements?;
    input.blocks("tags", |input| {
        let (name, value) = (input.text("tags")?, input.text("tags")?);
        if refusal.is_none() {
            refusal = keep_tag(name, value, limits, &mut seen, buffer, parts).err();
        }
        Ok(())
    })?;
    match refusal {
        Some(refusal) => Err(refusal.into()),
        None if parts.measurements.is_empty() => Err(no_measurements().into()),
        None => Ok(()),
    }
}

#[inline]
fn keep(buffer: &mut String, text: &str) -> Span {
    let start = buffer.len();
    buffer.push_str(text);
    Span::new(start, buffer.len())
}

#[inline]
fn keep_measurement(
    name: &str,
    measured: Measured,
    limits: &ReadingLimits,
    seen: &mut Seen,
    buffer: &mut String,
    parts: &mut Parts,
) -> Result<(), Reject> {
    limits.check_name(name)?;
    check_measured(name, measured)?;
    if seen.insert(name.as_bytes()) && parts.contains(name, buffer) {
        return Err(duplicate(name));
    }
    if parts.measurements.len() == limits.measurements_max {
        return Err(too_many_measurements(limits));
    }
    let name = keep(buffer, name);
    parts.measurements.push((name, measured));
    Ok(())
}

#[inline]
fn keep_tag(
    name: &str,
    value: &str,
    limits: &ReadingLimits,
    seen: &mut Seen,
    buffer: &mut String,
    parts: &mut Parts,
) -> Result<(), Reject> {
    limits.check_name(name)?;
    limits.check_tag(name, value)?;
    if seen.insert(name.as_bytes()) && parts.contains(name, buffer) {
        return Err(duplicate(name));
    }
    if parts.tags.len() == limits.tags_max {
        return Err(too_many_tags(limits));
    }
    let entry = (keep(buffer, name), keep(buffer, value));
    parts.tags.push(entry);
    Ok(())
}

impl Codec {
    /// Appends the framed Avro of a reading, without an owned one in between; the bytes are those of
    /// `encode(&Raw::Reading(view.to_owned()))`.
    pub fn encode_reading(&self, view: &ReadingView<'_>, out: &mut Vec<u8>) {
        use crate::avro::{write_block, write_bytes, write_count, write_long};
        self.frame(Subject::Raw, out);
        write_count(0, out);
        write_bytes(view.device_id().as_bytes(), out);
        for number in [view.event_time(), view.seq()] {
            write_count(usize::from(number.is_some()), out);
            if let Some(number) = number {
                write_long(number, out);
            }
        }
        write_count(usize::from(view.boot().is_some()), out);
        if let Some(boot) = view.boot() {
            write_bytes(boot.as_bytes(), out);
        }
        write_block(view.measurements(), out, |(name, measured), out| {
            write_bytes(name.as_bytes(), out);
            measured.write(out);
        });
        write_block(view.tags(), out, |(name, value), out| {
            write_bytes(name.as_bytes(), out);
            write_bytes(value.as_bytes(), out);
        });
    }
}
