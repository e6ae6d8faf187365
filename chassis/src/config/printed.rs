//! `config print`: the resolved values as TOML, each with where it was set. Secrets are masked by their type.

use super::{Layers, format_duration, format_size};
use serde::{Serialize, Serializer};
use std::fmt::Write;
use std::time::Duration;
use toml::Value;

/// Column in which the sources stand, where lines are shorter.
const SOURCE_COLUMN: usize = 48;

/// A page being written.
#[derive(Debug)]
pub struct Printed<'a> {
    layers: &'a Layers,
    text: String,
}

impl<'a> Printed<'a> {
    /// An empty page.
    #[must_use]
    pub const fn new(layers: &'a Layers) -> Self {
        Self { layers, text: String::new() }
    }

    /// Adds a section. `resolved` serialises to a map with the keys of the file; see [`duration`] and [`size`].
    ///
    /// # Errors
    /// When `resolved` is not a map that TOML can hold.
    pub fn section<T: Serialize>(&mut self, name: &str, resolved: &T) -> Result<(), toml::ser::Error> {
        match Value::try_from(resolved)? {
            Value::Table(table) => self.table(name, &table),
            other => self.line(name, name, &other),
        }
        Ok(())
    }

    /// The page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn table(&mut self, path: &str, table: &toml::Table) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let _ = writeln!(self.text, "[{path}]");
        let nested = |value: &Value| matches!(value, Value::Table(_));
        for (name, value) in table.iter().filter(|(_, value)| !nested(value)) {
            self.line(&format!("{path}.{name}"), name, value);
        }
        for (name, value) in table {
            if let Value::Table(inner) = value {
                self.table(&format!("{path}.{}", quoted(name)), inner);
            }
        }
    }

    fn line(&mut self, key: &str, name: &str, value: &Value) {
        let left = format!("{} = {value}", quoted(name));
        let _ = writeln!(self.text, "{left:<SOURCE_COLUMN$} # {}", self.layers.source(key));
    }
}

fn quoted(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { Value::from(name).to_string() }
}

/// For `#[serde(serialize_with = "...")]` on a duration.
///
/// # Errors
/// The serializer's own.
pub fn duration<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*value))
}

/// For `#[serde(serialize_with = "...")]` on a size in bytes.
///
/// # Errors
/// The serializer's own.
pub fn size<S: Serializer>(bytes: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_size(*bytes))
}
