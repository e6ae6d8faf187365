//! The processes of a scenario, and the load that goes on while it lasts.

use crate::ledger;
use anyhow::{Context, Result, ensure};
use e2e::{Cluster, Instance, WAIT_MAX, eventually};
use loadgen::{Fleet, FleetConfig, Load, Report, RunConfig, TruthWindow};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

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
"#;
const SEED: u64 = 20_261_128;
/// Bound of everything coming to rest after a fault: sessions run out, caches fill, a server starts.
const REST_MAX: Duration = Duration::from_secs(120);

/// One scenario at a time: they break servers that all share.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The cast of one scenario.
pub(crate) struct Cast {
    cluster: Cluster,
    processes: BTreeMap<&'static str, Instance>,
    page: Instance,
    door: Instance,
    sending: JoinHandle<Result<Report, loadgen::RunError>>,
    enough: Option<oneshot::Sender<()>>,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

/// Runs a scenario under load and asks the questions of its end.
pub(crate) async fn under(name: &str, scenario: impl AsyncFnOnce(&mut Cast) -> Result<()>) -> Result<()> {
    let Some(mut cast) = Cast::ready(name).await? else { return Ok(()) };
    scenario(&mut cast).await?;
    let cluster = cast.end().await?;
    let compared = tokio::task::block_in_place(|| ledger::compare(&cluster))?;
    ensure!(compared > 100, "only {compared} results");
    Ok(())
}

impl Cast {
    /// Everything runs and readings arrive; none: there are no servers.
    pub(crate) async fn ready(name: &str) -> Result<Option<Self>> {
        let Some(cluster) = Cluster::named() else { return Ok(None) };
        let alone = ALONE.lock().await;
        let cluster = tokio::task::block_in_place(|| cluster?.configured(CONFIG)?.made())
            .with_context(|| format!("making {name}"))?;
        let mut door = cluster.spawn("ingest", "door")?;
        let mut processes = BTreeMap::new();
        for (service, name) in [("process", "p-0"), ("process", "p-1"), ("sink", "s-0")] {
            processes.insert(name, cluster.start(service, name).await?);
        }
        let page = cluster.start("dashboard", "page").await?;
        door.ready().await?;
        let mut fleet = FleetConfig { devices: 12, ..FleetConfig::demo(SEED) };
        fleet.faults.broken_clocks = 0.0;
        let second = Duration::from_secs(1);
        let config = RunConfig {
            rate: 200.0,
            // Ended by us.
            duration: Duration::from_hours(1),
            batch: 50,
            patience: Duration::from_mins(2),
            windows: vec![TruthWindow::tumbling("1s", second), TruthWindow::tumbling("10s", second * 10)],
            ..RunConfig::new(&cluster.ingest_url())
        };
        let (enough, told) = oneshot::channel::<()>();
        let load = Load { fleet: Fleet::new(fleet)?, config };
        let sending = tokio::spawn(loadgen::run(load, async { drop(told.await) }));
        let cast = Self { cluster, processes, page, door, sending, enough: Some(enough), _alone: alone };
        cast.goes_on(200).await?;
        Ok(Some(cast))
    }

    /// Kills a process (kill -9) and starts it again at once.
    pub(crate) fn replace(&mut self, name: &'static str) -> Result<()> {
        let service = if name.starts_with('p') { "process" } else { "sink" };
        self.processes.remove(name).context("no such process")?.kill()?;
        self.processes.insert(name, self.cluster.spawn(service, name)?);
        Ok(())
    }

    /// Sends a signal to a process.
    pub(crate) fn signal(&self, name: &str, signal: &str) -> Result<()> {
        self.processes.get(name).context("no such process")?.signal(signal)
    }

    /// Waits until so many more readings have their outcome.
    async fn goes_on(&self, more: u64) -> Result<()> {
        let before = self.aggregated().await.unwrap_or(0);
        eventually("readings go on being aggregated", REST_MAX, async || {
            let now = self.aggregated().await?;
            ensure!(now >= before + more, "{now} after {before}: {}", self.logs());
            Ok(())
        })
        .await
    }

    async fn aggregated(&self) -> Result<u64> {
        let books = self.page.get("/query/v1/books").await?;
        let stages = books["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let counts = stages.iter().filter_map(|stage| stage["outcomes"]["aggregated"].as_u64());
        Ok(counts.sum())
    }

    fn logs(&self) -> String {
        self.processes.iter().map(|(name, process)| format!("\n{name}: {}", process.log())).collect()
    }

    /// Ends the load, waits for rest, and holds the results against the fleet's truth.
    pub(crate) async fn end(mut self) -> Result<Cluster> {
        self.goes_on(300).await?;
        if let Some(enough) = self.enough.take() {
            // The load may have ended by an error of its own, which is told below.
            let _ = enough.send(());
        }
        let report = (&mut self.sending).await??;
        ensure!(report.uncertain == 0 && report.rejected_unexpected == 0, "{report}");
        self.door.post("/ingest/v1/ends", &serde_json::json!({ "device_id": null })).await?;
        eventually("the books come to rest and the query API serves the truth", REST_MAX, async || {
            let found = loadgen::verify(&report.truth, &self.cluster.query_url(), None).await?;
            ensure!(found.ok && found.windows_checked > 50, "{found:?}: {}", self.logs());
            Ok(())
        })
        .await?;
        let books = self.page.settled().await?;
        ensure!(self.aggregated().await? == report.truth.aggregated, "{books}\n{report}");
        for (name, process) in self.processes {
            ensure!(process.stop().await.with_context(|| format!("stopping {name}"))?.success(), "{name}");
        }
        ensure!(self.door.stop().await?.success() && self.page.stop().await?.success(), "not a clean end");
        Ok(self.cluster)
    }
}

/// Long enough for whatever `eventually` waits for elsewhere.
const _: () = assert!(REST_MAX.as_secs() >= WAIT_MAX.as_secs());
