//! Snapshots damaged, gone, of a version to come.

use crate::cast::{Cast, REST_MAX, under};
use crate::history::forget_records;
use crate::{meanwhile, server};
use anyhow::{Context, Result, ensure};
use e2e::{eventually, past};
use schemas::record::SnapshotLocator;
use schemas::topic::Topic;
use std::time::Duration;

const BOTH: [&str; 2] = ["p-0", "p-1"];

/// Two snapshots of a partition, when it has them.
async fn two_snapshots(cast: &Cast) -> Result<(u32, SnapshotLocator)> {
    eventually("a partition has two snapshots", REST_MAX, async || {
        let committed = tokio::task::block_in_place(|| past::committed(cast.cluster()))?;
        let mut both = committed.into_iter().filter(|(_, (_, metadata))| metadata.previous.is_some());
        let (partition, (_, metadata)) = both.next().context("no partition has two snapshots yet")?;
        Ok((partition, metadata.snapshot.context("a snapshot")?))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_snapshot_damaged_on_the_brokers_disk() -> Result<()> {
    under(async |cast: &mut Cast| {
        two_snapshots(cast).await?;
        for name in BOTH {
            cast.kill(name)?;
        }
        let newest = last_snapshot(cast).await?;
        server("kafka", &["stop"])?;
        past::damage(cast.cluster(), &newest)?;
        server("kafka", &["start"])?;
        cast.fault("a snapshot damaged, the one before is used")?;
        for name in BOTH {
            cast.start(name)?;
        }
        cast.hears(&format!("snapshot at {}:", newest.offset)).await
    })
    .await
}

/// What a start will find. A commit that was on its way when its processor was killed may still be made.
async fn last_snapshot(cast: &Cast) -> Result<SnapshotLocator> {
    let (_, mut last) = two_snapshots(cast).await?;
    eventually("nobody commits any more", REST_MAX, async || {
        meanwhile(Duration::from_secs(1)).await;
        let (_, now) = two_snapshots(cast).await?;
        let before = std::mem::replace(&mut last, now);
        ensure!(before == last, "{last:?} after {before:?}");
        Ok(())
    })
    .await?;
    Ok(last)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_snapshots_gone() -> Result<()> {
    under(async |cast: &mut Cast| {
        two_snapshots(cast).await?;
        for name in BOTH {
            cast.kill(name)?;
        }
        forget_records(cast, Topic::Snapshots, None)?;
        cast.fault("snapshots gone, everything is folded again")?;
        for name in BOTH {
            cast.start(name)?;
        }
        cast.hears("retention has taken it").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_a_snapshot_of_a_version_to_come() -> Result<()> {
    under(async |cast: &mut Cast| {
        let (partition, _) = two_snapshots(cast).await?;
        for name in BOTH {
            cast.kill(name)?;
        }
        let before = tokio::task::block_in_place(|| past::from_a_version_to_come(cast.cluster(), partition))?;
        for name in BOTH {
            cast.start(name)?;
        }
        cast.hears("was written by a newer version").await?;
        let stands = |cast: &Cast| {
            let committed = tokio::task::block_in_place(|| past::committed(cast.cluster()))?;
            Ok::<_, anyhow::Error>(committed.get(&partition).context("committed")?.0)
        };
        let at = stands(cast)?;
        meanwhile(Duration::from_secs(3)).await;
        ensure!(stands(cast)? == at, "partition {partition} has gone on");
        for name in BOTH {
            cast.stop(name).await?;
        }
        // The newer version is taken back with what it had committed.
        tokio::task::block_in_place(|| past::restore(cast.cluster(), partition, before))?;
        cast.fault("a snapshot of a newer version, taken back")?;
        for name in BOTH {
            cast.start(name)?;
        }
        Ok(())
    })
    .await
}
