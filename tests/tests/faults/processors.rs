//! Processors killed, and processors that were away.

use crate::cast::{Cast, under};
use crate::{PAST_THE_SESSION, meanwhile};
use anyhow::{Context, Result};
use loadgen::Random;
use std::time::Duration;

/// Kills of a scenario, unless `E2E_KILLS` says otherwise.
const KILLS: u64 = 4;

fn kills() -> Result<u64> {
    std::env::var("E2E_KILLS").map_or(Ok(KILLS), |text| text.parse()).context("E2E_KILLS is no number")
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_processor_killed_again_and_again() -> Result<()> {
    under(async |cast: &mut Cast| {
        let mut random = Random::new(20_261_128);
        for kill in 0..kills()? {
            meanwhile(Duration::from_millis(random.below(2_500))).await;
            cast.fault("killed at a random moment, started again")?;
            cast.replace(if kill % 2 == 0 { "p-0" } else { "p-1" })?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_processor_that_stays_away() -> Result<()> {
    under(async |cast: &mut Cast| {
        cast.fault("killed, and nobody starts it again")?;
        cast.kill("p-0")?;
        cast.brings_new_results().await?;
        cast.start("p-0")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_processor_that_was_away_and_comes_back() -> Result<()> {
    under(async |cast: &mut Cast| {
        // Its partitions go to the other one; what it still holds must not be believed.
        cast.fault("stopped for longer than its session")?;
        cast.signal("p-0", "STOP")?;
        meanwhile(PAST_THE_SESSION).await;
        cast.signal("p-0", "CONT")?;
        meanwhile(Duration::from_secs(3)).await;
        cast.fault("both stopped for longer than their sessions")?;
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
