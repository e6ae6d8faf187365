//! Devices in a snapshot. Timers are not written: they follow from what is.

use super::{Entry, Fleet, Repeat, Version};
use crate::state::bytes::{Bytes, Damaged, put_bytes, put_i64, put_len, put_u32};
use crate::state::names::Names;
use schemas::Micros;
use schemas::codec::Codec;
use schemas::record::DeviceLatest;
use windowing::api::Metric;
use windowing::id::Id;

/// Stands for "never" where a receipt time is written.
const NEVER: Micros = Micros::MIN;

impl Fleet {
    pub(crate) fn save(&self, codec: &Codec, out: &mut Vec<u8>) {
        put_len(out, self.entries.len());
        for entry in self.entries.iter() {
            put_bytes(out, entry.id.as_bytes());
            if !entry.id.is_empty() {
                save_entry(entry, codec, out);
            }
        }
        put_len(out, self.parked.len());
        for (id, versions) in &self.parked {
            put_bytes(out, id.as_bytes());
            save_versions(versions, codec, out);
        }
    }

    pub(crate) fn load(
        stalled_after: Option<Micros>,
        names: &mut Names,
        codec: &Codec,
        bytes: &mut Bytes<'_>,
    ) -> Result<Self, Damaged> {
        let mut fleet = Self::default();
        for _ in 0..bytes.u32("number of slots")? {
            let id = bytes.str("a device id")?;
            let mut entry = Entry { id: Id::new(id), ..Entry::default() };
            if !id.is_empty() {
                fleet.devices += 1;
                load_entry(&mut entry, names, codec, bytes)?;
            }
            fleet.entries.push(entry);
        }
        for _ in 0..bytes.u32("number of parked devices")? {
            let id = bytes.str("a device id")?;
            let versions = load_versions(names, codec, bytes)?;
            fleet.parked.insert(id.into(), versions);
        }
        fleet.watch(stalled_after);
        Ok(fleet)
    }
}

fn save_entry(entry: &Entry, codec: &Codec, out: &mut Vec<u8>) {
    put_i64(out, entry.last_receipt().unwrap_or(NEVER));
    out.push(u8::from(entry.stalled));
    put_len(out, entry.metrics.len());
    for metric in &entry.metrics {
        out.extend_from_slice(&metric.0.to_le_bytes());
    }
    out.push(u8::from(entry.repeat.is_some()));
    if let Some(repeat) = &entry.repeat {
        put_i64(out, repeat.event_time);
        put_i64(out, repeat.fingerprint.cast_signed());
        put_i64(out, repeat.receipt);
    }
    save_versions(entry.versions(), codec, out);
}

fn load_entry(
    entry: &mut Entry,
    names: &mut Names,
    codec: &Codec,
    bytes: &mut Bytes<'_>,
) -> Result<(), Damaged> {
    match bytes.i64("a receipt time")? {
        NEVER => {}
        receipt => entry.hear(receipt),
    }
    entry.stalled = bytes.u8("a flag")? != 0;
    let mut metrics = Vec::new();
    for _ in 0..bytes.u32("number of measurements")? {
        let metric = u16::from_le_bytes(bytes.array("a measurement")?);
        if usize::from(metric) >= names.len() {
            return Err(bytes.damaged("a measurement that has a name"));
        }
        metrics.push(Metric(metric));
    }
    entry.metrics = metrics.into_boxed_slice();
    if bytes.u8("a flag")? != 0 {
        entry.repeat = Some(Box::new(Repeat {
            event_time: bytes.i64("an event time")?,
            fingerprint: bytes.i64("a fingerprint")?.cast_unsigned(),
            receipt: bytes.i64("a receipt time")?,
        }));
    }
    let versions = load_versions(names, codec, bytes)?;
    entry.versions = (!versions.is_empty()).then(|| Box::new(versions));
    Ok(())
}

fn save_versions(versions: &[Version], codec: &Codec, out: &mut Vec<u8>) {
    put_u32(out, u32::try_from(versions.len()).unwrap_or(u32::MAX));
    for version in versions {
        let latest =
            DeviceLatest { device: version.record.clone(), received_at: version.since, write_clock: 0 };
        put_bytes(out, &codec.to_bytes(&latest));
    }
}

fn load_versions(names: &mut Names, codec: &Codec, bytes: &mut Bytes<'_>) -> Result<Vec<Version>, Damaged> {
    let mut versions = Vec::new();
    for _ in 0..bytes.u32("number of versions")? {
        let value = bytes.bytes("metadata")?;
        let latest: DeviceLatest = codec.decode(value).map_err(|why| bytes.damaged(why.to_string()))?;
        let version = Version::new(latest.device, latest.received_at, names)
            .ok_or_else(|| bytes.damaged("a measurement that has a name"))?;
        versions.push(version);
    }
    Ok(versions)
}
