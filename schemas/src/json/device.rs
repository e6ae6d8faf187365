//! The body of `PUT /v1/devices/{id}`: a device's metadata as people write it.

use super::full::{Entries, utf8};
use crate::Micros;
use crate::grammar::{DEVICE_SPAN_MAX, ReadingLimits, shown};
use crate::reason::{Reject, RejectReason};
use crate::record::{Channel, Device};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawDevice {
    site: Option<String>,
    model: Option<String>,
    #[serde(default, deserialize_with = "unique")]
    tags: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "unique")]
    channels: BTreeMap<String, RawChannel>,
    disorder: Option<String>,
    quiet_after: Option<String>,
    lateness: Option<String>,
    settle: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct RawChannel {
    unit: Option<String>,
    scale: Option<f64>,
    offset: Option<f64>,
}

/// A map in which no name appears twice.
fn unique<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, V>, D::Error> {
    let Entries(entries) = Entries::deserialize(deserializer)?;
    let mut map = BTreeMap::new();
    for (name, value) in entries {
        if map.contains_key(&name) {
            return Err(serde::de::Error::custom(format!("the name `{name}` appears twice")));
        }
        map.insert(name, value);
    }
    Ok(map)
}

/// Reads a device's metadata:
/// `{"site":"hall 3","model":"TH-20","tags":{"line":"7"},"channels":{"temp":{"unit":"C","scale":1.0,"offset":-0.4}},
/// "disorder":"10s","quiet-after":"5m","lateness":"1h","settle":"30s"}`, every field optional.
///
/// # Errors
/// `bad-device-id`, `too-large`, `invalid-utf8`, or `bad-device` naming the field.
pub fn parse_device(device_id: &str, json: &[u8], limits: &ReadingLimits) -> Result<Device, Reject> {
    if json.len() > limits.reading_bytes_max {
        let (bytes, max) = (json.len(), limits.reading_bytes_max);
        let detail = format!("the metadata has {bytes} bytes; expected at most {max}");
        return Err(Reject::new(RejectReason::TooLarge, detail));
    }
    let raw: RawDevice = serde_json::from_str(utf8(json)?).map_err(|why| {
        Reject::new(RejectReason::BadDevice, format!("{why}; expected an object of metadata"))
    })?;
    let channel = |raw: RawChannel| Channel { unit: raw.unit, scale: raw.scale, offset: raw.offset };
    let device = Device {
        device_id: device_id.to_owned(),
        deleted: false,
        site: raw.site,
        model: raw.model,
        tags: raw.tags,
        channels: raw.channels.into_iter().map(|(name, raw)| (name, channel(raw))).collect(),
        disorder: span("disorder", raw.disorder)?,
        quiet_after: span("quiet-after", raw.quiet_after)?,
        lateness: span("lateness", raw.lateness)?,
        settle: span("settle", raw.settle)?,
    };
    limits.check_device(&device)?;
    Ok(device)
}

/// A span of time with its unit.
fn span(field: &str, text: Option<String>) -> Result<Option<Micros>, Reject> {
    const UNITS: [(&str, Micros); 6] = [
        ("us", 1),
        ("ms", 1_000),
        ("s", 1_000_000),
        ("m", 60_000_000),
        ("h", 3_600_000_000),
        ("d", 86_400_000_000),
    ];
    let Some(text) = text else { return Ok(None) };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let micros =
        number.parse::<Micros>().ok().zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    match micros {
        Some(micros) if micros <= DEVICE_SPAN_MAX => Ok(Some(micros)),
        _ => Err(Reject::new(
            RejectReason::BadDevice,
            format!(
                "`{field}` is {}; expected a span with its unit such as \"10s\", \"5m\" or \"24h\", at most \"366d\"",
                shown(&text)
            ),
        )),
    }
}
