//! What a load achieved, for people and for machines.

use crate::Micros;
use crate::truth::Truth;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;

/// Latency from the time a reading was due to the answer to the request that carried it, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Readings measured.
    pub count: u64,
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Greatest.
    pub max_ms: f64,
}

/// A histogram with three digits from a microsecond to an hour.
pub(crate) fn histogram() -> Histogram<u64> {
    const LONGEST: u64 = 3_600_000_000;
    Histogram::new_with_bounds(1, LONGEST, 3).expect("invariant: 1 <= low, 2 * low <= high, digits <= 5")
}

impl Latency {
    #[expect(clippy::cast_precision_loss, reason = "at most an hour in microseconds")]
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            count: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1e3,
        }
    }
}

/// What a load achieved.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Readings per second asked for.
    pub target_rate: f64,
    /// Readings answered per second, from the first due to the last answer.
    pub achieved_rate: f64,
    /// That time.
    pub seconds: f64,
    /// Lines sent at least once, copies and garbled ones included.
    pub sent: u64,
    /// Lines the server said are durable.
    pub acknowledged: u64,
    /// Lines refused at the door as they had to be.
    pub rejected_expected: u64,
    /// Lines refused at the door that should not have been, and garbled ones that were let in.
    pub rejected_unexpected: u64,
    /// Lines sent and never answered.
    pub uncertain: u64,
    /// Requests, repeated ones included.
    pub requests: u64,
    /// Requests that were repeated (429, 503, broken connections).
    pub retries: u64,
    /// Bytes of request bodies, repeated ones included.
    pub bytes: u64,
    /// See [`Latency`].
    pub latency: Latency,
    /// Epoch microseconds of the first instant of the schedule.
    pub started_at: Micros,
    /// The first few things that went wrong.
    pub problems: Vec<String>,
    /// What must come out.
    #[serde(skip)]
    pub truth: Truth,
}

/// Problems kept for the report; the counters count them all.
const PROBLEMS_MAX: usize = 20;

impl Report {
    pub(crate) fn problem(&mut self, problem: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    /// Takes over what another gateway did; rates and latency are computed at the end.
    pub(crate) fn merge(&mut self, other: Self) {
        self.sent += other.sent;
        self.acknowledged += other.acknowledged;
        self.rejected_expected += other.rejected_expected;
        self.rejected_unexpected += other.rejected_unexpected;
        self.uncertain += other.uncertain;
        self.requests += other.requests;
        self.retries += other.retries;
        self.bytes += other.bytes;
        for problem in other.problems {
            self.problem(problem);
        }
        self.truth.merge(other.truth);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} readings in {:.1} s: {:.0} a second of {:.0} asked for",
            self.acknowledged, self.seconds, self.achieved_rate, self.target_rate
        )?;
        writeln!(
            f,
            "refused as they should be {}, otherwise {}; never answered {}; {} of {} requests repeated",
            self.rejected_expected, self.rejected_unexpected, self.uncertain, self.retries, self.requests
        )?;
        let Latency { p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } = self.latency;
        write!(
            f,
            "due to acknowledged: p50 {p50_ms:.1} ms, p90 {p90_ms:.1}, p99 {p99_ms:.1}, p99.9 {p999_ms:.1}, max {max_ms:.1}"
        )?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n! {problem}"))
    }
}
