//! Keys and what they open. The configuration holds SHA-256 hashes only; a key has 256 bits from the system's
//! generator, so that a plain hash cannot be guessed back.
//!
//! Does not live here: devices' own credentials (they come with MQTT and TLS), or who may reach a port at all.
//!
//! Without keys everything is open, but only on loopback, and only to callers that are not a page of another site:
//! a browser sends such a page's requests to 127.0.0.1 too.

use crate::config::{Problems, Secret};
use crate::problem::Problem;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use subtle::{Choice, ConstantTimeEq};

#[cfg(test)]
mod tests;

const KEY_BYTES: usize = 32;
const KEY_PREFIX: &str = "hw_";
const HASH_PREFIX: &str = "sha256:";

/// What a key opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sending readings and device metadata.
    Ingest,
    /// Reading results.
    Read,
    /// Everything, the other two included.
    Admin,
}

impl Role {
    /// Public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

/// `[auth]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawAuth {
    /// Keys; none: open, on loopback only.
    pub key: Vec<RawKey>,
    /// Allows listening beyond loopback without keys.
    pub insecure: Option<bool>,
}

/// One `[[auth.key]]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawKey {
    /// For the log.
    pub name: Option<String>,
    /// What it opens.
    pub roles: Vec<Role>,
    /// `sha256:` and 64 hexadecimal digits, as `highwater keys new` prints it.
    pub hash: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Key {
    name: String,
    roles: Vec<Role>,
    #[serde(skip)]
    digest: [u8; 32],
}

/// The keys in force.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Keys {
    #[serde(rename = "key")]
    keys: Vec<Key>,
    insecure: bool,
}

/// Who a request comes from; in the extensions of every request that was let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The key's name; none where no keys are configured.
    pub key: Option<String>,
}

impl RawAuth {
    /// Checks and resolves.
    pub fn resolve(self, at: &str, problems: &mut Problems) -> Keys {
        let mut keys: Vec<Key> = Vec::with_capacity(self.key.len());
        for (index, raw) in self.key.into_iter().enumerate() {
            let at = format!("{at}.key.{index}");
            let name = raw.name.unwrap_or_default();
            if name.is_empty() || keys.iter().any(|key| key.name == name) {
                problems.add(format!("{at}.name"), format!("`{name}`: every key has a name of its own"));
            }
            if raw.roles.is_empty() {
                problems.add(format!("{at}.roles"), "is empty: one or more of ingest, read, admin");
            }
            match raw.hash.as_deref().and_then(parse_hash) {
                Some(digest) => keys.push(Key { name, roles: raw.roles, digest }),
                None => problems.add(
                    format!("{at}.hash"),
                    "is not `sha256:` with 64 hexadecimal digits; `highwater keys new` makes a key and its hash",
                ),
            }
        }
        Keys { keys, insecure: self.insecure.unwrap_or(false) }
    }
}

impl Keys {
    /// No keys: open to callers on this machine.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether no keys are configured.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Reports an address beyond loopback that would be open to everybody.
    pub fn check_address(&self, at: &str, address: SocketAddr, problems: &mut Problems) {
        if self.keys.is_empty() && !self.insecure && !address.ip().to_canonical().is_loopback() {
            problems.add(
                at,
                format!(
                    "`{address}` can be reached from other machines, and no keys are configured: add an \
                     [[auth.key]] (`highwater keys new`), listen on 127.0.0.1, or say --insecure"
                ),
            );
        }
    }

    /// Says who may pass, or the answer for who may not.
    ///
    /// # Errors
    /// 401 without a known key, 403 when the key lacks the role or the request comes from another site's page.
    pub fn admit(&self, headers: &HeaderMap, uri: &Uri, role: Role) -> Result<Caller, Box<Problem>> {
        if self.keys.is_empty() {
            if !self.insecure {
                local_callers_only(headers, uri)?;
            }
            return Ok(Caller { key: None });
        }
        let (presented, ambient) = presented_key(headers).ok_or_else(|| unauthorized("no key was sent"))?;
        if ambient {
            // A browser adds a Basic password by itself, also to requests of other sites' pages.
            same_origin(headers, uri)?;
        }
        let digest: [u8; 32] = Sha256::digest(presented.expose().as_bytes()).into();
        let mut found: Option<&Key> = None;
        let mut any = Choice::from(0);
        // Every key is compared, in constant time each: the answer's delay tells nothing about how near a guess is.
        for key in &self.keys {
            let equal = key.digest.ct_eq(&digest);
            any |= equal;
            if bool::from(equal) {
                found = Some(key);
            }
        }
        match found.filter(|_| bool::from(any)) {
            None => Err(unauthorized("the key is not known here")),
            Some(key) if key.roles.contains(&role) || key.roles.contains(&Role::Admin) => {
                Ok(Caller { key: Some(key.name.clone()) })
            }
            Some(key) => {
                Err(forbidden(format!("key `{}` does not have the role {}", key.name, role.as_str())))
            }
        }
    }
}

/// Lets through only callers that may act in `role`. The router must have a route.
pub fn require(router: Router, keys: &Arc<Keys>, role: Role) -> Router {
    router.route_layer(from_fn_with_state((Arc::clone(keys), role), check))
}

async fn check(State((keys, role)): State<(Arc<Keys>, Role)>, mut request: Request, next: Next) -> Response {
    match keys.admit(request.headers(), request.uri(), role) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => {
            metrics::counter!(crate::metrics::AUTH_DENIED_TOTAL, "role" => role.as_str()).increment(1);
            problem.into_response()
        }
    }
}

/// A new key and the line for the configuration.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Shown once.
    pub key: Secret,
    /// Goes into the configuration.
    pub hash: String,
}

/// Makes a key.
///
/// # Errors
/// When the system has no randomness to give.
pub fn generate() -> Result<Generated, std::io::Error> {
    let mut bytes = [0_u8; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    let key = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    Ok(Generated { hash: hash_of(&key), key: Secret::new(key) })
}

/// The configuration's form of a key.
#[must_use]
pub fn hash_of(key: &str) -> String {
    Sha256::digest(key.as_bytes()).iter().fold(HASH_PREFIX.to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_prefix(HASH_PREFIX)?.as_bytes();
    let mut digest = [0_u8; 32];
    if digits.len() != digest.len() * 2 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *byte = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(digest)
}

/// The key of a request, and whether a browser may have added it unasked.
fn presented_key(headers: &HeaderMap) -> Option<(Secret, bool)> {
    if let Some(value) = headers.get("x-api-key") {
        return Some((Secret::new(value.to_str().ok()?), false));
    }
    let (scheme, credentials) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((Secret::new(credentials.trim()), false));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(STANDARD.decode(credentials.trim()).ok()?).ok()?;
        return Some((Secret::new(pair.split_once(':')?.1), true));
    }
    None
}

/// The address a browser believes to talk to must be this machine, and the page must come from there.
fn local_callers_only(headers: &HeaderMap, uri: &Uri) -> Result<(), Box<Problem>> {
    if let Some(host) = requested_host(headers, uri) {
        let name = host_name(host);
        let loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
        if !loopback && !name.eq_ignore_ascii_case("localhost") {
            return Err(forbidden(format!(
                "without keys only this machine is served, under 127.0.0.1, [::1] or localhost; asked for was `{host}`"
            )));
        }
    }
    same_origin(headers, uri)
}

fn same_origin(headers: &HeaderMap, uri: &Uri) -> Result<(), Box<Problem>> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let page = origin.split_once("://").map(|(_, rest)| rest);
    match (page, requested_host(headers, uri)) {
        (Some(page), Some(host)) if page.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(forbidden(format!("a page of `{origin}` may not ask here"))),
    }
}

fn requested_host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let header = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| uri.authority().map(axum::http::uri::Authority::as_str))
}

fn host_name(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    host.split(':').next().unwrap_or_default()
}

fn unauthorized(detail: &str) -> Box<Problem> {
    let detail = format!("{detail}; send it as `Authorization: Bearer KEY`");
    Box::new(Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "No valid key", detail).ask_for_key())
}

fn forbidden(detail: String) -> Box<Problem> {
    Box::new(Problem::new(StatusCode::FORBIDDEN, "forbidden", "Not allowed", detail))
}
