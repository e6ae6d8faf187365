//! The history of a home, seen and changed from outside as operators, other versions and broken disks do.
//!
//! Does not live here: breaking servers (`tests/stack`), or tools that Kafka itself has for it.

use crate::cluster::Cluster;
use crate::ledger::{Opened, Place, open};
use crate::real::real;
use anyhow::{Context, Result, bail, ensure};
use journal::port::{Committed, ConsumerEvent, Journal, NewRecord, TopicPartition, Transaction};
use processor::GROUP;
use schemas::record::{CommitMetadata, SnapshotHeader, SnapshotLocator};
use schemas::topic::Topic;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Sessions of members that are gone run out first.
const JOIN_MAX: Duration = Duration::from_secs(60);
/// A version of snapshots that no build knows yet.
const FORMAT_TO_COME: i32 = 1_000;
/// What a batch of Kafka's begins with: offset and length, then the rest of its head.
const PREFIX_BYTES: usize = 12;
const HEAD_BYTES: usize = 61;

/// What the processors have committed, by partition of `iot.raw`.
///
/// # Errors
/// When Kafka does not answer.
pub fn committed(cluster: &Cluster) -> Result<BTreeMap<u32, (i64, CommitMetadata)>> {
    let opened = open(&Place::of(cluster)?)?;
    let mut reader = opened.journal.reader()?;
    let mut found = BTreeMap::new();
    for partition in 0..opened.journal.partitions() {
        let of = TopicPartition { topic: Topic::Raw, partition };
        if let Some(committed) = reader.committed(GROUP, of)? {
            let metadata = opened.codec.decode_text::<CommitMetadata>(&committed.metadata)?;
            found.insert(partition, (committed.offset, metadata));
        }
    }
    drop(reader);
    opened.journal.close();
    Ok(found)
}

/// Start and end of a topic's partitions.
///
/// # Errors
/// When Kafka does not answer.
pub fn bounds(cluster: &Cluster, topic: Topic) -> Result<Vec<(i64, i64)>> {
    let opened = open(&Place::of(cluster)?)?;
    let mut reader = opened.journal.reader()?;
    let of = |partition| TopicPartition { topic, partition };
    let found: Result<_, _> =
        (0..opened.journal.partitions()).map(|partition| reader.bounds(of(partition))).collect();
    drop(reader);
    opened.journal.close();
    Ok(found?)
}

/// Damages a snapshot in the file of a broker that is stopped: one byte in the middle of its first batch.
///
/// # Errors
/// When there is no such file, or the snapshot is not in it.
pub fn damage(cluster: &Cluster, locator: &SnapshotLocator) -> Result<()> {
    let files = real("HIGHWATER_TEST_KAFKA_FILES").context("the broker's files are not known")?;
    let prefix = cluster.setting("journal.topic-prefix").context("no prefix")?;
    let topic = format!("{prefix}{}-{}", Topic::Snapshots, locator.partition);
    let file: PathBuf = [&files, &topic, "00000000000000000000.log"].iter().collect();
    let mut bytes = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + HEAD_BYTES) {
        let (first, length) = (big_endian(&head[..8]), usize::try_from(big_endian(&head[8..PREFIX_BYTES]))?);
        // Its last offset is so many beyond its first.
        let last = first + big_endian(&head[23..27]);
        let end = at + PREFIX_BYTES + length;
        if (first..=last).contains(&locator.offset) {
            let middle = (at + HEAD_BYTES).midpoint(end);
            *bytes.get_mut(middle).context("the file is cut short")? ^= 0x55;
            return std::fs::write(&file, &bytes).with_context(|| format!("writing {}", file.display()));
        }
        at = end;
    }
    bail!("{} has no offset {}", file.display(), locator.offset);
}

fn big_endian(bytes: &[u8]) -> i64 {
    bytes.iter().fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

/// Gives a partition a snapshot of a version to come, as an upgrade that was taken back does, and makes the group's
/// position name it; returns what it named before. The processors must be gone.
///
/// # Errors
/// When somebody else is in the group, there is no snapshot, or Kafka refuses.
pub fn from_a_version_to_come(cluster: &Cluster, partition: u32) -> Result<String> {
    let opened = open(&Place::of(cluster)?)?;
    let of = TopicPartition { topic: Topic::Raw, partition };
    let before = opened.journal.reader()?.committed(GROUP, of)?.context("nothing is committed")?;
    let mut metadata: CommitMetadata = opened.codec.decode_text(&before.metadata)?;
    let locator = metadata.snapshot.take().context("there is no snapshot")?;
    let offset = copy(&opened, &locator)?;
    metadata.snapshot = Some(SnapshotLocator { offset, ..locator });
    let text = opened.codec.to_text(&metadata);
    commit(&opened, of, Committed { offset: before.offset, metadata: text })?;
    opened.journal.close();
    Ok(before.metadata)
}

/// Makes the group's position name what it named before. The processors must be gone.
///
/// # Errors
/// When somebody else is in the group, or Kafka refuses.
pub fn restore(cluster: &Cluster, partition: u32, metadata: String) -> Result<()> {
    let opened = open(&Place::of(cluster)?)?;
    let of = TopicPartition { topic: Topic::Raw, partition };
    let now = opened.journal.reader()?.committed(GROUP, of)?.context("nothing is committed")?;
    commit(&opened, of, Committed { offset: now.offset, metadata })?;
    opened.journal.close();
    Ok(())
}

/// Writes a snapshot a second time, under another format; returns where.
fn copy(opened: &Opened, locator: &SnapshotLocator) -> Result<i64> {
    let to = TopicPartition { topic: Topic::Snapshots, partition: u32::try_from(locator.partition)? };
    let mut values = Vec::new();
    let mut reader = opened.journal.reader()?;
    let end = locator.offset + i64::from(locator.records);
    let mut next = locator.offset;
    while next < end {
        let left = usize::try_from(end - next)?;
        let after = reader.read(to, next, left, &mut |record| values.push(record.value.to_vec()))?;
        ensure!(after > next, "the snapshot is not there");
        next = after;
    }
    let header = values.first_mut().context("the snapshot has no header")?;
    let read: SnapshotHeader = opened.codec.decode(header)?;
    *header = opened.codec.to_bytes(&SnapshotHeader { format: FORMAT_TO_COME, ..read });
    let record = |value| NewRecord { to, key: None, value, headers: Vec::new() };
    let (tell, told) = std::sync::mpsc::channel();
    let done = move |appended| {
        // Nobody listens once the test has failed.
        let _ = tell.send(appended);
    };
    opened.journal.appender().append(values.into_iter().map(record).collect(), Box::new(done))?;
    told.recv_timeout(ANSWER_MAX)??.first().copied().context("nothing was appended")
}

/// Commits a position as a member of the processors' group.
fn commit(opened: &Opened, of: TopicPartition, committed: Committed) -> Result<()> {
    let mut member = opened.journal.consumer(GROUP, "somebody", &[Topic::Raw])?;
    let begun = Instant::now();
    let mut mine = false;
    while !mine {
        ensure!(begun.elapsed() < JOIN_MAX, "{of:?} is still another's");
        member.poll(Duration::from_millis(100), 1, &mut |event| {
            if let ConsumerEvent::Assigned(list) = event {
                mine |= list.iter().any(|one| one.partition == of);
            }
        })?;
    }
    let token = member.token().context("a member has a token")?;
    let transaction = Transaction { records: Vec::new(), offsets: vec![(of, committed)] };
    opened.journal.committer("somebody")?.commit(&transaction, &token)?;
    member.leave(&mut |_| {})?;
    Ok(())
}
