//! Positions that are gone, logs that retention ran over, topics that grew.

use crate::cast::{Cast, REST_MAX, under};
use crate::server;
use anyhow::{Result, ensure};
use e2e::{eventually, past};
use schemas::topic::Topic;

const BOTH: [&str; 2] = ["p-0", "p-1"];
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";

/// Takes the beginning of a topic's partitions, as retention does; without offsets everything there is.
pub(crate) fn forget_records(cast: &Cast, topic: Topic, below: Option<&[i64]>) -> Result<()> {
    let name = cast.name_of(topic.name())?;
    let count = tokio::task::block_in_place(|| past::bounds(cast.cluster(), topic))?.len();
    // -1: the end.
    let places: Vec<serde_json::Value> = (0..count)
        .map(|partition| {
            let offset = below.map_or(-1, |below| below[partition]);
            serde_json::json!({ "topic": name, "partition": partition, "offset": offset })
        })
        .collect();
    let file = cast.cluster().path().join("records.json");
    std::fs::write(&file, serde_json::json!({ "version": 1, "partitions": places }).to_string())?;
    let path = file.display().to_string();
    server("kafka", &["tool", RECORDS, "--offset-json-file", &path]).map(drop)
}

/// Changes the processors' positions with Kafka's own tool, once their sessions have run out.
async fn positions(cast: &Cast, change: &[&str]) -> Result<()> {
    let (group, topic) = (cast.name_of(processor::GROUP)?, cast.name_of(Topic::Raw.name())?);
    let arguments = [&["tool", GROUPS, "--group", &group, "--topic", &topic], change].concat();
    eventually("the positions are changed", REST_MAX, async || {
        let told = server("kafka", &arguments)?;
        // The tool ends with 0 when it was refused.
        ensure!(!told.contains("Error"), "{told}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn real_faults_positions_gone_and_positions_reset() -> Result<()> {
    under(async |cast: &mut Cast| {
        let changes: [(&str, &[&str]); 2] = [
            ("positions gone, found in the audit topic", &["--delete-offsets"]),
            ("positions reset, found in the audit topic", &["--reset-offsets", "--to-earliest", "--execute"]),
        ];
        for (name, change) in changes {
            for name in BOTH {
                cast.kill(name)?;
            }
            positions(cast, change).await?;
            cast.fault(name)?;
            for name in BOTH {
                cast.start(name)?;
            }
            cast.brings_new_results().await?;
        }
        cast.hears("found in the audit topic").await
    })
    .await
}

/// What nobody had read is lost, to the offset, and told; then the state is lost too, and that is told.
#[tokio::test(flavor = "multi_thread")]
async fn real_faults_retention_over_what_nobody_had_read() -> Result<()> {
    let Some(mut cast) = Cast::ready(None, |cluster| cluster).await? else { return Ok(()) };
    let first = cast.rest().await?;
    for name in BOTH {
        cast.stop(name).await?;
    }
    let committed = tokio::task::block_in_place(|| past::committed(cast.cluster()))?;
    cast.sends("unread-")?;
    cast.received(300).await?;
    cast.silence().await?;
    let bounds = || tokio::task::block_in_place(|| past::bounds(cast.cluster(), Topic::Raw));
    let ends: Vec<i64> = bounds()?.into_iter().map(|(_, end)| end).collect();
    // Some of it is left.
    let below: Vec<i64> = ends.iter().map(|end| end - 5).collect();
    forget_records(&cast, Topic::Raw, Some(&below))?;
    cast.start("p-0")?;
    let mut lost = 0;
    for (partition, (from, _)) in &committed {
        let to = below[usize::try_from(*partition)?];
        if to > *from {
            lost += to - from;
            cast.hears(&format!("retention took offsets {from} to {} before they were read", to - 1)).await?;
        }
    }
    ensure!(lost > 200, "only {lost} records are lost");
    let counted = cast.metric("p-0", "highwater_lost_records_total").await?;
    ensure!((counted - lost as f64).abs() < 0.5, "{counted} counted, {lost} lost");
    cast.sends("after-")?;
    cast.received(600).await?;
    let second = cast.rest().await?;
    cast.serves(&first).await?;
    let told = cast.ask("p-0", "/admin/v1/partitions").await?;
    let items = told["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let of_partitions: i64 = items.iter().filter_map(|item| item["lost"].as_i64()).sum();
    ensure!(of_partitions == lost, "{lost} are lost: {told}");

    cast.stop("p-0").await?;
    forget_records(&cast, Topic::Snapshots, None)?;
    for name in BOTH {
        cast.start(name)?;
    }
    cast.hears("no snapshot could be used; rebuilt from the log's start").await?;
    eventually("partitions are degraded", REST_MAX, async || {
        let listed = cast.ask("p-0", "/admin/v1/partitions").await?.to_string();
        ensure!(listed.contains("degraded"), "{listed}");
        Ok(())
    })
    .await?;
    cast.sends("rebuilt-")?;
    cast.received(600).await?;
    let third = cast.rest().await?;
    for report in [&first, &second, &third] {
        cast.serves(report).await?;
    }
    cast.leave().await.map(drop)
}

/// Keys have moved: nobody goes on as if nothing had happened, and the way out is named.
#[tokio::test(flavor = "multi_thread")]
async fn real_faults_partitions_added_under_a_running_group() -> Result<()> {
    // How often the group looks: 30 s by default.
    let often = |cluster: e2e::Cluster| cluster.set("librdkafka.topic.metadata.refresh.interval.ms=1000");
    let Some(mut cast) = Cast::ready(None, often).await? else { return Ok(()) };
    cast.rest().await?;
    let topic = cast.name_of(Topic::Raw.name())?;
    server("kafka", &["tool", TOPICS, "--alter", "--topic", &topic, "--partitions", "8"])?;
    for name in BOTH {
        let process = cast.process(name)?;
        let ended = process.end(REST_MAX).await?;
        let told = process.wrote()?;
        ensure!(!ended.success() && told.contains("replay into a wider topic set"), "{ended}: {told}");
    }
    let (cluster, bound) = (cast.cluster(), std::time::Duration::from_secs(60));
    let start = ["process", "--set", "admin.start-patience=3s"];
    let again = tokio::task::block_in_place(|| cluster.command(&start, bound))?;
    ensure!(again.code == Some(1) && again.stderr.contains("topics check"), "{again:?}");
    Ok(())
}
