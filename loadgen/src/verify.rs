//! Compares what the query API serves with the truth: no window missing, none too many, none doubled; counts,
//! least and greatest values exact, means to 1e-9.

use crate::Micros;
use crate::device::rfc3339;
use crate::http;
use crate::truth::{Anomaly, AnomalyKind, Expected, Series, Truth, TruthWindow, WindowsOf};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Rows asked for at once.
const PAGE: u32 = 1_000;
/// Differences that are kept; [`Verification::different`] counts all.
const DIFFERENCES_MAX: usize = 50;
/// Greatest relative error of a mean: sums may have been taken in another order.
const MEAN_ERROR_MAX: f64 = 1e-9;

/// One thing that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Where.
    #[serde(flatten)]
    pub series: Series,
    /// Start of the window, RFC 3339.
    pub start: String,
    /// What is different.
    pub what: String,
}

/// The outcome of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verification {
    /// Nothing is different.
    pub ok: bool,
    /// Series compared.
    pub series_checked: u64,
    /// Windows compared.
    pub windows_checked: u64,
    /// Readings that the truth holds.
    pub readings: u64,
    /// Differences found.
    pub different: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// Spikes that were put in. How many a model finds is the model's affair and no difference.
    pub spikes: u64,
    /// Those with an alert at their time.
    pub spikes_alerted: u64,
}

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The API did not answer, or with something else than a list.
    #[error("{url}: {why}")]
    Query {
        /// What was asked.
        url: String,
        /// What came.
        why: String,
    },
}

#[derive(Deserialize)]
struct Listed<T> {
    items: Vec<T>,
    next: Option<String>,
}

#[derive(Deserialize)]
struct AlertRow {
    kind: String,
    event_time: String,
}

/// A window as the API serves it; other fields are none of ours.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    start: String,
    end: String,
    count: u64,
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
}

/// Asks the query API at `base` (such as `http://127.0.0.1:8080`), with an API key if it wants one, for every series
/// of the truth.
///
/// # Errors
/// [`VerifyError`] when it cannot be asked; differences are no error.
pub async fn verify(truth: &Truth, base: &str, key: Option<&str>) -> Result<Verification, VerifyError> {
    let client = http::client(key).map_err(|error| failed(base, &error))?;
    let mut found = Verification { readings: truth.aggregated, ..Verification::default() };
    for (series, expected) in &truth.expected {
        let rows = fetch(&client, base, series).await?;
        let size = truth.windows.iter().find(|window| window.name == series.window);
        compare(series, size, expected, &rows, &mut found);
    }
    (found.spikes, found.spikes_alerted) = spikes(&client, base, truth).await?;
    found.ok = found.different == 0;
    Ok(found)
}

fn failed(url: &str, why: &dyn std::fmt::Display) -> VerifyError {
    VerifyError::Query { url: url.to_owned(), why: why.to_string() }
}

/// Every stored window of a series.
async fn fetch(client: &reqwest::Client, base: &str, series: &Series) -> Result<Vec<Row>, VerifyError> {
    let path = format!("/v1/devices/{}/windows", series.device_id);
    pages(client, base, &path, &[("metric", &series.metric), ("window", &series.window)]).await
}

/// All items of a list, page by page; nothing of a device that nothing was stored of yet.
async fn pages<T: DeserializeOwned>(
    client: &reqwest::Client,
    base: &str,
    path: &str,
    which: &[(&str, &str)],
) -> Result<Vec<T>, VerifyError> {
    let url = format!("{}{path}", base.trim_end_matches('/'));
    let limit = PAGE.to_string();
    let mut items: Vec<T> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        // All of time: readings of clocks that are wrong must not be found anywhere.
        let mut query = which.to_vec();
        query.extend([("from", "1970-01-01T00:00:00Z"), ("to", "2200-01-01T00:00:00Z"), ("limit", &limit)]);
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let response = client.get(&url).query(&query).send().await.map_err(|error| failed(&url, &error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| failed(&url, &error))?;
        if status.as_u16() == 404 {
            return Ok(items);
        }
        if !status.is_success() {
            return Err(failed(&url, &format!("{status}: {text}")));
        }
        let page: Listed<T> =
            serde_json::from_str(&text).map_err(|error| failed(&url, &format!("{error}: {text}")))?;
        items.extend(page.items);
        match page.next {
            Some(next) if Some(&next) != cursor.as_ref() => cursor = Some(next),
            Some(_) => return Err(failed(&url, &"the same page again")),
            None => return Ok(items),
        }
    }
}

/// How many spikes were put in, and how many of them have an alert of a model at their time.
async fn spikes(client: &reqwest::Client, base: &str, truth: &Truth) -> Result<(u64, u64), VerifyError> {
    let mut of_device: BTreeMap<&str, Vec<&Anomaly>> = BTreeMap::new();
    for anomaly in truth.anomalies.iter().filter(|anomaly| anomaly.kind == AnomalyKind::Spike) {
        of_device.entry(&anomaly.device_id).or_default().push(anomaly);
    }
    let (mut injected, mut alerted) = (0, 0);
    for (device, spikes) in of_device {
        let alerts: Vec<AlertRow> = pages(client, base, "/v1/alerts", &[("device", device)]).await?;
        for spike in spikes {
            // A sample may be taken a part of a period before or after its time.
            let slack = spike.to - spike.from;
            let span = spike.from - slack..spike.to + slack;
            let hit = |alert: &AlertRow| {
                alert.kind == "score" && instant(&alert.event_time).is_some_and(|at| span.contains(&at))
            };
            injected += 1;
            alerted += u64::from(alerts.iter().any(hit));
        }
    }
    Ok((injected, alerted))
}

fn compare(
    series: &Series,
    window: Option<&TruthWindow>,
    expected: &WindowsOf,
    rows: &[Row],
    found: &mut Verification,
) {
    found.series_checked += 1;
    let mut note = |start: Micros, what: String| {
        found.different += 1;
        if found.differences.len() < DIFFERENCES_MAX {
            found.differences.push(Difference { series: series.clone(), start: rfc3339(start), what });
        }
    };
    let mut stored: BTreeMap<Micros, &Row> = BTreeMap::new();
    let mut newest_first: Option<Micros> = None;
    for row in rows {
        let (Some(start), Some(end)) = (instant(&row.start), instant(&row.end)) else {
            note(0, format!("no times: `{}` and `{}`", row.start, row.end));
            continue;
        };
        if window.is_some_and(|window| end - start != window.size) {
            note(start, format!("ends at {}", row.end));
        }
        if newest_first.is_some_and(|before| before <= start) {
            note(start, "not newest first".into());
        }
        newest_first = Some(start);
        if stored.insert(start, row).is_some() {
            note(start, "there twice".into());
        }
    }
    let starts: BTreeSet<Micros> = stored.keys().chain(expected.keys()).copied().collect();
    let mut checked = 0;
    for start in starts {
        checked += 1;
        match (expected.get(&start), stored.get(&start)) {
            (None, Some(row)) => note(start, format!("not expected, but there with {} readings", row.count)),
            (Some(expected), None) if expected.count > 0 => {
                note(start, format!("missing, with {} readings", expected.count));
            }
            (Some(expected), Some(row)) => {
                if let Some(what) = contradiction(expected, row) {
                    note(start, what);
                }
            }
            _ => {}
        }
    }
    found.windows_checked += checked;
}

/// What in a row cannot be; readings that nobody answered may be in it or not.
fn contradiction(expected: &Expected, row: &Row) -> Option<String> {
    let most = expected.count + expected.uncertain;
    if row.count < expected.count || row.count > most {
        return Some(match expected.uncertain {
            0 => format!("count {}, expected {}", row.count, expected.count),
            _ => format!("count {}, expected {} to {most}", row.count, expected.count),
        });
    }
    if expected.count == 0 {
        return None;
    }
    let (Some(min), Some(max), Some(mean)) = (row.min, row.max, row.mean) else {
        return Some("no min, max or mean".into());
    };
    if row.count > expected.count {
        let outside = min > expected.min || max < expected.max;
        return outside
            .then(|| format!("{min} to {max}, but {} to {} are in it", expected.min, expected.max));
    }
    // Exactly: a least value is one of the values, not the result of arithmetic.
    if min != expected.min || max != expected.max {
        return Some(format!("{min} to {max}, expected {} to {}", expected.min, expected.max));
    }
    let right = expected.mean().unwrap_or(f64::NAN);
    let error = (mean - right).abs();
    let right_enough = error <= MEAN_ERROR_MAX * right.abs().max(1.0);
    (!right_enough).then(|| format!("mean {mean}, expected {right}"))
}

fn instant(text: &str) -> Option<Micros> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests;
