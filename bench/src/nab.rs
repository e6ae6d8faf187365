//! The Numenta Anomaly Benchmark: its files, and the public rules by which scores are judged.
//!
//! Sources: Lavin and Ahmad, "Evaluating Real-time Anomaly Detection Algorithms - the Numenta Anomaly Benchmark" (2015),
//! and the benchmark's own `sweeper.py`, from which details are taken that the paper leaves open. Written anew.
//!
//! Does not live here: running a model (`src/bin/nab`), or anything that a model could see of the labels.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;

/// A file of the corpus.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its path below `data`.
    pub name: String,
    /// Microseconds since the epoch, and the value, in the order of the file.
    pub rows: Vec<(i64, f64)>,
    /// First and last row of each labelled window, in order, without overlap.
    pub windows: Vec<(usize, usize)>,
}

/// What an outcome weighs.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// A window that was missed.
    pub missed: f64,
    /// A row that was flagged outside of windows.
    pub false_alarm: f64,
}

/// The three profiles of the benchmark. A window that was found weighs 1 in all of them.
pub const PROFILES: [Profile; 3] = [
    Profile { name: "standard", missed: 1.0, false_alarm: 0.11 },
    Profile { name: "low FP", missed: 1.0, false_alarm: 0.22 },
    Profile { name: "low FN", missed: 2.0, false_alarm: 0.11 },
];

/// Rows at the start of a file that are not judged, as a share of it and at most.
const PROBATION: f64 = 0.15;
const PROBATION_MAX: usize = 750;

impl Series {
    /// Rows at the start that are not judged.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some thousand rows"
    )]
    pub fn probation(&self) -> usize {
        ((PROBATION * self.rows.len() as f64) as usize).min(PROBATION_MAX)
    }
}

/// Reads the corpus from a checkout of the benchmark, or its `data` and `labels`.
///
/// # Errors
/// A file that is missing or does not read.
pub fn corpus(root: &Path) -> Result<Vec<Series>> {
    let labels = root.join("labels/combined_windows.json");
    let text = std::fs::read_to_string(&labels).with_context(|| format!("reading {}", labels.display()))?;
    let labels: BTreeMap<String, Vec<(String, String)>> = serde_json::from_str(&text)?;
    labels.into_iter().map(|(name, windows)| series(root, name, &windows)).collect()
}

fn series(root: &Path, name: String, windows: &[(String, String)]) -> Result<Series> {
    let path = root.join("data").join(&name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let row = |line: &str| {
        let (time, value) = line.split_once(',').with_context(|| format!("{name}: `{line}` has no comma"))?;
        Ok((instant(time)?, value.trim().parse()?))
    };
    let rows: Vec<(i64, f64)> = text.lines().skip(1).map(row).collect::<Result<_>>()?;
    let at = |time: &str| {
        let wanted = instant(time)?;
        rows.iter().position(|(time, _)| *time == wanted).with_context(|| format!("{name}: no row at {time}"))
    };
    let windows = windows.iter().map(|(from, to)| Ok((at(from)?, at(to)?))).collect::<Result<_>>()?;
    Ok(Series { name, rows, windows })
}

fn instant(text: &str) -> Result<i64> {
    let civil: jiff::civil::DateTime = text.trim().parse().with_context(|| format!("`{text}` is no time"))?;
    Ok(civil.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp().as_microsecond())
}

/// What flagging a row is worth, before weights.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Worth {
    /// In a window of the corpus: 1 at its first row, near 0 at its last.
    Found(usize, f64),
    /// Outside: -1, or less bad so soon after a window.
    False(f64),
}

/// The benchmark's sigmoid: 1 well before 0, -1 well after.
fn sigmoid(position: f64) -> f64 {
    if position > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

/// The worth of each judged row of a series, with its score; `first` is the number of its first window.
#[expect(clippy::cast_precision_loss, reason = "some thousand rows")]
fn worths(series: &Series, scores: &[f64], first: usize) -> Vec<(f64, Worth)> {
    let mut worths = Vec::with_capacity(scores.len());
    let (mut next, mut before) = (0, None);
    for (row, score) in scores.iter().enumerate() {
        while series.windows.get(next).is_some_and(|(_, to)| row > *to) {
            before = series.windows.get(next).copied();
            next += 1;
        }
        let worth = match (series.windows.get(next), before) {
            (Some((from, to)), _) if row >= *from => {
                let position = -((to - row + 1) as f64) / (to - from + 1) as f64;
                Worth::Found(first + next, sigmoid(position) / sigmoid(-1.0))
            }
            (_, Some((from, to))) => Worth::False(sigmoid((row - to) as f64 / (to - from) as f64)),
            (_, None) => Worth::False(-1.0),
        };
        if row >= series.probation() {
            worths.push((*score, worth));
        }
    }
    worths
}

/// A judgement of the whole corpus.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// 100: every window found at once, nothing else flagged; 0: nothing flagged at all.
    pub points: f64,
    /// Rows at or above it are flagged.
    pub threshold: f64,
}

/// The judgement at the threshold that is best for the corpus, as the benchmark's own figures are: the threshold has seen
/// the labels.
///
/// # Errors
/// When there is not one score for each row.
pub fn at_best(corpus: &[Series], scores: &[Vec<f64>], profile: Profile) -> Result<Judged> {
    let (mut rows, windows) = all(corpus, scores)?;
    rows.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let mut tally = Tally::new(windows, profile);
    let mut best = Judged { points: 0.0, threshold: f64::INFINITY };
    for alike in rows.chunk_by(|(one, _), (other, _)| one.total_cmp(other).is_eq()) {
        alike.iter().for_each(|(_, worth)| tally.flag(*worth));
        let points = tally.points();
        if points > best.points {
            best = Judged { points, threshold: alike[0].0 };
        }
    }
    Ok(best)
}

/// The judgement at a threshold that was fixed before.
///
/// # Errors
/// When there is not one score for each row.
pub fn at_fixed(corpus: &[Series], scores: &[Vec<f64>], profile: Profile, threshold: f64) -> Result<Judged> {
    let (rows, windows) = all(corpus, scores)?;
    let mut tally = Tally::new(windows, profile);
    rows.iter().filter(|(score, _)| *score >= threshold).for_each(|(_, worth)| tally.flag(*worth));
    Ok(Judged { points: tally.points(), threshold })
}

fn all(corpus: &[Series], scores: &[Vec<f64>]) -> Result<(Vec<(f64, Worth)>, usize)> {
    ensure!(corpus.len() == scores.len(), "scores of {} of {} files", scores.len(), corpus.len());
    let (mut rows, mut windows) = (Vec::new(), 0);
    for (series, scores) in corpus.iter().zip(scores) {
        ensure!(series.rows.len() == scores.len(), "{}: {} scores", series.name, scores.len());
        rows.extend(worths(series, scores, windows));
        windows += series.windows.len();
    }
    Ok((rows, windows))
}

struct Tally {
    profile: Profile,
    /// The best row of each window.
    found: Vec<Option<f64>>,
    false_alarms: f64,
}

impl Tally {
    fn new(windows: usize, profile: Profile) -> Self {
        Self { profile, found: vec![None; windows], false_alarms: 0.0 }
    }

    fn flag(&mut self, worth: Worth) {
        match worth {
            Worth::Found(window, worth) => {
                let best = &mut self.found[window];
                *best = Some(best.map_or(worth, |best| best.max(worth)));
            }
            Worth::False(worth) => self.false_alarms += worth,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a hundred windows")]
    fn points(&self) -> f64 {
        let Profile { missed, false_alarm, .. } = self.profile;
        let windows = self.found.len() as f64;
        let found: f64 = self.found.iter().map(|best| best.unwrap_or(-missed)).sum();
        let raw = found + false_alarm * self.false_alarms;
        let nothing = -missed * windows;
        100.0 * (raw - nothing) / (windows - nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 rows with a window of eleven; the first 15 rows are not judged.
    fn one() -> Vec<Series> {
        vec![Series {
            name: "one".to_owned(),
            rows: (0..100).map(|row| (row, 0.0)).collect(),
            windows: vec![(40, 50)],
        }]
    }

    fn flagged(rows: &[usize]) -> Vec<Vec<f64>> {
        vec![(0..100).map(|row| if rows.contains(&row) { 1.0 } else { 0.0 }).collect()]
    }

    fn points(rows: &[usize], profile: usize) -> f64 {
        at_fixed(&one(), &flagged(rows), PROFILES[profile], 0.5).unwrap().points
    }

    #[test]
    fn a_window_found_at_once_is_all_and_nothing_flagged_is_nothing() {
        for profile in 0..3 {
            assert!((points(&[40], profile) - 100.0).abs() < 1e-9);
            assert!(points(&[], profile).abs() < 1e-9);
        }
    }

    #[test]
    fn equals_what_was_worked_out_by_hand() {
        // Row 45 lies at -(50 - 45 + 1) / 11 = -6/11: 2 / (1 + e^(-30/11)) - 1 = 0.87729, of 0.98661 at the first row.
        let found = 0.877_29 / 0.986_61;
        assert!((points(&[45], 0) - 100.0 * (found + 1.0) / 2.0).abs() < 1e-2);
        // Later rows of a window that was found cost nothing.
        assert!((points(&[45, 46, 50], 0) - points(&[45], 0)).abs() < 1e-9);
        // Before any window a flag costs its whole weight; 30 rows, three widths, after it almost nothing is forgiven.
        assert!((points(&[20], 0) - 100.0 * -0.11 / 2.0).abs() < 1e-9);
        assert!((points(&[20], 1) - 100.0 * -0.22 / 2.0).abs() < 1e-9);
        assert!((points(&[20], 2) - 100.0 * -0.11 / 3.0).abs() < 1e-9);
        // One row past it: 1 / 10 of its width: 2 / (1 + e^0.5) - 1 = -0.24492.
        assert!((points(&[51], 0) - 100.0 * 0.11 * -0.244_92 / 2.0).abs() < 1e-3);
        assert!((points(&[90], 0) - points(&[20], 0)).abs() < 1e-9);
        // Probation: not judged.
        assert!(points(&[14], 0).abs() < 1e-9 && points(&[15], 0) < 0.0);
    }

    #[test]
    fn the_best_threshold_is_one_of_the_scores() {
        let mut scores = flagged(&[]);
        (scores[0][40], scores[0][60]) = (0.9, 0.7);
        let best = at_best(&one(), &scores, PROFILES[0]).unwrap();
        assert!((best.points - 100.0).abs() < 1e-9 && (best.threshold - 0.9).abs() < 1e-12, "{best:?}");
        // With the two the other way round it pays to take the false alarm as well.
        (scores[0][40], scores[0][60]) = (0.7, 0.9);
        let best = at_best(&one(), &scores, PROFILES[0]).unwrap();
        assert!((best.threshold - 0.7).abs() < 1e-12 && best.points < 100.0, "{best:?}");
    }

    #[test]
    fn scores_that_are_not_one_for_each_row_are_refused() {
        assert!(at_best(&one(), &[vec![0.0; 99]], PROFILES[0]).is_err());
        assert!(at_best(&one(), &[], PROFILES[0]).is_err());
    }
}
