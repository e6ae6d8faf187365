//! Talking to a running instance over HTTP, or to a home that is read for the moment, for one-shot commands and
//! `import`.

use crate::exit::Usage;
use crate::home::offline::Offline;
use anyhow::{Context, Result, anyhow, bail};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a connection: an instance on this host answers at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A client of one address, or of one home.
#[derive(Clone)]
pub(crate) struct Client(Way);

#[derive(Clone)]
enum Way {
    Http { base: String, key: Option<String>, http: reqwest::Client },
    Home(Arc<Offline>),
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Way::Http { base, .. } => base,
            Way::Home(_) => "a home that is open here",
        })
    }
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
    /// When `base` is no HTTP address, or the HTTP client cannot be built.
    pub(crate) fn new(base: &str, key: Option<&str>) -> Result<Self> {
        let address = base.parse::<reqwest::Url>().ok();
        if !address.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
            return Err(Usage(format!("`{base}` is no address like http://127.0.0.1:9600")).into());
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .no_proxy()
            .build()
            .context("building the HTTP client")?;
        let (base, key) = (base.trim_end_matches('/').to_owned(), key.map(str::to_owned));
        Ok(Self(Way::Http { base, key, http }))
    }

    /// Asks a home that is open in this process.
    pub(crate) fn of_home(home: Offline) -> Self {
        Self(Way::Home(Arc::new(home)))
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
        let (base, key, http) = match &self.0 {
            Way::Http { base, key, http } => (base, key, http),
            Way::Home(home) => {
                let sent = body.map(|(_, sent)| sent).unwrap_or_default();
                let (status, body) = home.ask(method, path, sent).await?;
                return Ok(Answer { status, retry_after: None, body });
            }
        };
        let url = format!("{base}{path}");
        let mut request = http.request(method, &url);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let response = request.send().await.map_err(|error| unanswered(base, &error))?;
        let status = response.status();
        let header = response.headers().get("retry-after");
        let retry_after = header.and_then(|value| value.to_str().ok()?.parse().ok());
        let bytes = response.bytes().await.with_context(|| format!("reading the answer of {url}"))?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .map_err(|_| anyhow!("{url} answered {status}, but not in JSON: is it the right address?"))?
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
        if matches!(self.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return format!("{}: {} (--key, or HIGHWATER_KEY)", text("title"), text("detail"));
        }
        match (text("title"), text("detail")) {
            (title, detail) if detail.is_empty() && title.is_empty() => self.status.to_string(),
            (title, detail) if detail.is_empty() => title,
            (title, detail) => format!("{title}: {detail}"),
        }
    }
}

/// Why nobody answered, in the words of the system, without the layers between.
fn unanswered(base: &str, error: &reqwest::Error) -> anyhow::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let why = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
    anyhow!("nobody answers at {base}: {why}")
}

/// A piece of a path or query, so that whatever was typed stays one piece.
pub(crate) fn encoded(piece: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let encode = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    piece.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_stays_one_piece_of_the_path() {
        assert_eq!(encoded("sensor-12:a.b"), "sensor-12:a.b");
        assert_eq!(encoded("a/../b?c&d e"), "a%2F..%2Fb%3Fc%26d%20e");
    }

    #[test]
    fn an_address_without_scheme_is_used_wrongly() {
        for wrong in ["nonsense", "127.0.0.1:9600", "ftp://here", "http://"] {
            let error = Client::new(wrong, None).expect_err(wrong);
            assert!(error.downcast_ref::<Usage>().is_some(), "{wrong}: {error}");
        }
        assert!(Client::new("http://127.0.0.1:9600/", None).is_ok());
    }
}
