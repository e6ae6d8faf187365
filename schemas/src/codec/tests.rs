//! Framing, schema ids, and records written with other versions of their schema.

use super::*;
use crate::avro::tests::strategies;
use crate::record::{
    Aggregate, CommitMetadata, Control, Device, End, Measured, Raw, Reading, SnapshotLocator,
};
use apache_avro::Schema;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A table that can be made to fail.
#[derive(Default)]
struct Table {
    ids: LocalIds,
    down: AtomicBool,
}

impl IdTable for Table {
    fn id_of(&self, subject: &str, schema: &str) -> Result<u32, IdError> {
        if self.down.load(Ordering::Relaxed) {
            Err(IdError::Retry("down".to_owned()))
        } else {
            self.ids.id_of(subject, schema)
        }
    }
    fn schema_of(&self, id: u32) -> Result<Option<String>, IdError> {
        if self.down.load(Ordering::Relaxed) {
            Err(IdError::Fatal("down".to_owned()))
        } else {
            self.ids.schema_of(id)
        }
    }
}

fn codec() -> (Arc<Table>, Codec) {
    let table = Arc::new(Table::default());
    (Arc::clone(&table), Codec::new(table).unwrap())
}

fn reading(device_id: &str, measurements: &[(&str, Measured)]) -> Reading {
    Reading {
        device_id: device_id.to_owned(),
        event_time: Some(1_627_847_280_000_000),
        seq: None,
        boot: None,
        measurements: measurements.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        tags: Vec::new(),
    }
}

fn framed(id: u32, datum: &[u8]) -> Vec<u8> {
    [&[MAGIC], id.to_be_bytes().as_slice(), datum].concat()
}

/// A value that another implementation wrote with another schema.
fn written(table: &Table, schema: &str, value: Value) -> Vec<u8> {
    let id = table.id_of("elsewhere", schema).unwrap();
    let schema = Schema::parse_str(schema).unwrap();
    framed(id, &GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value).unwrap())
}

fn reject(outcome: Result<Raw, DecodeError>) -> Reject {
    match outcome {
        Err(DecodeError::Reject(reject)) => reject,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_frame_is_magic_and_the_id_in_big_endian() {
    let (_, codec) = codec();
    for (index, subject) in Subject::ALL.into_iter().enumerate() {
        assert_eq!(subject as usize, index);
        assert_eq!(codec.id(subject) as usize, index + 1, "{subject:?}");
    }
    let bytes = codec.to_bytes(&Raw::Tick);
    assert_eq!(bytes, [0, 0, 0, 0, 1, 6]);
    let mut longer = vec![9];
    codec.encode(&Raw::Tick, &mut longer);
    assert_eq!(longer, [9, 0, 0, 0, 0, 1, 6]);
    assert_eq!(codec.decode::<Raw>(&bytes), Ok(Raw::Tick));
    assert_eq!(Codec::local().to_bytes(&Raw::Tick), bytes);
}

#[test]
fn subjects_go_with_topics() {
    for subject in Subject::ALL {
        assert_eq!(Subject::from_name(subject.name()), Some(subject));
        assert_eq!(subject.topic().is_none(), subject == Subject::CommitMetadata, "{subject:?}");
    }
    for topic in crate::topic::Topic::ALL {
        assert!(Subject::ALL.iter().any(|subject| subject.topic() == Some(topic)), "{topic}");
    }
}

#[test]
fn what_is_no_frame_is_foreign() {
    let (_, codec) = codec();
    for bytes in [&b""[..], b"{", b"\x01abc", &[0, 0, 0, 0]] {
        assert_eq!(reject(codec.decode(bytes)).reason, RejectReason::ForeignBytes, "{bytes:?}");
    }
}

#[test]
fn an_id_that_nobody_knows_is_refused_and_a_table_that_is_down_is_not_blamed_on_the_record() {
    let (table, codec) = codec();
    let value = framed(999, &[6]);
    let why = reject(codec.decode(&value));
    assert_eq!(why.reason, RejectReason::UnknownSchema);
    assert!(why.detail.contains("999"), "{why}");
    table.down.store(true, Ordering::Relaxed);
    assert_eq!(codec.decode::<Raw>(&value), Err(DecodeError::Retry("down".to_owned())));
    assert_eq!(Codec::new(table).unwrap_err(), IdError::Retry("down".to_owned()));
    // Its own ids need no table.
    assert_eq!(codec.decode::<Raw>(&codec.to_bytes(&Raw::Tick)), Ok(Raw::Tick));
}

#[test]
fn an_id_that_becomes_known_is_found() {
    let (table, codec) = codec();
    let other = Subject::Raw.schema().replace("Time has passed", "Time went by");
    let id = u32::try_from(Subject::ALL.len() + 1).unwrap();
    assert_eq!(reject(codec.decode(&framed(id, &[6]))).reason, RejectReason::UnknownSchema);
    assert_eq!(table.id_of("x", &other), Ok(id));
    assert_eq!(codec.decode::<Raw>(&framed(id, &[6])), Ok(Raw::Tick));
}

#[test]
fn other_words_in_the_documents_change_nothing() {
    let (table, codec) = codec();
    let other = Subject::Raw.schema().replace("Time has passed", "Time went by");
    assert!(matches!(Resolution::of(&other, Subject::Raw), Resolution::SameLayout));
    let id = table.id_of("x", &other).unwrap();
    let record = Raw::Reading(reading("d", &[("b", Measured::Null), ("a", Measured::Number(1.0))]));
    let mut value = codec.to_bytes(&record);
    value[1..5].copy_from_slice(&id.to_be_bytes());
    assert_eq!(codec.decode::<Raw>(&value), Ok(record));
}

const OLD_READING: &str = r#"{"type":"record","name":"Reading","namespace":"io.highwater","fields":[
    {"name":"measurements","type":{"type":"map","values":["boolean","null","double"]}},
    {"name":"color","type":["null","string"],"default":null},
    {"name":"device_id","type":"string"}]}"#;
const OLD_END: &str = r#"{"type":"record","name":"End","namespace":"io.highwater","fields":[
    {"name":"why","type":"string","default":""},{"name":"device_id","type":["null","string"],"default":null}]}"#;
const OLD_TICK: &str = r#"{"type":"record","name":"Tick","namespace":"io.highwater","fields":[]}"#;

fn old_reading(device_id: &str, names: &[&str]) -> Value {
    let measurements =
        names.iter().map(|name| ((*name).to_owned(), Value::Union(2, Box::new(Value::Double(1.5)))));
    Value::Record(vec![
        ("measurements".to_owned(), Value::Map(measurements.collect())),
        ("color".to_owned(), Value::Union(0, Box::new(Value::Null))),
        ("device_id".to_owned(), Value::String(device_id.to_owned())),
    ])
}

#[test]
fn fields_may_be_added_removed_and_moved_and_the_entries_come_in_the_order_of_their_names() {
    let (table, codec) = codec();
    let names = ["m", "a", "z", "k", "b", "y", "c"];
    let mut expected =
        reading("d", &["a", "b", "c", "k", "m", "y", "z"].map(|name| (name, Measured::Number(1.5))));
    expected.event_time = None;
    let expected = Raw::Reading(expected);
    // Alone, and as a branch of a union with other branches and another order.
    let alone = written(&table, OLD_READING, old_reading("d", &names));
    let union = format!("[{OLD_END},{OLD_READING}]");
    let branch = written(&table, &union, Value::Union(1, Box::new(old_reading("d", &names))));
    for value in [alone, branch] {
        for _ in 0..8 {
            assert_eq!(codec.decode::<Raw>(&value), Ok(expected.clone()));
        }
    }
}

/// The library takes the first branch that fits by shape: a tick would do as a control, an end as a reading.
#[test]
fn branches_are_matched_by_name_not_by_shape() {
    let (table, codec) = codec();
    let union = format!("[{OLD_TICK},{OLD_END},{OLD_READING}]");
    let end = |device_id: Option<&str>| {
        let device_id = device_id.map_or(Value::Union(0, Box::new(Value::Null)), |id| {
            Value::Union(1, Box::new(Value::String(id.to_owned())))
        });
        let why = ("why".to_owned(), Value::String("closed".to_owned()));
        Value::Union(1, Box::new(Value::Record(vec![why, ("device_id".to_owned(), device_id)])))
    };
    for (value, expected) in [
        (Value::Union(0, Box::new(Value::Record(vec![]))), Raw::Tick),
        (end(None), Raw::End(End { device_id: None })),
        (end(Some("d")), Raw::End(End { device_id: Some("d".to_owned()) })),
    ] {
        assert_eq!(codec.decode::<Raw>(&written(&table, &union, value)), Ok(expected));
    }
}

#[test]
fn a_schema_that_cannot_be_read_here_is_refused_naming_what_is_wrong() {
    let (table, codec) = codec();
    let stranger = OLD_TICK.replace("io.highwater", "com.example");
    let why = reject(codec.decode(&written(&table, &stranger, Value::Record(vec![]))));
    assert_eq!(why.reason, RejectReason::UnknownSchema);
    assert!(why.detail.contains("com.example.Tick"), "{why}");

    let nameless = r#"{"type":"record","name":"Reading","namespace":"io.highwater","fields":[
        {"name":"measurements","type":{"type":"map","values":"double"}}]}"#;
    let measurements = ("measurements".to_owned(), Value::Map(Default::default()));
    let why = reject(codec.decode(&written(&table, nameless, Value::Record(vec![measurements]))));
    assert_eq!(why.reason, RejectReason::UnknownSchema);
    assert!(why.detail.contains("device_id"), "{why}");

    let id = table.id_of("x", "not a schema").unwrap();
    assert_eq!(reject(codec.decode(&framed(id, &[0]))).reason, RejectReason::UnknownSchema);
}

#[test]
fn damaged_bytes_of_another_version_are_refused() {
    let (table, codec) = codec();
    let value = written(&table, OLD_READING, old_reading("d", &["a", "b"]));
    for length in FRAME_BYTES..value.len() {
        let why = reject(codec.decode(&value[..length]));
        assert_eq!(why.reason, RejectReason::MalformedAvro, "{why}");
    }
    let longer = [value.clone(), vec![0]].concat();
    assert_eq!(reject(codec.decode(&longer)).reason, RejectReason::MalformedAvro);
    // A text that claims gigabytes must not be given room for them.
    let id = table.id_of("elsewhere", OLD_READING).unwrap();
    let claim = [&[0, 0][..], &[0xfe, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert_eq!(reject(codec.decode(&framed(id, &claim))).reason, RejectReason::MalformedAvro);
}

#[test]
fn a_field_of_another_schema_that_refers_back_to_a_named_type_is_read() {
    let (table, codec) = codec();
    // The two locators in the other order, the second a reference, and a field more.
    let mut schema: serde_json::Value = serde_json::from_str(Subject::CommitMetadata.schema()).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    fields.push(serde_json::json!({"name": "later", "type": "int", "default": 3}));
    let schema = schema.to_string();
    let locator = SnapshotLocator { partition: 1, offset: 2, records: 3, covers_to: 4, sha256: vec![5] };
    let metadata = CommitMetadata {
        version: 1,
        build: "b".to_owned(),
        generation: 2,
        digest: vec![1, 2],
        write_clock: 3,
        receipt_now: 4,
        snapshot: Some(locator.clone()),
        previous: Some(locator),
    };
    let mut datum = Vec::new();
    metadata.write(&mut datum);
    datum.push(6);
    let id = table.id_of("x", &schema).unwrap();
    assert!(matches!(Resolution::of(&schema, Subject::CommitMetadata), Resolution::Differs(_)));
    assert_eq!(codec.decode::<CommitMetadata>(&framed(id, &datum)), Ok(metadata.clone()));
    let text = codec.to_text(&metadata);
    assert!(text.is_ascii() && text.len() < 200, "{text}");
    assert_eq!(codec.decode_text(&text), Ok(metadata));
    assert!(matches!(codec.decode_text::<CommitMetadata>("?"), Err(DecodeError::Reject(_))));
}

#[test]
fn many_schemas_do_not_pile_up() {
    let (table, codec) = codec();
    for number in 0..FOREIGN_SCHEMAS_MAX + 10 {
        let schema = Subject::Raw.schema().replace("Time has passed", &format!("Time {number}"));
        let id = table.id_of("x", &schema).unwrap();
        assert_eq!(codec.decode::<Raw>(&framed(id, &[6])), Ok(Raw::Tick));
        assert!(codec.0.foreign.lock().unwrap().len() <= FOREIGN_SCHEMAS_MAX);
    }
}

/// Another layout of everything: every record with a field more at its end.
fn widened(subject: Subject) -> String {
    fn widen(schema: &mut serde_json::Value) {
        match schema {
            serde_json::Value::Object(entries) => {
                entries.values_mut().for_each(widen);
                if let Some(serde_json::Value::Array(fields)) = entries.get_mut("fields") {
                    fields.push(serde_json::json!({"name": "zz", "type": "long", "default": 5}));
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(widen),
            _ => {}
        }
    }
    let mut schema = serde_json::from_str(subject.schema()).unwrap();
    widen(&mut schema);
    schema.to_string()
}

fn rewritten<T: Contract>(codec: &Codec, table: &Table, record: &T) -> Vec<u8> {
    let wide = widened(T::SUBJECT);
    let (ours, theirs) = (Schema::parse_str(T::SUBJECT.schema()).unwrap(), Schema::parse_str(&wide).unwrap());
    let bytes = codec.to_bytes(record);
    let value = apache_avro::reader::datum::GenericDatumReader::builder(&ours)
        .reader_schema(&theirs)
        .build()
        .unwrap()
        .read_value(&mut &bytes[FRAME_BYTES..])
        .unwrap();
    written(table, &wide, value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn aggregates_of_a_wider_schema_are_read(record in strategies::aggregate()) {
        let (table, codec) = codec();
        let value = rewritten(&codec, &table, &record);
        prop_assert_eq!(codec.decode::<Aggregate>(&value), Ok(record));
    }

    #[test]
    fn controls_of_a_wider_schema_are_read(record in strategies::control()) {
        let (table, codec) = codec();
        let value = rewritten(&codec, &table, &record);
        prop_assert_eq!(codec.decode::<Control>(&value), Ok(record));
    }

    #[test]
    fn random_bytes_behind_any_frame_never_panic(id in 0..20_u32, datum in prop::collection::vec(any::<u8>(), 0..80)) {
        let (table, codec) = codec();
        table.id_of("x", OLD_READING).unwrap();
        table.id_of("x", &widened(Subject::Raw)).unwrap();
        let _ = codec.decode::<Raw>(&framed(id, &datum));
    }
}

#[test]
fn a_device_keeps_its_channels_through_another_version() {
    let (table, codec) = codec();
    let channel = crate::record::Channel { unit: Some("C".to_owned()), scale: Some(2.0), offset: None };
    let device = Device {
        device_id: "d".to_owned(),
        channels: [("t".to_owned(), channel.clone()), ("a".to_owned(), channel)].into(),
        ..Device::default()
    };
    let schema = widened(Subject::Raw);
    let id = table.id_of("x", &schema).unwrap();
    // By hand: device, two channels with a field more each, and the record's own field more.
    let mut datum = Vec::new();
    crate::avro::Datum::write(&Raw::Device(device.clone()), &mut datum);
    let entry = |name: u8| [2, name, 2, 2, b'C', 2, 0, 0, 0, 0, 0, 0, 0, 0x40, 0];
    let at =
        |datum: &[u8], entry: &[u8]| datum.windows(entry.len()).position(|window| window == entry).unwrap();
    for name in [b't', b'a'] {
        let end = at(&datum, &entry(name)) + entry(name).len();
        datum.insert(end, 10);
    }
    datum.push(10);
    assert_eq!(codec.decode::<Raw>(&framed(id, &datum)), Ok(Raw::Device(device)));
}
