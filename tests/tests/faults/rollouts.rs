//! Versions of a model exchanged while processors are killed in every stage.

use crate::cast::{CONFIG, Cast, REST_MAX, staged};
use anyhow::{Context, Result, ensure};
use e2e::eventually;
use serde_json::Value;
use std::time::Duration;

const MODEL: &str = r#"
[[model]]
name = "heat"
component = "ewma"
each = ["temp"]
threshold = 6.0
settings = { warm-up-rows = 0 }
"#;
const ASKING_MAX: Duration = Duration::from_secs(60);

fn push(cast: &Cast, settings: &str, threshold: &str) -> Result<()> {
    let gates = ["--shadow", "1s", "--canary", "50", "--canary-each", "1s", "--bake", "1s", "--rows", "100"];
    let args = ["model", "push", "heat", "--settings", settings, "--threshold", threshold];
    let done =
        tokio::task::block_in_place(|| cast.cluster().command(&[&args[..], &gates].concat(), ASKING_MAX))?;
    ensure!(done.code == Some(0), "{done:?}");
    Ok(())
}

/// Waits until the versions of the model are as wanted; returns the first of them.
async fn until(cast: &Cast, who: &str, what: &str, holds: impl Fn(&[Value]) -> bool) -> Result<Value> {
    let mut first = Value::Null;
    eventually(what, REST_MAX, async || {
        let listed = cast.ask(who, "/admin/v1/models").await?;
        let items = listed["items"].as_array().context("no models")?;
        ensure!(holds(items), "{listed}");
        first = items[0].clone();
        Ok(())
    })
    .await?;
    Ok(first)
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_versions_exchanged_while_processors_are_killed() -> Result<()> {
    let with_model =
        |cluster: e2e::Cluster| cluster.configured(&format!("{CONFIG}{MODEL}")).expect("a configuration");
    staged(with_model, async |cast: &mut Cast| {
        push(cast, r#"{"alpha": 0.05, "warm-up-rows": 0}"#, "6")?;
        for (round, stage) in ["shadow", "canary 50 %", "bake"].into_iter().enumerate() {
            let (dies, asked) = if round % 2 == 0 { ("p-0", "p-1") } else { ("p-1", "p-0") };
            until(cast, asked, stage, |items| items.iter().any(|item| item["role"] == stage)).await?;
            cast.fault("killed in a stage of a rollout, started again")?;
            cast.replace(dies)?;
        }
        let active = until(cast, "p-1", "the trial is over", |items| items.len() == 1).await?;
        ensure!(active["settings"]["alpha"] == 0.05 && active["ended"]["outcome"] == "let-in", "{active}");
        let bad = r#"{"alpha": 0.5, "warm-up-rows": 0, "trigger": 0.001, "refractory-rows": 0}"#;
        push(cast, bad, "0.001")?;
        let back = |items: &[Value]| items.len() == 1 && items[0]["ended"]["outcome"] == "rolled-back";
        let active = until(cast, "p-1", "the bad one is gone", back).await?;
        let why = active["ended"]["why"].as_str().unwrap_or_default();
        ensure!(active["settings"]["alpha"] == 0.05 && why.starts_with("gate alert-ratio-max"), "{active}");
        Ok(())
    })
    .await
}
