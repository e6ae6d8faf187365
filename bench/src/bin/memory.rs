//! Resident memory of a partition's state: a device with one metric and five panes kept.
//!
//! `memory [DEVICES]` (10,000). One reading a device and minute, 12 minutes, four minutes of lateness on one-minute
//! windows: the open pane and those that may still take a late reading are kept.

use anyhow::{Context, Result, ensure};
use bench::drain::{Drain, pipeline};
use bench::measure::{cpu_ns, resident_bytes};
use bench::workload::{Format, Records, Telemetry};
use processor::state::PartitionState;
use processor::step::NoModels;
use schemas::codec::Codec;
use std::sync::Arc;

const MINUTE: i64 = 60_000_000;
const ROUNDS: u32 = 12;
/// How often it is saved: the first time opens the buffer.
const SNAPSHOTS: u32 = 4;

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn main() -> Result<()> {
    let devices: u32 = match std::env::args().nth(1) {
        Some(text) => text.parse().context("not a number")?,
        None => 10_000,
    };
    let codec = Codec::local();
    // The buffer of one round is filled before the first look, so that it is not counted as state.
    let mut telemetry = Telemetry::new(Format::Avro, &codec, devices, MINUTE);
    let mut records = Records::default();
    telemetry.round(&mut records);
    let before = resident_bytes()?;
    let mut drain = Drain::new(&codec, &pipeline(4 * MINUTE), Arc::new(NoModels))?;
    let mut readings = drain.fold(&records)?;
    let first = resident_bytes()?;
    for _ in 1..ROUNDS {
        records.clear();
        telemetry.round(&mut records);
        readings += drain.fold(&records)?;
    }
    drain.check(readings)?;
    let after = resident_bytes()?;
    let footprint = drain.state().footprint();
    let state = after.saturating_sub(before);
    println!("{devices} devices: {} MB resident, {} MB of it state", after >> 20, state >> 20);
    println!(
        "state with one pane a device: {} bytes a device",
        first.saturating_sub(before) / u64::from(devices)
    );
    println!("state in the end: {} bytes a device", state / u64::from(devices));
    println!("by its own count: {footprint:?}");
    snapshot(&drain, &codec)
}

/// What a snapshot of it costs: the poll thread saves, a new owner loads.
#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn snapshot(drain: &Drain, codec: &Codec) -> Result<()> {
    let mut bytes = Vec::new();
    let mut spent = Vec::new();
    for _ in 0..SNAPSHOTS {
        bytes.clear();
        let begun = cpu_ns()?;
        drain.state().save(codec, &mut bytes);
        spent.push(cpu_ns()?.saturating_sub(begun) / 1_000);
    }
    let begun = cpu_ns()?;
    let loaded = PartitionState::load(&bytes, codec, &NoModels).context("loading what was saved")?;
    let loading = cpu_ns()?.saturating_sub(begun) / 1_000;
    let mut again = Vec::new();
    loaded.save(codec, &mut again);
    ensure!(again == bytes, "what was loaded is not what was saved");
    println!(
        "snapshot: {} KB; saving took {spent:?} us of processor time, loading {loading} us",
        bytes.len() >> 10
    );
    Ok(())
}
