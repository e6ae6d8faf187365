//! Positions that are gone or were set by hand, and snapshots of a version to come.

use super::recoveries::{at, config, single};
use super::world::{World, history};
use crate::recovery::{NoPlan, Recovery, read_metadata};
use crate::step::Tools;
use journal::port::{Committed, Journal, NewRecord};
use schemas::record::{Audit, SnapshotHeader, SnapshotLocator};
use schemas::topic::Topic;
use std::sync::Arc;

fn end_of(world: &World, topic: Topic) -> i64 {
    world.journal.reader().expect("a reader").bounds(at(topic)).expect("bounds").1
}

fn append(world: &World, topic: Topic, value: Vec<u8>) {
    let record = NewRecord { to: at(topic), key: None, value, headers: Vec::new() };
    let told = Box::new(|offsets: Result<Vec<i64>, _>| drop(offsets.expect("durable")));
    world.journal.appender().append(vec![record], told).expect("room");
}

/// Both histories with nothing done to the positions between them.
fn undisturbed(seed: u64) -> World {
    let twin = single(seed, 80);
    twin.run_to_end(twin.worker("one", &config(), true)).expect("it runs");
    history(&twin, seed + 1, 40);
    twin.end();
    twin.run_to_end(twin.worker("one", &config(), true)).expect("it runs");
    twin
}

#[test]
fn positions_that_are_gone_or_set_by_hand_are_found_in_the_audit_topic() {
    let twin = undisturbed(51);
    for position in [None, Some(0), Some(7), Some(10_000)] {
        let world = single(51, 80);
        world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
        world.journal.reposition(crate::GROUP, at(Topic::Raw), position);
        history(&world, 52, 40);
        world.end();
        world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
        world.check().expect("nothing twice, nothing missing");
        assert_eq!(world.written(), twin.written(), "{position:?}");
        let told = world.view.incidents();
        assert!(told.iter().any(|incident| incident.what.contains("found in the audit topic")), "{told:?}");
        let committed = world.journal.positions(crate::GROUP)[&at(Topic::Raw)].clone();
        assert_eq!(committed.offset, end_of(&world, Topic::Raw), "{position:?}");
        assert!(!committed.metadata.is_empty());
    }
}

#[test]
fn positions_that_are_gone_are_found_behind_many_other_records() {
    let world = single(53, 80);
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    let audit = world.audits()[&0].clone();
    let wrong = Audit { to: audit.to - 1, ..audit.clone() };
    for _ in 0..300 {
        append(&world, Topic::Audit, world.codec.to_bytes(&wrong));
    }
    let mut reader = world.journal.reader().expect("a reader");
    let tools = Tools::new(world.codec.clone(), Arc::clone(&world.models));
    let mut recovery = Recovery { partition: 0, partitions: 1, reader: &mut *reader, tools: &tools };
    assert_eq!(recovery.last_audit(audit.to).expect("an answer"), Some(audit));
    assert_eq!(recovery.last_audit(-1).expect("an answer"), None);
}

#[test]
fn a_snapshot_of_a_newer_version_stops_its_partition_and_says_so() {
    let world = single(54, 120);
    world.run_to_end(world.worker("one", &config(), true)).expect("it runs");
    let mut reader = world.journal.reader().expect("a reader");
    let committed = reader.committed(crate::GROUP, at(Topic::Raw)).expect("an answer").expect("committed");
    let mut metadata = read_metadata(&world.codec, &committed).expect("metadata");
    let blob = metadata.snapshot.clone().expect("a snapshot");
    let mut values: Vec<Vec<u8>> = world
        .journal
        .records(at(Topic::Snapshots))
        .into_iter()
        .filter(|record| (blob.offset..blob.offset + i64::from(blob.records)).contains(&record.offset))
        .map(|record| record.value)
        .collect();
    let header: SnapshotHeader = world.codec.decode(&values[0]).expect("a header");
    let newer = SnapshotHeader { format: crate::state::FORMAT + 1, ..header };
    values[0] = world.codec.to_bytes(&newer);
    let offset = end_of(&world, Topic::Snapshots);
    for value in values {
        append(&world, Topic::Snapshots, value);
    }
    metadata.snapshot = Some(SnapshotLocator { offset, ..blob });
    let committed = Committed { offset: committed.offset, metadata: world.codec.to_text(&metadata) };
    let tools = Tools::new(world.codec.clone(), Arc::clone(&world.models));
    let plan = Recovery { partition: 0, partitions: 1, reader: &mut *reader, tools: &tools }
        .plan(Some(&committed), None);
    // The one before would do, but what the newer version has committed since may be more than this one knows of.
    assert!(matches!(&plan, Err(NoPlan::Quarantine(why)) if why.contains("newer version")), "{plan:?}");
}
