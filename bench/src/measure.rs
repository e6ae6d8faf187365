//! Processor time, memory, and the table of a run. Times are of the thread that asks, so that a busy machine changes
//! them less than it changes a wall clock.

use anyhow::{Context, Result};
use std::hint::black_box;

/// Nanoseconds of processor time this thread has used.
///
/// # Errors
/// Without Linux's `/proc`.
pub fn cpu_ns() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("reading the thread's time")?;
    let first = text.split_whitespace().next().context("an empty schedstat")?;
    first.parse().context("an unknown schedstat")
}

/// Bytes of this process in memory.
///
/// # Errors
/// Without Linux's `/proc`.
pub fn resident_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status").context("reading the process's status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().context("an unknown VmRSS")?;
    Ok(kibibytes << 10)
}

/// Processor seconds that a process has used (`self`, or its number), and the most bytes it had in memory.
///
/// # Errors
/// Without Linux's `/proc`.
pub fn used(process: impl std::fmt::Display) -> Result<(f64, u64)> {
    let of = |name: &str| {
        std::fs::read_to_string(format!("/proc/{process}/{name}"))
            .with_context(|| format!("reading the {name} of {process}"))
    };
    let stat = of("stat")?;
    let (_, after_name) = stat.rsplit_once(')').context("an unknown stat")?;
    let mut ticks = after_name.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next().context("no utime")??, ticks.next().context("no stime")??);
    let status = of("status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kibibytes: u64 = peak.trim().trim_end_matches("kB").trim().parse().context("an unknown VmHWM")?;
    // Linux counts processor time in hundredths on every machine this runs on.
    Ok(((user + system) / 100.0, kibibytes << 10))
}

/// One line of a table.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured.
    pub name: &'static str,
    /// Nanoseconds a record, one value a round.
    pub ns: Vec<f64>,
}

impl Row {
    /// The middle round.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.ns.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Something to be measured: works through all records and returns how many there were.
pub type Work<'a> = Box<dyn FnMut() -> Result<usize> + 'a>;

/// Measures every piece of work `rounds` times in turn (A B C A B C), so that a slow minute hits all of them; one
/// round more before, which is not counted.
///
/// # Errors
/// That of the first piece of work that fails.
#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
pub fn rounds(rounds: usize, mut works: Vec<(&'static str, Work<'_>)>) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = works.iter().map(|(name, _)| Row { name, ns: Vec::new() }).collect();
    for round in 0..=rounds {
        for ((_, work), row) in works.iter_mut().zip(&mut rows) {
            let before = cpu_ns()?;
            let records = black_box(measured(work)?);
            let spent = cpu_ns()? - before;
            if round > 0 {
                row.ns.push(spent as f64 / records.max(1) as f64);
            }
        }
    }
    Ok(rows)
}

/// The frame that callgrind counts in; never inlined, so that it can be named.
///
/// # Errors
/// That of the work.
#[inline(never)]
pub fn measured(work: &mut Work<'_>) -> Result<usize> {
    work()
}

/// Prints a table: nanoseconds a record with the spread, records a second, and the ratio to the first row.
#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
pub fn print(title: &str, rows: &[Row]) {
    println!("{title}");
    println!("| | ns a record | least to most | million/s on one core | to the first |");
    println!("|---|---|---|---|---|");
    let base = rows.first().map_or(f64::NAN, Row::median);
    for row in rows {
        let least = row.ns.iter().copied().fold(f64::INFINITY, f64::min);
        let most = row.ns.iter().copied().fold(0.0, f64::max);
        let median = row.median();
        println!(
            "| {} | {median:.0} | {least:.0} to {most:.0} | {:.2} | {:.2} |",
            row.name,
            1e3 / median,
            median / base
        );
    }
    println!();
}
