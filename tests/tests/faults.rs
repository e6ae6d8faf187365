//! Faults on real servers, one scenario after the other: what was acknowledged is lost nowhere and doubled nowhere.
//!
//! Each scenario keeps devices sending while it breaks something, and ends with the same questions: does the query API
//! serve the fleet's own truth, do the books balance, and are the committed topics, record by record and byte by byte,
//! what a straight fold over `iot.raw` gives. It prints how long after each fault every partition had new committed
//! results.
//!
//! `real_faults_...` run in CI; `full_faults_...` only where `E2E_FULL` is `1`, as in the script `tests/faults`, which
//! runs all of them. `E2E_KILLS` makes the kills more.

#[path = "faults/cast.rs"]
mod cast;
#[path = "faults/clocks.rs"]
mod clocks;
#[path = "faults/decisions.rs"]
mod decisions;
#[path = "faults/history.rs"]
mod history;
#[path = "faults/moments.rs"]
mod moments;
#[path = "faults/processors.rs"]
mod processors;
#[path = "faults/rollouts.rs"]
mod rollouts;
#[path = "faults/sending.rs"]
mod sending;
#[path = "faults/servers.rs"]
mod servers;
#[path = "faults/snapshots.rs"]
mod snapshots;

use anyhow::{Context, Result, ensure};
use cast::Cast;
use e2e::{for_at_most, highwater, ledger};
use std::process::Command;
use std::time::Duration;

/// Longer than the session timeout of the clusters (6 s): whoever is silent for so long loses its partitions.
const PAST_THE_SESSION: Duration = Duration::from_secs(9);

/// Whether the scenarios that CI has no time for run too.
fn full() -> bool {
    std::env::var_os("E2E_FULL").is_some_and(|value| value == "1")
}

/// Breaks, mends or asks a server that `tests/stack` started; returns what it said.
fn server(name: &str, arguments: &[&str]) -> Result<String> {
    let script = format!("{}/stack/{name}", env!("CARGO_MANIFEST_DIR"));
    let done = tokio::task::block_in_place(|| Command::new(&script).args(arguments).output())?;
    let [told, complaint] =
        [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
    ensure!(done.status.success(), "{script} {arguments:?}: {told}{complaint}");
    Ok(told)
}

/// Lets the load go on for a while, in which nobody may end by himself.
async fn meanwhile(span: Duration) {
    for_at_most(span, std::future::pending::<()>()).await;
}

/// The truth's own proof: a reading that nobody sent must be noticed by the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_doubled_result_is_noticed() -> Result<()> {
    let version = tokio::task::block_in_place(|| highwater(&["--version"], Duration::from_secs(10)))?;
    ensure!(version.code == Some(0), "{version:?}");
    let Some(cast) = Cast::ready(None, |cluster| cluster).await? else { return Ok(()) };
    let cluster = cast.end().await?;
    tokio::task::block_in_place(|| ledger::double_one(&cluster))?;
    let compared = tokio::task::block_in_place(|| ledger::compare(&cluster));
    let told = compared.err().context("a doubled result went unnoticed")?.to_string();
    ensure!(told.contains("iot.aggregates"), "{told}");
    Ok(())
}
