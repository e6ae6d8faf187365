//! One gateway's connection to the door: posts a batch and says what to do next. Knows the answers of
//! `POST /v1/readings` and nothing about schedules.

use serde::Deserialize;
use std::time::Duration;

/// An answer to one request is awaited so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// A connection is awaited so long.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Longest `Retry-After` that is honored in full.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// What the door said to one batch.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Everything but these is durable: index and reason.
    Taken { accepted: u64, rejected: Vec<(usize, String)> },
    /// Nothing could be read.
    NothingReadable(String),
    /// Send the same again, not before this time has passed (none: as you like).
    Again { after: Option<Duration>, why: String },
    /// Never send this again.
    Refused(String),
}

#[derive(Deserialize)]
struct Accepted {
    accepted: u64,
    #[serde(default)]
    rejected: Vec<Rejected>,
}

#[derive(Deserialize)]
struct Rejected {
    index: usize,
    reason: String,
}

/// A client with one kept-alive connection, and an API key if the server wants one.
pub(crate) fn client(key: Option<&str>) -> Result<reqwest::Client, reqwest::Error> {
    let mut headers = reqwest::header::HeaderMap::new();
    // A key that no header can hold is sent as none: the server's refusal then says what is wrong.
    if let Some(mut value) =
        key.and_then(|key| format!("Bearer {key}").parse::<reqwest::header::HeaderValue>().ok())
    {
        value.set_sensitive(true);
        headers.insert(reqwest::header::AUTHORIZATION, value);
    }
    reqwest::Client::builder()
        .default_headers(headers)
        .pool_max_idle_per_host(1)
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWER_WITHIN)
        .no_proxy()
        .build()
}

/// Posts one body of newline-delimited readings.
pub(crate) async fn post(client: &reqwest::Client, url: &str, content_type: &str, body: String) -> Answer {
    let sent = client.post(url).header("content-type", content_type).body(body).send().await;
    let response = match sent {
        Ok(response) => response,
        Err(error) => return Answer::Again { after: None, why: sources(&error) },
    };
    let status = response.status();
    let after = response
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    // An answer cut off half-way is no answer: the server may have died before or after it was durable.
    let text = match response.text().await {
        Ok(text) => text,
        Err(error) => return Answer::Again { after: None, why: sources(&error) },
    };
    match status.as_u16() {
        200..=299 => match serde_json::from_str::<Accepted>(&text) {
            Ok(answer) => Answer::Taken {
                accepted: answer.accepted,
                rejected: answer.rejected.into_iter().map(|entry| (entry.index, entry.reason)).collect(),
            },
            Err(error) => Answer::Refused(format!("unreadable answer ({error}): {text}")),
        },
        400 => Answer::NothingReadable(text),
        408 | 429 | 500..=599 => Answer::Again { after, why: format!("{status}: {text}") },
        _ => Answer::Refused(format!("{status}: {text}")),
    }
}

/// An error with what caused it: reqwest's own text stops at "error sending request".
fn sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
