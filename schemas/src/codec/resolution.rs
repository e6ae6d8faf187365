//! Records written with another version of their schema: read by `apache-avro`'s resolution and written again in
//! this build's layout. The slow path; most upgrades (documents, defaults) do not need it.
//!
//! Two things the library does not do are done here. It picks the branch of a union by the shape of the value: the
//! branches of a top-level union are matched by the records' names instead. It holds maps in a hash map: their
//! entries are written in the order of their names, so that the same bytes always resolve to the same bytes.

use crate::avro::{Input, write_block, write_bytes, write_count, write_long};
use crate::contract::Subject;
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::SchemaKind;
use apache_avro::schema_compatibility::SchemaCompatibility;
use apache_avro::types::Value;
use serde_json::Value as Json;

/// What another schema means for its values.
pub(super) enum Resolution {
    /// The bytes are laid out as this build's.
    SameLayout,
    /// They can be read as this build's.
    Differs(Box<Transcoder>),
    /// They cannot: why.
    Incompatible(String),
}

/// Reads one schema's datums as another's.
pub(super) struct Transcoder {
    writer: Schema,
    reader: Schema,
}

impl Resolution {
    /// Compares a schema with this build's of the subject.
    pub(super) fn of(schema: &str, subject: Subject) -> Self {
        if same_layout(schema, subject.schema()) {
            return Self::SameLayout;
        }
        let parse = |text| Schema::parse_str(text).map_err(|why| why.to_string());
        match (parse(schema), parse(subject.schema())) {
            (Ok(writer), Ok(reader)) => {
                let transcoder = Transcoder { writer, reader };
                match transcoder.branch_pairs() {
                    Ok(()) => Self::Differs(Box::new(transcoder)),
                    Err(why) => Self::Incompatible(why),
                }
            }
            (Err(why), _) | (_, Err(why)) => Self::Incompatible(why),
        }
    }
}

/// Whether two schemas differ at most in what does not change the bytes' layout or meaning.
fn same_layout(one: &str, other: &str) -> bool {
    fn strip(schema: &mut Json) {
        match schema {
            Json::Object(entries) => {
                for key in ["doc", "default", "aliases", "order"] {
                    entries.remove(key);
                }
                entries.values_mut().for_each(strip);
            }
            Json::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let parse = |text| {
        let mut schema: Json = serde_json::from_str(text).ok()?;
        strip(&mut schema);
        Some(schema)
    };
    matches!((parse(one), parse(other)), (Some(one), Some(other)) if one == other)
}

fn branches(schema: &Schema) -> &[Schema] {
    match schema {
        Schema::Union(union) => union.variants(),
        single => std::slice::from_ref(single),
    }
}

fn name(schema: &Schema) -> String {
    schema.name().map_or_else(|| format!("{:?}", SchemaKind::from(schema)), |name| name.fullname(None))
}

impl Transcoder {
    /// At least one branch of the writer must be readable.
    fn branch_pairs(&self) -> Result<(), String> {
        let mut why = None;
        for writer in branches(&self.writer) {
            match self.reader_of(writer).and_then(|(_, reader)| {
                SchemaCompatibility::can_read(writer, reader).map_err(|why| spelled_out(&why)).map(drop)
            }) {
                Ok(()) => return Ok(()),
                Err(found) => why = why.or(Some(found)),
            }
        }
        Err(why.unwrap_or_else(|| "it has no branches".to_owned()))
    }

    /// This build's branch of the same name.
    fn reader_of(&self, writer: &Schema) -> Result<(usize, &Schema), String> {
        let wanted = name(writer);
        branches(&self.reader)
            .iter()
            .enumerate()
            .find(|(_, reader)| name(reader) == wanted)
            .ok_or_else(|| format!("this build knows no record `{wanted}` here"))
    }

    /// The same record in this build's layout.
    pub(super) fn transcode(&self, datum: &[u8]) -> Result<Vec<u8>, String> {
        let mut datum = datum;
        let writers = branches(&self.writer);
        let writer = if matches!(self.writer, Schema::Union(_)) {
            let mut input = Input::new(datum);
            let index = input.index(writers.len(), "record").map_err(|why| why.to_string())?;
            datum = input.remaining();
            &writers[index]
        } else {
            &self.writer
        };
        let (index, reader) = self.reader_of(writer)?;
        let value = GenericDatumReader::builder(writer)
            .writer_schemata(writers.iter().collect())
            .and_then(|builder| {
                builder.reader_schema(reader).reader_schemata(branches(&self.reader).iter().collect())
            })
            .and_then(|builder| builder.build())
            .and_then(|resolver| resolver.read_value(&mut datum))
            .map_err(|why| spelled_out(&why))?;
        if !datum.is_empty() {
            return Err(format!("{} bytes follow the record", datum.len()));
        }
        let mut out = Vec::new();
        if matches!(self.reader, Schema::Union(_)) {
            write_count(index, &mut out);
        }
        write_value(&value, &mut out)?;
        Ok(out)
    }
}

/// An error and its causes in one line.
fn spelled_out(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn write_value(value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Value::Null => {}
        Value::Boolean(value) => out.push(u8::from(*value)),
        Value::Int(value) => write_long(i64::from(*value), out),
        Value::Long(value) | Value::TimestampMicros(value) => write_long(*value, out),
        Value::Double(value) => out.extend_from_slice(&value.to_le_bytes()),
        Value::Bytes(bytes) => write_bytes(bytes, out),
        Value::String(text) => write_bytes(text.as_bytes(), out),
        Value::Enum(index, _) => write_long(i64::from(*index), out),
        Value::Union(index, value) => {
            write_long(i64::from(*index), out);
            write_value(value, out)?;
        }
        Value::Array(items) => {
            let mut outcome = Ok(());
            write_block(items.iter(), out, |item, out| {
                if outcome.is_ok() {
                    outcome = write_value(item, out);
                }
            });
            outcome?;
        }
        Value::Map(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| *name);
            let mut outcome = Ok(());
            write_block(sorted.into_iter(), out, |(name, value), out| {
                write_bytes(name.as_bytes(), out);
                if outcome.is_ok() {
                    outcome = write_value(value, out);
                }
            });
            outcome?;
        }
        Value::Record(fields) => {
            for (_, value) in fields {
                write_value(value, out)?;
            }
        }
        other => return Err(format!("a value of a kind that no contract has: {other:?}")),
    }
    Ok(())
}
