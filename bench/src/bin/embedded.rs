//! The whole pipeline in one process, over HTTP, until every window is stored: readings per second on this machine,
//! generator included, and the latency of the acknowledgement. The run counts only if every stored window is right.
//!
//! `embedded [SECONDS] [RATE] [DEVICES] [scored|unsampled]`: for so long (20), so many readings a second of event time (500,000: more than
//! two cores do, so that the generator is always behind) of so many devices (10,000); `scored`: the shipped `ewma` scores
//! the metric that is aggregated, as a configuration has it that says nothing else, or with no score kept but in the
//! windows and of what is over the threshold. It starts the `highwater` beside
//! it, or the one that `HIGHWATER_BIN` names.

use anyhow::{Context, Result, bail, ensure};
use bench::alone::{Alone, MODEL, WINDOWS};
use bench::measure::used;
use loadgen::{Fleet, FleetConfig, Load, RunConfig, TruthWindow};
use std::time::{Duration, Instant};

/// The metric that is aggregated.
const METRIC: &str = "temperature";
const BATCH: usize = 500;
const CONNECTIONS: u32 = 8;
const SETTLE_MAX: Duration = Duration::from_mins(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u32| {
        args.next().map_or(Ok(default), |text| text.parse()).context("SECONDS, RATE and DEVICES are numbers")
    };
    let (seconds, rate, devices) = (number(20)?, number(500_000)?, number(10_000)?);
    let duration = Duration::from_secs(u64::from(seconds));
    let config = match args.next().as_deref() {
        None => WINDOWS.to_owned(),
        Some("scored") => format!("{WINDOWS}{MODEL}"),
        Some("unsampled") => format!("{WINDOWS}{MODEL}sample-every = 0\n"),
        Some(other) => bail!("`{other}` is neither `scored` nor `unsampled`"),
    };
    let mut running = Alone::start(&config).await?;

    let config = RunConfig {
        rate: f64::from(rate),
        duration,
        batch: BATCH,
        connections: CONNECTIONS,
        windows: vec![TruthWindow::tumbling("5s", Duration::from_secs(5))],
        end: true,
        ..RunConfig::new(&running.ingest)
    };
    let fleet = Fleet::new(FleetConfig::telemetry(devices, 1))?;
    let begun = Instant::now();
    // A generator that is behind would go on after the schedule's end.
    let stop = tokio::time::sleep(duration);
    let mut report = loadgen::run(Load { fleet, config }, stop).await?;
    let sent_in = begun.elapsed();
    let books = running.settled(SETTLE_MAX).await?;
    let stored_in = begun.elapsed();
    let (cpu, peak) = running.used()?;
    let (generating, _) = used("self")?;
    ensure!(report.uncertain == 0 && report.rejected_unexpected == 0, "{report}");
    report.truth.expected.retain(|series, _| series.metric == METRIC);
    let found = loadgen::verify(&report.truth, &running.query, None).await?;
    ensure!(found.ok, "the results are wrong: {found:?}");
    let readings = report.acknowledged;
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let per_second = |span: Duration| readings as f64 / span.as_secs_f64();
    println!("{readings} readings of {devices} devices in batches of {BATCH} over {CONNECTIONS} connections");
    println!("{} windows stored, all as they have to be", found.windows_checked);
    println!("acknowledged: {:.0} a second", per_second(sent_in));
    println!("to the last stored window: {:.0} a second", per_second(stored_in));
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let millions = readings as f64 / 1e6;
    let (per_million, generating) = (cpu / millions, generating / millions);
    println!("processor: {cpu:.1} s, {per_million:.2} s a million readings; peak {} MB resident", peak >> 20);
    println!(
        "the generator: {generating:.2} s a million, so the pipeline {:.2} times that",
        per_million / generating
    );
    if report.achieved_rate > 0.95 * f64::from(rate) {
        // Behind its schedule, it would only say how far.
        println!("{report}");
    }
    println!("books: {}", books["balanced"]);
    Ok(())
}
