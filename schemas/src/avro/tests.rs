//! The encodings against `apache-avro`, against golden bytes, and against hostile input.

mod golden;
pub(crate) mod strategies;

use super::{Input, write_long};
use crate::contract::{Contract, SnapshotChunk, Subject};
use crate::record::*;
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn bytes_of<T: Contract>(record: &T) -> Vec<u8> {
    let mut out = Vec::new();
    record.write(&mut out);
    out
}

fn read_all<T: Contract>(bytes: &[u8]) -> Result<T, super::Malformed> {
    let mut input = Input::new(bytes);
    let record = T::read(&mut input)?;
    input.finish()?;
    Ok(record)
}

/// The other implementation reads our bytes by the schema, writes what it read, and we read that.
fn through_the_referee<T: Contract>(record: &T) -> (Value, T) {
    let schema = Schema::parse_str(T::SUBJECT.schema()).unwrap();
    let ours = bytes_of(record);
    let mut rest = ours.as_slice();
    let value = GenericDatumReader::builder(&schema).build().unwrap().read_value(&mut rest).unwrap();
    assert!(rest.is_empty(), "the referee left {} bytes", rest.len());
    let theirs =
        GenericDatumWriter::builder(&schema).build().unwrap().write_value_to_vec(value.clone()).unwrap();
    (value, read_all(&theirs).unwrap())
}

/// The referee holds maps in a hash map: the order of their entries is lost on its way.
fn sorted(mut reading: Reading) -> Reading {
    reading.measurements.sort_by(|(a, _), (b, _)| a.cmp(b));
    reading.tags.sort();
    reading
}

macro_rules! referee {
    ($($test:ident: $record:ty, $strategy:ident;)+) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(48))]
            $(#[test]
            fn $test(record in strategies::$strategy()) {
                prop_assert_eq!(&read_all::<$record>(&bytes_of(&record)).unwrap(), &record);
                let (_, back) = through_the_referee::<$record>(&record);
                prop_assert_eq!(back, record);
            })+
        }
    };
}

referee! {
    aggregates: Aggregate, aggregate;
    alerts: Alert, alert;
    dead_letters: DeadLetter, dead_letter;
    scores: Score, score;
    controls: Control, control;
    devices: DeviceLatest, device_latest;
    headers: SnapshotHeader, snapshot_header;
    chunks: SnapshotChunk, snapshot_chunk;
    audits: Audit, audit;
    commit_metadata: CommitMetadata, commit_metadata;
    shadows: Shadow, shadow;
    model_pieces: ModelPiece, model_piece;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn raw_records(record in strategies::raw()) {
        prop_assert_eq!(&read_all::<Raw>(&bytes_of(&record)).unwrap(), &record);
        let (_, back) = through_the_referee(&record);
        let sorted = |raw| match raw {
            Raw::Reading(reading) => Raw::Reading(sorted(reading)),
            other => other,
        };
        prop_assert_eq!(sorted(back), sorted(record));
    }

    #[test]
    fn late_readings(record in strategies::late()) {
        prop_assert_eq!(&read_all::<Late>(&bytes_of(&record)).unwrap(), &record);
        let (_, back) = through_the_referee(&record);
        let sorted = |late: Late| Late { reading: sorted(late.reading), ..late };
        prop_assert_eq!(sorted(back), sorted(record));
    }

    #[test]
    fn integers_are_zigzag_varints(value in any::<i64>()) {
        let mut ours = Vec::new();
        write_long(value, &mut ours);
        let theirs = GenericDatumWriter::builder(&Schema::Long).build().unwrap().write_value_to_vec(value).unwrap();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(Input::new(&ours).long("n"), Ok(value));
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_all::<Raw>(&bytes);
        let _ = read_all::<Aggregate>(&bytes);
        let _ = read_all::<Audit>(&bytes);
        let _ = read_all::<DeadLetter>(&bytes);
        let _ = read_all::<SnapshotChunk>(&bytes);
    }

    #[test]
    fn damaged_records_never_panic(record in strategies::raw(), at in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let mut bytes = bytes_of(&record);
        let at = at.index(bytes.len());
        bytes[at] ^= bits;
        let _ = read_all::<Raw>(&bytes);
    }
}

fn schema_of(subject: Subject) -> Schema {
    Schema::parse_str(subject.schema()).unwrap()
}

fn records_in<'s>(schema: &'s Schema, found: &mut BTreeMap<String, Vec<&'s Schema>>) {
    match schema {
        Schema::Record(record) => {
            found.entry(record.name.name().to_owned()).or_default().push(schema);
            record.fields.iter().for_each(|field| records_in(&field.schema, found));
        }
        Schema::Enum(symbols) => found.entry(symbols.name.name().to_owned()).or_default().push(schema),
        Schema::Union(union) => union.variants().iter().for_each(|branch| records_in(branch, found)),
        Schema::Array(array) => records_in(&array.items, found),
        Schema::Map(map) => records_in(&map.types, found),
        _ => {}
    }
}

/// The referee alone cannot see two neighbours of one type in the wrong order; their names can.
#[test]
fn fields_stand_in_the_order_of_the_schemas() {
    let schemas: Vec<_> = Subject::ALL.into_iter().map(schema_of).collect();
    let mut found = BTreeMap::new();
    schemas.iter().for_each(|schema| records_in(schema, &mut found));
    let fields: BTreeMap<&str, &[&str]> = [
        ("Reading", Reading::FIELDS),
        ("Channel", Channel::FIELDS),
        ("Device", Device::FIELDS),
        ("Control", Control::FIELDS),
        ("End", End::FIELDS),
        ("Tick", &[]),
        ("ScoreSummary", ScoreSummary::FIELDS),
        ("DeviceSummary", DeviceSummary::FIELDS),
        ("Aggregate", Aggregate::FIELDS),
        ("Score", Score::FIELDS),
        ("Alert", Alert::FIELDS),
        ("Refusal", Refusal::FIELDS),
        ("Late", Late::FIELDS),
        ("DeadLetter", DeadLetter::FIELDS),
        ("DeviceLatest", DeviceLatest::FIELDS),
        ("SnapshotLocator", SnapshotLocator::FIELDS),
        ("SnapshotHeader", SnapshotHeader::FIELDS),
        ("SnapshotChunk", &["bytes"]),
        ("Totals", Totals::FIELDS),
        ("TrialCounts", TrialCounts::FIELDS),
        ("Audit", Audit::FIELDS),
        ("Shadow", Shadow::FIELDS),
        ("ModelPiece", ModelPiece::FIELDS),
        ("CommitMetadata", CommitMetadata::FIELDS),
    ]
    .into();
    let symbols: BTreeMap<&str, Vec<&str>> = [
        ("EmissionKind", EmissionKind::ALL.iter().map(|kind| kind.as_str()).collect()),
        ("AlertKind", AlertKind::ALL.iter().map(|kind| kind.as_str()).collect()),
        ("Stage", Stage::ALL.iter().map(|stage| stage.as_str()).collect()),
    ]
    .into();
    assert_eq!(found.len(), fields.len() + symbols.len(), "{:?}", found.keys());
    for (name, schemas) in found {
        for schema in &schemas {
            // The same type in two files is the same type.
            assert_eq!(schema.canonical_form(), schemas[0].canonical_form(), "{name}");
            match schema {
                Schema::Record(record) => {
                    let names: Vec<_> = record.fields.iter().map(|field| field.name.as_str()).collect();
                    assert_eq!(names, fields[name.as_str()], "{name}");
                }
                Schema::Enum(schema) => {
                    let names: Vec<_> =
                        schema.symbols.iter().map(|symbol| symbol.replace('_', "-")).collect();
                    assert_eq!(names, symbols[name.as_str()], "{name}");
                }
                _ => unreachable!(),
            }
        }
    }
}

#[test]
fn every_schema_documents_every_field_and_defaults_what_may_be_null() {
    for subject in Subject::ALL {
        let schema = schema_of(subject);
        let mut found = BTreeMap::new();
        records_in(&schema, &mut found);
        for record in found.values().flatten() {
            let Schema::Record(record) = record else { continue };
            assert_eq!(record.name.namespace(), Some("io.highwater"), "{:?}", record.name);
            assert!(record.doc.is_some(), "{:?}", record.name);
            for field in &record.fields {
                assert!(field.doc.is_some(), "{:?}.{}", record.name, field.name);
                if let Schema::Union(union) = &field.schema {
                    assert_eq!(union.variants()[0], Schema::Null, "{:?}.{}", record.name, field.name);
                    assert_eq!(
                        field.default,
                        Some(serde_json::Value::Null),
                        "{:?}.{}",
                        record.name,
                        field.name
                    );
                }
            }
        }
    }
}

#[test]
fn a_record_cut_anywhere_is_refused() {
    fn cut<T: Contract + std::fmt::Debug>(record: &T) {
        let bytes = bytes_of(record);
        for length in 0..bytes.len() {
            assert!(read_all::<T>(&bytes[..length]).is_err(), "{length} bytes of {record:?}");
        }
        let longer = [bytes, vec![0]].concat();
        assert_eq!(read_all::<T>(&longer).unwrap_err().expected, "the end of the record");
    }
    cut(&golden::reading());
    cut(&golden::device());
    cut(&golden::aggregate());
    cut(&golden::late());
    cut(&golden::dead_letter());
    cut(&golden::audit());
    cut(&golden::commit_metadata());
}

#[test]
fn collections_may_come_in_several_blocks_and_with_sizes() {
    // measurements: a block of one, then a block of one with its size in bytes; tags: none.
    let mut bytes = vec![0, 2, b'd', 0, 0, 0];
    bytes.extend([2, 2, b'a', 0]);
    bytes.extend([1, 6, 2, b'b', 4, 1]);
    bytes.extend([0, 0]);
    let Raw::Reading(reading) = read_all::<Raw>(&bytes).unwrap() else { panic!("a reading") };
    assert_eq!(
        reading.measurements,
        [("a".to_owned(), Measured::Null), ("b".to_owned(), Measured::Bool(true))]
    );
}

#[test]
fn counts_that_cannot_be_true_cost_nothing() {
    let huge = |value| {
        let mut bytes = Vec::new();
        write_long(value, &mut bytes);
        bytes
    };
    for claimed in [i64::MAX, i64::MIN, -1, 1 << 40] {
        // As a text's length, and as a map's count.
        let length = [vec![0], huge(claimed)].concat();
        assert!(read_all::<Raw>(&length).is_err());
        let count = [vec![0, 2, b'd', 0, 0, 0], huge(claimed), vec![0]].concat();
        assert!(read_all::<Raw>(&count).is_err());
    }
}

#[test]
fn a_refusal_names_the_field_the_place_and_what_is_right() {
    // seq is announced and missing.
    let why = read_all::<Raw>(&[0, 2, b'd', 0, 2]).unwrap_err();
    assert_eq!(
        why.to_string(),
        "`seq` at byte 5 of the datum: expected a variable-length integer of at most 64 bits"
    );
    let why = read_all::<Raw>(&[0, 2, 0xff]).unwrap_err();
    assert_eq!(why.to_string(), "`device_id` at byte 1 of the datum: expected text in UTF-8");
    let why = read_all::<Raw>(&[10]).unwrap_err();
    assert_eq!(why.expected, "the index of a branch or symbol of the schema");
    let why = read_all::<DeviceLatest>(&[2, b'd', 2]).unwrap_err();
    assert_eq!((why.field, why.expected), ("deleted", "a boolean of 0 or 1"));
}

#[test]
fn a_name_twice_in_a_map_is_refused() {
    let mut device = golden::device();
    device.device.tags = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into();
    let mut bytes = bytes_of(&device);
    let at = bytes.windows(2).position(|pair| pair == [2, b'b']).unwrap();
    bytes[at + 1] = b'a';
    assert_eq!(read_all::<DeviceLatest>(&bytes).unwrap_err().field, "tags");
}

#[test]
fn null_and_absent_stay_apart() {
    let with = |measurements: &[(&str, Measured)]| {
        Raw::Reading(Reading {
            device_id: "d".to_owned(),
            event_time: None,
            seq: None,
            boot: None,
            measurements: measurements.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            tags: Vec::new(),
        })
    };
    let null = with(&[("a", Measured::Null), ("b", Measured::Number(0.0))]);
    let absent = with(&[("b", Measured::Number(0.0))]);
    for record in [&null, &absent] {
        assert_eq!(&read_all::<Raw>(&bytes_of(record)).unwrap(), record);
    }
    let (value, _) = through_the_referee(&null);
    let Value::Union(0, reading) = value else { panic!("{value:?}") };
    let Value::Record(fields) = *reading else { panic!("a record") };
    let Value::Map(measurements) = &fields[4].1 else { panic!("a map") };
    assert_eq!(measurements["a"], Value::Union(0, Box::new(Value::Null)));
    assert_eq!(measurements["b"], Value::Union(1, Box::new(Value::Double(0.0))));
}
