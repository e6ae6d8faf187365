//! Asking: one registry behind several addresses, and what each answer means.
//!
//! Lives here: the calls, all but one through `schema_registry_converter`, and the sorting of their failures. Its own
//! way through several addresses is not used: it takes the last answer, whatever the first was.
//!
//! Invariants: an answer that says "no such thing" counts only with the registry's own error code; a redirection is
//! not followed (credentials would go along); every question has a timeout. A body has no bound but that time: the
//! crate reads it whole.

use super::Version;
use super::config::{Access, RegistryConfig};
use crate::codec::IdError;
use reqwest::blocking::Client;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect;
use schema_registry_converter::blocking::schema_registry as calls;
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RawError, SchemaType, SrCall, SuppliedSchema};
use std::cell::Cell;
use std::error::Error;
use std::io::Read;
use std::time::Duration;

/// Versions of one subject that are fetched.
const VERSIONS_MAX: usize = 1000;
/// Longest wait for a connection: another address may answer.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(3);
/// Bytes of an error's body that are read.
const ERROR_BYTES_MAX: u64 = 16 << 10;
/// Characters of a registry's own words that are repeated.
const WORDS_MAX: usize = 300;
/// What the crate puts before the status of an answer.
const STATUS_PREFIX: &str = "HTTP request to schema registry failed with status ";
/// "Schema not found".
const SCHEMA_ABSENT: u32 = 40_403;
/// The same, "Subject not found", "Version not found".
const ABSENT_CODES: std::ops::RangeInclusive<u32> = 40_401..=SCHEMA_ABSENT;
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

/// Why a question brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The registry itself says that there is no such thing, with its error code.
    Absent(u32, String),
    /// It does not take the login, or the login may not do that.
    Denied(String),
    /// It answers, and will answer the same until somebody changes something.
    Refused(String),
    /// No answer, or none of a registry's.
    Away(String),
}

impl From<Failure> for IdError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Denied(why) => Self::Denied(why),
            Failure::Absent(_, why) | Failure::Refused(why) => Self::Fatal(why),
            Failure::Away(why) => Self::Retry(why),
        }
    }
}

/// The addresses.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// The one that answered last.
    preferred: Cell<usize>,
    config: RegistryConfig,
    ca: Authorities,
}

/// What the registry's certificate must lead to. Without `tls` nothing is encrypted.
struct Authorities {
    /// None: what the system trusts.
    #[cfg(feature = "tls")]
    only: Option<Vec<reqwest::Certificate>>,
}

struct Node {
    url: String,
    settings: calls::SrSettings,
}

impl Nodes {
    pub(super) fn new(config: &RegistryConfig) -> Result<Self, IdError> {
        if config.urls.is_empty() {
            return Err(IdError::Fatal("the schema registry has no address".to_owned()));
        }
        let ca = authorities(config)?;
        let nodes = config.urls.iter().map(|url| {
            let mut builder = calls::SrSettings::new_builder(url.clone());
            match &config.access {
                Access::Open => {}
                Access::Basic { user, password } => {
                    builder.set_basic_authorization(user, Some(password));
                }
                Access::Bearer { token } => {
                    builder.set_token_authorization(token);
                }
            }
            let settings = builder.set_timeout(config.timeout).build_with(http(config, &ca));
            settings.map(|settings| Node { url: url.clone(), settings })
        });
        let nodes = nodes.collect::<Result<Vec<_>, _>>().map_err(|why| {
            IdError::Fatal(format!("the HTTP client of the schema registry: {}", deepest(&why)))
        })?;
        Ok(Self { nodes, preferred: Cell::new(0), config: config.clone(), ca })
    }

    /// Asks one after the other until one answers. "No such thing" is believed when no other knows better: behind a
    /// leader the others may lag.
    fn ask<T>(&self, call: impl Fn(&Node) -> Result<T, Failure>) -> Result<T, Failure> {
        let count = self.nodes.len();
        let (mut absent, mut away, mut denied, mut told) = (None, false, false, Vec::new());
        for index in (0..count).map(|step| (self.preferred.get() + step) % count) {
            let Some(node) = self.nodes.get(index) else { continue };
            let why = match call(node) {
                Ok(answer) => {
                    self.preferred.set(index);
                    return Ok(answer);
                }
                Err(Failure::Absent(code, why)) => {
                    absent.get_or_insert((index, code, why));
                    continue;
                }
                Err(Failure::Refused(why)) => why,
                Err(Failure::Denied(why)) => {
                    denied = true;
                    why
                }
                Err(Failure::Away(why)) => {
                    away = true;
                    why
                }
            };
            told.push(format!("{}: {why}", node.url));
        }
        if let Some((index, code, why)) = absent {
            self.preferred.set(index);
            return Err(Failure::Absent(code, why));
        }
        let told = format!("schema registry {}", told.join("; "));
        Err(match (away, denied) {
            (true, _) => Failure::Away(told),
            (false, true) => Failure::Denied(told),
            (false, false) => Failure::Refused(told),
        })
    }

    /// The schema of an id. What is absent then is the schema: another code answers another question.
    pub(super) fn schema_of(&self, id: u32) -> Result<String, Failure> {
        self.ask(|node| match calls::get_schema_by_id(id, &node.settings) {
            Ok(found) => Ok(found.schema),
            Err(why) => Err(match self.failure(&why) {
                Failure::Absent(code, why) if code != SCHEMA_ABSENT => Failure::Away(why),
                failure => failure,
            }),
        })
    }

    /// Id and version of a schema under a subject, by the registry's comparison.
    pub(super) fn look_up(&self, subject: &str, schema: &str) -> Result<(u32, u32), Failure> {
        check_subject(subject)?;
        let body = serde_json::json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        self.ask(|node| {
            let call = SrCall::PostForVersion(subject, &body);
            let found = calls::perform_sr_call(&node.settings, call).map_err(|why| self.failure(&why))?;
            found.id.zip(found.version).ok_or_else(|| lacks("an id and a version"))
        })
    }

    /// All versions with their schemas; none when there is no such subject.
    pub(super) fn versions(&self, subject: &str) -> Result<Vec<Version>, IdError> {
        check_subject(subject)?;
        let numbers = self.ask(|node| {
            calls::get_all_versions(&node.settings, subject.to_owned()).map_err(|why| self.failure(&why))
        });
        let mut numbers = match numbers {
            Ok(numbers) => numbers,
            Err(Failure::Absent(..)) => return Ok(Vec::new()),
            Err(why) => return Err(why.into()),
        };
        if numbers.len() > VERSIONS_MAX {
            let why =
                format!("{subject} has {} versions, at most {VERSIONS_MAX} are compared", numbers.len());
            return Err(IdError::Fatal(why));
        }
        numbers.sort_unstable();
        numbers.into_iter().map(|version| self.version(subject, version).map_err(IdError::from)).collect()
    }

    fn version(&self, subject: &str, version: u32) -> Result<Version, Failure> {
        self.ask(|node| {
            let call = SrCall::GetBySubjectAndVersion(subject, version);
            let found = calls::perform_sr_call(&node.settings, call).map_err(|why| self.failure(&why))?;
            let (id, schema) = found.id.zip(found.schema).ok_or_else(|| lacks("an id and a schema"))?;
            Ok(Version { version, id, schema })
        })
    }

    /// The registry's own check, by the level set for the subject.
    pub(super) fn is_compatible(&self, subject: &str, schema: &str) -> Result<bool, IdError> {
        let answer = self.ask(|node| {
            calls::is_compatible_schema(&node.settings, subject.to_owned(), supplied(schema))
                .map_err(|why| self.failure(&why))
        });
        Ok(answer?)
    }

    /// Registers; the id.
    pub(super) fn post(&self, subject: &str, schema: &str) -> Result<u32, Failure> {
        check_subject(subject)?;
        self.ask(|node| {
            let found = calls::post_schema(&node.settings, subject.to_owned(), supplied(schema))
                .map_err(|why| self.failure(&why))?;
            Ok(found.id)
        })
    }

    /// Sets what the registry checks for a subject. The crate has no such call.
    pub(super) fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), Failure> {
        check_subject(subject)?;
        let client = http(&self.config, &self.ca).timeout(self.config.timeout).build();
        let client = client.map_err(|why| Failure::Refused(format!("the HTTP client: {}", deepest(&why))))?;
        self.ask(|node| self.put_level(&client, &format!("{}/config/{subject}", node.url), level))
    }

    fn put_level(&self, client: &Client, url: &str, level: &str) -> Result<(), Failure> {
        let body = serde_json::json!({ "compatibility": level }).to_string();
        let request = client.put(url).header(CONTENT_TYPE, MEDIA_TYPE).body(body);
        let request = match &self.config.access {
            Access::Open => request,
            Access::Basic { user, password } => request.basic_auth(user, Some(password)),
            Access::Bearer { token } => request.bearer_auth(token),
        };
        let answer = request.send().map_err(|why| Failure::Away(self.unreachable(&why)))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let mut body = Vec::new();
        // Without its words the status says enough.
        let _ = answer.take(ERROR_BYTES_MAX).read_to_end(&mut body);
        Err(answered(status.as_u16(), serde_json::from_slice(&body).ok().as_ref()))
    }

    /// What a failure of the crate's means.
    fn failure(&self, why: &SRCError) -> Failure {
        let status =
            why.error.strip_prefix(STATUS_PREFIX).and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
        if let Some(status) = status {
            let said = why.source().and_then(|source| source.downcast_ref::<RawError>());
            return answered(status, said.filter(|said| said.error_code != 0));
        }
        match why.source().and_then(|source| source.downcast_ref::<reqwest::Error>()) {
            Some(transport) if !transport.is_decode() => Failure::Away(self.unreachable(transport)),
            Some(_) => {
                Failure::Away(format!("{} ({}): is it a schema registry's address?", why.error, deepest(why)))
            }
            None => Failure::Away(format!("{}: is it a schema registry's address?", why.error)),
        }
    }

    fn unreachable(&self, why: &reqwest::Error) -> String {
        if why.is_timeout() { format!("no answer within {:?}", self.config.timeout) } else { deepest(why) }
    }
}

fn http(config: &RegistryConfig, ca: &Authorities) -> reqwest::blocking::ClientBuilder {
    let builder = Client::builder()
        .connect_timeout(config.timeout.min(CONNECT_TIMEOUT_MAX))
        .redirect(redirect::Policy::none())
        .no_proxy();
    trusting(builder, ca)
}

#[cfg(feature = "tls")]
fn trusting(builder: reqwest::blocking::ClientBuilder, ca: &Authorities) -> reqwest::blocking::ClientBuilder {
    // Only these, and not those of the system besides.
    match &ca.only {
        Some(only) => builder.tls_certs_only(only.iter().cloned()),
        None => builder,
    }
}

#[cfg(not(feature = "tls"))]
fn trusting(builder: reqwest::blocking::ClientBuilder, _: &Authorities) -> reqwest::blocking::ClientBuilder {
    builder
}

#[cfg(feature = "tls")]
fn authorities(config: &RegistryConfig) -> Result<Authorities, IdError> {
    let Some(path) = &config.ca else { return Ok(Authorities { only: None }) };
    let broken = |why: &dyn std::fmt::Display| {
        IdError::Fatal(format!("the schema registry's authorities, {}: {why}", path.display()))
    };
    let bytes = std::fs::read(path).map_err(|why| broken(&why))?;
    let found = reqwest::Certificate::from_pem_bundle(&bytes).map_err(|why| broken(&deepest(&why)))?;
    if found.is_empty() {
        return Err(broken(&"it holds no certificate (PEM)"));
    }
    Ok(Authorities { only: Some(found) })
}

#[cfg(not(feature = "tls"))]
fn authorities(config: &RegistryConfig) -> Result<Authorities, IdError> {
    match config.ca {
        None => Ok(Authorities {}),
        Some(_) => Err(IdError::Fatal("this build has no TLS; build with `--features tls`".to_owned())),
    }
}

fn supplied(schema: &str) -> SuppliedSchema {
    SuppliedSchema::new(None, SchemaType::Avro, schema.to_owned())
}

/// What is written into an address must not end its part of the path.
fn check_subject(subject: &str) -> Result<(), Failure> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !subject.is_empty() && subject.chars().all(allowed) {
        return Ok(());
    }
    Err(Failure::Refused(format!("`{subject}` is no subject: letters, digits, `.`, `_` and `-`")))
}

/// What a status means, with what the registry said when it is a registry's answer.
fn answered(status: u16, said: Option<&RawError>) -> Failure {
    let words = said.map_or_else(String::new, |said| {
        let words: String = said.message.chars().filter(|c| !c.is_control()).take(WORDS_MAX).collect();
        format!(" (code {}: {words})", said.error_code)
    });
    match (status, said) {
        (404, Some(said)) if ABSENT_CODES.contains(&said.error_code) => {
            Failure::Absent(said.error_code, words.trim().to_owned())
        }
        (404, _) => Failure::Away(format!(
            "status 404 without a registry's error code{words}: is the address right, with its path?"
        )),
        (300..=399, _) => Failure::Refused(format!(
            "status {status}: redirections are not followed; name the address it leads to"
        )),
        (401, _) => Failure::Denied(format!(
            "status 401: it wants a login, or does not take this one (`registry.user` and `registry.password`, or \
             `registry.token`){words}"
        )),
        (403, _) => Failure::Denied(format!("status 403: this login may not do that{words}")),
        (408 | 429 | 500.., _) => Failure::Away(format!("status {status}{words}")),
        _ => Failure::Refused(format!("status {status}{words}")),
    }
}

fn lacks(what: &str) -> Failure {
    Failure::Away(format!("the answer lacks {what}: is it a schema registry's address?"))
}

/// The cause behind all causes: "connection refused" rather than "error sending request".
fn deepest(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
