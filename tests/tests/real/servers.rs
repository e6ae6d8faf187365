//! The servers answer in their own protocols, spoken here byte by byte: a later failure is then not theirs.

use anyhow::{Context, Result, ensure};
use e2e::{WAIT_MAX, eventually, real};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bound of one question and its answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Sends `question` to the first of some addresses over a connection of its own and reads `head` bytes, whose last four
/// say how many follow.
async fn ask(addresses: &str, question: &[u8], head: usize) -> Result<(Vec<u8>, Vec<u8>)> {
    let address = addresses.split(',').next().unwrap_or_default();
    let answer = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(question).await?;
        let mut first = vec![0; head];
        stream.read_exact(&mut first).await?;
        let length = first.last_chunk().map_or(0, |length| u32::from_be_bytes(*length));
        let mut rest = vec![0; usize::try_from(length)?];
        stream.read_exact(&mut rest).await?;
        anyhow::Ok((first, rest))
    };
    tokio::time::timeout(ANSWER_MAX, answer).await.with_context(|| format!("no answer from {address}"))?
}

#[tokio::test]
async fn real_kafka_offers_transactions() -> Result<()> {
    let Some(kafka) = real("HIGHWATER_TEST_KAFKA") else { return Ok(()) };
    // ApiVersions, version 0, correlation id 7, no client id.
    let question = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 255, 255];
    let (_, answer) = eventually("Kafka answers", WAIT_MAX, async || ask(&kafka, &question, 4).await).await?;
    ensure!(answer.starts_with(&[0, 0, 0, 7, 0, 0]), "correlation id and error: {answer:?}");
    // A count of four bytes, then key, least and greatest version of each request that it understands.
    let keys: Vec<_> =
        answer.get(10..).unwrap_or_default().chunks_exact(6).map(|api| [api[0], api[1]]).collect();
    for (needed, key) in [("InitProducerId", 22), ("TxnOffsetCommit", 28), ("DescribeConfigs", 32)] {
        ensure!(keys.contains(&[0, key]), "{needed} is not among {keys:?}");
    }
    Ok(())
}

#[tokio::test]
async fn real_cql_speaks_protocol_four() -> Result<()> {
    let Some(cql) = real("HIGHWATER_TEST_CQL") else { return Ok(()) };
    // OPTIONS: version 4, no flags, stream 0, opcode 5, empty body; answered with SUPPORTED, opcode 6.
    let question = [4, 0, 0, 0, 5, 0, 0, 0, 0];
    let (head, body) =
        eventually("the store answers", WAIT_MAX, async || ask(&cql, &question, 9).await).await?;
    ensure!(head.starts_with(&[0x84, 0, 0, 0, 6]), "not SUPPORTED: {head:?}");
    ensure!(body.windows(11).any(|text| text == b"CQL_VERSION"), "{}", String::from_utf8_lossy(&body));
    Ok(())
}

#[tokio::test]
async fn real_registry_lists_subjects() -> Result<()> {
    let Some(registry) = real("HIGHWATER_TEST_REGISTRY") else { return Ok(()) };
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?;
    let subjects: Vec<String> = eventually("the registry answers", WAIT_MAX, async || {
        let answer = http.get(format!("{registry}/subjects")).send().await?.error_for_status()?;
        Ok(answer.json().await?)
    })
    .await?;
    ensure!(subjects.iter().all(|subject| !subject.is_empty()), "{subjects:?}");
    Ok(())
}
