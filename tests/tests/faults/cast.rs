//! The processes of a scenario, and the load that goes on while it lasts.

use crate::sending::Sending;
use anyhow::{Context, Result, bail, ensure};
use e2e::{Awaited, Cluster, Gate, Instance, Moment, Results, WAIT_MAX, eventually, ledger, past, real};
use loadgen::Report;
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) const CONFIG: &str = r#"
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

[process]
snapshot-interval-max = "3s"
"#;
/// Bound of everything coming to rest after a fault: sessions run out, caches fill, a server starts.
pub(crate) const REST_MAX: Duration = Duration::from_secs(120);

/// One scenario at a time: they break servers that all share.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The cast of one scenario.
pub(crate) struct Cast {
    cluster: Cluster,
    processes: BTreeMap<&'static str, Instance>,
    results: Results,
    page: Instance,
    door: Instance,
    sending: Option<Sending>,
    gate: Option<Gate>,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

/// Runs a scenario under load and asks the questions of its end.
pub(crate) async fn under(scenario: impl AsyncFnOnce(&mut Cast) -> Result<()>) -> Result<()> {
    played(Cast::ready(None, |cluster| cluster).await?, scenario).await
}

/// The same, on a home that something was done to before its first process starts.
pub(crate) async fn staged(
    prepare: impl FnOnce(Cluster) -> Cluster,
    scenario: impl AsyncFnOnce(&mut Cast) -> Result<()>,
) -> Result<()> {
    played(Cast::ready(None, prepare).await?, scenario).await
}

/// The same, with a gate between one process and Kafka.
pub(crate) async fn gated(who: &str, scenario: impl AsyncFnOnce(&mut Cast) -> Result<()>) -> Result<()> {
    played(Cast::ready(Some(who), |cluster| cluster).await?, scenario).await
}

async fn played(cast: Option<Cast>, scenario: impl AsyncFnOnce(&mut Cast) -> Result<()>) -> Result<()> {
    let Some(mut cast) = cast else { return Ok(()) };
    let done = async {
        scenario(&mut cast).await?;
        cast.brings_new_results().await
    };
    done.await.map_err(|error| error.context(cast.logs()))?;
    let cluster = cast.end().await?;
    let compared = tokio::task::block_in_place(|| ledger::compare(&cluster))?;
    ensure!(compared > 100, "only {compared} results");
    Ok(())
}

impl Cast {
    /// Everything runs and readings arrive; none: there are no servers.
    pub(crate) async fn ready(
        gated: Option<&str>,
        prepare: impl FnOnce(Cluster) -> Cluster,
    ) -> Result<Option<Self>> {
        let Some(cluster) = Cluster::named() else { return Ok(None) };
        let (mut cluster, mut gate) = (prepare(cluster?.configured(CONFIG)?), None);
        let alone = ALONE.lock().await;
        if let Some(who) = gated {
            let Some(to) = real("HIGHWATER_TEST_KAFKA_GATED") else { return Ok(None) };
            let Some(listen) = real("HIGHWATER_TEST_KAFKA_GATE") else { return Ok(None) };
            gate = Some(Gate::open(&listen, &to).await?);
            cluster = cluster.set_of(who, &format!("journal.url=kafka://{listen}"));
        }
        let cluster = tokio::task::block_in_place(|| cluster.made())?;
        let mut door = cluster.spawn("ingest", "door")?;
        let mut processes = BTreeMap::new();
        for (service, name) in [("process", "p-0"), ("process", "p-1"), ("sink", "s-0")] {
            processes.insert(name, cluster.start(service, name).await?);
        }
        let page = cluster.start("dashboard", "page").await?;
        door.ready().await?;
        let sending = Some(Sending::begin(&cluster, "sensor-")?);
        let results = tokio::task::block_in_place(|| Results::follow(&cluster))?;
        let cast = Self { cluster, processes, results, page, door, sending, gate, _alone: alone };
        cast.results.everywhere(WAIT_MAX).await.map_err(|error| error.context(cast.logs()))?;
        Ok(Some(cast))
    }

    /// Asks for the next such moment between the process with the gate and Kafka.
    pub(crate) fn hold(&self, moment: Moment) -> Result<Awaited> {
        Ok(self.gate.as_ref().context("this scenario has no gate")?.hold(moment))
    }

    /// Says what is done next, so that the time to the first new results is told.
    pub(crate) fn fault(&self, name: &str) -> Result<()> {
        tokio::task::block_in_place(|| self.results.fault_follows(name))
    }

    /// Waits until every partition has brought results since the last fault that was announced.
    pub(crate) async fn brings_new_results(&self) -> Result<()> {
        self.results.all_new(REST_MAX).await
    }

    /// Kills a process (kill -9) and starts it again at once.
    pub(crate) fn replace(&mut self, name: &'static str) -> Result<()> {
        self.kill(name)?;
        self.start(name)
    }

    /// Kills a process (kill -9).
    pub(crate) fn kill(&mut self, name: &str) -> Result<()> {
        self.processes.remove(name).context("no such process")?.kill()
    }

    /// Starts a process, and waits for nothing.
    pub(crate) fn start(&mut self, name: &'static str) -> Result<()> {
        let service = if name.starts_with('p') { "process" } else { "sink" };
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

    /// Asks a process to end, and waits until it has.
    pub(crate) async fn stop(&mut self, name: &str) -> Result<()> {
        let process = self.processes.remove(name).context("no such process")?;
        ensure!(process.stop().await.with_context(|| format!("stopping {name}"))?.success(), "{name}");
        Ok(())
    }

    /// Its home.
    pub(crate) const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// A topic's or a group's name in Kafka.
    pub(crate) fn name_of(&self, plain: &str) -> Result<String> {
        Ok(format!("{}{plain}", self.cluster.setting("journal.topic-prefix").context("no prefix")?))
    }

    /// What a process answers.
    pub(crate) async fn ask(&self, name: &str, path: &str) -> Result<serde_json::Value> {
        self.processes.get(name).context("no such process")?.get(path).await
    }

    /// A metric of a process.
    pub(crate) async fn metric(&self, name: &str, metric: &str) -> Result<f64> {
        self.processes.get(name).context("no such process")?.metric(metric).await
    }

    /// Everything that was written under a name, by those killed since too.
    pub(crate) fn wrote(&self, name: &str) -> Result<String> {
        std::fs::read_to_string(self.cluster.path().join(format!("{name}.log"))).context("reading a log")
    }

    /// Other devices begin to send.
    pub(crate) fn sends(&mut self, prefix: &str) -> Result<()> {
        self.sending = Some(Sending::begin(&self.cluster, prefix)?);
        Ok(())
    }

    /// Waits until the door has taken so many more readings.
    pub(crate) async fn received(&self, more: u64) -> Result<()> {
        let taken = || tokio::task::block_in_place(|| past::bounds(&self.cluster, Topic::Raw));
        let sum = |bounds: Vec<(i64, i64)>| bounds.iter().map(|(_, end)| end.unsigned_abs()).sum::<u64>();
        let before = sum(taken()?);
        eventually("the door takes readings", REST_MAX, async || {
            let now = sum(taken()?);
            ensure!(now >= before + more, "{now} after {before}");
            Ok(())
        })
        .await
    }

    /// Ends the load; nobody waits for what comes of it.
    pub(crate) async fn silence(&mut self) -> Result<()> {
        self.sending.take().context("the load has ended already")?.end().await.map(drop)
    }

    /// One of its processes.
    pub(crate) fn process(&mut self, name: &str) -> Result<&mut Instance> {
        self.processes.get_mut(name).context("no such process")
    }

    /// Waits until processors have said something, wherever.
    pub(crate) async fn hears(&self, text: &str) -> Result<()> {
        eventually("the processors say it", REST_MAX, async || {
            for name in ["p-0", "p-1"] {
                if self.wrote(name)?.contains(text) {
                    return Ok(());
                }
            }
            bail!("nobody says `{text}`: {}", self.logs())
        })
        .await
    }

    /// Ends the load and waits until the query API serves its truth.
    pub(crate) async fn rest(&mut self) -> Result<Report> {
        let report = self.sending.take().context("the load has ended already")?.end().await?;
        ensure!(report.uncertain == 0 && report.rejected_unexpected == 0, "{report}");
        self.door.post("/ingest/v1/ends", &serde_json::json!({ "device_id": null })).await?;
        self.serves(&report).await?;
        Ok(report)
    }

    /// Waits until the query API serves the truth of a load.
    pub(crate) async fn serves(&self, report: &Report) -> Result<()> {
        eventually("the books come to rest and the query API serves the truth", REST_MAX, async || {
            let found = loadgen::verify(&report.truth, &self.cluster.query_url(), None).await?;
            ensure!(found.ok && found.windows_checked > 50, "{found:?}: {}", self.logs());
            Ok(())
        })
        .await
    }

    /// Ends the load, waits for rest, and holds the results against the fleet's truth.
    pub(crate) async fn end(mut self) -> Result<Cluster> {
        self.goes_on(300).await?;
        let report = self.rest().await?;
        let books = self.page.settled().await?;
        ensure!(self.aggregated().await? == report.truth.aggregated, "{books}\n{report}");
        self.leave().await
    }

    /// Every process ends cleanly.
    pub(crate) async fn leave(self) -> Result<Cluster> {
        let rest = [("door", self.door), ("page", self.page)];
        let mut all: Vec<(&str, Instance)> = self.processes.into_iter().chain(rest).collect();
        // All at once: they take their time.
        for (_, process) in &all {
            process.signal("TERM")?;
        }
        for (name, process) in &mut all {
            let ended = process.end(WAIT_MAX).await.with_context(|| format!("stopping {name}"))?;
            ensure!(ended.success(), "{name}: {ended}: {}", process.log());
        }
        Ok(self.cluster)
    }
}

/// Long enough for whatever `eventually` waits for elsewhere.
const _: () = assert!(REST_MAX.as_secs() >= WAIT_MAX.as_secs());
