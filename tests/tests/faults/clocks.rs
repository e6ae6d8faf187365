//! Clocks of hosts wrong by an hour: not one byte changes. The brokers' clock is the only one that counts.

use crate::cast::{Cast, staged};
use anyhow::{Context, Result, ensure};
use e2e::Cluster;
use jiff::{SignedDuration, Timestamp};
use std::path::Path;
use std::process::Command;

const HOUR: i64 = 3_600;

/// Builds what moves a program's time of day.
fn built(directory: &Path) -> Result<String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("stack/clock.c");
    let library = directory.join("clock.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl");
    let done = compiler.output().context("starting a C compiler")?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(library.display().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_clocks_wrong_by_an_hour() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let library = tokio::task::block_in_place(|| built(directory.path()))?;
    let wrong = |cluster: Cluster, (name, offset): (&str, i64)| {
        let cluster = cluster.environment_of(name, "LD_PRELOAD", &library);
        cluster.environment_of(name, "CLOCK_OFFSET", &offset.to_string())
    };
    let hosts = [("p-0", HOUR), ("p-1", -HOUR), ("door", HOUR), ("s-0", -HOUR)];
    staged(
        |cluster| hosts.into_iter().fold(cluster, wrong),
        async |cast: &mut Cast| {
            cast.fault("a processor whose clock is wrong, killed, started again")?;
            cast.replace("p-0")?;
            cast.brings_new_results().await?;
            // Their own word for what time it is.
            for (name, offset) in hosts {
                let told = cast.wrote(name)?;
                let hour = |minutes: i64| {
                    let at = Timestamp::now() + SignedDuration::from_secs(offset - minutes * 60);
                    at.strftime("\"time\":\"%Y-%m-%dT%H:").to_string()
                };
                ensure!(
                    told.contains(&hour(0)) || told.contains(&hour(5)),
                    "{name} has the right time: {told}"
                );
            }
            Ok(())
        },
    )
    .await
}
