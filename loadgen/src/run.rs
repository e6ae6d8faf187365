//! The open loop: starts the gateways, waits for them, sums up.

mod gateway;

use crate::Micros;
use crate::fleet::Fleet;
use crate::http;
use crate::profile::FleetError;
use crate::report::{Latency, Report, histogram};
use crate::truth::TruthWindow;
use gateway::Gateway;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How a fleet is sent.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// Base address of ingest, such as `http://127.0.0.1:8088`.
    pub url: String,
    /// API key with role ingest.
    pub key: Option<String>,
    /// Readings per second of the whole fleet.
    pub rate: f64,
    /// Length of the schedule.
    pub duration: Duration,
    /// Most readings a request.
    pub batch: usize,
    /// A reading waits at most so long for its batch to fill.
    pub linger: Duration,
    /// Gateways: connections with one request in flight each. A device always uses the same one.
    pub connections: u32,
    /// After the schedule has ended, unanswered requests are repeated for so long; then they are uncertain.
    pub patience: Duration,
    /// Sends an `end` for every device when everything is answered, so that open windows are emitted.
    pub end: bool,
    /// Windows to compute the truth for; none: no truth is kept.
    pub windows: Vec<TruthWindow>,
    /// Where to count while running.
    pub progress: Option<Arc<Progress>>,
}

impl RunConfig {
    /// 300 readings a second for 30 s over four connections.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            key: None,
            rate: 300.0,
            duration: Duration::from_secs(30),
            batch: 500,
            linger: Duration::from_millis(20),
            connections: 4,
            patience: Duration::from_secs(30),
            end: false,
            windows: Vec::new(),
            progress: None,
        }
    }
}

/// Counters that may be read while a load runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Lines sent at least once.
    pub sent: AtomicU64,
    /// Lines said to be durable.
    pub acknowledged: AtomicU64,
    /// Lines refused at the door.
    pub rejected: AtomicU64,
    /// Requests repeated.
    pub retries: AtomicU64,
}

/// Why a load could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plan is impossible.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// No HTTP client could be made.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// A batch or connection count of 0.
    #[error("`{0}` must be at least 1")]
    Zero(&'static str),
    /// A gateway ended early: a defect of the load generator.
    #[error("a gateway ended early: {0}")]
    Gateway(#[from] tokio::task::JoinError),
}

/// A fleet and how it is sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// The fleet.
    pub fleet: Fleet,
    /// How.
    pub config: RunConfig,
}

/// First pause before a repetition without `Retry-After`; doubled up to [`PAUSE_MAX`].
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(20);
/// Longest pause before a repetition without `Retry-After`.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Runs a load until its schedule has ended and everything is answered, or until `shutdown` completes and what was
/// sent by then is answered (or [`RunConfig::patience`] has run out).
///
/// # Errors
/// [`RunError`]; trouble with the server is no error but in the report.
pub async fn run(load: Load, shutdown: impl Future<Output = ()> + Send) -> Result<Report, RunError> {
    let Load { fleet, config } = load;
    for (name, value) in [("batch", config.batch), ("connections", config.connections as usize)] {
        if value == 0 {
            return Err(RunError::Zero(name));
        }
    }
    let gateways = config.connections.min(fleet.config().devices);
    let zero = Instant::now();
    let started_at = now_micros() / 1_000 * 1_000;
    let (stop, stopped) = watch::channel(false);
    let mut tasks = Vec::new();
    for number in 0..gateways {
        let plan = fleet.plan(config.rate, started_at, config.duration, number, gateways)?;
        let gateway = Gateway::new(number, plan, &config, fleet.metrics(), zero, stopped.clone())?;
        tasks.push(tokio::spawn(gateway.run()));
    }
    let finished = async {
        let mut ended = Vec::new();
        for task in tasks {
            ended.push(task.await?);
        }
        Ok::<_, RunError>(ended)
    };
    let mut finished = std::pin::pin!(finished);
    let ended = tokio::select! {
        ended = &mut finished => ended?,
        () = shutdown => {
            stop.send_replace(true);
            finished.await?
        }
    };
    let mut report = Report { target_rate: config.rate, started_at, ..Report::default() };
    report.truth.windows.clone_from(&config.windows);
    report.truth.metrics = fleet.metrics();
    let mut latency = histogram();
    for (part, measured) in ended {
        report.merge(part);
        latency += measured;
    }
    report.latency = Latency::of(&latency);
    report.seconds = zero.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let rate = report.acknowledged as f64 / report.seconds;
    report.achieved_rate = rate;
    if config.end {
        end(&config, &mut report).await?;
    }
    Ok(report)
}

fn now_micros() -> Micros {
    jiff::Timestamp::now().as_microsecond()
}

/// Says that no more readings are expected of anybody.
async fn end(config: &RunConfig, report: &mut Report) -> Result<(), RunError> {
    let client = http::client(config.key.as_deref())?;
    let url = format!("{}/v1/ends", config.url);
    let give_up = Instant::now() + config.patience;
    let mut pause = PAUSE_MIN;
    loop {
        let sent = client.post(&url).header("content-type", "application/json").body(r#"{"device_id":null}"#);
        let why = match sent.send().await {
            Ok(response) if response.status().is_success() => return Ok(()),
            Ok(response) if response.status().is_client_error() => {
                report.problem(format!("end: {}", response.status()));
                return Ok(());
            }
            Ok(response) => response.status().to_string(),
            Err(error) => error.to_string(),
        };
        if Instant::now() + pause >= give_up {
            report.problem(format!("end: {why}"));
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests;
