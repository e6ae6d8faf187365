//! `model run`: a batch that was saved when a model failed on it, once more.

use crate::cli::ModelRunArgs;
use crate::exit::Outcome;
use crate::output::out;
use anyhow::Result;
use scoring::{FailedBatch, FailedBatchRow, HostLimits, Recorded, Replayed, shipped};
use serde_json::{Value, json};

/// Runs the command.
///
/// # Errors
/// A component or a batch that cannot be read, started, or does not fit the other.
pub(super) fn run(args: &ModelRunArgs) -> Result<Outcome> {
    let component = super::bytes(&args.component)?;
    let artifact = super::weights(args.artifact.as_deref())?;
    let batch = super::batch(&args.batch)?;
    let found = batch.replay(&component, artifact.as_deref(), HostLimits::default())?;
    let digest = shipped::digest_of(&component);
    let same_component = digest == batch.component;
    let weights = artifact.as_deref().map(shipped::digest_of);
    let same_weights = weights == batch.artifact;
    let reproduced = matches!(found.last(), Some(Replayed::Failed(now)) if *now == batch.failure);
    if args.json {
        out!("{}", document(&batch, &found, (same_component, same_weights), reproduced));
    } else {
        print(&batch, &found);
        if !same_component {
            out!("this is another component: {digest} here, {} when it was saved", batch.component);
        }
        if !same_weights {
            let named = |digest: &Option<String>| digest.clone().unwrap_or_else(|| "none".to_owned());
            out!(
                "these are other weights: {} here, {} when it was saved",
                named(&weights),
                named(&batch.artifact)
            );
        }
        out!("{}", if reproduced { "the same failure as recorded" } else { "not what was recorded" });
    }
    let failed = found.iter().any(|row| matches!(row, Replayed::Failed(_)));
    Ok(if failed { Outcome::Negative } else { Outcome::Done })
}

fn document(
    batch: &FailedBatch,
    found: &[Replayed],
    (same_component, same_weights): (bool, bool),
    reproduced: bool,
) -> Value {
    let row = |(row, replayed): (&FailedBatchRow, &Replayed)| {
        let mut document = match replayed {
            Replayed::Score { score, warm_up, skipped, fuel } => {
                json!({ "score": score, "warm_up": warm_up, "skipped": skipped, "fuel": fuel })
            }
            Replayed::Failed(recorded) => json!({ "failure": recorded }),
        };
        document["offset"] = row.offset.into();
        document["event_time"] = row.event_time.into();
        document
    };
    let rows: Vec<Value> = batch.rows.iter().zip(found).map(row).collect();
    json!({
        "model": batch.model,
        "version": batch.version,
        "partition": batch.partition,
        "same_component": same_component,
        "same_weights": same_weights,
        "reproduced": reproduced,
        "recorded": batch.failure,
        "rows": rows,
    })
}

fn print(batch: &FailedBatch, found: &[Replayed]) {
    let partition = batch.partition.map_or_else(String::new, |partition| format!(", partition {partition}"));
    out!("model `{}`, version {}{partition}", batch.model, batch.version);
    out!("recorded: {}: {}", batch.failure.kind, batch.failure.detail);
    for (row, replayed) in batch.rows.iter().zip(found) {
        match replayed {
            Replayed::Score { score, warm_up, skipped, fuel } => {
                let besides = [(*warm_up, ", warming up"), (*skipped, ", declined")];
                let besides: String = besides.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
                out!("  offset {}: score {score}{besides}, fuel {fuel}", row.offset);
            }
            Replayed::Failed(Recorded { kind, detail, trace, log }) => {
                out!("  offset {}: FAILED {kind}: {detail}", row.offset);
                trace.iter().for_each(|function| out!("      in {function}"));
                log.iter().for_each(|line| out!("      log {line}"));
            }
        }
    }
}
