//! Follows a home from outside while it is broken: when a `read_committed` reader sees new results, and when the sink
//! has stored them. One line an event, for the script that breaks things (`tests/everything`).

use crate::ledger::{Place, open};
use anyhow::Result;
use journal::port::{Journal, JournalError, Reader, TopicPartition};
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const READ_MAX: usize = 5_000;
/// Between two looks at everything.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The sink's group.
const SINK: &str = "highwater-sink";

/// Writes lines until nobody reads them: `result NOW PARTITION OFFSET APPENDED` (a result that the broker appended then
/// is visible) and `stored NOW PARTITION OFFSET` (the sink's position in the results), times in epoch milliseconds.
///
/// # Errors
/// When a home cannot be opened, or differs from what it was. A server that does not answer is asked again.
pub fn follow(place: &Place, out: &mut impl Write) -> Result<()> {
    let opened = open(place)?;
    let (mut results, mut positions) = (BTreeMap::new(), BTreeMap::new());
    let mut reader: Option<Box<dyn Reader>> = None;
    loop {
        let looked = match &mut reader {
            None => opened.journal.reader().map(|opened| reader = Some(opened)),
            Some(reader) => (0..opened.journal.partitions()).try_for_each(|partition| {
                look(reader.as_mut(), partition, &mut results, &mut positions, out)
            }),
        };
        match looked {
            Ok(()) | Err(JournalError::Retry(_)) => {}
            Err(error) => return Err(error.into()),
        }
        out.flush()?;
        std::thread::park_timeout(LOOK_EVERY);
    }
}

fn look(
    reader: &mut dyn Reader,
    partition: u32,
    results: &mut BTreeMap<u32, i64>,
    positions: &mut BTreeMap<u32, i64>,
    out: &mut impl Write,
) -> Result<(), JournalError> {
    let gone = |error: std::io::Error| JournalError::Fatal(format!("nobody listens: {error}"));
    let at = TopicPartition { topic: Topic::Aggregates, partition };
    let next = *results.entry(partition).or_default();
    let mut last = None;
    let after =
        reader.read(at, next, READ_MAX, &mut |record| last = Some((record.offset, record.received_at)))?;
    results.insert(partition, after);
    if let Some((offset, appended)) = last {
        writeln!(out, "result {} {partition} {offset} {}", now_ms(), appended / 1_000).map_err(gone)?;
    }
    let stored = reader.committed(SINK, at)?.map_or(0, |committed| committed.offset);
    if positions.insert(partition, stored) != Some(stored) {
        writeln!(out, "stored {} {partition} {stored}", now_ms()).map_err(gone)?;
    }
    Ok(())
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}
