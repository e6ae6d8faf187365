//! What must come out: for every device, metric and window the values of all acknowledged honest readings,
//! computed by brute force, and the anomalies that were put in.
//!
//! Does not live here: any idea of clocks, watermarks or lateness. "Every honest reading ends in its window" is
//! the whole theory; that the pipeline gets there in spite of its clocks is what is tested.

use crate::Micros;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// One measured value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    /// Index in the fleet's metrics.
    pub metric: u16,
    /// The value exactly as it is written in the line.
    pub value: f64,
}

/// A window definition to check: tumbling when `advance` equals `size`, else hopping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TruthWindow {
    /// Name in the pipeline's configuration.
    pub name: String,
    /// Length, microseconds.
    pub size: Micros,
    /// Distance between starts, microseconds.
    pub advance: Micros,
}

impl TruthWindow {
    /// Back to back windows aligned to the epoch.
    #[must_use]
    pub fn tumbling(name: &str, size: Duration) -> Self {
        let size = Micros::try_from(size.as_micros()).unwrap_or(Micros::MAX).max(1);
        Self { name: name.into(), size, advance: size }
    }

    /// Starts of all windows that contain `at`.
    pub(crate) fn starts(&self, at: Micros) -> impl Iterator<Item = Micros> + use<> {
        let (size, advance) = (self.size, self.advance.max(1));
        let last = at.div_euclid(advance) * advance;
        std::iter::successors(Some(last), move |start| Some(start - advance))
            .take_while(move |start| start + size > at)
    }
}

/// A series of windows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Series {
    /// Device.
    pub device_id: String,
    /// Metric.
    pub metric: String,
    /// Window definition.
    pub window: String,
}

impl std::fmt::Display for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.device_id, self.metric, self.window)
    }
}

/// What a window must hold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Acknowledged values.
    pub count: u64,
    /// Their sum, compensated (Neumaier), as its two parts.
    sum: f64,
    carry: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// Values sent that nobody answered: each may or may not be in it.
    pub uncertain: u64,
}

impl Default for Expected {
    fn default() -> Self {
        Self { count: 0, sum: 0.0, carry: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY, uncertain: 0 }
    }
}

impl Expected {
    /// Arithmetic mean; none without values.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| (self.sum + self.carry) / self.count as f64)
    }

    pub(crate) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        self.carry +=
            if self.sum.abs() >= value.abs() { self.sum - sum + value } else { value - sum + self.sum };
        self.sum = sum;
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    fn merge(&mut self, other: &Self) {
        let (count, uncertain) = (self.count + other.count, self.uncertain + other.uncertain);
        let (min, max) = (self.min.min(other.min), self.max.max(other.max));
        if other.count > 0 {
            self.add(other.sum);
            self.add(other.carry);
        }
        (self.count, self.uncertain, self.min, self.max) = (count, uncertain, min, max);
    }
}

/// What kind of anomaly was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnomalyKind {
    /// One value far off.
    Spike,
    /// The same value again and again.
    Stuck,
    /// Away from the truth, slowly.
    Drift,
    /// No readings.
    Dropout,
}

/// An anomaly that was put in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anomaly {
    /// Device.
    pub device_id: String,
    /// Metric.
    pub metric: String,
    /// Kind.
    pub kind: AnomalyKind,
    /// First instant, event time.
    pub from: Micros,
    /// First instant after.
    pub to: Micros,
}

/// The windows of one series by start.
pub type WindowsOf = BTreeMap<Micros, Expected>;

/// The truth about a load.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    /// What is checked.
    pub windows: Vec<TruthWindow>,
    /// Metrics by index.
    pub metrics: Vec<String>,
    /// What must be in the windows.
    pub expected: BTreeMap<Series, WindowsOf>,
    /// Readings by what must have become of them, acknowledged ones only (`refused`: answered as such).
    pub aggregated: u64,
    /// Copies.
    pub duplicates: u64,
    /// To be refused by the clock guard.
    pub clock_ahead: u64,
    /// Refused at the door.
    pub refused: u64,
    /// Sent and never answered.
    pub uncertain: u64,
    /// What was put in on purpose.
    pub anomalies: Vec<Anomaly>,
}

#[derive(Serialize, Deserialize)]
struct Summary {
    windows: Vec<TruthWindow>,
    metrics: Vec<String>,
    aggregated: u64,
    duplicates: u64,
    clock_ahead: u64,
    refused: u64,
    uncertain: u64,
    /// Series that must be empty.
    empty: Vec<Series>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    series: Series,
    start: Micros,
    #[serde(flatten)]
    expected: Expected,
}

impl Truth {
    /// An empty truth about these windows.
    #[must_use]
    pub fn new(windows: Vec<TruthWindow>, metrics: Vec<String>) -> Self {
        Self { windows, metrics, ..Self::default() }
    }

    /// Notes a value that must be in its windows; for tests that make their own readings.
    pub fn add(&mut self, device_id: &str, metric: &str, event_time: Micros, value: f64) {
        for window in &self.windows {
            let series =
                Series { device_id: device_id.into(), metric: metric.into(), window: window.name.clone() };
            let of_series = self.expected.entry(series).or_default();
            for start in window.starts(event_time) {
                of_series.entry(start).or_default().add(value);
            }
        }
    }

    /// Takes over what another gateway, or another run against the same data, found out.
    pub fn merge(&mut self, other: Self) {
        for (series, windows) in other.expected {
            let mine = self.expected.entry(series).or_default();
            for (start, expected) in windows {
                mine.entry(start).or_default().merge(&expected);
            }
        }
        self.aggregated += other.aggregated;
        self.duplicates += other.duplicates;
        self.clock_ahead += other.clock_ahead;
        self.refused += other.refused;
        self.uncertain += other.uncertain;
        self.anomalies.extend(other.anomalies);
    }

    /// Series that must hold nothing: those of devices whose every reading is refused.
    fn empty(&self) -> impl Iterator<Item = &Series> {
        self.expected.iter().filter(|(_, windows)| windows.is_empty()).map(|(series, _)| series)
    }

    /// Writes `truth.json`, `windows.ndjson` and `anomalies.ndjson` into a directory, which is made if need be.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let summary = Summary {
            windows: self.windows.clone(),
            metrics: self.metrics.clone(),
            aggregated: self.aggregated,
            duplicates: self.duplicates,
            clock_ahead: self.clock_ahead,
            refused: self.refused,
            uncertain: self.uncertain,
            empty: self.empty().cloned().collect(),
        };
        std::fs::write(dir.join("truth.json"), serde_json::to_vec_pretty(&summary)?)?;
        let rows = self.expected.iter().flat_map(|(series, windows)| {
            windows.iter().map(|(start, expected)| Row {
                series: series.clone(),
                start: *start,
                expected: *expected,
            })
        });
        // A window that only holds doubts has no least and greatest value, which JSON could not say.
        write_lines(&dir.join("windows.ndjson"), rows.filter(|row| row.expected.count > 0))?;
        write_lines(&dir.join("anomalies.ndjson"), self.anomalies.iter())
    }

    /// Reads what [`Truth::write`] wrote.
    ///
    /// # Errors
    /// When a file is missing or is none of ours.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let summary: Summary = serde_json::from_slice(&std::fs::read(dir.join("truth.json"))?)?;
        let mut truth = Self::new(summary.windows, summary.metrics);
        truth.aggregated = summary.aggregated;
        truth.duplicates = summary.duplicates;
        truth.clock_ahead = summary.clock_ahead;
        truth.refused = summary.refused;
        truth.uncertain = summary.uncertain;
        truth.expected.extend(summary.empty.into_iter().map(|series| (series, WindowsOf::new())));
        let windows = BufReader::new(std::fs::File::open(dir.join("windows.ndjson"))?);
        for row in serde_json::Deserializer::from_reader(windows).into_iter::<Row>() {
            let row = row?;
            truth.expected.entry(row.series).or_default().insert(row.start, row.expected);
        }
        let anomalies = BufReader::new(std::fs::File::open(dir.join("anomalies.ndjson"))?);
        truth.anomalies =
            serde_json::Deserializer::from_reader(anomalies).into_iter().collect::<Result<_, _>>()?;
        Ok(truth)
    }
}

fn write_lines<T: Serialize>(path: &Path, rows: impl Iterator<Item = T>) -> io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for row in rows {
        serde_json::to_writer(&mut file, &row)?;
        file.write_all(b"\n")?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth() -> Truth {
        Truth::new(vec![TruthWindow::tumbling("10us", Duration::from_micros(10))], vec!["temp".into()])
    }

    #[test]
    fn windows_are_half_open_and_aligned_to_the_epoch() {
        let hopping = TruthWindow { name: "hop".into(), size: 10, advance: 4 };
        let starts = |at| hopping.starts(at).collect::<Vec<_>>();
        assert_eq!(starts(12), [12, 8, 4]);
        assert_eq!(starts(-1), [-4, -8]);
        assert_eq!(starts(9), [8, 4, 0]);
        assert_eq!(starts(10), [8, 4]);
        let tumbling = TruthWindow::tumbling("t", Duration::from_micros(10));
        assert_eq!(tumbling.starts(20).collect::<Vec<_>>(), [20]);
        assert_eq!(tumbling.starts(19).collect::<Vec<_>>(), [10]);
    }

    #[test]
    fn halves_merge_to_the_whole_and_survive_the_disk() {
        let (mut whole, mut left, mut right) = (truth(), truth(), truth());
        for n in 0..100 {
            let value = f64::from(n) * 0.1;
            whole.add("a", "temp", i64::from(n), value);
            if n % 2 == 0 { &mut left } else { &mut right }.add("a", "temp", i64::from(n), value);
        }
        left.merge(right);
        let windows =
            |truth: &Truth| truth.expected.values().flat_map(BTreeMap::values).copied().collect::<Vec<_>>();
        assert_eq!(windows(&left).len(), 10);
        for (a, b) in windows(&left).iter().zip(&windows(&whole)) {
            assert_eq!((a.count, a.min.to_bits(), a.max.to_bits()), (10, b.min.to_bits(), b.max.to_bits()));
            assert!((a.mean().unwrap() - b.mean().unwrap()).abs() < 1e-12);
        }
        let dir = tempfile::tempdir().unwrap();
        left.anomalies.push(Anomaly {
            device_id: "a".into(),
            metric: "temp".into(),
            kind: AnomalyKind::Drift,
            from: 1,
            to: 2,
        });
        left.write(dir.path()).unwrap();
        assert_eq!(Truth::read(dir.path()).unwrap(), left);
    }

    #[test]
    fn the_mean_does_not_lose_small_values_beside_large_ones() {
        let mut expected = Expected::default();
        [1e16, 1.0, -1e16, 1.0].into_iter().for_each(|value| expected.add(value));
        assert_eq!(expected.mean(), Some(0.5));
    }
}
