//! The whole pipeline in one process, over HTTP, until every window is stored: readings per second on this machine,
//! generator included, and the latency of the acknowledgement. The run counts only if every stored window is right.
//!
//! `embedded [SECONDS] [RATE] [DEVICES]`: for so long (20), so many readings a second of event time (500,000: more than
//! two cores do, so that the generator is always behind) of so many devices (10,000). It starts the `highwater` beside
//! it, or the one that `HIGHWATER_BIN` names.

use anyhow::{Context, Result, bail, ensure};
use loadgen::{Fleet, FleetConfig, Load, RunConfig, TruthWindow};
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
[[window]]
name = "5s"
kind = "tumbling"
size = "5s"

[metrics]
only = ["temperature"]

[time]
disorder = "1s"
"#;
/// The metric that is aggregated.
const METRIC: &str = "temperature";
const BATCH: usize = 500;
const CONNECTIONS: u32 = 8;
const SETTLE_MAX: Duration = Duration::from_mins(10);

struct Running {
    child: Child,
    http: reqwest::Client,
    ingest: String,
    query: String,
    admin: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(binary: &Path, directory: &Path) -> Result<Self> {
        let config = directory.join("highwater.toml");
        std::fs::write(&config, CONFIG)?;
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let (ingest, dashboard, admin) = (free()?, free()?, free()?);
        let child = Command::new(binary)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(directory.join("data"))
            .args([
                "--set",
                &format!("ingest.listen={ingest}"),
                "--set",
                &format!("dashboard.listen={dashboard}"),
            ])
            .args(["--set", &format!("admin.listen={admin}")])
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).no_proxy().build()?;
        let url = |address| format!("http://{address}");
        Ok(Self { child, http, ingest: url(ingest), query: url(dashboard), admin: url(admin) })
    }

    async fn until<T>(
        &mut self,
        bound: Duration,
        mut look: impl AsyncFnMut(&Self) -> Result<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            if let Some(status) = self.child.try_wait()? {
                bail!("highwater ended with {status}");
            }
            match look(self).await {
                Ok(found) => return Ok(found),
                Err(error) if begun.elapsed() > bound => return Err(error),
                Err(_) => {}
            }
        }
    }

    async fn get(&self, url: String) -> Result<Value> {
        let response = self.http.get(&url).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&response.bytes().await?)?)
    }

    /// Processor seconds that the instance has used, and its most resident bytes.
    fn used(&self) -> Result<(f64, u64)> {
        bench::measure::used(self.child.id())
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stdout, reason = "the result of a benchmark")]
async fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u32| {
        args.next().map_or(Ok(default), |text| text.parse()).context("SECONDS, RATE and DEVICES are numbers")
    };
    let (seconds, rate, devices) = (number(20)?, number(500_000)?, number(10_000)?);
    let duration = Duration::from_secs(u64::from(seconds));
    let binary = match std::env::var_os("HIGHWATER_BIN") {
        Some(path) => PathBuf::from(path),
        None => std::env::current_exe()?.with_file_name("highwater"),
    };
    let directory = tempfile::tempdir()?;
    let mut running = Running::start(&binary, directory.path())?;
    let ready = format!("{}/readyz", running.admin);
    running.until(Duration::from_mins(1), async |running| running.get(ready.clone()).await).await?;

    let config = RunConfig {
        rate: f64::from(rate),
        duration,
        batch: BATCH,
        connections: CONNECTIONS,
        windows: vec![TruthWindow::tumbling("5s", Duration::from_secs(5))],
        end: true,
        ..RunConfig::new(&running.ingest)
    };
    let fleet = Fleet::new(FleetConfig::telemetry(devices, 1))?;
    let begun = Instant::now();
    // A generator that is behind would go on after the schedule's end.
    let stop = tokio::time::sleep(duration);
    let mut report = loadgen::run(Load { fleet, config }, stop).await?;
    let sent_in = begun.elapsed();
    let books = running.until(SETTLE_MAX, async |running| {
        let books = running.get(format!("{}/v1/books", running.query)).await?;
        let idle = books["stages"]
            .as_array()
            .is_some_and(|stages| stages.iter().all(|stage| stage["in_flight"] == 0));
        ensure!(books["balanced"] == true && idle, "{books}");
        Ok(books)
    });
    let books = books.await?;
    let stored_in = begun.elapsed();
    let (cpu, peak) = running.used()?;
    ensure!(report.uncertain == 0 && report.rejected_unexpected == 0, "{report}");
    report.truth.expected.retain(|series, _| series.metric == METRIC);
    let found = loadgen::verify(&report.truth, &running.query, None).await?;
    ensure!(found.ok, "the results are wrong: {found:?}");
    let readings = report.acknowledged;
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let per_second = |span: Duration| readings as f64 / span.as_secs_f64();
    println!("{readings} readings of {devices} devices in batches of {BATCH} over {CONNECTIONS} connections");
    println!("{} windows stored, all as they have to be", found.windows_checked);
    println!("acknowledged: {:.0} a second", per_second(sent_in));
    println!("to the last stored window: {:.0} a second", per_second(stored_in));
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let per_million = cpu / (readings as f64 / 1e6);
    println!("processor: {cpu:.1} s, {per_million:.2} s a million readings; peak {} MB resident", peak >> 20);
    if report.achieved_rate > 0.95 * f64::from(rate) {
        // Behind its schedule, it would only say how far.
        println!("{report}");
    }
    println!("books: {}", books["balanced"]);
    Ok(())
}
