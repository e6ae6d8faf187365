//! Faults at named moments of a commit, which a gate between `p-0` and Kafka can tell.
//!
//! A commit is: partitions join the transaction, outputs are written, the group's positions join it and are written,
//! the end is asked for. Snapshots are written beside it, and named by a later one.

use crate::cast::{Cast, gated};
use crate::{PAST_THE_SESSION, full, meanwhile, server};
use anyhow::Result;
use e2e::{Api, Moment};
use std::time::Duration;

/// Beyond what librdkafka waits before it asks again, below what the broker gives a transaction (10 s).
const SLOW: Duration = Duration::from_secs(2);
/// The broker has given the transaction up.
const TOO_LATE: Duration = Duration::from_secs(14);

const RESULTS: &str = "iot.aggregates";
const SNAPSHOTS: &str = "iot.snapshots";
const OPENED: Moment = Moment::after(Api::AddPartitionsToTxn);
const WRITTEN: Moment = Moment::after(Api::Produce).about(RESULTS);
const ENDING: Moment = Moment::before(Api::EndTxn);
const ENDED: Moment = Moment::after(Api::EndTxn);

/// Kills `p-0` at moments, one after the other, and starts it again at once.
async fn killed_at(moments: &[(&str, Moment)]) -> Result<()> {
    gated("p-0", async |cast: &mut Cast| {
        for (name, moment) in moments {
            let held = cast.hold(*moment)?.reached().await?;
            cast.fault(name)?;
            cast.kill("p-0")?;
            held.cut();
            cast.start("p-0")?;
            cast.brings_new_results().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_killed_between_outputs_and_snapshot() -> Result<()> {
    killed_at(&[
        ("killed with outputs written and no positions", Moment::before(Api::AddOffsetsToTxn)),
        ("killed with positions written and no end", ENDING),
        ("killed with the end done and not known", ENDED),
        ("killed with a snapshot written and not named", Moment::after(Api::Produce).about(SNAPSHOTS)),
    ])
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn full_faults_killed_at_every_other_moment_of_a_commit() -> Result<()> {
    if !full() {
        return Ok(());
    }
    killed_at(&[
        ("killed before the transaction is open", Moment::before(Api::AddPartitionsToTxn)),
        ("killed with the transaction open and empty", OPENED),
        ("killed before outputs arrive", Moment::before(Api::Produce).about(RESULTS)),
        ("killed with outputs written", WRITTEN),
        ("killed before positions arrive", Moment::before(Api::TxnOffsetCommit)),
        ("killed with positions written", Moment::after(Api::TxnOffsetCommit)),
        ("killed before a snapshot arrives", Moment::before(Api::Produce).about(SNAPSHOTS)),
    ])
    .await
}

/// The partitions of one that is killed in a transaction wait for its session; the transaction must not outlast it.
#[tokio::test(flavor = "multi_thread")]
async fn full_faults_killed_in_a_transaction_and_away() -> Result<()> {
    if !full() {
        return Ok(());
    }
    gated("p-0", async |cast: &mut Cast| {
        let held = cast.hold(ENDING)?.reached().await?;
        cast.fault("killed with positions written and no end, and nobody starts it again")?;
        cast.kill("p-0")?;
        held.cut();
        cast.brings_new_results().await?;
        cast.start("p-0")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_an_end_that_is_slow_or_lost() -> Result<()> {
    gated("p-0", async |cast: &mut Cast| {
        let held = cast.hold(ENDING)?.reached().await?;
        cast.fault("the end of a transaction arrives 2 s late")?;
        meanwhile(SLOW).await;
        held.pass();
        cast.brings_new_results().await?;
        let held = cast.hold(ENDED)?.reached().await?;
        cast.fault("the answer to an end is lost")?;
        held.cut();
        cast.brings_new_results().await?;
        let held = cast.hold(ENDING)?.reached().await?;
        cast.fault("an end is lost")?;
        held.cut();
        cast.brings_new_results().await?;
        let held = cast.hold(Moment::after(Api::TxnOffsetCommit))?.reached().await?;
        cast.fault("the answer to the positions is lost")?;
        held.cut();
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn full_faults_an_end_that_comes_after_its_transaction() -> Result<()> {
    if !full() {
        return Ok(());
    }
    gated("p-0", async |cast: &mut Cast| {
        for (name, moment) in [
            ("the end arrives after the broker gave the transaction up", ENDING),
            ("the answer to an end arrives 14 s late", ENDED),
            (
                "outputs arrive after the broker gave the transaction up",
                Moment::before(Api::Produce).about(RESULTS),
            ),
        ] {
            let held = cast.hold(moment)?.reached().await?;
            cast.fault(name)?;
            meanwhile(TOO_LATE).await;
            held.pass();
            cast.brings_new_results().await?;
        }
        Ok(())
    })
    .await
}

/// What was cut under an assignment that is over is never sent again, whether its end arrives or not.
#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_buffer_whose_partition_was_lost_and_came_back() -> Result<()> {
    gated("p-0", async |cast: &mut Cast| {
        let held = cast.hold(ENDING)?.reached().await?;
        cast.fault("stopped before an end, which is lost; another takes over")?;
        cast.signal("p-0", "STOP")?;
        // The other one waits for the transaction, whose end never comes, before it begins.
        cast.brings_new_results().await?;
        held.cut();
        cast.signal("p-0", "CONT")?;
        meanwhile(Duration::from_secs(3)).await;
        let held = cast.hold(ENDING)?.reached().await?;
        cast.fault("stopped before an end, which arrives when another has taken over")?;
        cast.signal("p-0", "STOP")?;
        meanwhile(PAST_THE_SESSION).await;
        held.pass();
        cast.brings_new_results().await?;
        cast.signal("p-0", "CONT")?;
        meanwhile(Duration::from_secs(3)).await;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_the_broker_killed_in_a_transaction() -> Result<()> {
    gated("p-0", async |cast: &mut Cast| {
        let held = cast.hold(ENDING)?.reached().await?;
        cast.fault("the broker killed with a transaction open")?;
        server("kafka", &["kill"])?;
        held.cut();
        server("kafka", &["start"])?;
        cast.brings_new_results().await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn full_faults_the_broker_killed_or_silent_around_an_end() -> Result<()> {
    if !full() {
        return Ok(());
    }
    gated("p-0", async |cast: &mut Cast| {
        let held = cast.hold(ENDED)?.reached().await?;
        cast.fault("the broker killed with an end done and not known")?;
        server("kafka", &["kill"])?;
        held.cut();
        server("kafka", &["start"])?;
        cast.brings_new_results().await?;
        let held = cast.hold(ENDING)?.reached().await?;
        cast.fault("the coordinator silent for 15 s with an end on its way")?;
        server("kafka", &["pause"])?;
        held.pass();
        meanwhile(Duration::from_secs(15)).await;
        server("kafka", &["resume"])?;
        Ok(())
    })
    .await
}
