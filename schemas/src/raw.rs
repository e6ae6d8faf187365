//! What stands on `iot.raw`, read without allocating: framed Avro, or bare JSON from foreign producers.
//!
//! The first byte tells them apart: 0x00 begins a frame; `{`, also after white space, begins JSON; anything else is
//! foreign. Readings pass the same checks whichever way they came.

use crate::avro::{Datum as _, Input};
use crate::codec::{Codec, Datum, DecodeError, FRAME_BYTES, MAGIC, foreign_bytes};
use crate::contract::Subject;
use crate::grammar::{
    ReadingLimits, bad_seq, check_boot, check_device_id, duplicate, no_measurements, not_finite, too_large,
    too_many_measurements, too_many_tags,
};
use crate::json::ReadingParser;
use crate::reason::{Reject, RejectReason};
use crate::record::{Control, Device, End, Measured, Raw};
use crate::usual::Usual;
use crate::view::{Parts, ReadingView, Seen, Span};
use usual::AvroLayout;

#[cfg(test)]
mod tests;
mod usual;

/// A record of `iot.raw`; a reading is borrowed, and small: what is large and rare is in a box.
#[derive(Clone, Debug)]
pub enum RawView<'d> {
    /// A reading.
    Reading(ReadingView<'d>),
    /// Device metadata.
    Device(Box<Device>),
    /// Configuration.
    Control(Box<Control>),
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
            Self::Device(device) => Raw::Device((**device).clone()),
            Self::Control(control) => Raw::Control((**control).clone()),
            Self::Tick => Raw::Tick,
            Self::End(end) => Raw::End(end.clone()),
        }
    }
}

/// What a reading was read from.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    Avro,
    Json,
}

/// Decodes values of `iot.raw`, one after another, in scratch of its own.
#[derive(Debug, Default)]
pub struct RawDecoder {
    parser: ReadingParser,
    texts: Vec<u8>,
    resolved: Vec<u8>,
    usual: Usual<AvroLayout>,
}

impl RawDecoder {
    /// With these limits.
    #[must_use]
    pub fn new(limits: ReadingLimits) -> Self {
        Self { parser: ReadingParser::new(limits), ..Self::default() }
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
        match self.read_usual(codec, value, bare_json) {
            Some(encoding) => Ok(RawView::Reading(self.usual_view(encoding, value))),
            None => self.decode_unusual(codec, value, bare_json),
        }
    }

    /// Decodes a reading that is laid out like one before; none: it is something else, and for
    /// [`RawDecoder::decode_unusual`]. The two together are [`RawDecoder::decode`], for callers to whom it matters that
    /// a reading is not moved about.
    #[inline]
    pub fn decode_usual<'d>(
        &'d mut self,
        codec: &Codec,
        value: &'d [u8],
        bare_json: bool,
    ) -> Option<ReadingView<'d>> {
        let encoding = self.read_usual(codec, value, bare_json)?;
        Some(self.usual_view(encoding, value))
    }

    /// Decodes anything, by no layout.
    ///
    /// # Errors
    /// As [`RawDecoder::decode`].
    pub fn decode_unusual<'d>(
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
                Ok(RawView::Reading(self.parser.parse_unusual(value)?))
            }
            _ => Err(foreign_bytes(value).into()),
        }
    }

    #[inline]
    fn read_usual(&mut self, codec: &Codec, value: &[u8], bare_json: bool) -> Option<Encoding> {
        if value.first() == Some(&MAGIC) {
            let start = codec.reading_at(value)?;
            let limits = &self.parser.limits;
            let found = value.len() <= limits.reading_bytes_max
                && self.usual.read(|layout| layout.read(value, start, limits));
            return found.then_some(Encoding::Avro);
        }
        (bare_json && self.parser.read_usual(value)).then_some(Encoding::Json)
    }

    /// What was read last.
    #[inline]
    fn usual_view<'d>(&'d self, encoding: Encoding, value: &'d [u8]) -> ReadingView<'d> {
        match encoding {
            Encoding::Avro => {
                let found = self.usual.found();
                ReadingView::of_layout(&found.layout, value, &found.parts)
            }
            Encoding::Json => self.parser.usual_view(value),
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
                let ReadingParser { limits, parts, .. } = &mut self.parser;
                if value.len() > limits.reading_bytes_max {
                    return Err(too_large(value.len(), limits).into());
                }
                read_reading(&mut input, limits, &mut self.texts, parts)?;
                let text = std::str::from_utf8(&self.texts)
                    .map_err(|why| Reject::new(RejectReason::MalformedAvro, why.to_string()))?;
                self.usual.miss(|| AvroLayout::learn(parts, text));
                return Ok(RawView::Reading(ReadingView::new(text, parts)));
            }
            1 => RawView::Device(Box::new(Device::read(&mut input, "record")?)),
            2 => RawView::Control(Box::new(Control::read(&mut input, "record")?)),
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

/// Texts of a reading, one behind the other. Each is checked on its own, most by being plain ASCII, so that the whole
/// is text too.
struct Texts<'d>(&'d mut Vec<u8>);

impl Texts<'_> {
    #[inline]
    fn keep(&mut self, text: &[u8]) -> Span {
        let start = self.0.len();
        self.0.extend_from_slice(text);
        Span::new(start, self.0.len())
    }
}

#[inline]
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (0x20..0x7f).contains(byte))
}

/// Text that is not plain, or too long: either in order all the same, or refused.
#[cold]
fn check_unusual(
    text: &[u8],
    field: &str,
    check: impl FnOnce(&str) -> Result<(), Reject>,
) -> Result<(), Reject> {
    match std::str::from_utf8(text) {
        Ok(text) => check(text),
        Err(_) => Err(Reject::new(RejectReason::MalformedAvro, format!("`{field}`: expected text in UTF-8"))),
    }
}

/// Collects the entries of both maps; the first refusal is kept until the datum has been read to its end.
struct Entries<'d> {
    limits: &'d ReadingLimits,
    texts: Texts<'d>,
    parts: &'d mut Parts,
    seen: Seen,
}

impl Entries<'_> {
    #[inline]
    fn check_name(&mut self, name: &[u8]) -> Result<(), Reject> {
        if !((1..=self.limits.name_chars_max).contains(&name.len()) && is_plain(name)) {
            check_unusual(name, "name", |name| self.limits.check_name(name))?;
        }
        if self.seen.insert(name) && self.parts.contains(name, self.texts.0) {
            return Err(duplicate(&String::from_utf8_lossy(name)));
        }
        Ok(())
    }

    #[inline]
    fn measurement(&mut self, name: &[u8], measured: Measured) -> Result<(), Reject> {
        self.check_name(name)?;
        if let Measured::Number(value) = measured
            && !value.is_finite()
        {
            return Err(not_finite(&String::from_utf8_lossy(name), &value.to_string()));
        }
        if self.parts.measurements.len() == self.limits.measurements_max {
            return Err(too_many_measurements(self.limits));
        }
        let name = self.texts.keep(name);
        self.parts.measurements.push((name, measured));
        Ok(())
    }

    #[inline]
    fn tag(&mut self, name: &[u8], value: &[u8]) -> Result<(), Reject> {
        self.check_name(name)?;
        if value.len() > self.limits.tag_chars_max || !is_plain(value) {
            let name = String::from_utf8_lossy(name);
            check_unusual(value, &name, |value| self.limits.check_tag(&name, value))?;
        }
        if self.parts.tags.len() == self.limits.tags_max {
            return Err(too_many_tags(self.limits));
        }
        let entry = (self.texts.keep(name), self.texts.keep(value));
        self.parts.tags.push(entry);
        Ok(())
    }
}

/// Reads a reading: texts into `texts`, the parts into `parts`.
#[inline]
fn read_reading(
    input: &mut Input<'_>,
    limits: &ReadingLimits,
    texts: &mut Vec<u8>,
    parts: &mut Parts,
) -> Result<(), DecodeError> {
    parts.clear();
    texts.clear();
    let mut texts = Texts(texts);
    let device_id = input.text("device_id")?;
    check_device_id(device_id)?;
    parts.device_id = texts.keep(device_id.as_bytes());
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
        parts.boot = Some(texts.keep(boot.as_bytes()));
    }
    let mut entries = Entries { limits, texts, parts, seen: Seen::default() };
    let mut refusal = Ok(());
    input.blocks("measurements", |input| {
        let name = input.bytes("measurements")?;
        let measured = Measured::read(input, "measurements")?;
        if refusal.is_ok() {
            refusal = entries.measurement(name, measured);
        }
        Ok(())
    })?;
    input.blocks("tags", |input| {
        let (name, value) = (input.bytes("tags")?, input.bytes("tags")?);
        if refusal.is_ok() {
            refusal = entries.tag(name, value);
        }
        Ok(())
    })?;
    input.finish()?;
    refusal?;
    if parts.measurements.is_empty() { Err(no_measurements().into()) } else { Ok(()) }
}

impl Codec {
    /// Where the reading begins in a framed value in this build's layout; none: it is something else.
    #[inline]
    fn reading_at(&self, value: &[u8]) -> Option<usize> {
        let [MAGIC, a, b, c, d, 0, ..] = value else { return None };
        (u32::from_be_bytes([*a, *b, *c, *d]) == self.id(Subject::Raw)).then_some(FRAME_BYTES + 1)
    }

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
