//! `model profile`: where a model's fuel goes.

use crate::cli::ModelProfileArgs;
use crate::exit::{Outcome, Usage};
use crate::output::out;
use anyhow::Result;
use scoring::{Configured, HostLimits, PROFILE_ROWS_MAX, Profile, profile, profile_batch};
use serde_json::{Value, json};

/// Functions that are listed.
const LISTED: usize = 20;

/// Runs the command.
///
/// # Errors
/// A component that cannot be read or started, or that fails on the rows.
pub(super) fn run(args: &ModelProfileArgs) -> Result<Outcome> {
    if !(1..=PROFILE_ROWS_MAX).contains(&args.rows) {
        return Err(Usage(format!("--rows: {} is not 1 to {PROFILE_ROWS_MAX}", args.rows)).into());
    }
    let component = super::bytes(&args.component)?;
    let artifact = super::weights(args.artifact.as_deref())?;
    let given = Configured {
        component: &component,
        settings: &args.settings,
        artifact: artifact.as_deref(),
        seed: args.seed,
    };
    let limits = HostLimits::default();
    let profile = match &args.batch {
        None => profile(given, args.rows, limits)?,
        Some(file) => {
            let batch = super::batch(file)?;
            let given = Configured { settings: &batch.settings, seed: batch.seed, ..given };
            profile_batch(given, &batch, limits)?
        }
    };
    if args.json {
        out!("{}", document(&profile));
    } else {
        print(&profile);
    }
    Ok(Outcome::Done)
}

/// Least, median, 99th percentile, most.
fn spread(sorted: &[u64]) -> [u64; 4] {
    let at = |percent: usize| sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)));
    [0, 50, 99, 100].map(|percent| at(percent).copied().unwrap_or(0))
}

fn nanos_a_row(profile: &Profile) -> u128 {
    profile.time.as_nanos() / profile.rows.max(1) as u128
}

fn document(profile: &Profile) -> Value {
    let [least, median, p99, most] = spread(&profile.fuel_by_row);
    let functions: Vec<Value> = profile
        .functions
        .iter()
        .map(|function| json!({ "name": function.name, "own": function.own, "total": function.total }))
        .collect();
    json!({
        "rows": profile.rows,
        "fuel": profile.fuel,
        "fuel_a_row_alone": { "least": least, "median": median, "p99": p99, "most": most },
        "memory_bytes_peak": profile.memory_bytes_peak,
        "nanoseconds_a_row": u64::try_from(nanos_a_row(profile)).unwrap_or(u64::MAX),
        "functions": functions,
    })
}

fn print(profile: &Profile) {
    let rows = profile.rows as u64;
    out!("{rows} rows in one call: fuel {}, {} a row", profile.fuel, profile.fuel / rows.max(1));
    let [least, median, p99, most] = spread(&profile.fuel_by_row);
    out!("a row alone in a new instance: fuel {least} least, {median} median, {p99} p99, {most} most");
    out!(
        "memory {} KiB at most; {} ns a row on this machine",
        profile.memory_bytes_peak >> 10,
        nanos_a_row(profile)
    );
    out!("  own  total  function");
    for function in profile.functions.iter().take(LISTED) {
        out!("{:4.0}%  {:4.0}%  {}", 100.0 * function.own, 100.0 * function.total, function.name);
    }
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn a_spread_is_of_what_there_is() {
        assert_eq!(spread(&[]), [0; 4]);
        assert_eq!(spread(&[7]), [7; 4]);
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(spread(&hundred), [1, 51, 100, 100]);
    }
}
