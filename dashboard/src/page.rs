//! The page's files, built into the program, and the headers every answer carries.
//!
//! Invariants: a browser that obeys the policy runs no script and loads no style but these files, and talks to
//! nobody but this server.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Nothing but our own files; uPlot sets its styles through the document's object model, which this allows.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct File {
    path: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! files {
    ($($path:literal = $name:literal $content_type:expr;)+) => {
        [$(File { path: $path, content_type: $content_type, bytes: include_bytes!(concat!("../page/", $name)) },)+]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SVG: &str = "image/svg+xml";

static FILES: [File; 18] = files! {
    "/" = "index.html" HTML;
    "/page/page.css" = "page.css" CSS;
    "/page/theme.js" = "theme.js" JS;
    "/page/main.js" = "main.js" JS;
    "/page/ask.js" = "ask.js" JS;
    "/page/dom.js" = "dom.js" JS;
    "/page/format.js" = "format.js" JS;
    "/page/events.js" = "events.js" JS;
    "/page/chart.js" = "chart.js" JS;
    "/page/fleet.js" = "fleet.js" JS;
    "/page/device.js" = "device.js" JS;
    "/page/alerts.js" = "alerts.js" JS;
    "/page/backlog.js" = "backlog.js" JS;
    "/page/books.js" = "books.js" JS;
    "/page/models.js" = "models.js" JS;
    "/page/icon.svg" = "icon.svg" SVG;
    "/page/vendor/uPlot.iife.min.js" = "vendor/uPlot.iife.min.js" JS;
    "/page/vendor/uPlot.min.css" = "vendor/uPlot.min.css" CSS;
};

/// A path for every file.
pub(crate) fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, file| {
        router.route(file.path, get(async move |headers: HeaderMap| serve(file, &headers)))
    })
}

/// Browsers ask each time and are told in a few bytes that nothing has changed.
fn serve(file: &File, headers: &HeaderMap) -> Response {
    let tag = format!("\"{:016x}\"", fnv1a(file.bytes));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let fixed = [(header::ETAG, tag.as_str()), (header::CACHE_CONTROL, "no-cache")];
    if known.is_some_and(|tags| tags.split(',').any(|known| known.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, fixed).into_response();
    }
    (fixed, [(header::CONTENT_TYPE, file.content_type)], file.bytes).into_response()
}

/// FNV-1a, 64 bits: a name for these bytes, for caches.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Adds what protects whoever looks at an answer in a browser.
pub(crate) async fn secure(mut response: Response) -> Response {
    let fixed: [(HeaderName, &'static str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The paths of all files.
#[cfg(test)]
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|file| file.path)
}
