//! The telemetry that is drained: seven fields (or ten), 10,000 readings a second of event time, as JSON and as framed
//! Avro, from a seed.

use loadgen::Random;
use schemas::Micros;
use schemas::codec::Codec;
use schemas::record::{Measured, Raw, Reading};
use std::fmt::Write as _;

/// First event time: 2023-11-14T22:13:20Z, a whole number of minutes after the epoch or nearly.
pub const START: Micros = 1_700_000_040_000_000;
/// Between two readings of the whole fleet: 10,000 a second, however many devices share them.
const STEP: Micros = 100;

/// How values stand in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Bare JSON, 129 bytes.
    Json,
    /// Framed Avro.
    Avro,
}

impl Format {
    /// Its name in tables and reference files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Avro => "avro",
        }
    }
}

/// Records one after the other in one piece of memory, as a fetch brings them.
#[derive(Clone, Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    /// Key end, value end, receipt time.
    ends: Vec<(usize, usize, Micros)>,
}

impl Records {
    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Forgets all records, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Bytes of a value on average.
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        self.iter().map(|(_, value, _)| value.len()).sum::<usize>() / self.len().max(1)
    }

    /// Key, value and receipt time of each.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8], Micros)> {
        let mut from = 0;
        self.ends.iter().map(move |&(key, value, receipt)| {
            let record = (&self.bytes[from..key], &self.bytes[key..value], receipt);
            from = value;
            record
        })
    }
}

/// Makes rounds: one reading of each device, in order; receipt follows event by 50 ms.
#[derive(Debug)]
pub struct Telemetry {
    format: Format,
    codec: Codec,
    devices: u32,
    period: Micros,
    measurements: usize,
    random: Random,
    round: u32,
    line: String,
}

/// Measurements of a reading, unless more are wanted.
const MEASUREMENTS: usize = 4;
/// Name, mean, deviation, and what is kept of the fraction.
const ALL: [(&str, f64, f64, f64); 7] = [
    ("temperature", 21.0, 2.0, 100.0),
    ("humidity", 55.0, 5.0, 100.0),
    ("pressure", 1_013.0, 3.0, 100.0),
    ("battery", 3.6, 0.02, 1_000.0),
    ("voltage", 230.0, 1.5, 10.0),
    ("current", 4.2, 0.4, 1_000.0),
    ("vibration", 0.8, 0.1, 1_000.0),
];

impl Telemetry {
    /// Of so many devices with so many microseconds between two readings of one.
    #[must_use]
    pub fn new(format: Format, codec: &Codec, devices: u32, period: Micros) -> Self {
        Self {
            format,
            codec: codec.clone(),
            devices,
            period,
            measurements: MEASUREMENTS,
            random: Random::new(42),
            round: 0,
            line: String::new(),
        }
    }

    /// Names of the first so many measurements.
    #[must_use]
    pub fn names(measurements: usize) -> Vec<String> {
        ALL.iter().take(measurements).map(|(name, ..)| (*name).to_owned()).collect()
    }

    /// With so many measurements in each reading, seven at most, instead of four.
    #[must_use]
    pub fn measuring(mut self, measurements: usize) -> Self {
        self.measurements = measurements;
        self
    }

    /// Appends the next round.
    pub fn round(&mut self, records: &mut Records) {
        for device in 0..self.devices {
            let shift = self.period * Micros::from(device) / Micros::from(self.devices);
            let event_time = (START + self.period * Micros::from(self.round) + shift) / 1_000 * 1_000;
            self.reading(device, event_time, records);
        }
        self.round += 1;
    }

    fn reading(&mut self, device: u32, event_time: Micros, records: &mut Records) {
        let id = format!("dev-{device:06}");
        let random = &mut self.random;
        let mut value =
            |base: f64, spread: f64, scale: f64| ((base + spread * random.normal()) * scale).round() / scale;
        let measured = ALL
            .iter()
            .take(self.measurements)
            .map(|(name, base, spread, scale)| (*name, value(*base, *spread, *scale)));
        records.bytes.extend_from_slice(id.as_bytes());
        let key = records.bytes.len();
        let seq = 1_000_000 + i64::from(self.round);
        match self.format {
            Format::Json => {
                self.line.clear();
                let _ = write!(self.line, r#"{{"device_id":"{id}","ts":{}"#, event_time / 1_000);
                for (name, value) in measured {
                    let _ = write!(self.line, r#","{name}":{value}"#);
                }
                let _ = write!(self.line, r#","seq":{seq}}}"#);
                records.bytes.extend_from_slice(self.line.as_bytes());
            }
            Format::Avro => {
                let measurements = measured.map(|(name, value)| (name.to_owned(), Measured::Number(value)));
                let reading = Reading {
                    device_id: id,
                    event_time: Some(event_time),
                    seq: Some(seq),
                    boot: None,
                    measurements: measurements.collect(),
                    tags: Vec::new(),
                };
                self.codec.encode(&Raw::Reading(reading), &mut records.bytes);
            }
        }
        records.ends.push((key, records.bytes.len(), event_time + 50_000));
    }
}

/// `rounds` readings of each of `devices` devices, 10,000 a second in all.
#[must_use]
pub fn telemetry(format: Format, codec: &Codec, devices: u32, rounds: u32) -> Records {
    let mut telemetry = Telemetry::new(format, codec, devices, STEP * Micros::from(devices));
    let mut records = Records::default();
    for _ in 0..rounds {
        telemetry.round(&mut records);
    }
    records
}
