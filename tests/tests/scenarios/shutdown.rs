//! SIGTERM under load: what was acknowledged is there afterwards, and the end is clean.

use crate::{comes_true, end, totals};
use anyhow::{Result, ensure};
use e2e::{Home, WAIT_MAX, eventually};
use loadgen::{Fleet, FleetConfig, Load, Progress, RunConfig, TruthWindow};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const CONFIG: &str = r#"
[[window]]
name = "1s"
kind = "tumbling"
size = "1s"

[time]
disorder = "1s"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_is_clean_and_loses_nothing() -> Result<()> {
    let home = Home::new()?.configured(CONFIG)?;
    let instance = home.start().await?;
    let progress = Arc::new(Progress::default());
    let config = RunConfig {
        rate: 500.0,
        duration: Duration::from_hours(1),
        batch: 50,
        windows: vec![TruthWindow::tumbling("1s", Duration::from_secs(1))],
        progress: Some(Arc::clone(&progress)),
        ..RunConfig::new(&home.ingest_url())
    };
    let (enough, told) = tokio::sync::oneshot::channel::<()>();
    let load = Load { fleet: Fleet::new(FleetConfig { devices: 20, ..FleetConfig::default() })?, config };
    let sending = tokio::spawn(loadgen::run(load, async { drop(told.await) }));
    let acknowledged = async |at_least: u64| {
        eventually("readings are acknowledged", WAIT_MAX, async || {
            let now = progress.acknowledged.load(Relaxed);
            ensure!(now >= at_least, "{now} of {at_least}");
            Ok(now)
        })
        .await
    };
    let before = acknowledged(1_000).await?;
    let status = instance.stop().await?;
    ensure!(status.success(), "ended with {status}");

    let instance = home.start().await?;
    acknowledged(before + 1_000).await?;
    enough.send(()).ok();
    let report = sending.await??;
    ensure!(report.uncertain == 0 && report.rejected_unexpected == 0, "{report}");
    end(&instance).await?;
    comes_true(&report.truth, &home).await.map_err(|error| error.context(instance.log()))?;
    let books = instance.settled().await?;
    ensure!(totals(&books, "aggregated") == report.truth.aggregated, "{books} {report}");
    // A clean stop answers what it has taken: nobody had to send anything twice that was durable.
    ensure!(totals(&books, "duplicate") == 0, "{books}");
    Ok(())
}
