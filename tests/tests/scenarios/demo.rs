//! The demo: the first thing anybody runs.

use anyhow::{Result, ensure};
use e2e::highwater;
use std::time::Duration;

const PORTS: [&str; 6] = [
    "--set",
    "ingest.listen=127.0.0.1:0",
    "--set",
    "dashboard.listen=127.0.0.1:0",
    "--set",
    "admin.listen=127.0.0.1:0",
];

#[test]
fn a_short_demo_balances_its_books_and_equals_its_own_truth() -> Result<()> {
    let args = [&["demo", "--for", "18s", "--json"][..], &PORTS].concat();
    let demo = highwater(&args, Duration::from_mins(3))?;
    let summary = demo.json()?;
    ensure!(demo.code == Some(0), "{:?}: {summary}; {}", demo.code, demo.stderr);
    ensure!(summary["balanced"] == true && summary["truth"]["ok"] == true, "{summary}");
    for counted in ["readings", "windows", "alerts", "dead_letters"] {
        ensure!(summary[counted].as_u64() > Some(0), "no {counted}: {summary}");
    }
    ensure!(summary["readings"].as_u64() > Some(3_000), "18 s at 300 readings a second: {summary}");
    Ok(())
}

#[test]
fn a_demo_goes_on_from_what_it_kept() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let kept = directory.path().join("kept").display().to_string();
    let args = [&["demo", "--for", "4s", "--json", "--keep", &kept][..], &PORTS].concat();
    let first = highwater(&args, Duration::from_mins(2))?;
    ensure!(first.code == Some(0), "{first:?}");
    let second = highwater(&args, Duration::from_mins(2))?;
    ensure!(second.code == Some(0), "{second:?}");
    // Both runs may lie in the same windows: their readings add up all the same.
    let readings = |demo: &e2e::Finished| Ok::<_, anyhow::Error>(demo.json()?["truth"]["readings"].as_u64());
    ensure!(readings(&second)? > readings(&first)?, "{first:?} {second:?}");
    Ok(())
}
