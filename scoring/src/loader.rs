//! From the models a configuration names to models that can run: bytes by digest, compiled once, started once,
//! checked against the metrics they are to score.

use crate::evidence::{Identity, Witness};
use crate::gathered::Onlooker;
use crate::shipped::{self, hex};
use crate::signing::{SignatureError, TrustedKeys};
use crate::source::{ComponentSource, SourceError};
use schemas::pipeline::{Inputs, Model, Route, Stage};
use scoring_host::{Cache, Compiling, Component, Host, HostLimits, MissingRule, Plugin, Refused};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Most metrics one model may be given.
pub const INPUTS_MAX: usize = 64;
/// Most bytes of trained weights: every instance of a model has a copy of them.
pub const ARTIFACT_BYTES_MAX: usize = 16 << 20;
/// Most components and most started versions kept for the next configuration.
const KEPT_MAX: usize = 64;
/// Separates metric names in the key of a stream of several; no metric name contains it.
const STREAM_SEPARATOR: &str = "\u{1f}";
/// Separates what names a stream of a window's rows.
const WINDOW_SEPARATOR: &str = "\u{1e}";

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
    /// Nobody has the weights.
    #[error("model `{model}`: no weights with SHA-256 {digest} are known")]
    UnknownArtifact {
        /// Name in the configuration.
        model: String,
        /// What was looked for.
        digest: String,
    },
    /// The source cannot be asked now: worth another attempt.
    #[error("model `{model}`: what it is made of cannot be fetched: {source}")]
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
    /// Nobody who is trusted vouches for the bytes.
    #[error("model `{model}`: {source}")]
    Signature {
        /// Name in the configuration.
        model: String,
        /// Why.
        source: SignatureError,
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
    /// Where components are compiled.
    pub compiling: Compiling,
    /// Who must have signed a component that does not come with this build; none: nobody must.
    pub trusted_keys: TrustedKeys,
    /// Who is shown what models fail on.
    pub witness: Option<Arc<dyn Witness>>,
    /// Who is shown the rows that models are given.
    pub onlooker: Option<Arc<dyn Onlooker>>,
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
    trusted_keys: TrustedKeys,
    witness: Option<Arc<dyn Witness>>,
    onlooker: Option<Arc<dyn Onlooker>>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    components: BTreeMap<String, Component>,
    plugins: BTreeMap<[u8; 32], Plugin>,
    /// Components that could not be compiled, by digest: whoever waits for one asks often, and each attempt may take as
    /// long as compiling may take.
    refused: BTreeMap<String, Refused>,
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
    /// Digest of component, weights, settings and seed, hexadecimal: equal versions score equally.
    pub version: String,
    /// Scores at or above it are alerts.
    pub threshold: f64,
    /// See [`Model::sample_every`].
    pub sample_every: u32,
    /// What is scored.
    pub inputs: Inputs,
    /// For which devices and readings.
    pub route: Route,
    /// The author's name and version of the component.
    pub component: String,
    /// Rows of a series before its scores mean something.
    pub warm_up_rows: u32,
    /// Bytes of state of a series.
    pub stride: usize,
    /// What it is used for.
    pub role: Role,
}

/// What a version of a model is used for. A version on trial comes right after the one in force of its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// In force, and alone.
    #[default]
    Active,
    /// In force, with another beside it in this stage.
    Champion(Stage),
    /// Beside the one in force, in this stage.
    Challenger(Stage),
}

impl ModelInfo {
    /// Whether this is the version whose scores count for a device. Of the two versions of a model exactly one serves
    /// each device, and a device that a canary serves stays with it as the canary's share grows.
    #[must_use]
    #[inline]
    pub fn serves(&self, device_id: &[u8]) -> bool {
        match self.role {
            Role::Active | Role::Champion(Stage::Shadow | Stage::Bake) => true,
            Role::Challenger(Stage::Shadow | Stage::Bake) => false,
            Role::Champion(Stage::Canary(percent)) => share(&self.name, device_id) >= percent,
            Role::Challenger(Stage::Canary(percent)) => share(&self.name, device_id) < percent,
        }
    }
}

/// Where a device stands among a hundred, by its id and the model's name: FNV-1a over both (Fowler, Noll, Vo), finished
/// by SplitMix64, because the last bytes of ids differ most and FNV moves them least.
fn share(model: &str, device_id: &[u8]) -> u8 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = model.bytes().chain([0]).chain(device_id.iter().copied());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    u8::try_from(crate::lane::mix(hash) % 100).unwrap_or(0)
}

/// A model ready to run.
pub(crate) struct Loaded {
    pub(crate) info: ModelInfo,
    pub(crate) version: [u8; 32],
    pub(crate) plugin: Plugin,
    pub(crate) fuel_per_row: u64,
    pub(crate) identity: Identity,
    pub(crate) witness: Option<Arc<dyn Witness>>,
    pub(crate) onlooker: Option<Arc<dyn Onlooker>>,
    /// Keys of the series each device has: a metric each, or all columns together.
    pub(crate) streams: Vec<String>,
    /// Feature -> a row without it is not scored.
    pub(crate) required: Vec<bool>,
}

impl Loaded {
    /// Whose its series are, when they are not those of every model of the same version.
    pub(crate) fn owner(&self) -> Option<&str> {
        (!self.info.route.is_open()).then_some(self.info.name.as_str())
    }
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

    /// The models, versions on trial among them; the position is the model index everywhere.
    pub fn models(&self) -> impl ExactSizeIterator<Item = &ModelInfo> {
        self.models.iter().map(|loaded| &loaded.info)
    }

    /// Whether a model is for some devices or readings only.
    #[must_use]
    pub fn has_routes(&self) -> bool {
        self.models().any(|model| !model.route.is_open())
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
        let host = Host::with(config.limits, config.compiling)?;
        let cache = config.cache_dir.map(Cache::new);
        let LoaderConfig { trusted_keys, witness, onlooker, .. } = config;
        let kept = Mutex::default();
        let inner = Inner { host, cache, source, trusted_keys, witness, onlooker, kept };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Makes the models of a configuration ready. What was loaded before costs nothing; a new component is compiled,
    /// which takes from 10 ms to seconds.
    ///
    /// # Errors
    /// The first model that cannot be used, and why.
    pub fn load(&self, models: &[Model]) -> Result<ModelSet, LoadError> {
        let mut kept = self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut loaded = Vec::with_capacity(models.len());
        for model in models {
            let Some(trial) = &model.trial else {
                loaded.push(self.load_one(model, Role::Active, &mut kept)?);
                continue;
            };
            let mut beside = model.clone();
            beside.set_version(trial.version.clone());
            loaded.push(self.load_one(model, Role::Champion(trial.stage), &mut kept)?);
            loaded.push(self.load_one(&beside, Role::Challenger(trial.stage), &mut kept)?);
        }
        Ok(ModelSet { models: Arc::new(loaded) })
    }

    fn load_one(&self, model: &Model, role: Role, kept: &mut Kept) -> Result<Loaded, LoadError> {
        check_numbers(model)?;
        let refused = |source| LoadError::Refused { model: model.name.clone(), source };
        let component = self.component(model, kept)?;
        let version = version(component.digest(), model);
        let plugin = match kept.plugins.get(&version) {
            Some(plugin) => plugin.clone(),
            None => {
                let (host, weights) = (&self.inner.host, self.weights(model)?);
                Plugin::new(host, &component, &model.settings, weights.as_deref(), model.seed)
                    .map_err(refused)?
            }
        };
        make_room(&mut kept.plugins);
        kept.plugins.insert(version, plugin.clone());
        let loaded = assemble(model, role, version, plugin)?;
        let Inner { witness, onlooker, .. } = &*self.inner;
        Ok(Loaded { witness: witness.clone(), onlooker: onlooker.clone(), ..loaded })
    }

    /// The model's trained weights, if it has any.
    fn weights(&self, model: &Model) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        let Some(digest) = &model.artifact else { return Ok(None) };
        let unknown = || LoadError::UnknownArtifact { model: model.name.clone(), digest: digest.clone() };
        let bytes = self.fetch(model, digest)?.ok_or_else(unknown)?;
        if bytes.len() > ARTIFACT_BYTES_MAX {
            let found = bytes.len();
            return Err(unfit(
                model,
                format!("its weights have {found} bytes, at most {ARTIFACT_BYTES_MAX} are possible"),
            ));
        }
        Ok(Some(bytes))
    }

    /// The bytes with this digest.
    fn fetch(&self, model: &Model, digest: &str) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        let name = || model.name.clone();
        let fetched = self.inner.source.fetch(digest);
        let Some(bytes) = fetched.map_err(|source| LoadError::Source { model: name(), source })? else {
            return Ok(None);
        };
        let found = hex(&Sha256::digest(&bytes));
        if found != *digest {
            return Err(LoadError::Damaged { model: name(), digest: digest.to_owned(), found });
        }
        Ok(Some(bytes))
    }

    fn component(&self, model: &Model, kept: &mut Kept) -> Result<Component, LoadError> {
        let digest = &model.component;
        if let Some(component) = kept.components.get(digest) {
            return Ok(component.clone());
        }
        let name = || model.name.clone();
        if let Some(refused) = kept.refused.get(digest) {
            return Err(LoadError::Refused { model: name(), source: refused.clone() });
        }
        let unknown = || LoadError::UnknownComponent { model: name(), digest: digest.clone() };
        let bytes = self.fetch(model, digest)?.ok_or_else(unknown)?;
        self.check_signature(model, &bytes)?;
        let component = self.inner.host.component(&bytes, self.inner.cache.as_ref());
        let component = component.map_err(|source| {
            if is_of_the_component(&source) {
                make_room(&mut kept.refused);
                kept.refused.insert(digest.clone(), source.clone());
            }
            LoadError::Refused { model: name(), source }
        })?;
        make_room(&mut kept.components);
        kept.components.insert(digest.clone(), component.clone());
        Ok(component)
    }

    /// Whether somebody who is trusted vouches for these bytes, which are those that run. What comes with this build is
    /// part of the program.
    fn check_signature(&self, model: &Model, bytes: &[u8]) -> Result<(), LoadError> {
        let keys = &self.inner.trusted_keys;
        if keys.is_empty() || shipped::all().iter().any(|shipped| shipped.bytes == bytes) {
            return Ok(());
        }
        let from = self.inner.source.provenance(&model.component);
        let from = from.map_err(|source| LoadError::Source { model: model.name.clone(), source })?;
        keys.check(bytes, &from.origin, from.signature.as_deref())
            .map_err(|source| LoadError::Signature { model: model.name.clone(), source })
    }
}

/// Identity of a model's behavior, as scores, alerts and window rows name it: hexadecimal, of its component, weights,
/// settings and seed. None when its component is not named by a SHA-256.
#[must_use]
pub fn version_of(model: &Model) -> Option<String> {
    let mut component = [0; 32];
    if model.component.len() != 64 {
        return None;
    }
    for (index, byte) in component.iter_mut().enumerate() {
        *byte = u8::from_str_radix(model.component.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(hex(&version(&component, model)))
}

/// Whether another attempt would most likely end the same.
fn is_of_the_component(refused: &Refused) -> bool {
    matches!(refused, Refused::NotAComponent(_) | Refused::CompileTime { .. } | Refused::CompileMemory { .. })
}

fn make_room<K: Ord, V>(kept: &mut BTreeMap<K, V>) {
    if kept.len() >= KEPT_MAX {
        kept.clear();
    }
}

/// Identity of a model's behavior. Without weights it is what it was before there could be any.
fn version(component: &[u8; 32], model: &Model) -> [u8; 32] {
    let begun = match &model.artifact {
        None => Sha256::new().chain_update(b"highwater-model-1").chain_update(component),
        Some(weights) => Sha256::new()
            .chain_update(b"highwater-model-2")
            .chain_update(component)
            .chain_update((weights.len() as u64).to_le_bytes())
            .chain_update(weights),
    };
    begun
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

/// Names that differ in their order only are a mistake: the model would look at one metric and take it for another.
fn check_order(model: &Model, features: &[&str]) -> Result<(), LoadError> {
    let Inputs::Columns(given) = &model.inputs else { return Ok(()) };
    let same: BTreeSet<&str> = given.iter().map(String::as_str).collect();
    if same == features.iter().copied().collect() && given != features {
        let (takes, given) = (features.join(", "), given.join(", "));
        return Err(unfit(model, format!("takes its columns in the order {takes}, is given {given}")));
    }
    Ok(())
}

fn assemble(model: &Model, role: Role, version: [u8; 32], plugin: Plugin) -> Result<Loaded, LoadError> {
    let descriptor = plugin.descriptor();
    let features = descriptor.features.len();
    let (streams, given) = match &model.inputs {
        Inputs::Each(names) => (names.clone(), 1),
        Inputs::Columns(names) => (vec![names.join(STREAM_SEPARATOR)], names.len()),
        Inputs::Windows { window, each, features } => {
            let taken: Vec<&str> = features.iter().map(|feature| feature.as_str()).collect();
            let taken = taken.join(STREAM_SEPARATOR);
            let stream = |metric: &String| [metric, window.as_str(), &taken].join(WINDOW_SEPARATOR);
            (each.iter().map(stream).collect(), features.len())
        }
    };
    let names: Vec<&str> = descriptor.features.iter().map(|feature| feature.name.as_str()).collect();
    check_order(model, &names)?;
    if given != features {
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
        route: model.route.clone(),
        component: format!("{} {}", descriptor.name, descriptor.version),
        warm_up_rows: descriptor.warm_up_rows,
        stride: descriptor.stride,
        role,
    };
    let identity = Identity {
        component: model.component.clone(),
        artifact: model.artifact.clone(),
        settings: model.settings.clone(),
        seed: model.seed,
    };
    let (fuel_per_row, witness, onlooker) = (model.fuel_per_row, None, None);
    Ok(Loaded { info, version, plugin, fuel_per_row, identity, witness, onlooker, streams, required })
}
