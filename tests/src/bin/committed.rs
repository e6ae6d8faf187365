//! What `tests/everything` asks about a home from outside.
//!
//! `committed watch BROKERS PREFIX REGISTRY`: lines of what becomes visible, until it is ended.
//! `committed compare BROKERS PREFIX REGISTRY NODE KEYSPACE TRUTH`: the committed topics against a straight fold, the
//! store against the topics, the number of readings against the fleet's truth.

use anyhow::{Context, Result, bail, ensure};
use e2e::ledger::{self, Place};
use e2e::{stored, watch};
use std::path::Path;

#[expect(clippy::print_stdout, reason = "the result of a command")]
fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match *args.as_slice() {
        ["watch", brokers, prefix, registry] => {
            watch::follow(&place(brokers, prefix, registry), &mut std::io::stdout().lock())
        }
        ["compare", brokers, prefix, registry, node, keyspace, truth] => {
            let place = place(brokers, prefix, registry);
            let truth = loadgen::Truth::read(Path::new(truth)).context("reading the truth")?;
            let records = ledger::compare_at(&place).context("the topics against a straight fold")?;
            println!("{records} committed records, byte for byte and in order what a straight fold gives");
            let rows = stored::compare(&place, node, keyspace).context("the store against the topics")?;
            println!("{} windows and {} alerts stored, each as it was committed", rows.windows, rows.alerts);
            let (acknowledged, aggregated) = (i64::try_from(truth.aggregated)?, rows.aggregated);
            let (lost, doubled) = ((acknowledged - aggregated).max(0), (aggregated - acknowledged).max(0));
            println!(
                "{acknowledged} readings to aggregate, {aggregated} aggregated: lost {lost}, doubled {doubled}"
            );
            ensure!(truth.uncertain == 0, "{} readings were never answered", truth.uncertain);
            ensure!(lost == 0 && doubled == 0, "the numbers differ");
            Ok(())
        }
        _ => bail!("usage: committed watch BROKERS PREFIX REGISTRY | compare ... NODE KEYSPACE TRUTH"),
    }
}

fn place(brokers: &str, prefix: &str, registry: &str) -> Place {
    Place { brokers: brokers.into(), prefix: prefix.into(), registry: registry.into() }
}
