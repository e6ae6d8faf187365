//! The servers and the sink killed, silent, full.

use crate::cast::{Cast, REST_MAX, gated, under};
use crate::{full, meanwhile, server};
use anyhow::{Result, ensure};
use e2e::{Api, Moment, eventually};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_the_broker_killed_and_silent() -> Result<()> {
    under(async |cast: &mut Cast| {
        meanwhile(Duration::from_secs(2)).await;
        cast.fault("the broker killed, started again")?;
        server("kafka", &["kill"])?;
        server("kafka", &["start"])?;
        cast.brings_new_results().await?;
        // Longer than a commit may take.
        cast.fault("the broker silent for 15 s")?;
        server("kafka", &["pause"])?;
        meanwhile(Duration::from_secs(15)).await;
        server("kafka", &["resume"])?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_sink_killed_and_a_store_away() -> Result<()> {
    under(async |cast: &mut Cast| {
        for _ in 0..2 {
            meanwhile(Duration::from_millis(1_500)).await;
            cast.fault("the sink killed, started again")?;
            cast.replace("s-0")?;
        }
        let seconds = if full() { 30 } else { 15 };
        cast.fault(&format!("Cassandra silent for {seconds} s"))?;
        server("cassandra", &["pause"])?;
        meanwhile(Duration::from_secs(seconds)).await;
        server("cassandra", &["resume"])?;
        meanwhile(Duration::from_secs(1)).await;
        cast.fault("Cassandra restarted")?;
        server("cassandra", &["restart"])?;
        Ok(())
    })
    .await
}

/// What it wrote and did not say so is written once more, and nothing changes.
#[tokio::test(flavor = "multi_thread")]
async fn full_faults_the_sink_killed_between_rows_and_position() -> Result<()> {
    if !full() {
        return Ok(());
    }
    gated("s-0", async |cast: &mut Cast| {
        for (name, moment) in [
            ("the sink killed with rows written and no position", Moment::before(Api::OffsetCommit)),
            ("the sink killed with its position written and not known", Moment::after(Api::OffsetCommit)),
        ] {
            let held = cast.hold(moment)?.reached().await?;
            cast.fault(name)?;
            cast.kill("s-0")?;
            held.cut();
            cast.start("s-0")?;
            cast.brings_new_results().await?;
        }
        Ok(())
    })
    .await
}

/// No file of Cassandra's may grow any more: it takes no writes, the sink waits, and nothing else does.
#[tokio::test(flavor = "multi_thread")]
async fn full_faults_a_store_without_room() -> Result<()> {
    if !full() {
        return Ok(());
    }
    under(async |cast: &mut Cast| {
        cast.fault("Cassandra's disk full")?;
        server("cassandra", &["tool", "full"])?;
        eventually("the sink falls behind", REST_MAX, async || {
            let (lag, told) = (cast.metric("s-0", "highwater_lag_records").await?, cast.wrote("s-0")?);
            ensure!(lag > 300.0 && told.contains("trying again"), "{lag} behind: {told}");
            Ok(())
        })
        .await?;
        // The log goes on all the same.
        cast.fault("Cassandra's disk full for a while")?;
        cast.brings_new_results().await?;
        cast.fault("Cassandra has room again")?;
        server("cassandra", &["restart"])?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_registry_away() -> Result<()> {
    under(async |cast: &mut Cast| {
        // Warm processes have asked for what they need.
        let seconds = if full() { 60 } else { 8 };
        cast.fault(&format!("the registry silent for {seconds} s"))?;
        server("registry", &["pause"])?;
        meanwhile(Duration::from_secs(seconds)).await;
        server("registry", &["resume"])?;
        Ok(())
    })
    .await
}
