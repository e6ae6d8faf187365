//! Versions in the running stream: `model push|status|activate|rollback`.

use super::super::ask::{print_object, say};
use crate::cli::{AskArgs, PushArgs};
use crate::client::encoded;
use crate::config::weights::{self, NO_WEIGHTS};
use crate::exit::{Outcome, Usage};
use crate::output::out;
use crate::table;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use scoring::shipped;
use serde_json::{Value, json};
use std::path::Path;

const COLUMNS: [(&str, &str); 10] = [
    ("model", "/name"),
    ("version", "/short"),
    ("role", "/role"),
    ("scored here", "/here/scored"),
    ("since", "/trial/since"),
    ("compared", "/trial/compared"),
    ("alerts", "/alerts"),
    ("failed", "/failed"),
    ("fuel", "/trial/fuel_ratio"),
    ("waits for, or what ended it", "/said"),
];
/// Digits of a version that tables show.
const SHORT: usize = 12;

/// Puts a version on trial.
///
/// # Errors
/// When the instance does not answer, or refuses.
pub(super) async fn push(args: PushArgs) -> Result<Outcome> {
    let mut body = json!({ "name": args.name, "gates": gates(&args) });
    match &args.component {
        None => {}
        Some(name) if shipped::find(name).is_some() => body["component"] = json!(name),
        Some(file) => {
            let bytes = std::fs::read(file).map_err(|why| {
                Usage(format!(
                    "--component: `{file}` is none of the shipped models, and cannot be read: {why}"
                ))
            })?;
            body["bytes"] = json!(STANDARD.encode(bytes));
            // Beside it, as minisign leaves it.
            if let Ok(signature) = std::fs::read_to_string(format!("{file}.minisig")) {
                body["signature"] = json!(signature);
            }
        }
    }
    match args.artifact.as_deref() {
        None => {}
        Some(NO_WEIGHTS) => body["artifact"] = json!(NO_WEIGHTS),
        Some(path) => {
            let bytes = weights::file(Path::new(path))
                .map_err(|why| Usage(format!("--artifact: `{path}` is no file of weights: {why}")))?;
            body["weights"] = json!(STANDARD.encode(bytes));
        }
    }
    if let Some(text) = &args.settings {
        let settings: Value =
            serde_json::from_str(text).map_err(|why| Usage(format!("--settings is not JSON: {why}")))?;
        body["settings"] = settings;
    }
    let numbers = [
        ("seed", args.seed.map(Value::from)),
        ("threshold", args.threshold.map(Value::from)),
        ("fuel_per_row", args.fuel_per_row.map(Value::from)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            body[name] = number;
        }
    }
    let answer = args.ask.client().await?.post("/v1/models", &body).await?;
    say(&args.ask.target, &answer, |answer| {
        out!(
            "version {} of `{}` is on trial, by generation {}: `highwater model status` shows how far it has come",
            short(&answer["version"]),
            args.name,
            answer["generation"]
        );
    });
    Ok(Outcome::Done)
}

/// The gates that were said.
fn gates(args: &PushArgs) -> Value {
    let all = json!({
        "canary": args.canary,
        "rows": args.rows,
        "shadow": args.shadow,
        "canary_each": args.canary_each,
        "bake": args.bake,
        "failed_max": args.failed_max,
        "alert_ratio_max": args.alert_ratio_max,
        "alerts_free": args.alerts_free,
        "fuel_ratio_max": args.fuel_ratio_max,
        "rank_correlation_min": args.rank_correlation_min,
    });
    let said = all.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    said.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Shows versions and trials.
///
/// # Errors
/// When the instance does not answer.
pub(super) async fn status(name: Option<&str>, ask: &AskArgs) -> Result<Outcome> {
    let answer = ask.client().await?.get("/v1/models").await?;
    let items = answer["items"].as_array().context("the answer lists no models")?;
    let wanted = |item: &&Value| name.is_none_or(|name| item["name"] == name);
    let items: Vec<Value> = items.iter().filter(wanted).cloned().collect();
    if let (Some(name), true) = (name, items.is_empty()) {
        anyhow::bail!("no model of the configuration is called `{name}`");
    }
    let answer = json!({ "generation": answer["generation"], "items": items });
    say(&ask.target, &answer, |answer| {
        let rows: Vec<Value> = answer["items"].as_array().into_iter().flatten().map(row).collect();
        for line in table::lines(&rows, &COLUMNS) {
            out!("{line}");
        }
    });
    Ok(Outcome::Done)
}

/// A line of the table: what differs between the two versions stands beside each.
fn row(item: &Value) -> Value {
    let mut row = item.clone();
    row["short"] = json!(short(&item["version"]));
    let trial = &item["trial"];
    let on_trial = item["role"] != "active";
    if !trial.is_null() {
        let side = if on_trial { "trial" } else { "active" };
        row["alerts"] = trial[format!("alerts_{side}")].clone();
        row["failed"] = trial[format!("failed_{side}")].clone();
    }
    let waits: Vec<&str> =
        trial["waits_for"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    row["said"] = match (on_trial, trial["broken"].as_str(), item["ended"].as_object()) {
        (true, Some(gate), _) => json!(gate),
        (true, None, _) => json!(waits.join(", ")),
        (false, _, Some(ended)) if trial.is_null() => {
            let text = |name: &str| ended.get(name).and_then(Value::as_str).unwrap_or_default();
            json!(format!(
                "{} {} in {}: {}",
                short(&item["ended"]["version"]),
                text("outcome"),
                text("stage"),
                text("why")
            ))
        }
        _ if item["here"]["rows"] == 0 => json!(format!("no row yet: nothing has brought {}", inputs(item))),
        _ => Value::Null,
    };
    row
}

/// What a model waits for when nothing comes.
fn inputs(item: &Value) -> String {
    let names: Vec<String> = item["inputs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|name| format!("`{name}`"))
        .collect();
    let window = item["of_window"]["window"].as_str().map(|window| format!(" in a closed `{window}`"));
    format!("{}{}", names.join(" or "), window.unwrap_or_default())
}

fn short(version: &Value) -> String {
    version.as_str().unwrap_or_default().chars().take(SHORT).collect()
}

/// Lets a version in.
///
/// # Errors
/// When the instance does not answer, or a gate speaks against it.
pub(super) async fn activate(name: &str, force: bool, ask: &AskArgs) -> Result<Outcome> {
    let path = format!("/v1/models/{}/activate", encoded(name));
    let answer = ask.client().await?.post(&path, &json!({ "force": force })).await?;
    say(&ask.target, &answer, print_object);
    Ok(Outcome::Done)
}

/// Takes a version back.
///
/// # Errors
/// When the instance does not answer, or there is nothing to take back.
pub(super) async fn roll_back(name: &str, why: &str, ask: &AskArgs) -> Result<Outcome> {
    let path = format!("/v1/models/{}/rollback", encoded(name));
    let answer = ask.client().await?.post(&path, &json!({ "why": why })).await?;
    say(&ask.target, &answer, print_object);
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_stand_in_the_table_with_their_own_numbers() {
        let trial = json!({ "alerts_active": 3, "alerts_trial": 40, "failed_active": 0, "failed_trial": 0,
            "compared": 9, "waits_for": ["1 s more"], "broken": null });
        let active = json!({ "name": "m", "version": "abcdefabcdefabcdef", "role": "active", "trial": trial, "ended": null });
        let beside =
            json!({ "name": "m", "version": "123", "role": "shadow", "trial": trial, "ended": null });
        let (one, other) = (row(&active), row(&beside));
        assert_eq!(
            (&one["short"], &one["alerts"], &one["said"]),
            (&json!("abcdefabcdef"), &json!(3), &Value::Null)
        );
        assert_eq!((&other["alerts"], &other["said"]), (&json!(40), &json!("1 s more")));
        let ended =
            json!({ "version": "123", "outcome": "rolled-back", "stage": "canary 10 %", "why": "gate x" });
        let over = json!({ "name": "m", "version": "a", "role": "active", "trial": null, "ended": ended });
        assert_eq!(row(&over)["said"], "123 rolled-back in canary 10 %: gate x");
    }

    #[test]
    fn a_model_that_nothing_is_given_to_says_what_it_waits_for() {
        let idle = |rows: u64, window: Value| {
            json!({ "name": "m", "version": "a", "role": "active", "trial": null, "ended": null, "inputs": ["temp", "load"],
                "of_window": window, "here": { "rows": rows, "scored": rows, "alerts": 0, "failed": 0 } })
        };
        let said = |item: Value| row(&item)["said"].clone();
        assert_eq!(said(idle(0, Value::Null)), "no row yet: nothing has brought `temp` or `load`");
        let window = json!({ "window": "1h", "features": ["mean"] });
        assert_eq!(
            said(idle(0, window)),
            "no row yet: nothing has brought `temp` or `load` in a closed `1h`"
        );
        assert_eq!(said(idle(7, Value::Null)), Value::Null);
    }
}
