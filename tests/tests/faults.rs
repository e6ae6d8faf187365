//! Faults on real servers, one scenario after the other: what was acknowledged is lost nowhere and doubled nowhere.
//!
//! Each scenario keeps devices sending while it breaks something, and ends with the same questions: does the query API
//! serve the fleet's own truth, do the books balance, and are the committed topics, record by record and byte by byte,
//! what a straight fold over `iot.raw` gives. How often something is broken is for CI; `E2E_KILLS` makes it more.

#[path = "faults/cast.rs"]
mod cast;
#[path = "faults/ledger.rs"]
mod ledger;

use anyhow::{Context, Result, ensure};
use cast::{Cast, under};
use e2e::{for_at_most, highwater};
use loadgen::Random;
use std::process::Command;
use std::time::Duration;

/// Kills of a scenario, unless `E2E_KILLS` says otherwise.
const KILLS: u64 = 4;
/// Longer than the session timeout of the clusters (6 s): whoever is silent for so long loses its partitions.
const PAST_THE_SESSION: Duration = Duration::from_secs(9);

fn kills() -> Result<u64> {
    std::env::var("E2E_KILLS").map_or(Ok(KILLS), |text| text.parse()).context("E2E_KILLS is no number")
}

/// Breaks or mends a server that `tests/stack` started.
fn server(name: &str, action: &str) -> Result<()> {
    let script = format!("{}/stack/{name}", env!("CARGO_MANIFEST_DIR"));
    let done = tokio::task::block_in_place(|| Command::new(&script).arg(action).output())?;
    ensure!(done.status.success(), "{script} {action}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Lets the load go on for a while, in which nobody may end by himself.
async fn meanwhile(span: Duration) {
    for_at_most(span, std::future::pending::<()>()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_processor_killed_again_and_again() -> Result<()> {
    under("killed", async |cast: &mut Cast| {
        let mut random = Random::new(20_261_128);
        for kill in 0..kills()? {
            meanwhile(Duration::from_millis(random.below(2_500))).await;
            cast.replace(if kill % 2 == 0 { "p-0" } else { "p-1" })?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_processor_that_was_away_and_comes_back() -> Result<()> {
    under("zombie", async |cast: &mut Cast| {
        // Its partitions go to the other one; what it still holds must not be believed.
        cast.signal("p-0", "STOP")?;
        meanwhile(PAST_THE_SESSION).await;
        cast.signal("p-0", "CONT")?;
        meanwhile(Duration::from_secs(3)).await;
        for name in ["p-0", "p-1"] {
            cast.signal(name, "STOP")?;
        }
        meanwhile(PAST_THE_SESSION).await;
        for name in ["p-0", "p-1"] {
            cast.signal(name, "CONT")?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_the_broker_killed_and_silent() -> Result<()> {
    under("broker", async |_: &mut Cast| {
        meanwhile(Duration::from_secs(2)).await;
        server("kafka", "kill")?;
        server("kafka", "start")?;
        meanwhile(Duration::from_secs(3)).await;
        // Longer than a commit may take.
        server("kafka", "pause")?;
        meanwhile(Duration::from_secs(15)).await;
        server("kafka", "resume")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_sink_killed_and_a_store_away() -> Result<()> {
    under("store", async |cast: &mut Cast| {
        for _ in 0..2 {
            meanwhile(Duration::from_millis(1_500)).await;
            cast.replace("s-0")?;
        }
        server("cassandra", "pause")?;
        meanwhile(Duration::from_secs(15)).await;
        server("cassandra", "resume")?;
        meanwhile(Duration::from_secs(1)).await;
        server("cassandra", "restart")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_registry_away() -> Result<()> {
    under("registry", async |_: &mut Cast| {
        // Warm processes have asked for what they need.
        server("registry", "pause")?;
        meanwhile(Duration::from_secs(8)).await;
        server("registry", "resume")
    })
    .await
}

/// The truth's own proof: a reading that nobody sent must be noticed by the ledger.
#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_doubled_result_is_noticed() -> Result<()> {
    let version = tokio::task::block_in_place(|| highwater(&["--version"], Duration::from_secs(10)))?;
    ensure!(version.code == Some(0), "{version:?}");
    let Some(cast) = Cast::ready("doubled").await? else { return Ok(()) };
    let cluster = cast.end().await?;
    tokio::task::block_in_place(|| ledger::double_one(&cluster))?;
    let compared = tokio::task::block_in_place(|| ledger::compare(&cluster));
    let told = compared.err().context("a doubled result went unnoticed")?.to_string();
    ensure!(told.contains("iot.aggregates"), "{told}");
    Ok(())
}
