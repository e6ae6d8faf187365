//! Files of readings turned into the JSON readings that ingest takes.
//!
//! Lives here: rows to readings (CSV columns, event times with zones, NDJSON passed through). Does not live here:
//! sending them (`commands::import`).
//!
//! Invariants: row order is kept; each reading gets a `seq` (its row) and a `boot` (the file), unless it has its
//! own, so that a batch sent twice is aggregated once; an empty CSV cell is absent, never null.

pub(crate) mod time;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use time::Zone;

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
    /// Its device.
    pub(crate) device: String,
    /// Its event time in microseconds, for pacing; none when the file leaves it to the journal.
    pub(crate) event_time: Option<i64>,
    /// JSON object.
    pub(crate) json: String,
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
            let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
            let columns: Vec<String> =
                reader.headers().with_context(named)?.iter().map(str::to_owned).collect();
            require(&columns, &rules.time_column, "--time-column").with_context(named)?;
            if rules.device.is_none() {
                require(&columns, "device_id", "--device").with_context(named)?;
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
    /// When the row cannot be read, naming file and row.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row>> {
        let Some(object) = self.next_object().with_context(|| self.place())? else { return Ok(None) };
        self.number += 1;
        self.finish(object).with_context(|| self.place()).map(Some)
    }

    fn place(&self) -> String {
        format!("{}, row {}", self.path.display(), self.number)
    }

    fn next_object(&mut self) -> Result<Option<Map<String, Value>>> {
        match &mut self.source {
            Source::Csv { reader, columns } => {
                let mut record = csv::StringRecord::new();
                if !reader.read_record(&mut record)? {
                    return Ok(None);
                }
                let cells = columns.iter().zip(record.iter()).filter(|(_, cell)| !cell.is_empty());
                Ok(Some(cells.map(|(column, cell)| (column.clone(), cell_value(cell))).collect()))
            }
            Source::Lines(reader) => {
                let mut line = String::new();
                loop {
                    line.clear();
                    if reader.read_line(&mut line)? == 0 {
                        return Ok(None);
                    }
                    if !line.trim().is_empty() {
                        return Ok(Some(serde_json::from_str(&line).context("not a JSON object")?));
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
            Some(Value::String(device)) => device.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => bail!("no `device_id`: name a column so, or give --device"),
        };
        object.insert("device_id".to_owned(), Value::from(device.as_str()));
        let event_time = match object.remove(&self.rules.time_column) {
            None | Some(Value::Null) => None,
            Some(found) => Some(self.rules.zone.micros(&found)?),
        };
        if let Some(micros) = event_time {
            object.insert("ts".to_owned(), Value::from(micros));
        }
        if !object.contains_key("seq") {
            object.insert("seq".to_owned(), Value::from(self.number));
            object.insert("boot".to_owned(), Value::from(self.boot.as_str()));
        }
        Ok(Row { device, event_time, json: Value::Object(object).to_string() })
    }
}

fn require(columns: &[String], column: &str, flag: &str) -> Result<()> {
    if columns.iter().any(|found| found == column) {
        return Ok(());
    }
    Err(anyhow!("no column `{column}` (there are {}): name one with {flag}", columns.join(", ")))
}

/// A cell is a number, a boolean, or text.
fn cell_value(cell: &str) -> Value {
    match cell {
        "true" | "TRUE" | "True" => Value::Bool(true),
        "false" | "FALSE" | "False" => Value::Bool(false),
        _ => match cell.parse::<f64>().ok().and_then(serde_json::Number::from_f64) {
            Some(number) => Value::Number(number),
            None => Value::from(cell),
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
    fn a_missing_column_is_named_with_the_columns_there_are() {
        let error = rows("a.csv", "when,value\n1,2\n", &rules("timestamp")).expect_err("no such column");
        assert!(format!("{error:#}").contains("no column `timestamp` (there are when, value)"), "{error:#}");
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
