//! One case, once, for callgrind: the work stands in `bench::measure::measured`, everything else is not counted.
//!
//! `instructions CASE`; without a case, their names.

use anyhow::{Result, bail};
use bench::drain::{Drain, models, pipeline, scored};
use bench::measure::{Work, measured};
use bench::workload::{Format, Records, Telemetry};
use schemas::codec::Codec;
use schemas::grammar::ReadingLimits;
use schemas::raw::RawDecoder;

const DEVICES: u32 = 1_000;
const ROUNDS: u32 = 100;
/// Between two readings of a device: the rounds pass one end of a minute.
const PERIOD: i64 = 1_000_000;

#[expect(clippy::print_stdout, reason = "asked for")]
fn main() -> Result<()> {
    let Some(case) = std::env::args().nth(1) else {
        println!("decode-json\ndecode-avro\nfold-json\nfold-avro\nscore-avro");
        return Ok(());
    };
    let format = if case.ends_with(Format::Json.name()) { Format::Json } else { Format::Avro };
    let codec = Codec::local();
    let mut telemetry = Telemetry::new(format, &codec, DEVICES, PERIOD);
    let mut records = Records::default();
    for _ in 0..ROUNDS {
        telemetry.round(&mut records);
    }
    let mut decoder = RawDecoder::new(ReadingLimits::default());
    let rules = if case.starts_with("score") { scored(0)? } else { pipeline(0) };
    let mut drain = Drain::new(&codec, &rules, models()?)?;
    let mut work: Work<'_> = match case.as_str() {
        "decode-json" | "decode-avro" => Box::new(|| {
            for (_, value, _) in records.iter() {
                std::hint::black_box(decoder.decode(&codec, value, true)?);
            }
            Ok(records.len())
        }),
        "fold-json" | "fold-avro" | "score-avro" => Box::new(|| drain.fold(&records)),
        other => bail!("no case `{other}`"),
    };
    let count = measured(&mut work)?;
    println!("{count}");
    Ok(())
}
