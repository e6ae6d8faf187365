//! `config`: what is resolved, what differs from the generation in force, and proposing it.

use crate::cli::ConfigAction;
use crate::client::Client;
use crate::config::{Base, Settings};
use crate::exit::Outcome;
use crate::output::out;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use processor::config::RawPipelineConfig;
use schemas::pipeline::Pipeline;
use serde_json::{Value, json};

/// Runs the command.
///
/// # Errors
/// When the configuration is wrong or the instance does not answer.
pub(crate) async fn run(action: ConfigAction) -> Result<Outcome> {
    match action {
        ConfigAction::Print { config, json } => {
            let settings = Settings::load(&config, Base::Run)?;
            let text = settings.print()?;
            if json {
                let table: toml::Table = text.parse().context("the printed configuration")?;
                out!("{}", serde_json::to_string(&table)?);
            } else {
                out!("{}", text.trim_end());
            }
            Ok(Outcome::Done)
        }
        ConfigAction::Diff { ask } => {
            let client = ask.client_with_file().await?;
            let mine = Settings::load(&ask.config, Base::Run)?.pipeline;
            let (generation, in_force) = in_force(&client).await?;
            let differences = differences(&in_force, &mine)?;
            if ask.target.json {
                out!("{}", json!({ "generation": generation, "differences": differences }));
            } else if differences.is_empty() {
                out!("the same as generation {generation}");
            }
            for difference in differences.iter().filter(|_| !ask.target.json) {
                let [key, old, new] = ["key", "in_force", "here"].map(|name| &difference[name]);
                out!("{}: {old} in force, {new} here", key.as_str().unwrap_or_default());
            }
            Ok(if differences.is_empty() { Outcome::Done } else { Outcome::Negative })
        }
        ConfigAction::Apply { ask } => {
            let client = ask.client_with_file().await?;
            let Settings { pipeline, scoring, .. } = Settings::load(&ask.config, Base::Run)?;
            let (generation, in_force) = in_force(&client).await?;
            if in_force == pipeline {
                let answer = json!({ "generation": generation, "changed": false });
                super::ask::say(&ask.target, &answer, |_| {
                    out!("generation {generation} says the same already")
                });
                return Ok(Outcome::Done);
            }
            let mut proposal = json!({ "pipeline": pipeline });
            let weights: Vec<String> = scoring.weights.all().map(|bytes| STANDARD.encode(bytes)).collect();
            if !weights.is_empty() {
                proposal["weights"] = json!(weights);
            }
            let answer = client.post("/v1/config", &proposal).await?;
            let answer = json!({ "generation": answer["generation"], "changed": true });
            super::ask::say(&ask.target, &answer, |answer| {
                out!("proposed as generation {}: each partition changes at an offset", answer["generation"]);
            });
            Ok(Outcome::Done)
        }
    }
}

async fn in_force(client: &Client) -> Result<(i64, Pipeline)> {
    let answer = client.get("/v1/config").await?;
    let generation = answer["generation"].as_i64().context("the answer has no generation")?;
    let pipeline = serde_json::from_value(answer["pipeline"].clone());
    Ok((generation, pipeline.context("the pipeline in force is not of this build's form")?))
}

/// In the words of the file.
fn differences(in_force: &Pipeline, here: &Pipeline) -> Result<Vec<Value>> {
    let words =
        |pipeline| Ok::<_, serde_json::Error>(said(serde_json::to_value(RawPipelineConfig::from(pipeline))?));
    let mut found = Vec::new();
    compare("", &words(in_force)?, &words(here)?, &mut found);
    Ok(found)
}

/// Without what is not said, and with definitions by their name: a window more is one difference.
fn said(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, field)| !field.is_null())
            .map(|(name, field)| (name, said(field)))
            .collect(),
        Value::Array(items) if !items.is_empty() && items.iter().all(|item| item["name"].is_string()) => {
            let named = |item: Value| (item["name"].as_str().unwrap_or_default().to_owned(), said(item));
            items.into_iter().map(named).collect()
        }
        Value::Array(items) => items.into_iter().map(said).collect(),
        other => other,
    }
}

/// Leaves that differ, by dotted key.
fn compare(key: &str, in_force: &Value, here: &Value, differences: &mut Vec<Value>) {
    match (in_force, here) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for name in names {
                let side =
                    |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                compare(&key, &side(a), &side(b), differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{key}[{index}]"), a, b, differences);
            }
        }
        (a, b) if a == b => {}
        (a, b) => differences.push(json!({ "key": key, "in_force": a, "here": b })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leaves_that_differ_are_named() {
        let mut found = Vec::new();
        compare(
            "p",
            &json!({"a": 1, "b": [{"c": 2}]}),
            &json!({"a": 1, "b": [{"c": 3}], "d": 4}),
            &mut found,
        );
        let keys: Vec<&str> = found.iter().filter_map(|found| found["key"].as_str()).collect();
        assert_eq!(keys, ["p.b[0].c", "p.d"]);
    }

    #[test]
    fn a_difference_speaks_the_words_of_the_file() {
        let pipeline = |size: &str| {
            let text = format!("name = \"w\"\nkind = \"tumbling\"\nsize = \"{size}\"");
            let raw = RawPipelineConfig {
                window: Some(vec![toml::from_str(&text).expect(&text)]),
                ..RawPipelineConfig::default()
            };
            raw.resolve(&|_| None, &mut chassis::config::Problems::default())
        };
        let found = differences(&pipeline("1m"), &pipeline("90s")).expect("comparable");
        assert_eq!(found, [json!({ "key": "window.w.size", "in_force": "1m", "here": "90s" })]);
        assert!(differences(&pipeline("1m"), &pipeline("60s")).expect("comparable").is_empty());
    }
}
