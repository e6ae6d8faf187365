//! Settings out of JSON, with an error that says what there is to be set.
//! Does not live here: which settings a model has, or what they may be.

use serde::de::value::Error;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Reads them; an empty text stands for none. Models refuse names that they do not know
/// (`#[serde(deny_unknown_fields)]`): a misspelt one would otherwise be a default, unnoticed.
///
/// # Errors
/// What is wrong with the text, and which names there are.
pub fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, String> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    match serde_json_core::from_str(text) {
        Ok((read, _)) => Ok(read),
        // The reader keeps no text of an error, so it cannot say which name it was.
        Err(error) => Err(format!("{error} What can be set: {}", names::<T>().join(", "))),
    }
}

/// The names of a struct's fields, as it asks its reader for them.
fn names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    // It never gets a value, only the question counts.
    let _ = T::deserialize(Asked(&mut names));
    names
}

struct Asked<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Asked<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(serde::de::Error::custom("there is no value"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
