//! A shipped model on the Numenta Anomaly Benchmark, scored by the very host that serves it.
//!
//! `nab ROOT [MODEL] [THRESHOLD] [SETTINGS]`: all files below `ROOT/data` with one set of settings (JSON; the model's own
//! defaults), judged by the labels in `ROOT/labels`. `nab ROOT --results FOLDER`: judges scores that are there already,
//! in the benchmark's own layout (`results/NAME` of its repository), which shows that the rules here are the published
//! ones. The threshold, which decides the second half of the figures, is given before: it sees no label.

use anyhow::{Context, Result, ensure};
use bench::nab::{PROFILES, Series, at_best, at_fixed, corpus};
use schemas::pipeline::{Inputs, Model};
use scoring::shipped::{self, Shipped};
use scoring::{Flushed, Input, Lane, Loader, LoaderConfig, Reading, Verdict};
use std::path::Path;
use std::sync::Arc;

const DAY: f64 = 86_400e6;
/// Rows of one call.
const BATCH: usize = 512;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let root =
        args.first().context("usage: nab ROOT [MODEL] [THRESHOLD] [SETTINGS] | nab ROOT --results FOLDER")?;
    let corpus = corpus(Path::new(root))?;
    if args.get(1).is_some_and(|arg| arg == "--results") {
        let folder = Path::new(args.get(2).context("--results FOLDER")?);
        let scores: Vec<Vec<f64>> =
            corpus.iter().map(|series| published(folder, series)).collect::<Result<_>>()?;
        return print_points(&corpus, &scores);
    }
    let name = args.get(1).map_or("record", String::as_str);
    let threshold = args.get(2).map_or("0.5", String::as_str).parse()?;
    let settings = args.get(3).map_or("{}", String::as_str);
    let scores = scored(&corpus, name, settings)?;
    print_points(&corpus, &scores)?;
    print_fixed(&corpus, &scores, threshold)
}

/// Scores that a detector has left in the benchmark's layout.
fn published(folder: &Path, series: &Series) -> Result<Vec<f64>> {
    let name = folder.file_name().context("a folder without a name")?.to_string_lossy();
    let (group, file) = series.name.split_once('/').context("a file in no group")?;
    let path = folder.join(group).join(format!("{name}_{file}"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let score = |line: &str| Ok(line.split(',').nth(2).context("a row without a score")?.parse()?);
    text.lines().skip(1).map(score).collect()
}

/// Every file as a device of its own.
fn scored(corpus: &[Series], name: &str, settings: &str) -> Result<Vec<Vec<f64>>> {
    let component = shipped::find(name).with_context(|| format!("no shipped model is called {name}"))?;
    let model = Model {
        name: name.to_owned(),
        component: component.digest.clone(),
        artifact: None,
        settings: settings.to_owned(),
        seed: 0,
        inputs: Inputs::Each(vec!["value".to_owned()]),
        route: schemas::pipeline::Route::default(),
        threshold: f64::INFINITY,
        sample_every: 0,
        fuel_per_row: 10_000_000,
        trial: None,
    };
    let set = Loader::new(Arc::new(Shipped), LoaderConfig::default())?.load(&[model])?;
    let mut lane = Lane::new(&set);
    let mut flushed = Flushed::default();
    let mut all = Vec::new();
    for (slot, series) in (0..).zip(corpus) {
        let mut scores = Vec::with_capacity(series.rows.len());
        for chunk in series.rows.chunks(BATCH) {
            let mut pushed = Vec::with_capacity(BATCH);
            for (event_time, value) in chunk {
                let values = [Input { metric: 0, value: Some(*value) }];
                let reading = Reading { slot, event_time: *event_time, offset: 0, values: &values };
                pushed.push(lane.push(&reading, |_| "value").context("a batch too large")?);
            }
            lane.flush(&mut flushed)?;
            for row in &pushed {
                scores.push(match flushed.verdicts(*row, 0) {
                    // While it warms up a model alarms nobody.
                    [Verdict::Score { score, warm_up, .. }] => {
                        if *warm_up {
                            0.0
                        } else {
                            *score
                        }
                    }
                    other => anyhow::bail!("{}: {other:?}", series.name),
                });
            }
        }
        all.push(scores);
    }
    Ok(all)
}

#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
fn print_points(corpus: &[Series], scores: &[Vec<f64>]) -> Result<()> {
    let rows: usize = corpus.iter().map(|series| series.rows.len()).sum();
    let windows: usize = corpus.iter().map(|series| series.windows.len()).sum();
    println!("{} files, {rows} rows, {windows} windows", corpus.len());
    for profile in PROFILES {
        let best = at_best(corpus, scores, profile)?;
        println!("{:<9} {:6.2} at its best threshold, {:.5}", profile.name, best.points, best.threshold);
    }
    Ok(())
}

/// What the benchmark's points hide, at a threshold that was fixed before.
#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn print_fixed(corpus: &[Series], scores: &[Vec<f64>], threshold: f64) -> Result<()> {
    for profile in PROFILES {
        let fixed = at_fixed(corpus, scores, profile, threshold)?;
        println!("{:<9} {:6.2} at the fixed threshold, {threshold}", profile.name, fixed.points);
    }
    let (mut right, mut wrong, mut days, mut delays, mut windows) = (0_usize, 0_usize, 0.0, Vec::new(), 0);
    for (series, scores) in corpus.iter().zip(scores) {
        let judged = series.probation()..series.rows.len();
        let alarms: Vec<usize> = judged.clone().filter(|row| scores[*row] >= threshold).collect();
        let inside = |row: &usize| series.windows.iter().any(|(from, to)| (from..=to).contains(&row));
        right += alarms.iter().filter(|row| inside(row)).count();
        wrong += alarms.iter().filter(|row| !inside(row)).count();
        let time = |row: usize| series.rows[row].0 as f64;
        days += (time(series.rows.len() - 1) - time(judged.start)) / DAY;
        windows += series.windows.len();
        for (from, to) in &series.windows {
            if let Some(first) = alarms.iter().find(|row| (from..=to).contains(row)) {
                delays.push((first - from) as f64 / (to - from) as f64);
            }
        }
    }
    ensure!(windows > 0 && days > 0.0, "a corpus without windows or time");
    delays.sort_by(f64::total_cmp);
    let delay = delays.get(delays.len() / 2).copied().unwrap_or(f64::NAN);
    println!(
        "alarms in windows {right}, elsewhere {wrong}: precision {:.2}",
        right as f64 / (right + wrong).max(1) as f64
    );
    println!(
        "windows found {} of {windows}: recall {:.2}",
        delays.len(),
        delays.len() as f64 / windows as f64
    );
    println!("false alarms a device and day {:.3}", wrong as f64 / days);
    println!("median delay {:.0} % of the window's length", delay * 100.0);
    Ok(())
}
