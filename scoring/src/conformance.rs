//! Whether a component keeps what the contract asks of a model: `highwater model test`, and what every shipped model is
//! held to.
//!
//! Lives here: the trials and their verdicts. The rows that they are made of: `rows`. Does not live here: whether scores
//! make sense, which only its author can say.
//!
//! Invariant: a trial calls the guest through the host that serves it, with its limits; what passes here is not stopped
//! there for the same rows.

mod rows;

use crate::profile::Columns;
use rows::Rows;
use scoring_host::{Cache, CallError, Compiling, Descriptor, Host, HostLimits, Plugin, Refused, Session};
use std::fmt::Write as _;
use std::path::Path;

/// Series of most trials.
const SERIES: u32 = 5;
/// Rows of most trials.
const ROWS: usize = 600;
/// Batches after which memory must not have grown, or so slowly that an instance lasts.
const BATCHES: usize = 10_000;
/// Of these the first so many may open buffers.
const OPENING_BATCHES: usize = 100;
/// Batches that an instance has to last on average until it has grown so much that the host replaces it. Engines with a
/// garbage collector may let tens of megabytes gather before they collect: the host is there first, and a start every so
/// many batches costs next to nothing.
const BATCHES_PER_INSTANCE_MIN: u64 = 1000;
const BATCH_ROWS: usize = 16;

/// A component and how it is configured.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// The component.
    pub bytes: &'a [u8],
    /// Settings, JSON.
    pub settings: &'a str,
    /// Trained weights.
    pub artifact: Option<&'a [u8]>,
    /// Seed.
    pub seed: u64,
    /// What a row may use.
    pub fuel_per_row: u64,
}

/// How one trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What was tried.
    pub trial: &'static str,
    /// What was seen; else what is wrong, with where.
    pub outcome: Result<String, String>,
}

/// What a candidate was found to be.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it says of itself.
    pub descriptor: Descriptor,
    /// All trials, in order.
    pub verdicts: Vec<Verdict>,
}

impl Report {
    /// Whether it passed every trial.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.outcome.is_ok())
    }
}

/// Puts a candidate through all trials, which takes seconds.
///
/// # Errors
/// It cannot even be started: what it imports, its world, its settings, what it says of itself.
pub fn conform(candidate: &Candidate<'_>, limits: HostLimits) -> Result<Report, Refused> {
    conform_compiled(candidate, limits, Compiling::Here, None)
}

/// The same, compiled elsewhere: for candidates of people one does not know. What the directory has machine code of is
/// not compiled once more: new weights on an old component.
///
/// # Errors
/// As [`conform`].
pub fn conform_compiled(
    candidate: &Candidate<'_>,
    limits: HostLimits,
    compiling: Compiling,
    cache_dir: Option<&Path>,
) -> Result<Report, Refused> {
    let host = Host::with(limits, compiling)?;
    let component = host.component(candidate.bytes, cache_dir.map(Cache::new).as_ref())?;
    let plugin = Plugin::new(&host, &component, candidate.settings, candidate.artifact, candidate.seed)?;
    let court = Court { plugin: plugin.clone(), fuel: candidate.fuel_per_row };
    let trials: [(&'static str, Trial); 9] = [
        ("same input, same bytes", Court::deterministic),
        ("any cut into batches", Court::batch_invariant),
        ("nothing kept in the instance", Court::stateless),
        ("state that went through bytes", Court::state_round_trip),
        ("series do not touch each other", Court::independent),
        ("an empty batch", Court::empty),
        ("odd and missing values", Court::odd_values),
        ("times out of order and twice", Court::any_times),
        ("flat memory, or instances that last", Court::flat_memory),
    ];
    let mut verdicts: Vec<Verdict> =
        trials.into_iter().map(|(trial, run)| Verdict { trial, outcome: run(&court) }).collect();
    verdicts.push(Verdict { trial: "fuel of a row", outcome: court.fuel_of_rows() });
    Ok(Report { descriptor: plugin.descriptor().clone(), verdicts })
}

/// So many rows with ordinary values, of series that were never seen.
pub(crate) fn ordinary_rows(rows: usize, series: u32, descriptor: &Descriptor) -> Columns {
    let state = vec![0; series as usize * descriptor.stride];
    Rows::plain(rows, series, descriptor.features.len()).with_state(state)
}

/// What was seen, or what is wrong.
type Trial = fn(&Court) -> Result<String, String>;

struct Court {
    plugin: Plugin,
    fuel: u64,
}

/// What a run over some rows gave: score, bounds and flags by row, and the slabs of all series in the end.
#[derive(Debug)]
struct Given {
    /// Bits, so that -0 is not 0.
    scores: Vec<u64>,
    /// What was expected, in the same way.
    expected: Vec<[Option<u64>; 2]>,
    flags: Vec<u8>,
    state: Vec<u8>,
    fuel: u64,
}

impl Court {
    fn features(&self) -> usize {
        self.plugin.descriptor().features.len()
    }

    fn rows(&self) -> Rows {
        Rows::plain(ROWS, SERIES, self.features())
    }

    /// One call with an empty slab or this one.
    fn call(&self, session: &mut Session, rows: &Rows, state: &[u8]) -> Result<Given, String> {
        let budget = self.fuel.saturating_mul(rows.len().max(1) as u64);
        let scored = session.score(&rows.batch(state), budget).map_err(|why| match why {
            CallError::Failed { failure, detail, .. } => format!("{}: {detail}", failure.as_str()),
            CallError::Braked(why) => format!("it did not end in time: {why}"),
        })?;
        let scores = scored.scores().iter().map(|score| score.to_bits()).collect();
        let flags = (0..rows.len()).map(|row| scored.flags(row)).collect();
        let bits = |row| scored.expected(row).map(|bound| bound.map(f64::to_bits));
        let expected = (0..rows.len()).map(bits).collect();
        Ok(Given { scores, expected, flags, fuel: scored.fuel_used, state: scored.state })
    }

    fn blank(&self, slots: u32) -> Vec<u8> {
        vec![0; slots as usize * self.plugin.descriptor().stride]
    }

    /// Batch after batch; `renew`: each in an instance that has seen nothing.
    fn run(&self, rows: &Rows, size: usize, renew: bool) -> Result<Given, String> {
        let mut session = Session::new(self.plugin.clone());
        let state = self.blank(rows.slots);
        let mut all = Given { scores: Vec::new(), expected: Vec::new(), flags: Vec::new(), state, fuel: 0 };
        for (number, part) in rows.parts(size).enumerate() {
            if renew {
                session.renew();
            }
            let given = self
                .call(&mut session, &part, &all.state)
                .map_err(|why| format!("batch {number} of {size} rows: {why}"))?;
            all.scores.extend(given.scores);
            all.expected.extend(given.expected);
            all.flags.extend(given.flags);
            all.state = given.state;
            all.fuel += given.fuel;
        }
        Ok(all)
    }

    fn deterministic(&self) -> Result<String, String> {
        let rows = self.rows();
        let first = self.run(&rows, ROWS, false)?;
        differ(&first, &self.run(&rows, ROWS, false)?, "another run")?;
        Ok(format!("{ROWS} rows of {SERIES} series"))
    }

    fn batch_invariant(&self) -> Result<String, String> {
        let rows = self.rows();
        let whole = self.run(&rows, ROWS, false)?;
        for size in [1, 7, 64, 256] {
            differ(&whole, &self.run(&rows, size, false)?, &format!("batches of {size}"))?;
        }
        Ok("1, 7, 64, 256 and all at once".to_owned())
    }

    fn stateless(&self) -> Result<String, String> {
        let rows = self.rows();
        let kept = self.run(&rows, 50, false)?;
        differ(&kept, &self.run(&rows, 50, true)?, "a new instance for each batch")?;
        Ok("a new instance for each batch gives the same".to_owned())
    }

    /// A slab is bytes to everybody else: cut in two runs, with the series numbered differently in the second.
    fn state_round_trip(&self) -> Result<String, String> {
        let rows = self.rows();
        let whole = self.run(&rows, ROWS, false)?;
        let (first, second) = rows.halves();
        let before = self.run(&first, ROWS, false)?;
        let stride = self.plugin.descriptor().stride;
        let turned =
            |state: &[u8]| -> Vec<u8> { state.chunks(stride.max(1)).rev().flatten().copied().collect() };
        let mut session = Session::new(self.plugin.clone());
        let after = self.call(&mut session, &second.renumbered(), &turned(&before.state))?;
        let joined = Given {
            scores: [before.scores, after.scores].concat(),
            expected: [before.expected, after.expected].concat(),
            flags: [before.flags, after.flags].concat(),
            state: turned(&after.state),
            fuel: 0,
        };
        differ(&whole, &joined, "a restart in the middle, series numbered anew")?;
        Ok(format!("{stride} bytes a series"))
    }

    fn independent(&self) -> Result<String, String> {
        let rows = self.rows();
        let together = self.run(&rows, ROWS, false)?;
        let stride = self.plugin.descriptor().stride;
        for series in 0..SERIES {
            let (alone, places) = rows.of(series);
            let alone = self.run(&alone, ROWS, false)?;
            let at = series as usize * stride;
            let beside = Given {
                scores: places.iter().map(|row| together.scores[*row]).collect(),
                expected: places.iter().map(|row| together.expected[*row]).collect(),
                flags: places.iter().map(|row| together.flags[*row]).collect(),
                state: together.state[at..at + stride].to_vec(),
                fuel: 0,
            };
            differ(&alone, &beside, &format!("series {series} beside others"))?;
        }
        Ok("each alone gives the same as beside others".to_owned())
    }

    fn empty(&self) -> Result<String, String> {
        let mut session = Session::new(self.plugin.clone());
        let nothing = Rows::plain(0, 0, self.features());
        self.call(&mut session, &nothing, &[])?;
        let state = self.run(&self.rows(), ROWS, false)?.state;
        let idle = Rows::plain(0, SERIES, self.features());
        let given = self.call(&mut session, &idle, &state)?;
        if given.state != state {
            return Err("no row was passed, and the state changed".to_owned());
        }
        Ok("no rows, with and without series".to_owned())
    }

    fn odd_values(&self) -> Result<String, String> {
        let rows = Rows::odd(self.plugin.descriptor(), SERIES);
        let whole = self.run(&rows, rows.len(), false)?;
        differ(&whole, &self.run(&rows, 3, false)?, "batches of 3")?;
        Ok(format!("{} rows: zeros, extremes, what is missing", rows.len()))
    }

    fn any_times(&self) -> Result<String, String> {
        let rows = self.rows().with_unruly_times();
        let whole = self.run(&rows, ROWS, false)?;
        differ(&whole, &self.run(&rows, 11, false)?, "batches of 11")?;
        Ok("backwards, equal, before 1970".to_owned())
    }

    fn flat_memory(&self) -> Result<String, String> {
        let rows = Rows::plain(BATCH_ROWS, SERIES, self.features());
        let mut session = Session::new(self.plugin.clone());
        let mut state = self.blank(SERIES);
        let mut opened = 0;
        for number in 0..BATCHES {
            state =
                self.call(&mut session, &rows, &state).map_err(|why| format!("batch {number}: {why}"))?.state;
            if number == OPENING_BATCHES {
                opened = session.counts().memory_bytes_peak;
            }
        }
        let counts = session.counts();
        kept(opened, counts.memory_bytes_peak, counts.starts)
    }

    fn fuel_of_rows(&self) -> Result<String, String> {
        let rows = self.rows();
        let mut greatest = 0;
        let mut state = self.blank(SERIES);
        for (number, row) in rows.parts(1).enumerate() {
            let mut session = Session::new(self.plugin.clone());
            let given =
                self.call(&mut session, &row, &state).map_err(|why| format!("row {number}: {why}"))?;
            greatest = greatest.max(given.fuel);
            state = given.state;
        }
        let usual = self.run(&rows, 256, false)?.fuel / ROWS as u64;
        let mut said =
            format!("{usual} in batches, {greatest} at most alone in a new instance, {} allowed", self.fuel);
        if self.fuel < 100 * usual {
            let _ = write!(said, "; `fuel-per-row` should be a thousand times the usual");
        }
        Ok(said)
    }
}

/// What to think of a model that had so many bytes after the opening batches, and so many at most in all of them.
fn kept(opened: u64, peak: u64, instances: u64) -> Result<String, String> {
    if peak <= opened && instances <= 1 {
        return Ok(format!("{BATCHES} batches in {} KiB", opened >> 10));
    }
    let seen = format!(
        "{} KiB after {OPENING_BATCHES} batches, at most {} KiB and {instances} instances in {BATCHES}",
        opened >> 10,
        peak >> 10
    );
    if instances * BATCHES_PER_INSTANCE_MIN > BATCHES as u64 {
        return Err(format!("{seen}: it keeps what it should give back"));
    }
    Ok(format!("not flat, {seen}: it gives back late or never, and is replaced when it has grown too far"))
}

/// The first difference between what two runs gave, fuel aside.
fn differ(one: &Given, other: &Given, what: &str) -> Result<(), String> {
    let rows = one.scores.iter().zip(&one.flags);
    let others = other.scores.iter().zip(&other.flags);
    if let Some(row) = rows.zip(others).position(|(one, other)| one != other) {
        let score = |given: &Given| f64::from_bits(given.scores[row]);
        return Err(format!(
            "{what}: row {row} scores {} with flags {}, not {} with {}",
            score(other),
            other.flags[row],
            score(one),
            one.flags[row]
        ));
    }
    if one.scores.len() != other.scores.len() {
        return Err(format!("{what}: {} rows, not {}", other.scores.len(), one.scores.len()));
    }
    if let Some(row) = one.expected.iter().zip(&other.expected).position(|(one, other)| one != other) {
        let told = |given: &Given| given.expected[row].map(|bound| bound.map(f64::from_bits));
        return Err(format!("{what}: row {row} expected {:?}, not {:?}", told(other), told(one)));
    }
    match one.state.iter().zip(&other.state).position(|(one, other)| one != other) {
        Some(byte) => Err(format!("{what}: the scores agree, byte {byte} of the state does not")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_flat_or_an_instance_lasts() {
        assert_eq!(kept(1 << 20, 1 << 20, 1), Ok("10000 batches in 1024 KiB".to_owned()));
        // What an engine gives back late: an instance every few thousand batches.
        for (peak, instances) in [((1 << 20) + 1, 1), (17 << 20, 2), (17 << 20, 10)] {
            let remark = kept(1 << 20, peak, instances).unwrap();
            assert!(remark.starts_with("not flat"), "{remark}");
        }
        let refusal = kept(1 << 20, 17 << 20, 11).unwrap_err();
        assert!(
            refusal.contains("1024 KiB after 100") && refusal.contains("17408 KiB and 11 instances"),
            "{refusal}"
        );
    }
}
