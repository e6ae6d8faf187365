//! `config`: what is resolved, what differs from the generation in force, and proposing it.

use crate::cli::ConfigAction;
use crate::config::{Base, Settings};
use crate::exit::Outcome;
use crate::output::out;
use anyhow::{Context, Result};
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
        ConfigAction::Diff { config, target } => {
            let mine = serde_json::to_value(Settings::load(&config, Base::Run)?.pipeline)?;
            let in_force = target.client()?.get("/v1/config").await?;
            let mut differences = Vec::new();
            compare("pipeline", &in_force["pipeline"], &mine, &mut differences);
            if target.json {
                out!("{}", json!({ "generation": in_force["generation"], "differences": differences }));
            } else if differences.is_empty() {
                out!("the same as generation {}", in_force["generation"]);
            } else {
                for difference in &differences {
                    out!(
                        "{}: {} in force, {} here",
                        difference["key"],
                        difference["in_force"],
                        difference["here"]
                    );
                }
            }
            Ok(if differences.is_empty() { Outcome::Done } else { Outcome::Negative })
        }
        ConfigAction::Apply { config, target } => {
            let pipeline = Settings::load(&config, Base::Run)?.pipeline;
            let answer = target.client()?.post("/v1/config", &json!({ "pipeline": pipeline })).await?;
            super::ask::say(&target, &answer, super::ask::print_object);
            Ok(Outcome::Done)
        }
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
                compare(&format!("{key}.{name}"), &side(a), &side(b), differences);
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
}
