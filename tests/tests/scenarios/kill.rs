//! kill -9 at random points, again and again, while devices go on sending: nothing acknowledged is lost, nothing is
//! doubled, and the books balance.

use crate::{comes_true, totals};
use anyhow::{Context, Result, ensure};
use e2e::{Home, for_at_most};
use loadgen::{Fleet, FleetConfig, Load, Random, RunConfig, TruthWindow};
use std::time::Duration;

/// How often, and from which seed, unless `E2E_KILLS` and `E2E_SEED` say otherwise.
const KILLS: u64 = 30;
const SEED: u64 = 20_261_121;

fn number(name: &str, default: u64) -> Result<u64> {
    std::env::var(name)
        .map_or(Ok(default), |text| text.parse())
        .with_context(|| format!("{name} is no number"))
}
const CONFIG: &str = r#"
[[window]]
name = "1s"
kind = "tumbling"
size = "1s"

[[window]]
name = "10s"
kind = "tumbling"
size = "10s"

[time]
disorder = "2s"
settle = "500ms"

[[model]]
name = "ewma"
each = ["temp"]
threshold = 6.0
"#;

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_acknowledged_and_double_nothing() -> Result<()> {
    let home = Home::new()?.configured(CONFIG)?;
    let (kills, seed) = (number("E2E_KILLS", KILLS)?, number("E2E_SEED", SEED)?);
    let mut random = Random::new(seed);
    let mut fleet = FleetConfig { devices: 12, ..FleetConfig::demo(seed) };
    fleet.faults.broken_clocks = 0.0;
    let second = Duration::from_secs(1);
    let config = RunConfig {
        rate: 200.0,
        // Ended by us, after the last restart.
        duration: Duration::from_hours(1),
        batch: 50,
        patience: Duration::from_mins(2),
        windows: vec![TruthWindow::tumbling("1s", second), TruthWindow::tumbling("10s", second * 10)],
        ..RunConfig::new(&home.ingest_url())
    };
    let (enough, told) = tokio::sync::oneshot::channel::<()>();
    let load = Load { fleet: Fleet::new(fleet)?, config };
    let sending = tokio::spawn(loadgen::run(load, async { drop(told.await) }));
    for kill in 0..kills {
        // A third of the kills hit the start: the files being opened, the snapshot being loaded, the log re-folded.
        let (mut instance, most) = match kill % 3 {
            0 => (home.spawn("run")?, 600),
            _ => (home.start().await.with_context(|| format!("start after kill {kill}"))?, 900),
        };
        let alive = for_at_most(Duration::from_millis(random.below(most)), instance.ended()).await;
        ensure!(alive, "ended by itself before kill {kill}: {}", instance.log());
        if kill % 5 == 4 {
            // What a supervisor does that has no patience: asks, and kills in the middle of the drain.
            instance.signal("TERM")?;
            for_at_most(Duration::from_millis(random.below(300)), instance.ended()).await;
        }
        instance.kill()?;
    }
    let instance = home.start().await?;
    let before = totals(&instance.get("/query/v1/books").await?, "received");
    // Some more after the last kill, so that going on is seen too.
    e2e::eventually("readings go on arriving", e2e::WAIT_MAX, async || {
        let books = instance.get("/query/v1/books").await?;
        ensure!(totals(&books, "received") > before + 200, "{books}");
        Ok(())
    })
    .await?;
    enough.send(()).ok();
    let report = sending.await??;
    ensure!(report.uncertain == 0 && report.rejected_unexpected == 0, "{report}");
    ensure!(report.retries > 0, "no kill was noticed: {report}");
    crate::end(&instance).await?;
    let books = instance.settled().await?;
    let found = comes_true(&report.truth, &home).await.map_err(|error| error.context(instance.log()))?;
    ensure!(found.windows_checked > 200 && found.readings > 1_000, "{found:?}");
    // A retry of what was durable already is a duplicate, and nothing else may be.
    ensure!(totals(&books, "aggregated") == report.truth.aggregated, "{books} {report}");
    ensure!(totals(&books, "rejected") == report.truth.clock_ahead, "{books} {report}");
    ensure!(totals(&books, "duplicate") >= report.truth.duplicates, "{books} {report}");
    ensure!(totals(&books, "late") == 0, "{books}");
    ensure!(instance.stop().await?.success(), "not a clean end");
    Ok(())
}
