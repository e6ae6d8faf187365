//! The services one at a time over the same home, as a back-fill does it: the door takes everything in, later the
//! processor folds it to the end, then the sink stores it, then somebody asks.

use crate::{comes_true, now};
use anyhow::{Result, ensure};
use e2e::{Finished, Home};
use loadgen::{Truth, TruthWindow};
use std::time::Duration;

const CONFIG: &str = r#"
[[window]]
name = "1m"
kind = "tumbling"
size = "1m"
"#;
const BOUND: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn services_one_after_the_other_reach_the_same_results() -> Result<()> {
    let home = Home::new()?.configured(CONFIG)?;
    let until_end = |args: &[&str]| -> Result<Finished> {
        let done = tokio::task::block_in_place(|| home.command(args, BOUND))?;
        ensure!(done.code == Some(0), "{args:?}: {done:?}");
        Ok(done)
    };
    // The first one writes the configuration: readings in front of it could not be used.
    until_end(&["process", "--until-end"])?;

    let door = home.start_service("ingest").await?;
    let mut truth =
        Truth::new(vec![TruthWindow::tumbling("1m", Duration::from_mins(1))], vec!["temp".into()]);
    let start = now() - 3_600_000_000;
    for batch in 0..10_i64 {
        let mut lines = Vec::new();
        for n in 0..200_i64 {
            let (device, at) = (format!("d-{}", n % 7), start + (batch * 200 + n) * 1_000_000);
            let temp = 20.0 + (n % 13) as f64 / 4.0;
            truth.add(&device, "temp", at, temp);
            lines.push(format!(r#"{{"device_id":"{device}","temp":{temp},"ts":{}}}"#, at / 1_000));
        }
        let (status, answer) = door.post_lines(&lines).await?;
        ensure!(status == 200 && answer["accepted"] == 200, "{status}: {answer}");
    }
    ensure!(door.stop().await?.success(), "the door did not end cleanly");

    until_end(&["process", "--until-end", "--close"])?;
    until_end(&["sink", "--until-end"])?;
    let page = home.start_service("dashboard").await?;
    comes_true(&truth, &home).await.map_err(|error| error.context(page.log()))?;
    ensure!(page.stop().await?.success(), "the dashboard did not end cleanly");
    Ok(())
}
