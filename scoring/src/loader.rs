//! From the models a configuration names to models that can run: bytes by digest, compiled once, started once,
//! checked against the metrics they are to score.

use crate::shipped::hex;
use crate::source::{ComponentSource, SourceError};
use schemas::pipeline::{Inputs, Model};
use scoring_host::{Cache, Component, Host, HostLimits, MissingRule, Plugin, Refused};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Most metrics one model may be given.
pub const INPUTS_MAX: usize = 64;
/// Most components and most started versions kept for the next configuration.
const KEPT_MAX: usize = 64;
/// Separates metric names in the key of a stream of several; no metric name contains it.
const STREAM_SEPARATOR: &str = "\u{1f}";

/// Why models cannot be loaded. Whatever was in force stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Nobody has the bytes.
    #[error("model `{model}`: no component with SHA-256 {digest} is known")]
    UnknownComponent {
        /// Name in the configuration.
        model: String,
        /// What was looked for.
        digest: String,
    },
    /// The source cannot be asked now: worth another attempt.
    #[error("model `{model}`: its component cannot be fetched: {source}")]
    Source {
        /// Name in the configuration.
        model: String,
        /// Why.
        source: SourceError,
    },
    /// The source gave other bytes than asked for.
    #[error("model `{model}`: the bytes fetched have SHA-256 {found}, not {digest}")]
    Damaged {
        /// Name in the configuration.
        model: String,
        /// What was asked for.
        digest: String,
        /// What came.
        found: String,
    },
    /// The component or its settings cannot be used.
    #[error("model `{model}`: {source}")]
    Refused {
        /// Name in the configuration.
        model: String,
        /// Why.
        source: Refused,
    },
    /// The component does not fit the metrics or numbers it is configured with.
    #[error("model `{model}`: {problem}")]
    Unfit {
        /// Name in the configuration.
        model: String,
        /// In words.
        problem: String,
    },
}

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct LoaderConfig {
    /// Where machine code is kept between runs; none: compiled at every start.
    pub cache_dir: Option<PathBuf>,
    /// Bounds of every guest.
    pub limits: HostLimits,
}

/// Loads models; one per process, cheap to clone.
#[derive(Clone)]
pub struct Loader {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host,
    cache: Option<Cache>,
    source: Arc<dyn ComponentSource>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    components: BTreeMap<String, Component>,
    plugins: BTreeMap<[u8; 32], Plugin>,
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").field("cache", &self.inner.cache).finish_non_exhaustive()
    }
}

/// What is public about a loaded model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Name in the configuration.
    pub name: String,
    /// Digest of component, settings and seed, hexadecimal: equal versions score equally.
    pub version: String,
    /// Scores at or above it are alerts.
    pub threshold: f64,
    /// See [`Model::sample_every`].
    pub sample_every: u32,
    /// What is scored.
    pub inputs: Inputs,
    /// The author's name and version of the component.
    pub component: String,
    /// Rows of a series before its scores mean something.
    pub warm_up_rows: u32,
    /// Bytes of state of a series.
    pub stride: usize,
}

/// A model ready to run.
pub(crate) struct Loaded {
    pub(crate) info: ModelInfo,
    pub(crate) version: [u8; 32],
    pub(crate) plugin: Plugin,
    pub(crate) fuel_per_row: u64,
    /// Keys of the series each device has: a metric each, or all columns together.
    pub(crate) streams: Vec<String>,
    /// Feature -> a row without it is not scored.
    pub(crate) required: Vec<bool>,
}

/// The models of one configuration, in its order. Cheap to clone.
#[derive(Clone, Default)]
pub struct ModelSet {
    models: Arc<Vec<Loaded>>,
}

impl ModelSet {
    /// No model.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether there is nothing to score.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// The models; the position is the model index everywhere.
    pub fn models(&self) -> impl ExactSizeIterator<Item = &ModelInfo> {
        self.models.iter().map(|loaded| &loaded.info)
    }

    pub(crate) fn loaded(&self) -> &[Loaded] {
        &self.models
    }
}

impl std::fmt::Debug for ModelSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.models()).finish()
    }
}

impl Loader {
    /// Sets up the host.
    ///
    /// # Errors
    /// The WebAssembly engine cannot run on this machine.
    pub fn new(source: Arc<dyn ComponentSource>, config: LoaderConfig) -> Result<Self, Refused> {
        let host = Host::new(config.limits)?;
        let cache = config.cache_dir.map(Cache::new);
        Ok(Self { inner: Arc::new(Inner { host, cache, source, kept: Mutex::default() }) })
    }

    /// Makes the models of a configuration ready. What was loaded before costs nothing; a new component is compiled,
    /// which takes from 10 ms to seconds.
    ///
    /// # Errors
    /// The first model that cannot be used, and why.
    pub fn load(&self, models: &[Model]) -> Result<ModelSet, LoadError> {
        let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded: Result<Vec<_>, _> = models.iter().map(|model| self.load_one(model, &mut kept)).collect();
        Ok(ModelSet { models: Arc::new(loaded?) })
    }

    fn load_one(&self, model: &Model, kept: &mut Kept) -> Result<Loaded, LoadError> {
        check_numbers(model)?;
        let refused = |source| LoadError::Refused { model: model.name.clone(), source };
        let component = self.component(model, kept)?;
        let version = version(component.digest(), model);
        let plugin = match kept.plugins.get(&version) {
            Some(plugin) => plugin.clone(),
            None => {
                let host = &self.inner.host;
                Plugin::new(host, &component, &model.settings, None, model.seed).map_err(refused)?
            }
        };
        make_room(&mut kept.plugins);
        kept.plugins.insert(version, plugin.clone());
        assemble(model, version, plugin)
    }

    fn component(&self, model: &Model, kept: &mut Kept) -> Result<Component, LoadError> {
        let digest = &model.component;
        if let Some(component) = kept.components.get(digest) {
            return Ok(component.clone());
        }
        let name = || model.name.clone();
        let bytes = match self.inner.source.fetch(digest) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(LoadError::UnknownComponent { model: name(), digest: digest.clone() }),
            Err(source) => return Err(LoadError::Source { model: name(), source }),
        };
        let found = hex(&Sha256::digest(&bytes));
        if found != *digest {
            return Err(LoadError::Damaged { model: name(), digest: digest.clone(), found });
        }
        let component = self.inner.host.component(&bytes, self.inner.cache.as_ref());
        let component = component.map_err(|source| LoadError::Refused { model: name(), source })?;
        make_room(&mut kept.components);
        kept.components.insert(digest.clone(), component.clone());
        Ok(component)
    }
}

/// Identity of a model's behavior, as scores, alerts and window rows name it: hexadecimal, of its component, settings
/// and seed. None when its component is not named by a SHA-256.
#[must_use]
pub fn version_of(model: &Model) -> Option<String> {
    let mut component = [0; 32];
    if model.component.len() != 64 {
        return None;
    }
    for (index, byte) in component.iter_mut().enumerate() {
        *byte = u8::from_str_radix(model.component.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(version(&component, model).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
}

fn make_room<K: Ord, V>(kept: &mut BTreeMap<K, V>) {
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
}

/// Identity of a model's behavior. Weights apart from the component will be part of it.
fn version(component: &[u8; 32], model: &Model) -> [u8; 32] {
    Sha256::new()
        .chain_update(b"highwater-model-1")
        .chain_update(component)
        .chain_update((model.settings.len() as u64).to_le_bytes())
        .chain_update(&model.settings)
        .chain_update(model.seed.to_le_bytes())
        .finalize()
        .into()
}

fn unfit(model: &Model, problem: String) -> LoadError {
    LoadError::Unfit { model: model.name.clone(), problem }
}

fn check_numbers(model: &Model) -> Result<(), LoadError> {
    let names = model.inputs.names();
    let distinct: BTreeSet<&String> = names.iter().collect();
    if names.is_empty() || names.len() > INPUTS_MAX || distinct.len() != names.len() {
        return Err(unfit(model, format!("inputs must be 1 to {INPUTS_MAX} different metrics")));
    }
    if model.threshold.is_nan() {
        return Err(unfit(model, "the threshold is not a number".to_owned()));
    }
    if model.fuel_per_row == 0 {
        return Err(unfit(model, "a row needs fuel".to_owned()));
    }
    Ok(())
}

fn assemble(model: &Model, version: [u8; 32], plugin: Plugin) -> Result<Loaded, LoadError> {
    let descriptor = plugin.descriptor();
    let features = descriptor.features.len();
    let (streams, given) = match &model.inputs {
        Inputs::Each(names) => (names.clone(), 1),
        Inputs::Columns(names) => (vec![names.join(STREAM_SEPARATOR)], names.len()),
    };
    if given != features {
        let names: Vec<&str> = descriptor.features.iter().map(|feature| feature.name.as_str()).collect();
        let problem = format!("takes {features} features ({}) a row, is given {given}", names.join(", "));
        return Err(unfit(model, problem));
    }
    let required =
        descriptor.features.iter().map(|feature| feature.missing == MissingRule::SkipRow).collect();
    let info = ModelInfo {
        name: model.name.clone(),
        version: hex(&version),
        threshold: model.threshold,
        sample_every: model.sample_every,
        inputs: model.inputs.clone(),
        component: format!("{} {}", descriptor.name, descriptor.version),
        warm_up_rows: descriptor.warm_up_rows,
        stride: descriptor.stride,
    };
    Ok(Loaded { info, version, plugin, fuel_per_row: model.fuel_per_row, streams, required })
}
