//! The full parser: all of JSON by `serde_json`, every refusal with its reason.
//!
//! Values are taken as raw text first and read by their kind, so that numbers keep the digits they were written with
//! and keys that appear twice are seen.

use crate::event_time;
use crate::grammar::{
    ReadingLimits, bad_seq, check_boot, check_device_id, duplicate, no_measurements, not_finite, shown,
    too_many_measurements, too_many_tags,
};
use crate::reason::{Reject, RejectReason};
use crate::record::Measured;
use crate::view::{Parts, Span};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeSet;

/// The entries of an object in the order written, those that appear twice included.
pub(super) struct Entries<V>(pub(super) Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<V>(std::marker::PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Collect<V> {
            type Value = Entries<V>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Collect(std::marker::PhantomData))
    }
}

pub(super) fn utf8(json: &[u8]) -> Result<&str, Reject> {
    std::str::from_utf8(json).map_err(|why| {
        Reject::new(
            RejectReason::InvalidUtf8,
            format!("the bytes from {} on are no UTF-8; expected JSON in UTF-8", why.valid_up_to()),
        )
    })
}

fn malformed(why: &serde_json::Error) -> Reject {
    Reject::new(RejectReason::MalformedJson, format!("{why}; expected one JSON object"))
}

/// Reads a reading: strings into `buffer`, the parts into `parts`.
pub(super) fn parse(
    json: &[u8],
    limits: &ReadingLimits,
    buffer: &mut String,
    parts: &mut Parts,
) -> Result<(), Reject> {
    let text = utf8(json)?;
    let raw: &RawValue = serde_json::from_str(text).map_err(|why| no_json(text, &why))?;
    if !raw.get().starts_with('{') {
        let detail = format!("the value is {}; expected one JSON object", kind(raw.get()));
        return Err(Reject::new(RejectReason::NotAnObject, detail));
    }
    let mut full = Full { limits, buffer, parts, names: BTreeSet::new() };
    full.object(raw.get(), "", 1)?;
    full.finish()
}

/// A syntax error; the numbers that other languages print without asking get their own reason.
fn no_json(text: &str, why: &serde_json::Error) -> Reject {
    let line_start =
        text.split_inclusive('\n').take(why.line().saturating_sub(1)).map(str::len).sum::<usize>();
    let at = line_start + why.column();
    let word = (at.saturating_sub(2)..=at)
        .filter_map(|from| text.get(from..))
        .find_map(|rest| ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| rest.starts_with(word)));
    match word {
        Some(word) => Reject::new(
            RejectReason::NotFinite,
            format!(
                "{word} at line {} column {} is no JSON; expected a finite number, or null for \"measured, no value\"",
                why.line(),
                why.column()
            ),
        ),
        None => malformed(why),
    }
}

/// What a raw value is, for people.
fn kind(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn unquote(raw: &str) -> Result<String, Reject> {
    serde_json::from_str(raw).map_err(|why| malformed(&why))
}

struct Full<'p> {
    limits: &'p ReadingLimits,
    buffer: &'p mut String,
    parts: &'p mut Parts,
    /// Every name so far, of containers too.
    names: BTreeSet<String>,
}

impl Full<'_> {
    fn object(&mut self, raw: &str, prefix: &str, depth: usize) -> Result<(), Reject> {
        let max = self.limits.depth_max;
        if depth > max {
            return Err(Reject::new(
                RejectReason::TooDeep,
                format!(
                    "{} is an object at level {depth}; expected at most {max} levels",
                    shown(prefix.trim_end_matches('.'))
                ),
            ));
        }
        let Entries(entries) =
            serde_json::from_str::<Entries<&RawValue>>(raw).map_err(|why| malformed(&why))?;
        for (key, value) in entries {
            let name = format!("{prefix}{key}");
            if !self.names.insert(name.clone()) {
                return Err(duplicate(&name));
            }
            let raw = value.get();
            match (depth, name.as_str()) {
                (1, "device_id") => self.device_id(raw)?,
                (1, "ts") => self.event_time(raw)?,
                (1, "seq") => self.seq(raw)?,
                (1, "boot") => self.boot(raw)?,
                // A name that is too long is reported before what it contains.
                _ if key.is_empty() => self.limits.check_name("")?,
                _ => {
                    self.limits.check_name(&name)?;
                    self.field(&name, raw, depth)?;
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, text: &str) -> Span {
        let start = self.buffer.len();
        self.buffer.push_str(text);
        Span::new(start, self.buffer.len())
    }

    fn device_id(&mut self, raw: &str) -> Result<(), Reject> {
        if raw == "null" {
            return Err(missing_device_id());
        }
        if !raw.starts_with('"') {
            let detail = format!("`device_id` is {} ({}); expected text", kind(raw), shown(raw));
            return Err(Reject::new(RejectReason::WrongType, detail));
        }
        let id = unquote(raw)?;
        check_device_id(&id)?;
        self.parts.device_id = self.keep(&id);
        Ok(())
    }

    fn event_time(&mut self, raw: &str) -> Result<(), Reject> {
        let event_time = match raw.as_bytes().first() {
            Some(b'n') => return Ok(()),
            Some(b'"') => event_time::of_text(&unquote(raw)?)?,
            Some(b'{' | b'[' | b't' | b'f') => {
                let detail = format!("`ts` is {}; expected a number or a text in RFC 3339", kind(raw));
                return Err(Reject::new(RejectReason::BadTimestamp, detail));
            }
            _ => event_time::of_number(raw)?,
        };
        self.limits.check_event_time(event_time)?;
        self.parts.event_time = Some(event_time);
        Ok(())
    }

    fn seq(&mut self, raw: &str) -> Result<(), Reject> {
        if raw == "null" {
            return Ok(());
        }
        match raw.parse::<i64>() {
            Ok(seq) if seq >= 0 && raw != "-0" => {
                self.parts.seq = Some(seq);
                Ok(())
            }
            _ => Err(bad_seq(&shown(raw))),
        }
    }

    fn boot(&mut self, raw: &str) -> Result<(), Reject> {
        let boot = match raw.as_bytes().first() {
            Some(b'n') => return Ok(()),
            Some(b'"') => unquote(raw)?,
            Some(b'-' | b'0'..=b'9') if !raw.contains(['.', 'e', 'E']) => raw.to_owned(),
            _ => {
                let detail =
                    format!("`boot` is {} ({}); expected text or a whole number", kind(raw), shown(raw));
                return Err(Reject::new(RejectReason::BadSequence, detail));
            }
        };
        check_boot(&boot)?;
        self.parts.boot = Some(self.keep(&boot));
        Ok(())
    }

    /// A measurement, a tag or an object of them.
    fn field(&mut self, name: &str, raw: &str, depth: usize) -> Result<(), Reject> {
        let measured = match raw.as_bytes().first() {
            Some(b'{') => return self.object(raw, &format!("{name}."), depth + 1),
            Some(b'"') => {
                let value = unquote(raw)?;
                self.limits.check_tag(name, &value)?;
                if self.parts.tags.len() == self.limits.tags_max {
                    return Err(too_many_tags(self.limits));
                }
                let entry = (self.keep(name), self.keep(&value));
                self.parts.tags.push(entry);
                return Ok(());
            }
            Some(b'[') => {
                return Err(Reject::new(
                    RejectReason::WrongType,
                    format!(
                        "{} is an array; expected a number, a boolean, null, a text or an object of those",
                        shown(name)
                    ),
                ));
            }
            Some(b'n') => Measured::Null,
            Some(b't') => Measured::Bool(true),
            Some(b'f') => Measured::Bool(false),
            _ => match raw.parse::<f64>() {
                Ok(value) if value.is_finite() => Measured::Number(value),
                _ => return Err(not_finite(name, raw)),
            },
        };
        if self.parts.measurements.len() == self.limits.measurements_max {
            return Err(too_many_measurements(self.limits));
        }
        let name = self.keep(name);
        self.parts.measurements.push((name, measured));
        Ok(())
    }

    fn finish(&self) -> Result<(), Reject> {
        if self.parts.device_id == Span::default() {
            return Err(missing_device_id());
        }
        if self.parts.measurements.is_empty() {
            return Err(no_measurements());
        }
        Ok(())
    }
}

fn missing_device_id() -> Reject {
    Reject::new(RejectReason::MissingDeviceId, "there is no `device_id`; expected a text naming the device")
}
