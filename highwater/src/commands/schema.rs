//! `schema`: the contracts, and whether a change is compatible.

use crate::cli::SchemaAction;
use crate::exit::{Outcome, Usage};
use crate::output::out;
use anyhow::{Context, Result};
use schemas::compatibility;
use schemas::contract::Subject;
use serde_json::{Value, json};

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or a subject does not exist.
pub(crate) fn run(action: SchemaAction) -> Result<Outcome> {
    match action {
        SchemaAction::List { json } => list(json),
        SchemaAction::Check { file, subject } => {
            let known = Subject::from_name(&subject).ok_or_else(|| {
                let names: Vec<&str> = Subject::ALL.into_iter().map(Subject::name).collect();
                Usage(format!("--subject: `{subject}` is none of {}", names.join(", ")))
            })?;
            let changed =
                std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
            match compatibility::check(known.schema(), &changed) {
                Ok(()) => {
                    out!("compatible with {subject}, in both directions");
                    Ok(Outcome::Done)
                }
                Err(reasons) => {
                    for reason in reasons {
                        out!("{reason}");
                    }
                    Ok(Outcome::Negative)
                }
            }
        }
    }
}

fn list(as_json: bool) -> Result<Outcome> {
    let mut all = Vec::new();
    for subject in Subject::ALL {
        let schema: Value = serde_json::from_str(subject.schema()).context("a schema of this build")?;
        if as_json {
            all.push(json!({ "subject": subject.name(), "schema": schema }));
            continue;
        }
        out!("{}", subject.name());
        let records = schema.as_array().cloned().unwrap_or_else(|| vec![schema]);
        for record in records {
            let fields: Vec<&str> = record["fields"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|field| field["name"].as_str())
                .collect();
            out!("  {}: {}", record["name"].as_str().unwrap_or_default(), fields.join(", "));
        }
    }
    if as_json {
        out!("{}", Value::from(all));
    }
    Ok(Outcome::Done)
}
