//! A schema registry with Confluent's API (Confluent, Karapace, Redpanda, Apicurio's `/apis/ccompat/v7`) as the
//! table of schema ids, and what a deployment does there: compare and register.
//!
//! Lives here: what is asked, what is remembered. `nodes` asks and sorts answers, `caller` keeps HTTP on a thread of
//! its own, `cache` remembers. Does not live here: which subjects there are (`contract`), what makes two schemas
//! compatible (`compatibility`).
//!
//! Invariants:
//! * [`IdTable::id_of`] never registers.
//! * "No such id" is only what the registry itself says, in its own words; everything else is an error, and the value
//!   waits.
//! * An id that is known stays known without the registry; one that is unknown is asked again after
//!   [`RegistryConfig::unknown_for`].
//! * Schemas are compared by what they say, not by their spelling: registries respell.
//! * No credential is in an error or in what `Debug` prints.

mod cache;
mod caller;
mod config;
mod nodes;

use crate::codec::{IdError, IdTable};
use crate::compatibility::{self, Incompatibility};
use cache::{Cache, Entry};
use caller::Caller;
pub use config::{Access, RegistryConfig};
use nodes::{Failure, Nodes};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Ids of own schemas remembered; beyond it they are asked for again.
const OWN_IDS_MAX: usize = 256;
/// The command that registers what is missing.
const REGISTER_COMMAND: &str = "highwater schema register";

/// A version of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Number, as the registry counts.
    pub version: u32,
    /// Schema id.
    pub id: u32,
    /// The schema, as the registry spells it.
    pub schema: String,
}

/// Where a schema stands under a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Schema id.
    pub id: u32,
    /// Number of the version.
    pub version: u32,
    /// Whether this call registered it.
    pub new: bool,
}

/// Why a schema was not registered, or could not be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// It may not take its place beside the versions that are registered.
    #[error("{subject}: {}", reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Incompatible {
        /// Subject.
        subject: String,
        /// Everything that forbids it, with the version in front.
        reasons: Vec<Incompatibility>,
    },
    /// The registry did not do it.
    #[error(transparent)]
    Registry(#[from] IdError),
}

/// What a registry checks when a version is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compatibility {
    /// Against every version, in both directions: old readers meet new records during an upgrade, and new readers
    /// meet old records when a range is replayed.
    FullTransitive,
}

impl Compatibility {
    /// The registry's word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }
}

/// A registry. Synchronous, for plain threads and for those that may block; it may be dropped anywhere.
pub struct Registry {
    caller: Caller,
    config: RegistryConfig,
    shared: Arc<Shared>,
    own: Mutex<BTreeMap<(String, String), u32>>,
}

struct Shared {
    cache: Mutex<Cache>,
    changed: Condvar,
}

impl Shared {
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question on its way. However it ends, nobody waits for it any longer.
struct Asking {
    shared: Arc<Shared>,
    id: u32,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.shared.cache().forget_question(self.id);
        self.shared.changed.notify_all();
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Registry {
    /// A client; asks nothing yet.
    ///
    /// # Errors
    /// [`IdError::Fatal`] when an address or a credential cannot be used.
    pub fn new(config: RegistryConfig) -> Result<Self, IdError> {
        let caller = Caller::start(&config)?;
        let shared = Arc::new(Shared { cache: Mutex::default(), changed: Condvar::new() });
        Ok(Self { caller, config, shared, own: Mutex::default() })
    }

    /// Where a schema stands under a subject; none: it is not registered there.
    ///
    /// # Errors
    /// [`IdError`] when the registry gives no such answer.
    pub fn find(&self, subject: &str, schema: &str) -> Result<Option<Registration>, IdError> {
        let (subject, schema) = (subject.to_owned(), schema.to_owned());
        self.caller.call(move |nodes| find(nodes, &subject, &schema))?
    }

    /// The versions of a subject, oldest first; none: the registry knows no such subject.
    ///
    /// # Errors
    /// [`IdError`] when the registry gives no such answer.
    pub fn versions(&self, subject: &str) -> Result<Vec<Version>, IdError> {
        let subject = subject.to_owned();
        self.caller.call(move |nodes| nodes.versions(&subject))?
    }

    /// Whether a schema may stand beside every registered version: by this program's rules, which name the field, and
    /// by the registry's own.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn check(&self, subject: &str, schema: &str) -> Result<(), RegisterError> {
        let (subject, schema) = (subject.to_owned(), schema.to_owned());
        self.caller.call(move |nodes| check(nodes, &subject, &schema))?
    }

    /// Registers a schema unless it is registered already, after [`Registry::check`].
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register(&self, subject: &str, schema: &str) -> Result<Registration, RegisterError> {
        let (subject, schema) = (subject.to_owned(), schema.to_owned());
        self.caller.call(move |nodes| register(nodes, &subject, &schema))?
    }

    /// Sets what the registry checks for a subject.
    ///
    /// # Errors
    /// [`IdError`].
    pub fn set_compatibility(&self, subject: &str, level: Compatibility) -> Result<(), IdError> {
        let subject = subject.to_owned();
        self.caller.call(move |nodes| nodes.set_compatibility(&subject, level.name()))?.map_err(IdError::from)
    }

    fn own(&self) -> MutexGuard<'_, BTreeMap<(String, String), u32>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the id asked for, on the caller's thread; the answer is found in the cache.
    fn ask(&self, id: u32) -> Result<(), IdError> {
        let asking = Asking { shared: Arc::clone(&self.shared), id };
        let (unknown_for, failed_for) = (self.config.unknown_for, self.config.failed_for);
        self.caller.submit(Box::new(move |nodes| {
            let entry = match nodes.schema_of(id) {
                Ok(schema) => Entry::Known(schema.into()),
                Err(Failure::Absent(..)) => Entry::Unknown { until: Instant::now() + unknown_for },
                Err(why) => Entry::Failed { until: Instant::now() + failed_for, why: why.into() },
            };
            asking.shared.cache().put(id, entry, Instant::now());
        }))
    }
}

impl IdTable for Registry {
    fn id_of(&self, subject: &str, schema: &str) -> Result<u32, IdError> {
        let key = (subject.to_owned(), schema.to_owned());
        if let Some(id) = self.own().get(&key) {
            return Ok(*id);
        }
        let found = self.find(subject, schema)?.ok_or_else(|| {
            IdError::Fatal(format!(
                "this build's schema of {subject} is not registered at {}; run `{REGISTER_COMMAND}` before this \
                 version is started",
                self.config.urls.join(", ")
            ))
        })?;
        let mut own = self.own();
        if own.len() >= OWN_IDS_MAX {
            own.clear();
        }
        own.insert(key, found.id);
        Ok(found.id)
    }

    /// Waits at most [`RegistryConfig::patience`]: a thread that folds other partitions as well is not held up by an
    /// outage. The question goes on meanwhile, and its answer is there when the same id is asked for again.
    fn schema_of(&self, id: u32) -> Result<Option<String>, IdError> {
        let give_up = Instant::now() + self.config.patience;
        let mut asked = false;
        let mut cache = self.shared.cache();
        loop {
            let now = Instant::now();
            match cache.look(id, now) {
                Some(Entry::Known(schema)) => return Ok(Some(schema.to_string())),
                Some(Entry::Unknown { .. }) => return Ok(None),
                Some(Entry::Failed { why, .. }) => return Err(why.clone()),
                Some(Entry::Asking) => {}
                // An answer that was remembered for no time at all has come and gone.
                None if asked => {
                    return Err(IdError::Retry("the schema registry's answer was not kept".to_owned()));
                }
                None => {
                    cache.put(id, Entry::Asking, now);
                    drop(cache);
                    self.ask(id)?;
                    cache = self.shared.cache();
                    asked = true;
                    continue;
                }
            }
            let left = give_up.saturating_duration_since(now);
            if left.is_zero() {
                return Err(IdError::Retry(format!(
                    "the schema registry has not answered for id {id} yet ({})",
                    self.config.urls.join(", ")
                )));
            }
            let (woken, _) =
                self.shared.changed.wait_timeout(cache, left).unwrap_or_else(PoisonError::into_inner);
            cache = woken;
        }
    }
}

/// First by the registry's own comparison, which may go by the spelling; then by what each version says.
fn find(nodes: &Nodes, subject: &str, schema: &str) -> Result<Option<Registration>, IdError> {
    match nodes.look_up(subject, schema) {
        Ok((id, version)) => return Ok(Some(Registration { id, version, new: false })),
        Err(Failure::Absent(..)) => {}
        Err(why) => return Err(why.into()),
    }
    let versions = nodes.versions(subject)?;
    let same = versions.into_iter().rev().find(|known| compatibility::same(&known.schema, schema));
    Ok(same.map(|known| Registration { id: known.id, version: known.version, new: false }))
}

fn check(nodes: &Nodes, subject: &str, schema: &str) -> Result<(), RegisterError> {
    let versions = nodes.versions(subject)?;
    let mut reasons = Vec::new();
    for known in &versions {
        for reason in compatibility::check(&known.schema, schema).err().into_iter().flatten() {
            reasons.push(Incompatibility {
                path: format!("version {}: {}", known.version, reason.path),
                ..reason
            });
        }
    }
    // A subject without versions has nothing to be compared with, and some registries answer that with an error.
    if reasons.is_empty() && !versions.is_empty() && !nodes.is_compatible(subject, schema)? {
        reasons.push(Incompatibility {
            path: "(registry)".to_owned(),
            why: "the registry's own check refuses it, by the level set for the subject".to_owned(),
        });
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(RegisterError::Incompatible { subject: subject.to_owned(), reasons })
    }
}

fn register(nodes: &Nodes, subject: &str, schema: &str) -> Result<Registration, RegisterError> {
    if let Some(found) = find(nodes, subject, schema)? {
        return Ok(found);
    }
    check(nodes, subject, schema)?;
    let id = nodes.post(subject, schema).map_err(IdError::from)?;
    match find(nodes, subject, schema)? {
        Some(found) if found.id == id => Ok(Registration { new: true, ..found }),
        found => Err(IdError::Fatal(format!(
            "{subject} was registered with id {id}, and looking it up afterwards gives {}",
            found.map_or_else(|| "nothing".to_owned(), |found| format!("id {}", found.id))
        ))
        .into()),
    }
}
