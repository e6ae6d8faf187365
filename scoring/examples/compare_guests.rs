//! Whether guests in several languages are one and the same model, and what each costs:
//! `cargo run --release -p scoring --example compare_guests -- rust=a.wasm c=b.wasm ...`
//!
//! All are held against the first, bit for bit: scores, what was expected, flags and state, with default and with other
//! settings, over rows with steps, rests and extremes; and all refuse the same settings. Prints a table; exit code 1 when
//! one differs. Times are the least of several rounds of the whole guarded call through the host, batches of 1024 rows.

use scoring_host::{Batch, Host, HostLimits, Plugin, Refused, Scored, Session};
use std::process::ExitCode;
use std::time::{Duration, Instant};

type Anything = Box<dyn std::error::Error>;

const SLOTS: u32 = 64;
const ROWS: usize = 30 * BATCH_ROWS;
const BATCH_ROWS: usize = 1024;
const ROUNDS: usize = 7;
const FUEL_PER_ROW: u64 = 100_000_000;
const STRIDE: usize = 24;
const SETTINGS: [&str; 3] = [
    "{}",
    r#"{"alpha": 0.07, "warm-up-rows": 20, "trigger": 3.3, "refractory-rows": 9, "sigma-min": 1e-3, "sigma-min-ratio": 0.0}"#,
    // A sigma without end, and no multiple of it.
    r#"{"trigger": 0.0, "sigma-min-ratio": 1e300}"#,
];

/// What no guest may take, and a word of the reason it gives.
const REFUSED: [(&str, &str); 3] =
    [(r#"{"alpha": 0}"#, "alpha"), (r#"{"alhpa": 1}"#, "bad configuration"), ("[]", "bad configuration")];

struct Rows {
    slot: Vec<u32>,
    event_time: Vec<i64>,
    values: Vec<f64>,
}

/// What a guest made of the rows.
#[derive(Default, PartialEq)]
struct Given {
    scores: Vec<u64>,
    expected: Vec<[Option<u64>; 2]>,
    flags: Vec<u8>,
    state: Vec<u8>,
}

struct Found {
    label: String,
    bytes: usize,
    compiling: Duration,
    starting: Duration,
    given: Vec<Given>,
    scoring: Duration,
    fuel: u64,
    memory: u64,
}

fn main() -> Result<ExitCode, Anything> {
    let host = Host::new(HostLimits { brake_ticks: u64::MAX / 2, ..HostLimits::default() })?;
    let rows = rows();
    let mut found = Vec::new();
    for argument in std::env::args().skip(1) {
        let (label, path) = argument.split_once('=').ok_or("arguments are LABEL=FILE")?;
        let bytes = std::fs::read(path).map_err(|why| format!("{path}: {why}"))?;
        found.push(try_one(&host, label, &bytes, &rows).map_err(|why| format!("{label}: {why}"))?);
    }
    let Some(first) = found.first() else { return Err("no guest given".into()) };
    println!("{ROWS} rows of {SLOTS} series, {} settings; all against {}", SETTINGS.len(), first.label);
    println!(
        "{:>12} {:>9} {:>10} {:>10} {:>9} {:>8} {:>9} {:>10}  against the first",
        "guest", "KiB", "compile s", "start ms", "ns/row", "ratio", "fuel/row", "memory KiB"
    );
    let mut equal = true;
    for one in &found {
        let difference = difference(&first.given, &one.given);
        equal &= difference.is_none();
        println!(
            "{:>12} {:>9} {:>10.2} {:>10.2} {:>9.1} {:>8.1} {:>9} {:>10}  {}",
            one.label,
            one.bytes.div_ceil(1024),
            one.compiling.as_secs_f64(),
            one.starting.as_secs_f64() * 1e3,
            one.scoring.as_secs_f64() * 1e9 / ROWS as f64,
            one.scoring.as_secs_f64() / first.scoring.as_secs_f64(),
            one.fuel / ROWS as u64,
            one.memory >> 10,
            difference.unwrap_or_else(|| "equal bit for bit".to_owned())
        );
    }
    Ok(if equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Scattered series of plain values, with steps, rests and extremes; a plain generator.
fn rows() -> Rows {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32
    };
    let mut rows = Rows { slot: Vec::new(), event_time: Vec::new(), values: Vec::new() };
    for row in 0..ROWS {
        let slot = next() % SLOTS;
        let noise = f64::from(next() % 100_003) / 9973.0;
        rows.slot.push(slot);
        rows.event_time.push(row as i64 * 1_000_000);
        rows.values.push(match (slot, row % 97) {
            (0, _) => 4.25,
            (1, 0) => f64::MAX,
            (1, 1) => -1e-310,
            (2, _) => noise * 1e-12,
            (_, 0) => noise * 50.0,
            _ if row > ROWS / 2 => -3.0 - noise,
            _ => 20.0 + noise,
        });
    }
    rows
}

fn try_one(host: &Host, label: &str, bytes: &[u8], rows: &Rows) -> Result<Found, Anything> {
    let started = Instant::now();
    let component = host.component(bytes, None)?;
    let compiling = started.elapsed();
    for (settings, told) in REFUSED {
        match Plugin::new(host, &component, settings, None, 0) {
            Err(Refused::Settings(why)) if why.contains(told) => {}
            Err(other) => return Err(format!("{settings}: {other}").into()),
            Ok(_) => return Err(format!("takes the settings {settings}").into()),
        }
    }
    let mut given = Vec::new();
    for settings in SETTINGS {
        let mut session = Session::new(Plugin::new(host, &component, settings, None, 0)?);
        given.push(run(&mut session, rows)?.0);
    }
    let plugin = Plugin::new(host, &component, SETTINGS[0], None, 0)?;
    let started = Instant::now();
    let mut session = Session::new(plugin);
    session.score(
        &Batch { slots: 0, slot: &[], event_time: &[], values: &[], missing: &[], state: &[] },
        1 << 40,
    )?;
    let starting = started.elapsed();
    let mut scoring = Duration::MAX;
    let mut fuel = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        fuel = run(&mut session, rows)?.1;
        scoring = scoring.min(started.elapsed());
    }
    let memory = session.counts().memory_bytes_peak;
    Ok(Found {
        label: label.to_owned(),
        bytes: bytes.len(),
        compiling,
        starting,
        given,
        scoring,
        fuel,
        memory,
    })
}

/// What the rows gave, and the fuel they used.
fn run(session: &mut Session, rows: &Rows) -> Result<(Given, u64), Anything> {
    let mut given = Given { state: vec![0; SLOTS as usize * STRIDE], ..Given::default() };
    let mut fuel = 0;
    for from in (0..ROWS).step_by(BATCH_ROWS) {
        let part = from..ROWS.min(from + BATCH_ROWS);
        let batch = Batch {
            slots: SLOTS,
            slot: &rows.slot[part.clone()],
            event_time: &rows.event_time[part.clone()],
            values: &rows.values[part.clone()],
            missing: &[],
            state: &given.state,
        };
        let scored: Scored = session.score(&batch, FUEL_PER_ROW * part.len() as u64)?;
        given.scores.extend(scored.scores().iter().map(|score| score.to_bits()));
        let expected = (0..part.len()).map(|row| scored.expected(row).map(|bound| bound.map(f64::to_bits)));
        given.expected.extend(expected);
        given.flags.extend((0..part.len()).map(|row| scored.flags(row)));
        fuel += scored.fuel_used;
        given.state = scored.state;
    }
    Ok((given, fuel))
}

/// Where and by how much two guests differ.
fn difference(first: &[Given], other: &[Given]) -> Option<String> {
    let (settings, (first, other)) =
        first.iter().zip(other).enumerate().find(|(_, (first, other))| first != other)?;
    if let Some(row) = unlike(&first.scores, &other.scores) {
        // Scores are not negative: their bits are ordered as they are.
        let ulps = first.scores.iter().zip(&other.scores).map(|(one, other)| one.abs_diff(*other));
        return Some(format!(
            "SCORES DIFFER from row {row} on (settings {settings}): {} is {}; at most {} units in the last place",
            f64::from_bits(first.scores[row]),
            f64::from_bits(other.scores[row]),
            ulps.max().unwrap_or(0)
        ));
    }
    if let Some(row) = unlike(&first.expected, &other.expected) {
        let shown = |given: &Given| given.expected[row].map(|bound| bound.map(f64::from_bits));
        return Some(format!(
            "EXPECTED DIFFERS from row {row} on (settings {settings}): {:?} is {:?}",
            shown(first),
            shown(other)
        ));
    }
    Some(format!("FLAGS OR STATE DIFFER (settings {settings})"))
}

/// The first row that differs.
fn unlike<T: PartialEq>(first: &[T], other: &[T]) -> Option<usize> {
    first.iter().zip(other).position(|(one, other)| one != other)
}
