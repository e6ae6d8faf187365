//! Whether a schema may take the place of another: every reader of either can read every writer of either (what
//! registries call FULL, and with all earlier versions FULL_TRANSITIVE). Names the field that forbids it.
//!
//! Does not live here: asking a registry. The rules are those of the Avro specification, "Schema resolution", and
//! one more: a logical type may not change, because the bytes would be read and mean something else.
//! `apache-avro` has such a check, which stops at the first mistake, does not say where it is and lets logical types
//! change; the tests hold this one against it.

use apache_avro::Schema;
use apache_avro::schema::{EnumSchema, RecordSchema, SchemaKind};
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// One reason why two schemas are incompatible.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incompatibility {
    /// Where: record and fields, joined with dots; `[]` an array's items, `{}` a map's values.
    pub path: String,
    /// What is wrong and what would be right.
    pub why: String,
}

impl std::fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.why)
    }
}

/// Compares two versions of a schema, in both directions.
///
/// # Errors
/// Everything that forbids the change, sorted by path.
pub fn check(old: &str, new: &str) -> Result<(), Vec<Incompatibility>> {
    let parse = |which: &str, text| {
        Schema::parse_str(text).map_err(|why| {
            vec![Incompatibility { path: format!("({which} schema)"), why: format!("cannot be read: {why}") }]
        })
    };
    let (old, new) = (parse("old", old)?, parse("new", new)?);
    let mut found = BTreeSet::new();
    for (writer, reader, direction) in
        [(&old, &new, Direction::NewReadsOld), (&new, &old, Direction::OldReadsNew)]
    {
        let mut walk = Walk {
            writer_names: BTreeMap::new(),
            reader_names: BTreeMap::new(),
            direction,
            visited: BTreeSet::new(),
            found: &mut found,
        };
        collect_names(writer, &mut walk.writer_names);
        collect_names(reader, &mut walk.reader_names);
        walk.compare(writer, reader, "");
    }
    if found.is_empty() { Ok(()) } else { Err(found.into_iter().collect()) }
}

/// Compares a schema with every earlier version.
///
/// # Errors
/// Everything that forbids the change, with the version (1 the oldest) in front of each path.
pub fn check_all<'s>(
    history: impl IntoIterator<Item = &'s str>,
    new: &str,
) -> Result<(), Vec<Incompatibility>> {
    let mut found = Vec::new();
    for (index, old) in history.into_iter().enumerate() {
        for incompatibility in check(old, new).err().into_iter().flatten() {
            let path = format!("version {}: {}", index + 1, incompatibility.path);
            found.push(Incompatibility { path, ..incompatibility });
        }
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// Whether two schemas say the same, however they are spelled: white space, the order of keys, a namespace written
/// in the name or beside it. Documents and defaults count.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    let told = |text| serde_json::to_value(Schema::parse_str(text).ok()?).ok();
    matches!((told(one), told(other)), (Some(one), Some(other)) if one == other)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    NewReadsOld,
    OldReadsNew,
}

type Names<'s> = BTreeMap<String, &'s Schema>;

fn collect_names<'s>(schema: &'s Schema, names: &mut Names<'s>) {
    if let (Some(name), false) = (schema.name(), matches!(schema, Schema::Ref { .. })) {
        names.insert(name.fullname(None), schema);
    }
    match schema {
        Schema::Record(record) => record.fields.iter().for_each(|field| collect_names(&field.schema, names)),
        Schema::Union(union) => union.variants().iter().for_each(|branch| collect_names(branch, names)),
        Schema::Array(array) => collect_names(&array.items, names),
        Schema::Map(map) => collect_names(&map.types, names),
        _ => {}
    }
}

/// A type's name: that of a record, else of its kind.
fn named(schema: &Schema) -> String {
    schema
        .name()
        .map_or_else(|| format!("{:?}", SchemaKind::from(schema)).to_lowercase(), |name| name.fullname(None))
}

struct Walk<'s, 'f> {
    writer_names: Names<'s>,
    reader_names: Names<'s>,
    direction: Direction,
    visited: BTreeSet<(String, String)>,
    found: &'f mut BTreeSet<Incompatibility>,
}

impl<'s> Walk<'s, '_> {
    fn refuse(&mut self, path: &str, why: String) {
        let path = if path.is_empty() { "(schema)" } else { path };
        self.found.insert(Incompatibility { path: path.to_owned(), why });
    }

    /// "the old" or "the new", of whoever reads.
    fn reader(&self) -> &'static str {
        if self.direction == Direction::NewReadsOld { "the new" } else { "the old" }
    }

    fn resolve(names: &Names<'s>, schema: &'s Schema) -> &'s Schema {
        match schema {
            Schema::Ref { name } => names.get(&name.fullname(None)).copied().unwrap_or(schema),
            schema => schema,
        }
    }

    fn compare(&mut self, writer: &'s Schema, reader: &'s Schema, path: &str) {
        let writer = Self::resolve(&self.writer_names, writer);
        let reader = Self::resolve(&self.reader_names, reader);
        match (writer, reader) {
            (Schema::Union(writers), _) => {
                writers.variants().iter().for_each(|branch| self.compare_branch(branch, reader, path));
            }
            (_, Schema::Union(_)) => self.compare_branch(writer, reader, path),
            (Schema::Record(writer), Schema::Record(reader)) => self.compare_records(writer, reader, path),
            (Schema::Enum(writer), Schema::Enum(reader)) => self.compare_enums(writer, reader, path),
            (Schema::Array(writer), Schema::Array(reader)) => {
                self.compare(&writer.items, &reader.items, &format!("{path}[]"));
            }
            (Schema::Map(writer), Schema::Map(reader)) => {
                self.compare(&writer.types, &reader.types, &format!("{path}{{}}"));
            }
            (writer, reader) if promotes(writer, reader) => {}
            (writer, reader) => {
                let why = format!(
                    "{} schema has {} where the other writes {}",
                    self.reader(),
                    named(reader),
                    named(writer)
                );
                self.refuse(path, why);
            }
        }
    }

    /// One branch of a writer's union, or a type that is no union, against whatever reads it.
    fn compare_branch(&mut self, writer: &'s Schema, reader: &'s Schema, path: &str) {
        let writer = Self::resolve(&self.writer_names, writer);
        let candidates = match reader {
            Schema::Union(union) => union.variants(),
            single => std::slice::from_ref(single),
        };
        let candidates: Vec<_> =
            candidates.iter().map(|candidate| Self::resolve(&self.reader_names, candidate)).collect();
        let same = candidates.iter().find(|candidate| named(candidate) == named(writer));
        match same.or_else(|| candidates.iter().find(|candidate| promotes(writer, candidate))) {
            Some(candidate) => self.compare(writer, candidate, path),
            None => {
                let why =
                    format!("{} schema cannot read the union's branch {}", self.reader(), named(writer));
                self.refuse(path, why);
            }
        }
    }

    fn compare_records(&mut self, writer: &'s RecordSchema, reader: &'s RecordSchema, path: &str) {
        let (writer_name, reader_name) = (writer.name.fullname(None), reader.name.fullname(None));
        if writer_name != reader_name {
            let why = format!(
                "the record is called {reader_name} in {} schema and {writer_name} in the other",
                self.reader()
            );
            return self.refuse(path, why);
        }
        let at = |field: &str| {
            if path.is_empty() {
                format!("{}.{field}", reader.name.name())
            } else {
                format!("{path}.{field}")
            }
        };
        if !self.visited.insert((writer_name, reader_name)) {
            return;
        }
        for field in &reader.fields {
            let names = || std::iter::once(&field.name).chain(&field.aliases);
            match names().find_map(|name| writer.fields.iter().find(|written| written.name == *name)) {
                Some(written) => self.compare(&written.schema, &field.schema, &at(&field.name)),
                None if field.default.is_some() => {}
                None if self.direction == Direction::NewReadsOld => {
                    self.refuse(
                        &at(&field.name),
                        "the field is added without a default; give it one".to_owned(),
                    );
                }
                None => self.refuse(
                    &at(&field.name),
                    "the field is removed, and the old schema has no default for it; keep it".to_owned(),
                ),
            }
        }
    }

    fn compare_enums(&mut self, writer: &EnumSchema, reader: &EnumSchema, path: &str) {
        if writer.name.fullname(None) != reader.name.fullname(None) {
            let why = format!(
                "the enum is called {} in {} schema and {} in the other",
                reader.name.fullname(None),
                self.reader(),
                writer.name.fullname(None)
            );
            return self.refuse(path, why);
        }
        if reader.default.is_some() {
            return;
        }
        for symbol in writer.symbols.iter().filter(|symbol| !reader.symbols.contains(symbol)) {
            let why =
                format!("{} schema has no symbol {symbol} and no default for unknown ones", self.reader());
            self.refuse(path, why);
        }
    }
}

/// Whether a type that is neither record, enum, union nor collection can be read as another.
fn promotes(writer: &Schema, reader: &Schema) -> bool {
    match (writer, reader) {
        (Schema::Int, Schema::Long | Schema::Float | Schema::Double)
        | (Schema::Long, Schema::Float | Schema::Double)
        | (Schema::Float, Schema::Double)
        | (Schema::Bytes, Schema::String)
        | (Schema::String, Schema::Bytes) => true,
        (
            Schema::Record(_)
            | Schema::Enum(_)
            | Schema::Union(_)
            | Schema::Array(_)
            | Schema::Map(_)
            | Schema::Ref { .. },
            _,
        ) => false,
        (writer, reader) => writer == reader,
    }
}
