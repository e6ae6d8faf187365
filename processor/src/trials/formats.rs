//! Snapshots of earlier versions: a state that was saved once, with the log that came after it, is read for as long as
//! its format is, and folds on to what it gave then.
//!
//! A fixture is never changed. `cargo test -p processor -- --ignored freeze` writes one for the present format.

use super::world::{World, history, pipeline};
use crate::outputs::Outputs;
use crate::state::{FORMAT, Mark, PartitionState};
use crate::step::{NoModels, Tools};
use journal::port::{Headers, Journal, RecordRef, TopicPartition};
use schemas::codec::{Codec, IdError, IdTable};
use schemas::topic::Topic;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Every format that this build has to read: the present one, and the one before as soon as there is one that was
/// released.
const FROZEN: [(i32, &str); 2] = [
    (2, include_str!("../../tests/data/snapshot-2.json")),
    (3, include_str!("../../tests/data/snapshot-3.json")),
];

#[derive(Debug, Serialize, Deserialize)]
struct Frozen {
    format: i32,
    /// Bytes are in hexadecimal digits throughout.
    state: String,
    /// Schemas by the ids that stand in the bytes.
    schemas: BTreeMap<u32, String>,
    /// What came after it.
    log: Vec<Line>,
    /// Where that led.
    position: i64,
    digest: String,
    write_clock: i64,
    receipt_now: i64,
    generation: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    offset: i64,
    received_at: i64,
    key: Option<String>,
    value: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The ids of then; schemas that are new since get others.
struct Ids(Mutex<BTreeMap<u32, String>>);

impl IdTable for Ids {
    fn id_of(&self, _: &str, schema: &str) -> Result<u32, IdError> {
        let mut known = self.0.lock().unwrap();
        if let Some((id, _)) = known.iter().find(|(_, text)| *text == schema) {
            return Ok(*id);
        }
        let id = known.last_key_value().map_or(1, |(id, _)| id + 1);
        known.insert(id, schema.to_owned());
        Ok(id)
    }

    fn schema_of(&self, id: u32) -> Result<Option<String>, IdError> {
        Ok(self.0.lock().unwrap().get(&id).cloned())
    }
}

fn folded_on(state: &mut PartitionState, codec: &Codec, log: &[Line]) -> Mark {
    let mut tools = Tools::new(codec.clone(), Arc::new(NoModels));
    let mut out = Outputs::new(codec.clone());
    for line in log {
        let (key, value) = (line.key.as_deref().map(bytes), bytes(&line.value));
        let record = RecordRef {
            offset: line.offset,
            received_at: line.received_at,
            key: key.as_deref(),
            value: &value,
            headers: Headers::listed(&[]),
        };
        state.step(&record, &mut tools, &mut out).expect("nothing is asked for");
    }
    state.settle(&mut tools, &mut out).expect("nothing is asked for");
    state.seal(&mut out, None);
    state.mark()
}

#[test]
fn every_frozen_format_is_read_and_folds_on_to_what_it_gave() {
    for (format, text) in FROZEN {
        let frozen: Frozen = serde_json::from_str(text).unwrap();
        assert_eq!(frozen.format, format);
        let codec = Codec::new(Arc::new(Ids(Mutex::new(frozen.schemas)))).unwrap();
        let saved = bytes(&frozen.state);
        let mut state = PartitionState::load_format(format, &saved, &codec, &NoModels)
            .unwrap_or_else(|why| panic!("format {format} is not read any more: {why}"));
        if format == FORMAT {
            let mut again = Vec::new();
            state.save(&codec, &mut again);
            assert!(again == saved, "these bytes are another format: raise FORMAT, freeze it, read both");
        }
        let mark = folded_on(&mut state, &codec, &frozen.log);
        let told = (mark.position, hex(&mark.digest), mark.write_clock, mark.receipt_now, mark.generation);
        let Frozen { position, digest, write_clock, receipt_now, generation, .. } = frozen;
        assert_eq!(told, (position, digest, write_clock, receipt_now, generation), "format {format}");
    }
}

#[test]
fn the_present_format_is_frozen() {
    let newest = FROZEN.last().map(|(format, _)| *format);
    assert_eq!(newest, Some(FORMAT), "cargo test -p processor -- --ignored freeze");
}

#[test]
#[ignore = "writes the fixture of the present format, once"]
fn freeze_the_present_format() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/snapshot-{FORMAT}.json"));
    assert!(!file.exists(), "{} is there: a fixture is never changed", file.display());
    let world = World::new(1);
    world.configure(0, &pipeline());
    history(&world, 71, 150);
    let half = 100;
    let records = world.journal.records(TopicPartition { topic: Topic::Raw, partition: 0 });
    let mut state = PartitionState::new(0, 1, 0);
    let lines: Vec<Line> = records
        .iter()
        .filter(|stored| stored.headers.is_empty())
        .map(|stored| Line {
            offset: stored.offset,
            received_at: stored.received_at,
            key: stored.key.as_deref().map(hex),
            value: hex(&stored.value),
        })
        .collect();
    let (before, after) = lines.split_at(half);
    folded_on(&mut state, &world.codec, before);
    let mut saved = Vec::new();
    state.save(&world.codec, &mut saved);
    let schemas = (1..64)
        .filter_map(|id| Some((id, world.journal.schema_of(id).expect("an answer")?)))
        .collect::<BTreeMap<u32, String>>();
    let mark = folded_on(&mut state, &world.codec, after);
    let frozen = Frozen {
        format: FORMAT,
        state: hex(&saved),
        schemas,
        log: lines.into_iter().skip(half).collect(),
        position: mark.position,
        digest: hex(&mark.digest),
        write_clock: mark.write_clock,
        receipt_now: mark.receipt_now,
        generation: mark.generation,
    };
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, serde_json::to_string_pretty(&frozen).unwrap() + "\n").unwrap();
}
