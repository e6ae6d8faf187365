//! Backlog and books of a home that nobody runs: read from its journal, which is opened for the moment.

use super::books::{Books, Line, Stage};
use crate::cli::ConfigArgs;
use crate::config::{Base, Settings};
use anyhow::{Context, Result, bail};
use journal::port::{Journal, Reader, TopicPartition};
use journal::sqlite::SqliteJournal;
use lag::{Monitor, Rules};
use schemas::codec::{Codec, DecodeError};
use schemas::record::{Audit, Totals};
use schemas::topic::Topic;
use serde_json::Value;
use std::sync::Arc;

/// Audit records looked through from the end of a partition; each is one commit of it.
const TAIL_RECORDS: i64 = 64;

/// The answer to `/v1/lag` or `/v1/books`.
///
/// # Errors
/// When there is no such home, or another process holds it.
pub(crate) async fn answer(config: &ConfigArgs, path: &str) -> Result<Value> {
    let settings = Settings::load(config, Base::Run)?;
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        if !settings.journal.path.exists() {
            bail!("there is no {}: name the directory with --data", settings.journal.path.display());
        }
        let sqlite = SqliteJournal::open(settings.journal.sqlite())?;
        let journal = Arc::clone(&sqlite) as Arc<dyn Journal>;
        let answer = match path.as_str() {
            "/v1/lag" => backlog(&journal),
            _ => books(&journal),
        };
        sqlite.close();
        answer
    })
    .await?
}

fn backlog(journal: &Arc<dyn Journal>) -> Result<Value> {
    let mut groups = Vec::new();
    for (group, topic) in
        std::iter::once((processor::GROUP, Topic::Raw)).chain(sink::TOPICS.map(|topic| (sink::GROUP, topic)))
    {
        let mut monitor =
            Monitor::new(journal.reader()?, group, topic, journal.partitions(), Rules::default());
        groups.push(monitor.look(&|| journal.now())?);
    }
    Ok(serde_json::to_value(lag::report(groups))?)
}

/// The books as last committed: the processor's from its audit trail.
fn books(journal: &Arc<dyn Journal>) -> Result<Value> {
    let codec = journal::ids::codec(Arc::clone(journal))?;
    let mut reader = journal.reader()?;
    let mut lines = Vec::new();
    for partition in 0..journal.partitions() {
        let raw = TopicPartition { topic: Topic::Raw, partition };
        let committed = reader.committed(processor::GROUP, raw)?.map(|committed| committed.offset);
        let (start, end) = reader.bounds(raw)?;
        let in_flight = end.saturating_sub(committed.unwrap_or(start)).max(0);
        let audit = last_audit(reader.as_mut(), &codec, partition)?;
        let totals = audit.map(|audit| audit.totals).unwrap_or_default();
        lines.push(Line::new(
            Some(format!("iot.raw/{partition}")),
            totals.received,
            &outcomes(&totals),
            0,
            in_flight,
        ));
    }
    Ok(serde_json::to_value(Books::of(vec![Stage::sum("processor", "readings", lines)]))?)
}

fn outcomes(totals: &Totals) -> [(&'static str, i64); 5] {
    [
        ("aggregated", totals.aggregated),
        ("filtered", totals.filtered),
        ("duplicate", totals.duplicate),
        ("late", totals.late),
        ("rejected", totals.rejected),
    ]
}

fn last_audit(reader: &mut dyn Reader, codec: &Codec, partition: u32) -> Result<Option<Audit>> {
    let trail = TopicPartition { topic: Topic::Audit, partition };
    let (start, end) = reader.bounds(trail)?;
    let mut from = start.max(end - TAIL_RECORDS);
    let mut last = None;
    while from < end {
        let mut found: Result<(), DecodeError> = Ok(());
        let next =
            reader.read(trail, from, 1_000, &mut |record| match codec.decode::<Audit>(record.value) {
                Ok(audit) => last = Some(audit),
                Err(error) => found = Err(error),
            })?;
        found.context("reading the audit trail")?;
        if next == from {
            break;
        }
        from = next;
    }
    Ok(last)
}
