//! `loadgen`: open-loop load with known truth, and the comparison with what the pipeline answers.

use crate::cli::LoadgenArgs;
use crate::client::Client;
use crate::exit::{Outcome, Usage};
use crate::interrupt::Interrupt;
use crate::output::out;
use anyhow::{Context, Result};
use chassis::config::parse_duration;
use loadgen::{Fleet, FleetConfig, Load, Report, RunConfig, Truth, TruthWindow, Verification};
use std::path::Path;
use std::time::Duration;

/// Runs the command.
///
/// # Errors
/// When the load cannot be made or the truth cannot be read or written.
pub(crate) async fn run(args: LoadgenArgs) -> Result<Outcome> {
    if let Some(directory) = &args.verify {
        let truth = Truth::read(directory)
            .with_context(|| format!("reading the truth in {}", directory.display()))?;
        let verification = loadgen::verify(&truth, &args.query_url, args.key.as_deref()).await?;
        say_verification(&verification, args.json);
        return Ok(if verification.ok { Outcome::Done } else { Outcome::Negative });
    }
    let mut fleet = if args.faults {
        FleetConfig::demo(args.seed)
    } else {
        FleetConfig::telemetry(args.devices, args.seed)
    };
    fleet.devices = args.devices;
    let mut config = RunConfig::new(&args.url);
    config.rate = f64::from(args.rate);
    config.duration = span("--for", &args.duration)?;
    config.batch = args.batch as usize;
    config.end = args.close;
    config.windows = windows(&args.windows)?;
    config.key.clone_from(&args.key);
    let load = Load { fleet: Fleet::new(fleet).map_err(|error| Usage(error.to_string()))?, config };
    // Nobody there is no result: it is said at once, not after every repetition has failed.
    let probe = Client::new(&args.url, None)?;
    probe.send(reqwest::Method::GET, "/v1/readings", None).await?;
    let interrupt = Interrupt::watch()?;
    let report = loadgen::run(load, async { interrupt.come().await }).await?;
    if let Some(directory) = &args.truth {
        write_truth(&report, directory)?;
    }
    if args.json {
        out!("{}", serde_json::to_string(&report)?);
    } else {
        out!("{report}");
    }
    if interrupt.has_come() {
        return Ok(Outcome::Interrupted);
    }
    let clean = report.uncertain == 0 && report.rejected_unexpected == 0;
    Ok(if clean { Outcome::Done } else { Outcome::Negative })
}

fn span(flag: &str, text: &str) -> Result<Duration> {
    parse_duration(text).map_err(|message| Usage(format!("{flag}: {message}")).into())
}

fn windows(texts: &[String]) -> Result<Vec<TruthWindow>> {
    texts
        .iter()
        .map(|text| {
            let (name, size) = text
                .split_once('=')
                .ok_or_else(|| Usage(format!("--window: `{text}` is not NAME=SIZE, like `1m=1m`")))?;
            Ok(TruthWindow::tumbling(name, span("--window", size)?))
        })
        .collect()
}

fn write_truth(report: &Report, directory: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)
        .and_then(|()| report.truth.write(directory))
        .with_context(|| format!("writing the truth into {}", directory.display()))
}

fn say_verification(verification: &Verification, json: bool) {
    if json {
        out!("{}", serde_json::to_string(verification).unwrap_or_default());
        return;
    }
    let Verification { series_checked, windows_checked, readings, different, .. } = verification;
    out!(
        "{windows_checked} windows of {series_checked} series compared, {readings} readings, {different} differences"
    );
    for difference in &verification.differences {
        out!("  {} {}: {}", difference.series, difference.start, difference.what);
    }
}
