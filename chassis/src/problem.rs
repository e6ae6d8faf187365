//! Errors over HTTP, as RFC 9457 has them: `application/problem+json` with type, title, status and detail.

use axum::Router;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// Prefix of `type`: a name, not an address that could be asked.
const TYPE_PREFIX: &str = "urn:highwater:problem:";

/// An error response.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    status: StatusCode,
    members: Map<String, Value>,
    retry_after_s: Option<u64>,
    authenticate: bool,
}

impl Problem {
    /// `kind` is a stable name in lower case with dashes, which callers may decide on; `title` is the same for
    /// every occurrence of it; `detail` says what was wrong this time and what would be right.
    #[must_use]
    pub fn new(status: StatusCode, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        let mut members = Map::new();
        members.insert("type".to_owned(), format!("{TYPE_PREFIX}{kind}").into());
        members.insert("title".to_owned(), title.into());
        members.insert("status".to_owned(), status.as_u16().into());
        members.insert("detail".to_owned(), detail.into().into());
        Self { status, members, retry_after_s: None, authenticate: false }
    }

    /// Adds a member of our own, such as the index of a record.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub const fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds `WWW-Authenticate`, which makes browsers ask for the key (as the password; any user name).
    #[must_use]
    pub const fn ask_for_key(mut self) -> Self {
        self.authenticate = true;
        self
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The detail.
    #[must_use]
    pub fn detail(&self) -> &str {
        self.members.get("detail").and_then(Value::as_str).unwrap_or_default()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Value::Object(self.members).to_string();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.authenticate {
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"highwater\""));
        }
        response
    }
}

/// Gives a router our answers for paths and methods that it does not know. Called last, after merging.
pub fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(async |uri: axum::http::Uri| {
            let detail = format!("there is nothing at {}", uri.path());
            Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
        })
        .method_not_allowed_fallback(async |method: axum::http::Method, uri: axum::http::Uri| {
            let detail = format!("{} does not answer {method}", uri.path());
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed", detail)
        })
}
