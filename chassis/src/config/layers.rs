//! Where configuration comes from: the text of a TOML file, then `HIGHWATER_SECTION__KEY`, then
//! `--set section.key=value`, each covering the one before, key by key. Does not live here: reading files or the
//! process environment (both are handed in), or what a key means.

use super::{Problem, Problems};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use toml::{Table, Value};

/// Prefix of the variables that are read. A variable without `__` after it is not configuration: Kubernetes puts
/// `HIGHWATER_PORT` and the like into every container beside a service of that name.
const ENV_PREFIX: &str = "HIGHWATER_";

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: the default.
    Default,
    /// In this file.
    File(String),
    /// In this environment variable.
    Env(String),
    /// On the command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// A value set outside the file: its text as typed, and where. `workers=4` is a number unless a string is wanted.
#[derive(Clone, Debug)]
struct Typed {
    text: String,
    source: Source,
}

/// All layers in one table.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    table: Table,
    file: Option<String>,
    typed: BTreeMap<String, Typed>,
}

impl Layers {
    /// Reads the layers. `file` is a name for messages and the text; `env` is what [`std::env::vars`] yields;
    /// `sets` are the arguments of `--set`. What cannot be read is reported and left out.
    pub fn load(
        file: Option<(&str, &str)>,
        env: impl IntoIterator<Item = (String, String)>,
        sets: &[String],
        problems: &mut Problems,
    ) -> Self {
        let mut layers = Self::default();
        if let Some((name, text)) = file {
            layers.file = Some(name.to_owned());
            match text.parse::<Table>() {
                Ok(table) => layers.table = table,
                Err(error) => problems.add(name, format!("is not TOML: {}", error.to_string().trim_end())),
            }
        }
        // ORDER: sorted, so that of two variables for one key the same one always wins.
        let env: BTreeMap<String, String> = env.into_iter().collect();
        for (name, text) in env {
            let Some(rest) = name.strip_prefix(ENV_PREFIX).filter(|rest| rest.contains("__")) else {
                continue;
            };
            let path: Vec<String> =
                rest.split("__").map(|part| part.to_ascii_lowercase().replace('_', "-")).collect();
            layers.set(&path, Typed { text, source: Source::Env(name) }, problems);
        }
        for argument in sets {
            match split_set(argument) {
                Ok((path, text)) => layers.set(&path, Typed { text, source: Source::Flag }, problems),
                Err(message) => problems.add("--set", message),
            }
        }
        layers
    }

    /// The whole as one table.
    #[must_use]
    pub const fn table(&self) -> &Table {
        &self.table
    }

    /// Where a dotted key was set.
    #[must_use]
    pub fn source(&self, key: &str) -> Source {
        let mut path = key;
        loop {
            if let Some(typed) = self.typed.get(path) {
                return typed.source.clone();
            }
            match path.rfind('.') {
                Some(dot) => path = &path[..dot],
                None => break,
            }
        }
        let below = format!("{key}.");
        if let Some((_, typed)) =
            self.typed.range(below.clone()..).next().filter(|(name, _)| name.starts_with(&below))
        {
            return typed.source.clone();
        }
        let parts: Vec<&str> = key.split('.').collect();
        match (&self.file, look_up(&self.table, &parts)) {
            (Some(name), Some(_)) => Source::File(name.clone()),
            _ => Source::Default,
        }
    }

    /// Reports every top-level section that is not one of `known`.
    pub fn check_sections(&self, known: &[&str], problems: &mut Problems) {
        for name in self.table.keys().filter(|name| !known.contains(&name.as_str())) {
            let place = self.place(name);
            problems.add(name, format!("no such section{place}; {}", suggestion(name, known)));
        }
    }

    /// Reads one top-level section into its raw type. Every mistake is reported with its key, the value and what
    /// would be accepted, and left at its default, so that one run shows them all.
    pub fn section<T: DeserializeOwned + Default>(&self, name: &str, problems: &mut Problems) -> T {
        let Some(value) = self.table.get(name) else { return T::default() };
        let mut value = value.clone();
        // Each round removes or replaces one value; there are no more rounds than values.
        for _ in 0..=count_values(&value) * 2 {
            let error = match serde_path_to_error::deserialize::<_, T>(value.clone()) {
                Ok(raw) => return raw,
                Err(error) => error,
            };
            let path = segments(error.path());
            let key = dotted(name, &path);
            let message = error.into_inner().to_string();
            if !self.as_typed(&key, &path, &mut value) {
                let found = at(&value, &path).map(shown).unwrap_or_default();
                problems.0.push(Problem {
                    message: format!("{found}{}{}", reworded(&message), self.place(&key)),
                    key,
                });
                if path.is_empty() || !remove(&mut value, &path) {
                    return T::default();
                }
            }
        }
        T::default()
    }

    /// A value from the environment or the command line that was read as a number or a date where a string is
    /// wanted is given back as the text that was typed.
    fn as_typed(&self, key: &str, path: &[String], value: &mut Value) -> bool {
        let Some(typed) = self.typed.get(key) else { return false };
        match at_mut(value, path) {
            Some(place) if !place.is_str() => {
                *place = Value::String(typed.text.clone());
                true
            }
            _ => false,
        }
    }

    fn place(&self, key: &str) -> String {
        match self.source(key) {
            Source::Default => String::new(),
            source => format!(" ({source})"),
        }
    }

    fn set(&mut self, path: &[String], typed: Typed, problems: &mut Problems) {
        let key = path.join(".");
        if path.iter().any(String::is_empty) {
            problems.add(key, format!("an empty part in the name ({})", typed.source));
            return;
        }
        let (Some((last, parents)), value) = (path.split_last(), value_of(&typed.text)) else { return };
        let mut table = &mut self.table;
        for part in parents {
            let entry = table.entry(part.clone()).or_insert_with(|| Value::Table(Table::new()));
            match entry {
                Value::Table(inner) => table = inner,
                other => {
                    let found = shown(other);
                    problems
                        .add(key, format!("{found}`{part}` is a value, not a section ({})", typed.source));
                    return;
                }
            }
        }
        table.insert(last.clone(), value);
        self.typed.retain(|known, _| !known.starts_with(&format!("{key}.")));
        self.typed.insert(key, typed);
    }
}

/// `a.b=c`: the key in TOML's own notation, so that a part with dots can be quoted.
fn split_set(argument: &str) -> Result<(Vec<String>, String), String> {
    let wanted = || format!("`{argument}` is not `section.key=value`");
    let (key, text) = argument.split_once('=').ok_or_else(wanted)?;
    let mut table: Table = format!("{key} = 0").parse().map_err(|_| wanted())?;
    let mut path = Vec::new();
    loop {
        let (name, value) = table.into_iter().next().ok_or_else(wanted)?;
        path.push(name);
        match value {
            Value::Table(inner) => table = inner,
            _ => return Ok((path, text.trim().to_owned())),
        }
    }
}

fn value_of(text: &str) -> Value {
    let document = format!("value = {text}");
    match document
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value").filter(|_| table.is_empty()))
    {
        Some(value) => value,
        None => Value::String(text.to_owned()),
    }
}

fn segments(path: &serde_path_to_error::Path) -> Vec<String> {
    use serde_path_to_error::Segment;
    path.iter()
        .filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

fn dotted(name: &str, path: &[String]) -> String {
    std::iter::once(name).chain(path.iter().map(String::as_str)).collect::<Vec<_>>().join(".")
}

fn look_up<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(table.get(*first)?, |value, part| child(value, part))
}

fn child<'a>(value: &'a Value, part: &str) -> Option<&'a Value> {
    match value {
        Value::Table(table) => table.get(part),
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        _ => None,
    }
}

fn at<'a>(value: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, part| child(value, part))
}

fn at_mut<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, part| match value {
        Value::Table(table) => table.get_mut(part),
        Value::Array(list) => list.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn remove(value: &mut Value, path: &[String]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    match at_mut(value, parents) {
        Some(Value::Table(table)) => table.remove(last).is_some(),
        Some(Value::Array(list)) => match last.parse::<usize>() {
            Ok(index) if index < list.len() => {
                list.remove(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

fn count_values(value: &Value) -> usize {
    match value {
        Value::Table(table) => 1 + table.values().map(count_values).sum::<usize>(),
        Value::Array(list) => 1 + list.iter().map(count_values).sum::<usize>(),
        _ => 1,
    }
}

fn shown(value: &Value) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    match value {
        Value::Table(_) => String::new(),
        other => {
            let text = other.to_string();
            let cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            format!("`{cut}{}`: ", if cut.len() < text.len() { "..." } else { "" })
        }
    }
}

/// serde lists what it knows; a near miss is named instead. The lines after the first repeat the key.
fn reworded(message: &str) -> String {
    let message = message.trim().lines().next().unwrap_or_default();
    let Some(rest) = message.strip_prefix("unknown field `") else { return message.to_owned() };
    let Some((found, rest)) = rest.split_once('`') else { return message.to_owned() };
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    format!("no such key; {}", suggestion(found, &known))
}

fn suggestion(found: &str, known: &[&str]) -> String {
    const NEAR_ENOUGH: f64 = 0.75;
    let near = known
        .iter()
        .map(|name| (strsim::jaro_winkler(found, name), *name))
        .filter(|(nearness, _)| *nearness >= NEAR_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => "nothing can be set here".to_owned(),
        None => format!("known are {}", known.join(", ")),
    }
}
