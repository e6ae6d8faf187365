//! `demo`: the whole pipeline in this process, with a simulated fleet that has known faults and known truth.

mod status;
mod truth;

use crate::cli::DemoArgs;
use crate::config::{Base, Settings};
use crate::exit::{Outcome, Usage};
use crate::home::drain::drained;
use crate::home::{Home, Parts};
use crate::interrupt::Interrupt;
use crate::output::out;
use anyhow::{Context, Result};
use chassis::config::parse_duration;
use loadgen::{Fleet, FleetConfig, Load, Progress, Report, RunConfig, Truth, TruthWindow, Verification};
use schemas::pipeline::{Pipeline, WindowKind};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A demo without `--for` goes on until it is interrupted, or for so long.
const ENDLESS: Duration = Duration::from_secs(30 * 86_400);
/// The truth is kept in memory only for demos up to this length.
const TRUTH_SPAN_MAX: Duration = Duration::from_secs(2 * 3600);
/// Time for everything sent to be folded, committed and stored.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);
/// Readings of one request.
const BATCH_READINGS: usize = 50;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    balanced: bool,
    /// Readings acknowledged.
    readings: u64,
    /// Window rows stored.
    windows: u64,
    alerts: u64,
    dead_letters: u64,
    /// Absent when no truth was kept.
    truth: Option<Verification>,
    seconds: f64,
    load: Report,
    books: crate::home::books::Books,
}

/// Runs the command.
///
/// # Errors
/// When a part cannot start or fails, or the pipeline does not drain.
pub(crate) async fn run(args: DemoArgs) -> Result<Outcome> {
    let duration = args.duration.as_deref().map(parse_duration).transpose();
    let duration = duration.map_err(|message| Usage(format!("--for: {message}")))?;
    if args.keep.is_some() && args.config.data.is_some() {
        return Err(Usage("--keep and --data say the same: leave one of them out".to_owned()).into());
    }
    let kept = args.keep.as_deref().or(args.config.data.as_deref());
    let temporary = if kept.is_none() { Some(temporary_directory()?) } else { None };
    let directory = kept.or(temporary.as_ref().map(Temporary::path)).unwrap_or(Path::new("."));
    let mut config = args.config.clone();
    config.data = Some(directory.to_path_buf());
    let settings = Settings::load(&config, Base::Demo)?;
    let past = truth::Past::take(directory, settings.journal.file().is_some_and(Path::exists))?;
    let pipeline = settings.pipeline.clone();
    let home = Home::start(settings, Parts { apply: true, ..Parts::all("demo") }).await?;
    let begun = Instant::now();
    let progress = Arc::new(Progress::default());
    let load = load(&args, &home, &pipeline, duration, &progress)?;
    let shown = status::show(&home, &progress, args.json);
    let stop = stop_signal(&home, Interrupt::watch()?);
    let mut report = loadgen::run(load, stop).await.context("the simulated fleet")?;
    shown.finish();

    let books = drained(home.live(), DRAIN_PATIENCE).await?;
    let truth = match past.with(std::mem::take(&mut report.truth))? {
        Some(truth) => Some(verify(&home, &truth).await?),
        None => None,
    };
    let totals = home.live().totals()?;
    let summary = Summary {
        balanced: books.balanced,
        readings: report.acknowledged,
        windows: totals.windows,
        alerts: totals.alerts,
        dead_letters: home.live().dead_letters()?,
        truth,
        seconds: begun.elapsed().as_secs_f64(),
        load: report,
        books,
    };
    home.shutdown().begin("the demo is over");
    home.run_until_stopped().await?;
    say(&summary, args.json, kept)?;
    let good = summary.balanced && summary.truth.as_ref().is_none_or(|truth| truth.ok);
    Ok(if good { Outcome::Done } else { Outcome::Negative })
}

fn load(
    args: &DemoArgs,
    home: &Home,
    pipeline: &Pipeline,
    duration: Option<Duration>,
    progress: &Arc<Progress>,
) -> Result<Load> {
    let address = home.ingest().context("the demo runs an ingest")?;
    let mut fleet = FleetConfig::demo(args.seed);
    fleet.devices = args.devices;
    let mut config = RunConfig::new(&format!("http://{address}"));
    config.rate = f64::from(args.rate);
    config.duration = duration.unwrap_or(ENDLESS);
    config.batch = BATCH_READINGS;
    config.end = true;
    config.progress = Some(Arc::clone(progress));
    if duration.is_none_or(|duration| duration <= TRUTH_SPAN_MAX) {
        config.windows = truth_windows(pipeline);
    }
    Ok(Load { fleet: Fleet::new(fleet).map_err(|error| Usage(error.to_string()))?, config })
}

/// The windows the fleet can know the truth of. Filters make some readings' absence right: then there is none.
fn truth_windows(pipeline: &Pipeline) -> Vec<TruthWindow> {
    if !pipeline.filters.is_empty() {
        return Vec::new();
    }
    let known = pipeline.windows.iter().filter(|window| window.metrics.is_none());
    known
        .filter_map(|window| match window.kind {
            WindowKind::Tumbling { size, offset: 0 } => {
                Some(TruthWindow { name: window.name.clone(), size, advance: size })
            }
            WindowKind::Hopping { size, advance } => {
                Some(TruthWindow { name: window.name.clone(), size, advance })
            }
            _ => None,
        })
        .collect()
}

async fn verify(home: &Home, truth: &Truth) -> Result<Verification> {
    let address = home.dashboard().context("the demo runs a dashboard")?;
    Ok(loadgen::verify(truth, &format!("http://{address}"), None).await?)
}

/// Ends the fleet at a signal, then everything is drained.
async fn stop_signal(home: &Home, interrupt: Interrupt) {
    let shutdown = home.shutdown().clone();
    tokio::select! {
        () = interrupt.come() => {}
        () = shutdown.reached(chassis::shutdown::Phase::StopIntake) => {}
    }
}

fn say(summary: &Summary, json: bool, kept: Option<&Path>) -> Result<()> {
    if json {
        out!("{}", serde_json::to_string(summary)?);
        return Ok(());
    }
    out!(
        "{} readings, {} windows, {} alerts, {} dead letters in {:.0} s",
        summary.readings,
        summary.windows,
        summary.alerts,
        summary.dead_letters,
        summary.seconds
    );
    out!("{}", summary.books);
    match &summary.truth {
        None => out!("no truth was kept"),
        Some(truth) if truth.ok => out!("{} windows equal the fleet's own truth", truth.windows_checked),
        Some(truth) => {
            out!("{} of {} windows DIFFER from the fleet's truth:", truth.different, truth.windows_checked);
            for difference in &truth.differences {
                out!("  {}", serde_json::to_string(difference)?);
            }
        }
    }
    if let Some(directory) = kept {
        out!(
            "kept in {}: `highwater run --data {}` goes on from it",
            directory.display(),
            directory.display()
        );
    }
    Ok(())
}

/// A directory that goes when the demo ends.
struct Temporary(std::path::PathBuf);

impl Temporary {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What is left behind is in the system's directory for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn temporary_directory() -> Result<Temporary> {
    let unique = format!("highwater-demo-{}-{}", std::process::id(), chassis::clock::Clock::system().now());
    let path = std::env::temp_dir().join(unique);
    std::fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
    Ok(Temporary(path))
}
