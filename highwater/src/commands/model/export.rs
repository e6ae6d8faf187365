//! `model export-rows`: what a model would have been given, as CSV.

use crate::cli::ExportArgs;
use crate::config::{Base, Settings};
use crate::exit::{Outcome, Usage};
use crate::home::history;
use crate::import::time::Zone;
use anyhow::{Context, Result};
use processor::ops::{Exported, OpsError, TrainingRow};
use schemas::Micros;
use schemas::pipeline::{Inputs, Model};
use serde_json::Value;
use std::cell::RefCell;
use std::fs::File;
use std::io::{Write, stdout};
use std::ops::Range;

/// Runs the command.
///
/// # Errors
/// When the home cannot be read, no model is called so, or the rows cannot be written.
pub(super) async fn run(args: ExportArgs) -> Result<Outcome> {
    let settings = Settings::load(&args.config, Base::Job)?;
    let span = span(&args)?;
    let exported = tokio::task::spawn_blocking(move || {
        let exported = export(&args, &settings, span)?;
        Ok::<_, anyhow::Error>((args, exported))
    });
    let (args, exported) = exported.await.context("exporting")??;
    let Exported { records, rows, cut_partitions } = exported;
    eprintln!("{rows} rows of `{}` from {records} records", args.name);
    if cut_partitions > 0 {
        eprintln!(
            "the log of {cut_partitions} partitions does not have its beginning any more: their first rows may differ from those \
             that were scored"
        );
    }
    Ok(Outcome::Done)
}

/// Into the file, which is what it was until all rows are there.
fn export(args: &ExportArgs, settings: &Settings, span: Range<Micros>) -> Result<Exported> {
    let Some(path) = &args.out else { return write(args, settings, span, Box::new(stdout().lock())) };
    let part = path.with_added_extension("part");
    let rows = File::create(&part).with_context(|| format!("writing {}", part.display()))?;
    let exported = write(args, settings, span, Box::new(rows));
    let placed = exported.and_then(|exported| {
        std::fs::rename(&part, path).with_context(|| format!("writing {}", path.display()))?;
        Ok(exported)
    });
    if placed.is_err() {
        // Why is said already.
        let _ = std::fs::remove_file(&part);
    }
    placed
}

fn write(
    args: &ExportArgs,
    settings: &Settings,
    span: Range<Micros>,
    target: Box<dyn Write>,
) -> Result<Exported> {
    let table = RefCell::new(csv::Writer::from_writer(target));
    let file = args.config.config.as_ref().map(|_| &settings.pipeline);
    let mut begin = |model: &Model| Ok(table.borrow_mut().write_record(header(model))?);
    let mut each = |row: &TrainingRow<'_>| {
        let written = table.borrow_mut().write_record(record(row));
        written.map_err(|why| OpsError::Refused(format!("writing the rows: {why}")))
    };
    let exported = history::training_rows(settings, (&args.name, file), span, &mut begin, &mut each)?;
    table.borrow_mut().flush().context("writing the rows")?;
    Ok(exported)
}

fn header(model: &Model) -> Vec<String> {
    let mut header = vec!["device_id".to_owned(), "event_time".to_owned()];
    match &model.inputs {
        Inputs::Each(_) => header.extend(["metric".to_owned(), "value".to_owned()]),
        Inputs::Columns(names) => header.extend(names.iter().cloned()),
        Inputs::Windows { features, .. } => {
            header.push("metric".to_owned());
            header.extend(features.iter().map(|feature| feature.as_str().to_owned()));
        }
    }
    header
}

/// What is missing is an empty cell.
fn record(row: &TrainingRow<'_>) -> Vec<String> {
    let mut cells = vec![row.device_id.to_owned(), chassis::clock::rfc3339(row.event_time)];
    cells.extend(row.metric.map(str::to_owned));
    cells.extend(
        row.values.iter().map(|value| if value.is_nan() { String::new() } else { value.to_string() }),
    );
    cells
}

/// Event times from, and below.
fn span(args: &ExportArgs) -> Result<Range<Micros>> {
    let utc = Zone::named(None)?;
    let time = |flag: &str, text: &Option<String>, or: Micros| match text {
        None => Ok(or),
        Some(text) => {
            utc.micros(&Value::from(text.as_str())).map_err(|why| Usage(format!("--{flag}: {why}")))
        }
    };
    Ok(time("from", &args.from, Micros::MIN)?..time("to", &args.to, Micros::MAX)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_line_that_reads_back_as_the_same_numbers() {
        let values = [0.1 + 0.2, f64::NAN, -1e-300];
        let row = TrainingRow { device_id: "d", event_time: 1_500_000, metric: None, values: &values };
        let cells = record(&row);
        assert_eq!(&cells[..2], ["d", "1970-01-01T00:00:01.5Z"]);
        assert_eq!(cells[2].parse::<f64>(), Ok(values[0]));
        assert_eq!((cells[3].as_str(), cells[4].parse::<f64>()), ("", Ok(values[2])));
    }
}
