//! Processor time of a reading on its way from bytes to windows, beside parsing alone, in the same run.
//!
//! `step [DEVICES] [ROUNDS] [WORDS]`: so many devices (10,000), each with so many readings (200), 10,000 a second in all: event time
//! must pass a minute, or no window ends. `WORDS`: only what has them in its name, such as `scored`.

use anyhow::{Context, Result, ensure};
use bench::drain::{Drain, models, pipeline, scored};
use bench::measure::{Work, print, rounds};
use bench::workload::{Format, Records, telemetry};
use processor::step::Models;
use schemas::codec::Codec;
use schemas::grammar::ReadingLimits;
use schemas::json::ReadingParser;
use schemas::pipeline::Pipeline;
use schemas::raw::{RawDecoder, RawView};
use serde::Deserialize;
use std::hint::black_box;
use std::sync::Arc;

const REPEATS: usize = 5;

/// The reading as a struct of its own: what a program without a grammar would parse into.
#[derive(Deserialize)]
struct Typed<'a> {
    device_id: &'a str,
    ts: i64,
    temperature: f64,
    humidity: f64,
    pressure: f64,
    battery: f64,
    seq: i64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: u32| {
        args.get(at)
            .map_or(Ok(default), |text| text.parse().with_context(|| format!("`{text}` is not a number")))
    };
    let (devices, count) = (number(0, 10_000)?, number(1, 200)?);
    let words = args.get(2).map_or("", String::as_str);
    let codec = Codec::local();
    let json = telemetry(Format::Json, &codec, devices, count);
    let avro = telemetry(Format::Avro, &codec, devices, count);
    let models = models()?;
    let (plain, scored) = (pipeline(0), scored(0)?);
    let limits = ReadingLimits::default();
    let mut parser = ReadingParser::new(limits);
    let mut decoder = RawDecoder::new(limits);
    let mut works: Vec<(&'static str, Work<'_>)> = vec![
        ("serde_json into a struct", Box::new(|| typed(&json))),
        ("JSON, scanner", Box::new(|| scanned(&mut parser, &json))),
        ("JSON to windows", Box::new(|| folded(&codec, (&plain, &models), &json))),
        ("JSON to windows, scored", Box::new(|| folded(&codec, (&scored, &models), &json))),
        ("Avro, decoder", Box::new(|| decoded(&mut decoder, &codec, &avro))),
        ("Avro to windows", Box::new(|| folded(&codec, (&plain, &models), &avro))),
        ("Avro to windows, scored", Box::new(|| folded(&codec, (&scored, &models), &avro))),
    ];
    works.retain(|(name, _)| name.contains(words));
    ensure!(!works.is_empty(), "nothing measured here has `{words}` in its name");
    let rows = rounds(REPEATS, works)?;
    let title = format!(
        "{} readings of {devices} devices; {} bytes of JSON, {} of Avro; 1-minute windows of one metric",
        json.len(),
        json.value_bytes(),
        avro.value_bytes()
    );
    print(&title, &rows);
    Ok(())
}

fn typed(records: &Records) -> Result<usize> {
    for (_, value, _) in records.iter() {
        let reading: Typed<'_> = serde_json::from_slice(value)?;
        let Typed { device_id, ts, temperature, humidity, pressure, battery, seq } = reading;
        black_box((device_id, ts, temperature, humidity, pressure, battery, seq));
    }
    Ok(records.len())
}

fn scanned(parser: &mut ReadingParser, records: &Records) -> Result<usize> {
    for (_, value, _) in records.iter() {
        let view = parser.parse(value)?;
        black_box((view.device_id(), view.event_time(), view.measurements().len()));
    }
    Ok(records.len())
}

fn decoded(decoder: &mut RawDecoder, codec: &Codec, records: &Records) -> Result<usize> {
    for (_, value, _) in records.iter() {
        let view = decoder.decode(codec, value, true)?;
        let RawView::Reading(view) = view else { anyhow::bail!("not a reading") };
        black_box((view.device_id(), view.event_time(), view.measurements().len()));
    }
    Ok(records.len())
}

fn folded(codec: &Codec, (rules, models): (&Pipeline, &Arc<dyn Models>), records: &Records) -> Result<usize> {
    let mut drain = Drain::new(codec, rules, Arc::clone(models))?;
    let folded = drain.fold(records)?;
    let results = drain.check(folded)?;
    ensure!(results > 0);
    Ok(folded)
}
