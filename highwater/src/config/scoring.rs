//! Of the models' host: where components and machine code lie, whose components may run, what compiling may take.

use super::journal::JournalConfig;
use super::weights::Weights;
use crate::home::failing::{Bounds, Keeper};
use anyhow::{Context, Result};
use chassis::config::Problems;
use schemas::pipeline::Model;
use scoring::shipped::{self, Shipped};
use scoring::{
    CompilerChild, Compiling, ComponentSource, Directory, LoadError, Loader, LoaderConfig, Places,
    TrustedKeys, Witness,
};
use serde::{Deserialize, Serialize, Serializer};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Says that there is no such directory.
const NOWHERE: &str = "none";
/// How long compiling a component may take: an interpreter with its library takes 20 s on a slow machine.
const COMPILE_TIME: Duration = Duration::from_secs(120);
/// And how much memory.
const COMPILE_MEMORY: u64 = 2 << 30;
/// Files with what models failed on.
const FAILED_BATCHES: u64 = 100;
/// And at most: the directory is listed for each one more.
const FAILED_BATCHES_MAX: u64 = 10_000;
/// Bytes of them.
const FAILED_BATCH_BYTES: u64 = 16 << 20;
/// With less, not even the program fits.
const COMPILE_MEMORY_MIN: u64 = 256 << 20;

/// `[scoring]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RawScoring {
    /// Directory, or `none`.
    cache_dir: Option<String>,
    /// Directory, or `none`.
    component_dir: Option<String>,
    /// Public keys of minisign.
    trusted_keys: Option<Vec<String>>,
    /// How long compiling a component may take.
    compile_time_max: Option<String>,
    /// How much memory compiling a component may take.
    compile_memory_max: Option<String>,
    /// Directory, or `none`.
    failed_batch_dir: Option<String>,
    /// Files in it.
    failed_batches_max: Option<u64>,
    /// Bytes in it.
    failed_batch_bytes_max: Option<String>,
}

/// `[scoring]`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ScoringConfig {
    /// Where compiled models are kept between starts; none: compiled at every start.
    #[serde(serialize_with = "directory")]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Where components that do not come with this build are looked for.
    #[serde(serialize_with = "directory")]
    pub(crate) component_dir: Option<PathBuf>,
    /// Who must have signed those; none: nobody must.
    pub(crate) trusted_keys: Vec<String>,
    /// How long compiling a component may take.
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub(crate) compile_time_max: Duration,
    /// How much memory.
    #[serde(serialize_with = "chassis::config::printed::size")]
    pub(crate) compile_memory_max: u64,
    /// Where what models failed on is kept.
    #[serde(serialize_with = "directory")]
    pub(crate) failed_batch_dir: Option<PathBuf>,
    /// Files in it.
    pub(crate) failed_batches_max: u64,
    /// Bytes in it.
    #[serde(serialize_with = "chassis::config::printed::size")]
    pub(crate) failed_batch_bytes_max: u64,
    #[serde(skip)]
    keys: TrustedKeys,
    /// Weights that the configuration names by their files.
    #[serde(skip)]
    pub(crate) weights: Weights,
}

fn directory<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => serializer.collect_str(&path.display()),
        None => serializer.serialize_str(NOWHERE),
    }
}

impl RawScoring {
    /// Machine code lies beside the embedded journal; without one in the user's cache. Never in a directory that others
    /// can write to: what lies there is run.
    pub(crate) fn resolve(self, at: &str, journal: &JournalConfig, problems: &mut Problems) -> ScoringConfig {
        let place = |said: Option<String>, default: &str| match said {
            Some(said) if said == NOWHERE => None,
            Some(said) => Some(PathBuf::from(said)),
            None => match journal.file() {
                Some(file) => Some(super::directory_of(file).join(default)),
                None => user_cache().map(|cache| cache.join("highwater").join(default)),
            },
        };
        let trusted_keys = self.trusted_keys.unwrap_or_default();
        let keys = TrustedKeys::parse(&trusted_keys).unwrap_or_else(|(place, why)| {
            problems.add(format!("{at}.trusted-keys[{place}]"), why.to_string());
            TrustedKeys::default()
        });
        let time_key = format!("{at}.compile-time-max");
        let compile_time_max = problems.duration(&time_key, self.compile_time_max.as_deref(), COMPILE_TIME);
        if compile_time_max.is_zero() {
            problems.add(time_key, "nothing compiles in no time");
        }
        let memory_key = format!("{at}.compile-memory-max");
        let compile_memory_max =
            problems.size(&memory_key, self.compile_memory_max.as_deref(), COMPILE_MEMORY);
        if compile_memory_max < COMPILE_MEMORY_MIN {
            problems.add(memory_key, "is less than 256MiB: not even the compiler fits into that");
        }
        let bytes_key = format!("{at}.failed-batch-bytes-max");
        ScoringConfig {
            cache_dir: place(self.cache_dir, "models"),
            failed_batch_dir: place(self.failed_batch_dir, "failed-batches"),
            failed_batches_max: problems.count(
                &format!("{at}.failed-batches-max"),
                self.failed_batches_max,
                FAILED_BATCHES,
                1,
                FAILED_BATCHES_MAX,
            ),
            failed_batch_bytes_max: problems.size(
                &bytes_key,
                self.failed_batch_bytes_max.as_deref(),
                FAILED_BATCH_BYTES,
            ),
            component_dir: self.component_dir.filter(|said| said != NOWHERE).map(PathBuf::from),
            trusted_keys,
            compile_time_max,
            compile_memory_max,
            keys,
            weights: Weights::default(),
        }
    }
}

fn user_cache() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}

impl ScoringConfig {
    /// The digest of a component by its name: one that comes with this build, else one of the directory's.
    pub(crate) fn component(&self, name: &str) -> Option<String> {
        if let Some(shipped) = shipped::find(name) {
            return Some(shipped.digest.clone());
        }
        // A file that cannot be read is one that is not there: the name is refused, with what there is.
        Directory::new(self.component_dir.as_ref()?).digest_of(name).ok().flatten()
    }

    /// Sets up the loader of a service, which looks at these places, too.
    ///
    /// # Errors
    /// When the model host cannot run here, or a thread cannot be started.
    pub(crate) fn loader(&self, more: Vec<Arc<dyn ComponentSource>>) -> Result<Loader> {
        let mut places: Vec<Arc<dyn ComponentSource>> =
            vec![Arc::new(Shipped), Arc::new(self.weights.clone())];
        if let Some(path) = &self.component_dir {
            places.push(Arc::new(Directory::new(path)));
        }
        places.extend(more);
        let compiling = self.compiling()?;
        let bounds = Bounds {
            files: usize::try_from(self.failed_batches_max).unwrap_or(usize::MAX),
            bytes: self.failed_batch_bytes_max,
        };
        let keeper = |directory: &PathBuf| Keeper::start(directory.clone(), bounds);
        let keeper = self.failed_batch_dir.as_ref().map(keeper).transpose()?;
        let config = LoaderConfig {
            cache_dir: self.cache_dir.clone(),
            compiling,
            trusted_keys: self.keys.clone(),
            witness: keeper.map(|keeper| Arc::new(keeper) as Arc<dyn Witness>),
            ..LoaderConfig::default()
        };
        Ok(Loader::new(Arc::new(Places(places)), config)?)
    }

    /// How components are compiled.
    ///
    /// # Errors
    /// When this program does not know where it is.
    pub(crate) fn compiling(&self) -> Result<Compiling> {
        if cfg!(test) {
            // A test is another program, which does not know the command.
            return Ok(Compiling::Here);
        }
        let (time, memory) = (self.compile_time_max, self.compile_memory_max);
        let child = CompilerChild::of_this_program(crate::cli::COMPILE_MODEL, time, memory);
        Ok(Compiling::Child(child.context("where is this program?")?))
    }
}

/// Whether these models can run here, before a decision about them is written. A place that cannot be asked now is no
/// reason against them: partitions wait for it.
///
/// # Errors
/// The first model that cannot be used, and why.
pub(crate) fn check(loader: &Loader, models: &[Model]) -> Result<(), LoadError> {
    match loader.load(models) {
        Ok(_) | Err(LoadError::Source { .. }) => Ok(()),
        Err(why) => Err(why),
    }
}
