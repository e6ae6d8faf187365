//! What scoring a row costs: `cargo run --release -p scoring --example score_speed`.
//!
//! Prints nanoseconds a row for batches of 64, 256 and 1024 rows of the shipped EWMA model, everything included
//! (push, gather, call, scatter, verdicts), beside the same arithmetic as plain Rust in the same run. Each figure is
//! the least of several rounds.

use schemas::pipeline::{Inputs, Model};
use scoring::shipped::{self, Shipped};
use scoring::{Flushed, Input, Lane, Loader, LoaderConfig, Reading, Verdict};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DEVICES: u32 = 10_000;
const ROWS: usize = 1 << 19;
const ROUNDS: usize = 7;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let started = Instant::now();
    let loader = Loader::new(Arc::new(Shipped), LoaderConfig::default())?;
    let model = Model {
        name: "ewma".to_owned(),
        component: shipped::ewma().digest.clone(),
        artifact: None,
        settings: "{}".to_owned(),
        seed: 0,
        inputs: Inputs::Each(vec!["temp".to_owned()]),
        route: schemas::pipeline::Route::default(),
        threshold: 5.0,
        sample_every: 100,
        fuel_per_row: 1_000_000,
        trial: None,
    };
    let set = loader.load(&[model])?;
    println!("compiled and started in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);

    let rows = readings();
    let native = least(|| native(&rows));
    println!("{ROWS} rows of {DEVICES} devices, ns a row; native {:.1}", per_row(native));
    println!("{:>6} {:>8} {:>8} {:>7} {:>10}", "batch", "all", "flush", "ratio", "fuel/row");
    for batch in [64, 256, 1024] {
        let mut lane = Lane::new(&set);
        let mut flush = Duration::MAX;
        let all = least(|| {
            let (checksum, flushing) = scored(&mut lane, &rows, batch);
            flush = flush.min(flushing);
            checksum
        });
        let counters = &lane.counters()[0];
        let fuel = counters.host.fuel_used / counters.rows;
        let ratio = all.as_secs_f64() / native.as_secs_f64();
        println!("{batch:>6} {:>8.1} {:>8.1} {ratio:>7.2} {fuel:>10}", per_row(all), per_row(flush));
    }
    Ok(())
}

fn per_row(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9 / ROWS as f64
}

fn least(mut round: impl FnMut() -> f64) -> Duration {
    let timed = |_| {
        let started = Instant::now();
        black_box(round());
        started.elapsed()
    };
    (0..ROUNDS).map(timed).min().unwrap_or_default()
}

/// Devices in a scattered order, values of a plain generator.
fn readings() -> Vec<(u32, f64)> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    (0..ROWS).map(|_| (next() % DEVICES, 20.0 + f64::from(next() % 1000) / 1000.0)).collect()
}

fn scored(lane: &mut Lane, rows: &[(u32, f64)], batch: usize) -> (f64, Duration) {
    let mut flushed = Flushed::default();
    let mut pushed = Vec::with_capacity(batch);
    let (mut checksum, mut flushing, mut offset) = (0.0, Duration::ZERO, 0);
    for chunk in rows.chunks(batch) {
        pushed.clear();
        for (slot, value) in chunk {
            offset += 1;
            let values = [Input { metric: 0, value: Some(*value) }];
            let reading = Reading { slot: *slot, event_time: offset, offset, values: &values };
            pushed.push(lane.push(&reading, |_| "temp").expect("a batch fits"));
        }
        let started = Instant::now();
        lane.flush(&mut flushed).expect("nothing brakes here");
        flushing += started.elapsed();
        for row in &pushed {
            if let Verdict::Score { score, .. } = flushed.verdicts(*row, 0)[0] {
                checksum += score;
            }
        }
    }
    (checksum, flushing)
}

#[derive(Clone, Copy, Default)]
struct Series {
    rows: u32,
    refractory: u32,
    mean: f64,
    variance: f64,
}

/// The arithmetic of `scoring/plugins/ewma` with its default settings.
fn native(rows: &[(u32, f64)]) -> f64 {
    let mut series = vec![Series::default(); DEVICES as usize];
    let mut checksum = 0.0;
    for (slot, value) in rows {
        checksum += fold(&mut series[*slot as usize], *value);
    }
    checksum
}

fn fold(series: &mut Series, value: f64) -> f64 {
    let diff = value.clamp(-1e150, 1e150) - series.mean;
    let sigma = series.variance.sqrt().max(0.001 * series.mean.abs());
    let score = if series.rows == 0 || diff == 0.0 { 0.0 } else { (diff.abs() / sigma).min(1000.0) };
    let weight = 0.01_f64.max(1.0 / (f64::from(series.rows) + 1.0));
    let step = weight * diff;
    series.mean += step;
    series.variance = (1.0 - weight) * (series.variance + diff * step);
    let warm = series.rows >= 100;
    series.rows = series.rows.saturating_add(1);
    if series.refractory > 0 {
        series.refractory -= 1;
        return score.min(2.5);
    }
    if warm && score >= 5.0 {
        series.refractory = 100;
    }
    score
}
