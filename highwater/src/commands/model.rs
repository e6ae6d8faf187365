//! `model`: what comes with this build, and whether a component keeps what the contract asks. Below: a project for a new
//! one (`new`), what it would have been given (`export`), what a failure was made of (`rerun`), what rows cost (`profile`), versions in the running stream (`trial`).

mod export;
mod new;
mod profile;
mod rerun;
mod trial;

use crate::cli::{ModelAction, ModelTestArgs};
use crate::exit::{Outcome, Usage};
use crate::output::out;
use crate::table;
use anyhow::{Context, Result};
use scoring::conformance::{Candidate, Report, conform};
use scoring::{BATCH_FILE_BYTES_MAX, FailedBatch, HostLimits, shipped};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

/// Runs the command.
///
/// # Errors
/// A component that cannot be read or started; an instance that does not answer, or refuses.
pub(crate) async fn run(action: ModelAction) -> Result<Outcome> {
    match action {
        ModelAction::List { json } => {
            list(json);
            Ok(Outcome::Done)
        }
        ModelAction::Test(args) => test(&args),
        ModelAction::Run(args) => rerun::run(&args),
        ModelAction::Profile(args) => profile::run(&args),
        ModelAction::Push(args) => trial::push(*args).await,
        ModelAction::Status { name, ask } => trial::status(name.as_deref(), &ask).await,
        ModelAction::Activate { name, force, ask } => trial::activate(&name, force, &ask).await,
        ModelAction::Rollback { name, why, ask } => trial::roll_back(&name, &why, &ask).await,
        ModelAction::ExportRows(args) => export::run(args).await,
        ModelAction::New { directory, lang } => new::run(&directory, lang),
    }
}

fn list(json: bool) {
    let models: Vec<Value> = shipped::all()
        .iter()
        .map(|model| json!({ "name": model.name, "bytes": model.bytes.len(), "sha256": model.digest }))
        .collect();
    if json {
        out!("{}", json!({ "items": models }));
        return;
    }
    for line in table::lines(&models, &[("model", "/name"), ("bytes", "/bytes"), ("sha256", "/sha256")]) {
        out!("{line}");
    }
}

fn test(args: &ModelTestArgs) -> Result<Outcome> {
    let bytes = bytes(&args.component)?;
    let artifact = weights(args.artifact.as_deref())?;
    let candidate = Candidate {
        bytes: &bytes,
        settings: &args.settings,
        artifact: artifact.as_deref(),
        seed: args.seed,
        fuel_per_row: args.fuel_per_row,
    };
    let report = conform(&candidate, HostLimits::default()).context(args.component.clone())?;
    if args.json {
        out!("{}", document(&report));
    } else {
        print(&report);
    }
    Ok(if report.passed() { Outcome::Done } else { Outcome::Negative })
}

/// The weights' file, if there is one.
fn weights(file: Option<&Path>) -> Result<Option<Vec<u8>>> {
    let read =
        |file: &Path| std::fs::read(file).with_context(|| format!("reading the weights {}", file.display()));
    file.map(read).transpose()
}

/// A saved batch.
fn batch(file: &Path) -> Result<FailedBatch> {
    let opened = std::fs::File::open(file).with_context(|| format!("reading {}", file.display()))?;
    let mut text = Vec::new();
    opened.take(BATCH_FILE_BYTES_MAX).read_to_end(&mut text)?;
    FailedBatch::from_json(&text).with_context(|| file.display().to_string())
}

fn bytes(component: &str) -> Result<Cow<'static, [u8]>> {
    if let Some(shipped) = shipped::find(component) {
        return Ok(Cow::Borrowed(shipped.bytes));
    }
    match std::fs::read(component) {
        Ok(bytes) => Ok(Cow::Owned(bytes)),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            let names: Vec<&str> = shipped::all().iter().map(|model| model.name).collect();
            Err(Usage(format!(
                "`{component}` is no file, and none of the shipped models: {}",
                names.join(", ")
            ))
            .into())
        }
        Err(why) => Err(why).with_context(|| format!("reading {component}")),
    }
}

fn document(report: &Report) -> Value {
    let trials: Vec<Value> = report
        .verdicts
        .iter()
        .map(|verdict| {
            let said = verdict.outcome.as_ref().unwrap_or_else(|why| why);
            json!({ "trial": verdict.trial, "passed": verdict.outcome.is_ok(), "said": said })
        })
        .collect();
    let described = &report.descriptor;
    json!({
        "name": described.name,
        "version": described.version,
        "stride": described.stride,
        "warm_up_rows": described.warm_up_rows,
        "passed": report.passed(),
        "trials": trials,
    })
}

fn print(report: &Report) {
    let described = &report.descriptor;
    let features: Vec<&str> = described.features.iter().map(|feature| feature.name.as_str()).collect();
    out!(
        "{} {}: takes {}; {} bytes of state a series; warms up for {} rows",
        described.name,
        described.version,
        features.join(", "),
        described.stride,
        described.warm_up_rows
    );
    for verdict in &report.verdicts {
        match &verdict.outcome {
            Ok(said) => out!("  ok      {}: {said}", verdict.trial),
            Err(why) => out!("  FAILED  {}: {why}", verdict.trial),
        }
    }
}
