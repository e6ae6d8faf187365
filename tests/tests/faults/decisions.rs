//! Two decisions at once.

use crate::cast::{Cast, REST_MAX, under};
use anyhow::{Context, Result, ensure};
use e2e::eventually;
use std::time::Duration;

const ASKING_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_two_decisions_at_once() -> Result<()> {
    under(async |cast: &mut Cast| {
        let mut last = None;
        for round in 1..=3 {
            cast.fault("two decisions at once")?;
            let (ours, theirs) = (format!("time.lateness={round}m"), format!("time.lateness={round}h"));
            let cluster = cast.cluster();
            let apply = |set: &str| cluster.command(&["config", "apply", "--json", "--set", set], ASKING_MAX);
            let both = tokio::task::block_in_place(|| {
                std::thread::scope(|scope| {
                    let other = scope.spawn(|| apply(&theirs));
                    let one = apply(&ours);
                    anyhow::Ok([one?, other.join().map_err(|_| anyhow::anyhow!("a panic"))??])
                })
            })?;
            let mut generations = Vec::new();
            for done in both {
                ensure!(done.code == Some(0), "{done:?}");
                generations.push(done.json()?["generation"].as_i64().context("no generation")?);
            }
            ensure!(generations[0] != generations[1], "two decisions are one: {generations:?}");
            last = generations.into_iter().max();
        }
        eventually("every partition has the last decision", REST_MAX, async || {
            for name in ["p-0", "p-1"] {
                let listed = cast.ask(name, "/admin/v1/partitions").await?;
                let items = listed["items"].as_array().map(Vec::as_slice).unwrap_or_default();
                let there = items.iter().all(|item| item["generation"].as_i64() == last);
                ensure!(there && items.len() == 4, "{last:?}: {listed}");
            }
            Ok(())
        })
        .await
    })
    .await
}
