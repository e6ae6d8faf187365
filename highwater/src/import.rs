//! Files of readings turned into the JSON readings that ingest takes.
//!
//! Lives here: rows to readings (CSV columns, event times with zones, NDJSON passed through). Does not live here:
//! sending them (`commands::import`).
//!
//! Invariants: row order is kept; each reading gets a `seq` (its row) and a `boot` (the file), unless it has its
//! own, so that a batch sent twice is aggregated once; an empty CSV cell is absent, never null; a row that is no
//! reading goes to ingest as it is, so that it becomes a dead letter with the reason instead of being left out.

pub(crate) mod time;

use crate::exit::Usage;
use anyhow::{Context, Result};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use time::{TimeError, Zone};

/// How rows become readings.
#[derive(Clone, Debug)]
pub(crate) struct RowRules {
    /// Device of every row; else the column `device_id`.
    pub(crate) device: Option<String>,
    /// Column of the event time.
    pub(crate) time_column: String,
    /// Zone of times without offset.
    pub(crate) zone: Zone,
}

/// One reading, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Its place in the file, from 1, the header not counted.
    pub(crate) number: u64,
    /// Its device, when it names one.
    pub(crate) device: Option<String>,
    /// Its event time in microseconds, for pacing; none when the file leaves it to the journal.
    pub(crate) event_time: Option<i64>,
    /// JSON object; for a row that is none, what stands there, on one line.
    pub(crate) json: String,
    /// Why it is none, where the file tells and ingest cannot know.
    pub(crate) why: Option<String>,
}

/// A file being read.
pub(crate) struct Rows {
    path: PathBuf,
    rules: RowRules,
    boot: String,
    number: u64,
    source: Source,
}

enum Source {
    Csv { reader: Box<csv::Reader<File>>, columns: Vec<String> },
    Lines(BufReader<File>),
}

impl Rows {
    /// Opens a file: `.csv` by its header line, everything else as NDJSON.
    ///
    /// # Errors
    /// When it cannot be opened, or its header lacks a column that the rules name.
    pub(crate) fn open(path: &Path, rules: &RowRules) -> Result<Self> {
        let named = || format!("reading {}", path.display());
        let boot = identity(path).with_context(named)?;
        let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        let file = File::open(path).with_context(named)?;
        let source = if is_csv {
            let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(file);
            let columns: Vec<String> =
                reader.headers().with_context(named)?.iter().map(str::to_owned).collect();
            let lacks = |message| Usage(format!("{}: {message}", path.display()));
            require(&columns, &rules.time_column, "--time-column").map_err(lacks)?;
            if rules.device.is_none() {
                require(&columns, "device_id", "--device").map_err(lacks)?;
            }
            Source::Csv { reader: Box::new(reader), columns }
        } else {
            Source::Lines(BufReader::new(file))
        };
        Ok(Self { path: path.to_owned(), rules: rules.clone(), boot, number: 0, source })
    }

    /// The next reading; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read on, or times lack a zone, naming file and row.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row>> {
        let found = self.next_object().with_context(|| self.place(self.number + 1))?;
        self.number += 1;
        match found {
            None => Ok(None),
            Some(Found::Object(object)) => {
                self.finish(object).with_context(|| self.place(self.number)).map(Some)
            }
            Some(Found::Other(text, why)) => {
                let json = text.replace(['\n', '\r'], " ");
                Ok(Some(Row { number: self.number, device: None, event_time: None, json, why }))
            }
        }
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a row stands.
    pub(crate) fn place(&self, number: u64) -> String {
        format!("{}, row {number}", self.path.display())
    }

    fn next_object(&mut self) -> Result<Option<Found>> {
        match &mut self.source {
            Source::Csv { reader, columns } => {
                let mut record = csv::StringRecord::new();
                if !reader.read_record(&mut record)? {
                    return Ok(None);
                }
                if record.len() != columns.len() {
                    let cells: Vec<&str> = record.iter().collect();
                    let why = format!("it has {} cells, the first line has {}", record.len(), columns.len());
                    return Ok(Some(Found::Other(cells.join(","), Some(why))));
                }
                let cells = columns.iter().zip(record.iter());
                let named = cells.filter(|(column, cell)| !column.is_empty() && !cell.is_empty());
                let object = named.map(|(column, cell)| (column.clone(), cell_value(cell)));
                Ok(Some(Found::Object(object.collect())))
            }
            Source::Lines(reader) => {
                let mut line = String::new();
                loop {
                    line.clear();
                    if reader.read_line(&mut line)? == 0 {
                        return Ok(None);
                    }
                    let text = line.trim();
                    if !text.is_empty() {
                        let object = serde_json::from_str(text).ok();
                        return Ok(Some(
                            object.map_or_else(|| Found::Other(text.to_owned(), None), Found::Object),
                        ));
                    }
                }
            }
        }
    }

    fn finish(&self, mut object: Map<String, Value>) -> Result<Row> {
        if let Some(device) = &self.rules.device {
            object.insert("device_id".to_owned(), Value::from(device.as_str()));
        }
        let device = match object.get("device_id") {
            Some(Value::String(device)) => Some(device.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        if let Some(device) = &device {
            object.insert("device_id".to_owned(), Value::from(device.as_str()));
        }
        let found = object.remove(&self.rules.time_column).filter(|found| !found.is_null());
        let event_time = match found.as_ref().map(|found| self.rules.zone.micros(found)) {
            None => None,
            Some(Ok(micros)) => Some(micros),
            Some(Err(TimeError::NoZone(text))) => {
                return Err(Usage(TimeError::NoZone(text).to_string()).into());
            }
            // Ingest refuses it, with the text in the dead letter.
            Some(Err(TimeError::NoTime(_))) => None,
        };
        if let Some(found) = found {
            object.insert("ts".to_owned(), event_time.map_or(found, Value::from));
        }
        if !object.contains_key("seq") {
            object.insert("seq".to_owned(), Value::from(self.number));
            object.insert("boot".to_owned(), Value::from(self.boot.as_str()));
        }
        let json = Value::Object(object).to_string();
        Ok(Row { number: self.number, device, event_time, json, why: None })
    }
}

enum Found {
    Object(Map<String, Value>),
    /// No object, or not as many cells as the header has.
    Other(String, Option<String>),
}

fn require(columns: &[String], column: &str, flag: &str) -> Result<(), String> {
    if columns.iter().any(|found| found == column) {
        return Ok(());
    }
    match columns {
        [] => Err("the file is empty; its first line names the columns".to_owned()),
        [only] if only.contains([';', '\t']) => {
            Err(format!("columns are separated by commas, and the first line has none: {only}"))
        }
        _ => Err(format!("no column `{column}` (there are {}): name one with {flag}", columns.join(", "))),
    }
}

/// A cell is a number, a boolean, or text; a number that is none (`NaN`, `inf`) is a value that was measured and is
/// not there.
fn cell_value(cell: &str) -> Value {
    match cell {
        "true" | "TRUE" | "True" => Value::Bool(true),
        "false" | "FALSE" | "False" => Value::Bool(false),
        _ => match cell.parse::<f64>() {
            Ok(number) => serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number),
            Err(_) => Value::from(cell),
        },
    }
}

/// What makes two imports of one file the same: its length and its first mebibyte.
fn identity(path: &Path) -> Result<String> {
    const SAMPLE_BYTES: u64 = 1 << 20;
    let file = File::open(path)?;
    let mut hash = Sha256::new();
    hash.update(file.metadata()?.len().to_be_bytes());
    let mut sample = Vec::new();
    file.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
    hash.update(&sample);
    let digest = hash.finalize();
    Ok(digest.iter().take(6).fold("import-".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, content: &str, rules: &RowRules) -> Result<Vec<Row>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join(name);
        std::fs::write(&path, content)?;
        let mut rows = Rows::open(&path, rules)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next_row()? {
            all.push(row);
        }
        Ok(all)
    }

    fn rules(time_column: &str) -> RowRules {
        RowRules {
            device: Some("machine-1".to_owned()),
            time_column: time_column.to_owned(),
            zone: Zone::named(Some("UTC")).expect("UTC"),
        }
    }

    #[test]
    fn csv_cells_become_numbers_booleans_tags_or_nothing() {
        let all = rows(
            "a.csv",
            "timestamp,value,on,note\n2013-12-02 21:15:00,73.5,true,ok\n2013-12-02 21:20:00,,,\n",
            &rules("timestamp"),
        );
        let all = all.expect("readable");
        let first: Value = serde_json::from_str(&all[0].json).expect("json");
        assert_eq!(first["value"], 73.5);
        assert_eq!(first["on"], true);
        assert_eq!(first["note"], "ok");
        assert_eq!(first["ts"], 1_386_018_900_000_000_i64);
        assert_eq!(first["seq"], 1);
        let second: Value = serde_json::from_str(&all[1].json).expect("json");
        assert!(second.get("value").is_none(), "an empty cell is absent, not null");
    }

    #[test]
    fn a_number_that_is_none_is_null_and_a_column_without_name_is_nobody_s() {
        let all = rows("a.csv", "timestamp,a,b,\n2013-12-02 21:15:00,NaN,-inf,x\n", &rules("timestamp"));
        let only: Value = serde_json::from_str(&all.expect("readable")[0].json).expect("json");
        assert!(only["a"].is_null() && only["b"].is_null(), "{only}");
        assert!(only.get("").is_none() && only.get("a").is_some(), "{only}");
    }

    #[test]
    fn a_missing_column_is_named_with_the_columns_there_are() {
        for (text, told) in [
            ("when,value\n1,2\n", "no column `timestamp` (there are when, value)"),
            ("when;value\n1;2\n", "separated by commas"),
            ("", "the file is empty"),
        ] {
            let error = rows("a.csv", text, &rules("timestamp")).expect_err("no such column");
            assert!(format!("{error:#}").contains(told), "{error:#}");
            assert!(error.downcast_ref::<Usage>().is_some(), "used wrongly: {error:#}");
        }
    }

    #[test]
    fn what_is_no_reading_is_passed_on_in_its_place() {
        let csv = "timestamp,value\n2021-08-01 19:48:00\nsoon,1\n2021-08-01 19:48:05,2\n";
        let all = rows("a.csv", csv, &rules("timestamp")).expect("readable");
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].number, all[0].json.as_str()), (1, "2021-08-01 19:48:00"));
        assert_eq!(all[0].why.as_deref(), Some("it has 1 cells, the first line has 2"));
        let soon: Value = serde_json::from_str(&all[1].json).expect("json");
        assert_eq!(soon["ts"], "soon", "for ingest to refuse");
        assert_eq!(all[2].number, 3);
        let lines = "{\"temp\":1}\nbroken\n[1]\n";
        let none = RowRules { device: None, ..rules("ts") };
        let all = rows("a.ndjson", lines, &none).expect("readable");
        assert_eq!(all.iter().map(|row| row.device.as_ref()).collect::<Vec<_>>(), [None, None, None]);
        assert_eq!(all[1].json, "broken");
    }

    #[test]
    fn times_without_zone_stop_at_once() {
        let none = RowRules { zone: Zone::named(None).expect("none"), ..rules("timestamp") };
        let error = rows("a.csv", "timestamp,value\n2021-08-01 19:48:00,1\n", &none).expect_err("ambiguous");
        let told = format!("{error:#}");
        assert!(told.contains("--time-zone") && told.contains("row 1"), "{told}");
        assert!(error.downcast_ref::<Usage>().is_some(), "{told}");
    }

    #[test]
    fn a_line_with_its_own_sequence_keeps_it() {
        let all =
            rows("a.ndjson", "{\"ts\":1627847280,\"temp\":1,\"seq\":9}\n\n", &rules("ts")).expect("readable");
        let only: Value = serde_json::from_str(&all[0].json).expect("json");
        assert_eq!(only["seq"], 9);
        assert!(only.get("boot").is_none());
    }
}
