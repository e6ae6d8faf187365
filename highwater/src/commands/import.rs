//! `import`: files through the real door, of a running instance or of one started for the purpose.

use crate::cli::ImportArgs;
use crate::client::Client;
use crate::exit::{Outcome, Usage};
use crate::home::brief::{BriefHome, Closed};
use crate::import::time::Zone;
use crate::import::{Row, RowRules, Rows};
use crate::interrupt::Interrupt;
use crate::output::out;
use crate::progress::Progress;
use anyhow::{Context, Result, anyhow, bail};
use journal::port::JournalError;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Readings of one request: well below ingest's own bound, and half a duplicate horizon.
const BATCH_READINGS_MAX: usize = 500;
/// Tries of one batch before the import stops; each waits as long as ingest asks.
const TRIES_MAX: u32 = 60;
/// Where ingest is on this host.
const LOCAL: &str = "http://127.0.0.1:8088";
/// Refusals shown; all are counted, and all are dead letters.
const REFUSALS_SHOWN_MAX: u64 = 5;

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Imported {
    /// Rows read.
    pub(crate) rows: u64,
    /// Readings acknowledged.
    pub(crate) accepted: u64,
    /// Readings refused: each is a dead letter.
    pub(crate) rejected: u64,
    /// Devices seen.
    pub(crate) devices: u64,
    /// End records written.
    pub(crate) ends: u64,
    /// The file it was at last.
    pub(crate) file: String,
    /// The last row of it that was answered.
    pub(crate) row: u64,
}

/// How it ended.
#[derive(Debug)]
enum Ended {
    Whole,
    Interrupted,
    Failed(anyhow::Error),
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or ingest keeps refusing; what was acknowledged until then is reported all the same.
pub(crate) async fn run(args: ImportArgs) -> Result<Outcome> {
    let plan = Plan::of(&args)?;
    let client = Client::new(args.url.as_deref().unwrap_or(LOCAL), args.key.as_deref())?;
    if args.url.is_some() || args.config.data.is_none() && client.answers("/v1/readings").await {
        let (imported, ended) = send_files(&args, plan, &client, Interrupt::watch()?).await;
        return finish(&args, &imported, ended, None);
    }
    let home = BriefHome::open(&args.config).await.map_err(|error| match error.downcast_ref() {
        Some(JournalError::InUse { .. }) => {
            error.context("an instance has this home open: give --url, the address of its ingest")
        }
        _ => error,
    })?;
    let client = Client::new(&home.ingest_url()?, None)?;
    let (imported, ended) = send_files(&args, plan, &client, Interrupt::watch()?).await;
    let closed = home.close().await?;
    finish(&args, &imported, ended, Some(&closed))
}

fn finish(args: &ImportArgs, imported: &Imported, ended: Ended, closed: Option<&Closed>) -> Result<Outcome> {
    report(args, imported, closed);
    let outcome = match ended {
        Ended::Failed(error) => return Err(error),
        Ended::Interrupted => {
            eprintln!(
                "interrupted after row {} of {}; --skip {} goes on there",
                imported.row, imported.file, imported.row
            );
            Outcome::Interrupted
        }
        Ended::Whole if imported.rejected > 0 || closed.is_some_and(|closed| !closed.balanced) => {
            Outcome::Negative
        }
        Ended::Whole => Outcome::Done,
    };
    Ok(outcome)
}

fn report(args: &ImportArgs, imported: &Imported, closed: Option<&Closed>) {
    if args.json {
        out!("{}", json!({ "imported": imported, "home": closed }));
        return;
    }
    let Imported { rows, accepted, rejected, devices, ends, .. } = imported;
    out!("{rows} rows, {accepted} accepted, {rejected} refused, {devices} devices, {ends} end records");
    if let Some(closed) = closed {
        out!("{closed}");
        if !args.close {
            out!("windows still open are not among them: --close emits them");
        }
    }
}

/// Everything that can be wrong before the first row is sent.
struct Plan {
    pace: Pace,
    files: Vec<Rows>,
}

impl Plan {
    fn of(args: &ImportArgs) -> Result<Self> {
        let zone = Zone::named(args.time_zone.as_deref())
            .map_err(|error| Usage(format!("--time-zone: {error:#}")))?;
        let pace = Pace::parse(&args.rate)?;
        let time_column = args.time_column.clone().unwrap_or_else(|| "ts".to_owned());
        let rules = RowRules { device: args.device.clone(), time_column, zone };
        for path in &args.files {
            // A zone that is missing shows in the first row.
            Rows::open(path, &rules)?.next_row()?;
        }
        let files = args.files.iter().map(|path| Rows::open(path, &rules)).collect::<Result<_>>()?;
        Ok(Self { pace, files })
    }
}

async fn send_files(
    args: &ImportArgs,
    plan: Plan,
    client: &Client,
    interrupt: Interrupt,
) -> (Imported, Ended) {
    let Plan { pace, files } = plan;
    let mut sender = Sender {
        client,
        interrupt,
        imported: Imported::default(),
        devices: BTreeSet::new(),
        pace,
        begun: None,
        progress: Progress::of_files("importing", &args.files),
    };
    let mut sent = Ok(());
    let mut skip = args.skip;
    for rows in files {
        sent = sender.file(rows, std::mem::take(&mut skip)).await;
        if sent.is_err() || sender.interrupt.has_come() {
            break;
        }
    }
    if args.close && sent.is_ok() && !sender.interrupt.has_come() {
        sent = sender.close().await;
    }
    sender.imported.devices = sender.devices.len() as u64;
    sender.progress.finish();
    let ended = match sent {
        Err(error) => Ended::Failed(error),
        Ok(()) if sender.interrupt.has_come() => Ended::Interrupted,
        Ok(()) => Ended::Whole,
    };
    (sender.imported, ended)
}

struct Sender<'a> {
    client: &'a Client,
    interrupt: Interrupt,
    imported: Imported,
    devices: BTreeSet<String>,
    pace: Pace,
    begun: Option<(Instant, i64)>,
    progress: Progress,
}

impl Sender<'_> {
    /// Until its end, or an interruption between two requests.
    async fn file(&mut self, mut rows: Rows, skip: u64) -> Result<()> {
        self.imported.file = rows.path().display().to_string();
        self.imported.row = 0;
        let mut batch: Vec<Row> = Vec::with_capacity(BATCH_READINGS_MAX);
        loop {
            let row = match rows.next_row() {
                Ok(row) => row,
                Err(error) => {
                    // What stands before the row that stops the import is sent all the same.
                    self.send(&rows, &mut batch).await?;
                    return Err(error);
                }
            };
            let end = row.is_none();
            batch.extend(row.filter(|row| row.number > skip));
            if end || batch.len() == BATCH_READINGS_MAX || self.pace.is_paced() {
                self.send(&rows, &mut batch).await?;
            }
            if end || self.interrupt.has_come() {
                return Ok(());
            }
        }
    }

    async fn send(&mut self, rows: &Rows, batch: &mut Vec<Row>) -> Result<()> {
        let Some(last) = batch.last() else { return Ok(()) };
        let last_number = last.number;
        self.keep_pace(last.event_time).await;
        let lines: Vec<&str> = batch.iter().map(|row| row.json.as_str()).collect();
        let answer = self.post("/v1/readings", "application/x-ndjson", lines.join("\n")).await?;
        let Some(answer) = answer else { return Ok(()) };
        let accepted = answer["accepted"].as_u64().context("ingest's answer lacks `accepted`")?;
        let refusals = answer["rejected"].as_array().map(Vec::as_slice).unwrap_or_default();
        for refusal in refusals {
            if self.imported.rejected < REFUSALS_SHOWN_MAX {
                let row = refusal["index"].as_u64().and_then(|index| batch.get(usize::try_from(index).ok()?));
                let place = rows.place(row.map_or(0, |row| row.number));
                let told = row.and_then(|row| row.why.as_deref());
                let detail = told.or(refusal["detail"].as_str()).unwrap_or_default();
                self.progress.say(&format!("{place} refused: {detail}"));
            }
            self.imported.rejected += 1;
        }
        self.imported.rows += batch.len() as u64;
        self.imported.row = last_number;
        self.imported.accepted += accepted;
        self.devices.extend(batch.drain(..).filter_map(|row| row.device));
        self.progress.advance_to(self.imported.rows);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        for device in &self.devices {
            let body = json!({ "device_id": device }).to_string();
            if self.post("/v1/ends", "application/json", body).await?.is_some() {
                self.imported.ends += 1;
            }
        }
        Ok(())
    }

    /// Posts until it is acknowledged; the sequence numbers make a repetition harmless. None: interrupted before.
    async fn post(&self, path: &str, content_type: &str, body: String) -> Result<Option<Value>> {
        let mut last = anyhow!("not tried");
        for _ in 0..TRIES_MAX {
            if self.interrupt.has_come() {
                return Ok(None);
            }
            let sent = self.client.send(Method::POST, path, Some((content_type, body.clone()))).await;
            let wait = match sent {
                Ok(answer) if answer.status.is_success() => return Ok(Some(answer.body)),
                // Every reading of the batch was refused: an answer like any other, each with its reason.
                Ok(answer)
                    if answer.status == StatusCode::BAD_REQUEST && answer.body.get("rejected").is_some() =>
                {
                    let mut body = answer.body;
                    body["accepted"] = json!(0);
                    return Ok(Some(body));
                }
                Ok(answer) if is_busy(answer.status) => {
                    last = anyhow!("{}", answer.problem());
                    Duration::from_secs(answer.retry_after.unwrap_or(1))
                }
                Ok(answer) => bail!("ingest refused the request: {}", answer.problem()),
                Err(error) => {
                    last = error;
                    Duration::from_secs(1)
                }
            };
            tokio::select! {
                () = self.interrupt.come() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        Err(last.context(format!("ingest did not take a batch in {TRIES_MAX} tries")))
    }

    async fn keep_pace(&mut self, event_time: Option<i64>) {
        let (Pace::Times(factor), Some(now)) = (&self.pace, event_time) else { return };
        let (begun, first) = *self.begun.get_or_insert_with(|| (Instant::now(), now));
        let passed = Duration::from_micros(u64::try_from(now.saturating_sub(first)).unwrap_or(0));
        tokio::select! {
            () = self.interrupt.come() => {}
            () = tokio::time::sleep_until((begun + passed.div_f64(*factor)).into()) => {}
        }
    }
}

const fn is_busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// How fast readings are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pace {
    /// As fast as they are acknowledged.
    Max,
    /// So many times as fast as their event times.
    Times(f64),
}

impl Pace {
    fn parse(text: &str) -> Result<Self> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.strip_suffix('x').and_then(|number| number.parse::<f64>().ok()) {
            Some(factor) if factor.is_finite() && factor > 0.0 => Ok(Self::Times(factor)),
            _ => Err(Usage(format!("--rate: `{text}` is neither `max` nor a multiple like `60x`")).into()),
        }
    }

    const fn is_paced(self) -> bool {
        matches!(self, Self::Times(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_max_or_a_multiple() {
        assert_eq!(Pace::parse("max").expect("max"), Pace::Max);
        assert_eq!(Pace::parse("60x").expect("60x"), Pace::Times(60.0));
        for wrong in ["", "60", "-1x", "0x", "fast", "infx"] {
            assert!(Pace::parse(wrong).is_err(), "{wrong}");
        }
    }
}
