//! Talking to a running instance over HTTP, for one-shot commands and `import`.

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a connection: an instance on this host answers at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A client of one address.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    base: String,
    key: Option<String>,
    http: reqwest::Client,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// Seconds after which to try again, when it said so.
    pub(crate) retry_after: Option<u64>,
    /// JSON body; null when there is none.
    pub(crate) body: Value,
}

impl Client {
    /// A client; connects on the first call.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub(crate) fn new(base: &str, key: Option<&str>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .no_proxy()
            .build()
            .context("building the HTTP client")?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), key: key.map(str::to_owned), http })
    }

    /// One request, whatever its status.
    ///
    /// # Errors
    /// When nobody answers, or not in JSON.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&str, String)>,
    ) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.request(method, &url);
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let response = request.send().await.with_context(|| format!("no answer from {url}"))?;
        let status = response.status();
        let header = response.headers().get("retry-after");
        let retry_after = header.and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = response.bytes().await.with_context(|| format!("reading the answer of {url}"))?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).with_context(|| {
                format!("{url} answered {status}, but not in JSON: is it an admin address?")
            })?
        };
        Ok(Answer { status, retry_after, body })
    }

    /// A JSON document.
    ///
    /// # Errors
    /// As [`Client::send`], and the problem's own words when the status is not 2xx.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None).await?.into_success()
    }

    /// Posts JSON.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(Method::POST, path, Some(("application/json", body.to_string()))).await?.into_success()
    }

    /// Whether somebody answers there.
    pub(crate) async fn answers(&self, path: &str) -> bool {
        self.send(Method::GET, path, None).await.is_ok()
    }
}

impl Answer {
    /// The body of a 2xx answer.
    ///
    /// # Errors
    /// Title and detail of the problem otherwise.
    pub(crate) fn into_success(self) -> Result<Value> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        bail!("{}", self.problem())
    }

    /// The problem in words.
    pub(crate) fn problem(&self) -> String {
        let text = |key: &str| self.body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match (text("title"), text("detail")) {
            (title, detail) if detail.is_empty() && title.is_empty() => self.status.to_string(),
            (title, detail) if detail.is_empty() => title,
            (title, detail) => format!("{title}: {detail}"),
        }
    }
}
