//! What a reading may look like, whatever it was written in: device ids, names, texts, times, and how many of each.
//!
//! Does not live here: the encodings (`json`, `raw`). Both ask here, so that a reading that was accepted as JSON is
//! accepted as Avro.

use crate::Micros;
use crate::reason::{Reject, RejectReason};
use crate::record::Device;

/// First accepted event time: 2000-01-01T00:00:00Z. Before it, a clock that was never set is likelier than a reading.
pub const EVENT_TIME_MIN: Micros = 946_684_800_000_000;
/// First event time that is not accepted any more: 2100-01-01T00:00:00Z.
pub const EVENT_TIME_END: Micros = 4_102_444_800_000_000;
/// Characters of a device id.
pub const DEVICE_ID_CHARS_MAX: usize = 128;
/// Characters of `boot`.
pub const BOOT_CHARS_MAX: usize = 64;
/// Longest time setting of a device: 366 days.
pub const DEVICE_SPAN_MAX: Micros = 366 * 86_400_000_000;

/// Bounds of one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadingLimits {
    /// Bytes of a reading as it came.
    pub reading_bytes_max: usize,
    /// Measurements of a reading; channels of a device.
    pub measurements_max: usize,
    /// Tags of a reading or a device.
    pub tags_max: usize,
    /// Characters of a measurement's or tag's name, flattening included.
    pub name_chars_max: usize,
    /// Characters of a tag's value.
    pub tag_chars_max: usize,
    /// Levels of objects in JSON; the reading itself is the first.
    pub depth_max: usize,
    /// First accepted event time. Seconds, milliseconds and microseconds are told apart by [`EVENT_TIME_MIN`] and
    /// [`EVENT_TIME_END`] all the same.
    pub event_time_min: Micros,
    /// First event time that is not accepted any more.
    pub event_time_end: Micros,
}

impl ReadingLimits {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        reading_bytes_max: 64 << 10,
        measurements_max: 64,
        tags_max: 64,
        name_chars_max: 64,
        tag_chars_max: 1024,
        depth_max: 8,
        event_time_min: EVENT_TIME_MIN,
        event_time_end: EVENT_TIME_END,
    };
}

impl Default for ReadingLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Which bytes a device id is made of.
const DEVICE_ID_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
        byte += 1;
    }
    table
};

/// Whether a text is a device id: 1 to 128 letters, digits and `._:-`, and neither `.` nor `..`.
#[inline]
#[must_use]
pub fn is_device_id(text: &str) -> bool {
    is_device_id_bytes(text.as_bytes())
}

#[inline]
pub(crate) fn is_device_id_bytes(bytes: &[u8]) -> bool {
    (1..=DEVICE_ID_CHARS_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| DEVICE_ID_BYTES[usize::from(*byte)])
        && !matches!(bytes, b"." | b"..")
}

/// Checks a device id.
///
/// # Errors
/// `bad-device-id`.
#[inline]
pub fn check_device_id(text: &str) -> Result<(), Reject> {
    if is_device_id(text) { Ok(()) } else { Err(bad_device_id(text)) }
}

#[cold]
fn bad_device_id(text: &str) -> Reject {
    Reject::new(
        RejectReason::BadDeviceId,
        format!(
            "`device_id` is {}; expected 1 to {DEVICE_ID_CHARS_MAX} letters, digits and . _ : - (not . or ..)",
            shown(text)
        ),
    )
}

/// At most the first 48 characters of what was found, quoted and escaped.
pub(crate) fn shown(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 48;
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
    }
}

impl ReadingLimits {
    /// Checks a measurement's or tag's name: 1 to `name_chars_max` characters, none of them a control character.
    ///
    /// # Errors
    /// `bad-name`.
    #[inline]
    pub fn check_name(&self, name: &str) -> Result<(), Reject> {
        if (1..=self.name_chars_max).contains(&name.len()) && name.bytes().all(|b| (0x20..0x7f).contains(&b))
        {
            Ok(())
        } else {
            self.check_unusual_name(name)
        }
    }

    #[cold]
    fn check_unusual_name(&self, name: &str) -> Result<(), Reject> {
        if (1..=self.name_chars_max).contains(&name.chars().count()) && !name.chars().any(char::is_control) {
            return Ok(());
        }
        let max = self.name_chars_max;
        Err(Reject::new(
            RejectReason::BadName,
            format!(
                "the name {} of a measurement or tag: expected 1 to {max} characters, none of them a control character",
                shown(name)
            ),
        ))
    }

    /// Checks a tag's value: at most `tag_chars_max` characters, and no control character but tab and line ends.
    ///
    /// # Errors
    /// `bad-text`.
    #[inline]
    pub fn check_tag(&self, name: &str, value: &str) -> Result<(), Reject> {
        if value.len() <= self.tag_chars_max && value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Ok(());
        }
        let allowed = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
        if value.chars().count() <= self.tag_chars_max && value.chars().all(allowed) {
            return Ok(());
        }
        let max = self.tag_chars_max;
        Err(Reject::new(
            RejectReason::BadText,
            format!(
                "the text of {} is {}; expected at most {max} characters and no control character but tab and line ends",
                shown(name),
                shown(value)
            ),
        ))
    }

    /// Checks an event time against the accepted range.
    ///
    /// # Errors
    /// `bad-timestamp`.
    #[inline]
    pub fn check_event_time(&self, event_time: Micros) -> Result<(), Reject> {
        if (self.event_time_min..self.event_time_end).contains(&event_time) {
            return Ok(());
        }
        Err(Reject::new(
            RejectReason::BadTimestamp,
            format!(
                "the event time is {} ({event_time} us); expected {} or later, and before {}",
                instant(event_time),
                instant(self.event_time_min),
                instant(self.event_time_end)
            ),
        ))
    }

    /// Checks a device's metadata.
    ///
    /// # Errors
    /// `bad-device-id`, or `bad-device` naming the field.
    pub fn check_device(&self, device: &Device) -> Result<(), Reject> {
        let bad = |detail: String| Reject::new(RejectReason::BadDevice, detail);
        check_device_id(&device.device_id)?;
        for (what, count, max) in [
            ("tags", device.tags.len(), self.tags_max),
            ("channels", device.channels.len(), self.measurements_max),
        ] {
            if count > max {
                return Err(bad(format!("`{what}` has {count} entries; expected at most {max}")));
            }
        }
        let texts = [("site", &device.site), ("model", &device.model)];
        let texts = texts.iter().filter_map(|(name, text)| text.as_ref().map(|text| (*name, text.as_str())));
        let tags = device.tags.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, text) in texts.chain(tags) {
            self.check_name(name).and_then(|()| self.check_tag(name, text)).map_err(|why| bad(why.detail))?;
        }
        for (name, channel) in &device.channels {
            self.check_name(name)
                .and_then(|()| self.check_tag(name, channel.unit.as_deref().unwrap_or_default()))
                .map_err(|why| bad(why.detail))?;
            if channel.scale.is_some_and(|scale| !scale.is_finite() || scale == 0.0) {
                return Err(bad(format!("`channels.{name}.scale` must be a finite number other than 0")));
            }
            if channel.offset.is_some_and(|offset| !offset.is_finite()) {
                return Err(bad(format!("`channels.{name}.offset` must be a finite number")));
            }
        }
        for (what, span) in [
            ("disorder", device.disorder),
            ("quiet-after", device.quiet_after),
            ("lateness", device.lateness),
            ("settle", device.settle),
        ] {
            if span.is_some_and(|span| !(0..=DEVICE_SPAN_MAX).contains(&span)) {
                return Err(bad(format!("`{what}` must be from 0 to 366 days")));
            }
        }
        Ok(())
    }
}

/// Checks `boot`.
///
/// # Errors
/// `bad-sequence`.
#[inline]
pub(crate) fn check_boot(boot: &str) -> Result<(), Reject> {
    if (1..=BOOT_CHARS_MAX).contains(&boot.chars().count()) && !boot.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Reject::new(
        RejectReason::BadSequence,
        format!(
            "`boot` is {}; expected 1 to {BOOT_CHARS_MAX} characters, none of them a control character",
            shown(boot)
        ),
    ))
}

#[cold]
pub(crate) fn not_finite(name: &str, found: &str) -> Reject {
    Reject::new(
        RejectReason::NotFinite,
        format!(
            "{} is {}; expected a number that is finite in 64-bit floating point, or null for \"measured, no value\"",
            shown(name),
            shown(found)
        ),
    )
}

#[cold]
pub(crate) fn duplicate(name: &str) -> Reject {
    Reject::new(
        RejectReason::DuplicateKey,
        format!(
            "{} appears twice; expected every name once (nested names are joined with dots)",
            shown(name)
        ),
    )
}

#[cold]
pub(crate) fn no_measurements() -> Reject {
    Reject::new(
        RejectReason::NoMeasurements,
        "the reading has no measurement; expected at least one field with a number, a boolean or null",
    )
}

#[cold]
pub(crate) fn too_large(bytes: usize, limits: &ReadingLimits) -> Reject {
    let max = limits.reading_bytes_max;
    Reject::new(RejectReason::TooLarge, format!("the reading has {bytes} bytes; expected at most {max}"))
}

#[cold]
pub(crate) fn too_many_measurements(limits: &ReadingLimits) -> Reject {
    let max = limits.measurements_max;
    Reject::new(RejectReason::TooManyMeasurements, format!("more than {max} measurements in one reading"))
}

#[cold]
pub(crate) fn too_many_tags(limits: &ReadingLimits) -> Reject {
    let max = limits.tags_max;
    Reject::new(RejectReason::TooManyTags, format!("more than {max} text fields in one reading"))
}

#[cold]
pub(crate) fn bad_seq(found: &str) -> Reject {
    Reject::new(
        RejectReason::BadSequence,
        format!("`seq` is {found}; expected a whole number from 0 to {}", i64::MAX),
    )
}

/// An instant for people.
fn instant(micros: Micros) -> String {
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| "no date".to_owned(), |instant| instant.to_string())
}
