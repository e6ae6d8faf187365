//! `import`: files through the real door, of a running instance or of one started for the purpose.

use crate::cli::ImportArgs;
use crate::client::Client;
use crate::exit::{Outcome, Usage};
use crate::home::brief::{BriefHome, Closed};
use crate::import::time::Zone;
use crate::import::{Row, RowRules, Rows};
use crate::output::out;
use crate::progress::Progress;
use anyhow::{Context, Result, anyhow, bail};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Readings of one request: well below ingest's own bound, and half a duplicate horizon.
const BATCH_READINGS_MAX: usize = 500;
/// Tries of one batch before the import stops; each waits as long as ingest asks.
const TRIES_MAX: u32 = 60;
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
}

/// Runs the command.
///
/// # Errors
/// When a file cannot be read or ingest keeps refusing.
pub(crate) async fn run(args: ImportArgs) -> Result<Outcome> {
    let local = "http://127.0.0.1:8088";
    let url = args.url.clone().unwrap_or_else(|| local.to_owned());
    let client = Client::new(&url, args.key.as_deref())?;
    let running = args.url.is_some() || (args.config.data.is_none() && client.answers("/v1/readings").await);
    if running {
        let imported = send_files(&args, &client).await?;
        report(&args, &imported, None);
        return Ok(outcome(&imported));
    }
    let home = BriefHome::open(&args.config).await?;
    let client = Client::new(&home.ingest_url()?, None)?;
    let sent = send_files(&args, &client).await;
    let closed = home.close().await?;
    let imported = sent?;
    report(&args, &imported, Some(&closed));
    if closed.balanced { Ok(outcome(&imported)) } else { Ok(Outcome::Negative) }
}

fn outcome(imported: &Imported) -> Outcome {
    if imported.rejected > 0 && imported.accepted == 0 { Outcome::Negative } else { Outcome::Done }
}

fn report(args: &ImportArgs, imported: &Imported, closed: Option<&Closed>) {
    if args.json {
        out!("{}", json!({ "imported": imported, "home": closed }));
        return;
    }
    let Imported { rows, accepted, rejected, devices, ends } = imported;
    out!("{rows} rows, {accepted} accepted, {rejected} refused, {devices} devices, {ends} end records");
    if let Some(closed) = closed {
        out!("{closed}");
    }
}

async fn send_files(args: &ImportArgs, client: &Client) -> Result<Imported> {
    let zone =
        Zone::named(args.time_zone.as_deref()).map_err(|error| Usage(format!("--time-zone: {error:#}")))?;
    let pace = Pace::parse(&args.rate)?;
    let rules = RowRules {
        device: args.device.clone(),
        time_column: args.time_column.clone().unwrap_or_else(|| "ts".to_owned()),
        zone,
    };
    let mut progress = Progress::of_files("importing", &args.files);
    let mut sender =
        Sender { client, imported: Imported::default(), devices: BTreeSet::new(), pace, begun: None };
    for path in &args.files {
        let mut rows = Rows::open(path, &rules)?;
        let mut batch: Vec<Row> = Vec::with_capacity(BATCH_READINGS_MAX);
        while let Some(row) = rows.next_row()? {
            batch.push(row);
            if batch.len() == BATCH_READINGS_MAX || sender.pace.is_paced() {
                sender.send(&mut batch, &mut progress).await?;
            }
        }
        sender.send(&mut batch, &mut progress).await?;
    }
    if args.close {
        sender.close().await?;
    }
    progress.finish();
    sender.imported.devices = sender.devices.len() as u64;
    Ok(sender.imported)
}

struct Sender<'a> {
    client: &'a Client,
    imported: Imported,
    devices: BTreeSet<String>,
    pace: Pace,
    begun: Option<(Instant, i64)>,
}

impl Sender<'_> {
    async fn send(&mut self, batch: &mut Vec<Row>, progress: &mut Progress) -> Result<()> {
        let Some(last) = batch.last() else { return Ok(()) };
        self.keep_pace(last.event_time).await;
        let lines: Vec<&str> = batch.iter().map(|row| row.json.as_str()).collect();
        let answer = self.post("/v1/readings", "application/x-ndjson", lines.join("\n")).await?;
        let accepted = answer["accepted"].as_u64().context("ingest's answer lacks `accepted`")?;
        let refusals = answer["rejected"].as_array().map(Vec::as_slice).unwrap_or_default();
        for refusal in refusals {
            if self.imported.rejected < REFUSALS_SHOWN_MAX {
                let row = self.imported.rows + refusal["index"].as_u64().unwrap_or_default() + 1;
                let detail = refusal["detail"].as_str().unwrap_or_default();
                progress.say(&format!("row {row} refused: {detail}"));
            }
            self.imported.rejected += 1;
        }
        self.imported.rows += batch.len() as u64;
        self.imported.accepted += accepted;
        self.devices.extend(batch.drain(..).map(|row| row.device));
        progress.advance_to(self.imported.rows);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        for device in &self.devices {
            let body = json!({ "device_id": device }).to_string();
            self.post("/v1/ends", "application/json", body).await?;
            self.imported.ends += 1;
        }
        Ok(())
    }

    /// Posts until it is acknowledged; the sequence numbers make a repetition harmless.
    async fn post(&self, path: &str, content_type: &str, body: String) -> Result<Value> {
        let mut last = anyhow!("not tried");
        for _ in 0..TRIES_MAX {
            let sent = self.client.send(Method::POST, path, Some((content_type, body.clone()))).await;
            let wait = match sent {
                Ok(answer) if answer.status.is_success() => return Ok(answer.body),
                // Every reading of the batch was refused: an answer like any other, each with its reason.
                Ok(answer)
                    if answer.status == StatusCode::BAD_REQUEST && answer.body.get("rejected").is_some() =>
                {
                    let mut body = answer.body;
                    body["accepted"] = json!(0);
                    return Ok(body);
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
            tokio::time::sleep(wait).await;
        }
        Err(last.context(format!("ingest did not take a batch in {TRIES_MAX} tries")))
    }

    async fn keep_pace(&mut self, event_time: Option<i64>) {
        let (Pace::Times(factor), Some(now)) = (&self.pace, event_time) else { return };
        let (begun, first) = *self.begun.get_or_insert_with(|| (Instant::now(), now));
        let passed = Duration::from_micros(u64::try_from(now.saturating_sub(first)).unwrap_or(0));
        tokio::time::sleep_until((begun + passed.div_f64(*factor)).into()).await;
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
