//! A component with its settings: proven to start, and described. Immutable and shared by all threads.

use crate::bindings::{Scorer, ScorerPre};
use crate::descriptor::Descriptor;
use crate::engine::{Component, Host};
use crate::inert;
use crate::inside::Inside;
use crate::session::{Failure, describe_failure, fault_text};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{Store, Trap};

/// Why a component or its settings cannot be used. Nothing has changed; another component or other settings may do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The engine cannot run here.
    #[error("the WebAssembly engine: {0}")]
    Engine(String),
    /// Too many bytes.
    #[error("the component has {bytes} bytes, at most {bytes_max} are possible")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Does not compile.
    #[error("not a component: {0}")]
    NotAComponent(String),
    /// Compiling took too long: a component made to do that, or too slow a machine.
    #[error("compiling it takes more than {time_max:?}")]
    CompileTime {
        /// What it may take.
        time_max: Duration,
    },
    /// Compiling took too much memory.
    #[error("compiling it takes more than {} MiB of memory", bytes_max >> 20)]
    CompileMemory {
        /// What it may take.
        bytes_max: u64,
    },
    /// The compiler's process failed for another reason.
    #[error("the compiler's process: {0}")]
    Compiler(String),
    /// Wants something a model does not get.
    #[error(
        "imports `{0}`; a model may import highwater:scoring/host-log and host-metrics, and of wasi:* what docs/models.md lists"
    )]
    Import(String),
    /// Does not fit the contract.
    #[error("does not fit the world highwater:scoring/scorer@1.0: {0}")]
    World(String),
    /// Fails while starting.
    #[error("fails while starting: {0}")]
    Start(String),
    /// Refuses its settings.
    #[error("refuses its settings: {0}")]
    Settings(String),
    /// Describes itself impossibly.
    #[error("describes itself impossibly: {0}")]
    Descriptor(String),
}

impl Refused {
    pub(crate) fn engine(error: &wasmtime::Error) -> Self {
        Self::Engine(format!("{error:#}"))
    }
}

/// What starting an instance may end in.
pub(crate) enum StartError {
    /// It will always end so.
    Refused(Refused),
    /// Stopped by the brake: says nothing.
    Braked,
}

/// An instance ready to score.
pub(crate) struct Live {
    pub(crate) store: Store<Inside>,
    pub(crate) exports: Scorer,
    /// Linear memory when it had just started.
    pub(crate) memory_at_start: usize,
}

/// A component with its settings. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host,
    pre: ScorerPre<Inside>,
    settings: String,
    artifact: Option<Vec<u8>>,
    seed: u64,
    descriptor: Descriptor,
}

impl Plugin {
    /// Starts the component once with these settings and lets it describe itself.
    ///
    /// # Errors
    /// It does not fit the contract, fails while starting, or refuses the settings.
    pub fn new(
        host: &Host,
        component: &Component,
        settings: &str,
        artifact: Option<&[u8]>,
        seed: u64,
    ) -> Result<Self, Refused> {
        let pre = inert::linker(&host.inner.linker, &host.inner.engine, &component.inner)
            .and_then(|linker| linker.instantiate_pre(&component.inner))
            .and_then(ScorerPre::new)
            .map_err(|error| Refused::World(format!("{error:#}")))?;
        let mut attempts = 0;
        let descriptor = loop {
            let described = start(host, &pre, settings, artifact, seed).and_then(|live| describe(host, live));
            attempts += 1;
            match described {
                Ok(descriptor) => break descriptor,
                Err(StartError::Refused(refused)) => return Err(refused),
                Err(StartError::Braked) if attempts < host.limits().brake_attempts_max => {}
                Err(StartError::Braked) => return Err(Refused::Start("stopped by the brake".to_owned())),
            }
        };
        let (settings, artifact) = (settings.to_owned(), artifact.map(<[u8]>::to_vec));
        let inner = Inner { host: host.clone(), pre, settings, artifact, seed, descriptor };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the model says of itself.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.inner.descriptor
    }

    pub(crate) fn host(&self) -> &Host {
        &self.inner.host
    }

    pub(crate) fn start(&self) -> Result<Live, StartError> {
        let inner = &*self.inner;
        start(&inner.host, &inner.pre, &inner.settings, inner.artifact.as_deref(), inner.seed)
    }
}

fn start(
    host: &Host,
    pre: &ScorerPre<Inside>,
    settings: &str,
    artifact: Option<&[u8]>,
    seed: u64,
) -> Result<Live, StartError> {
    let limits = host.limits();
    let mut store = Store::new(&host.inner.engine, Inside::new(limits, seed));
    store.limiter(|inside| inside);
    store.set_hostcall_fuel(limits.lift_bytes_max);
    store.set_epoch_deadline(limits.brake_ticks);
    store.set_fuel(limits.start_fuel).map_err(|error| StartError::Refused(Refused::engine(&error)))?;
    let exports = match pre.instantiate(&mut store) {
        Ok(exports) => exports,
        Err(error) => return Err(start_error(&store, &error)),
    };
    match exports.highwater_scoring_model().call_configure(&mut store, settings, artifact, seed) {
        Ok(Ok(())) => {
            let memory_at_start = store.data().memory_bytes;
            Ok(Live { store, exports, memory_at_start })
        }
        Ok(Err(fault)) => Err(StartError::Refused(Refused::Settings(fault_text(&fault)))),
        Err(error) => Err(start_error(&store, &error)),
    }
}

fn describe(host: &Host, mut live: Live) -> Result<Descriptor, StartError> {
    let raw = live.exports.highwater_scoring_model().call_describe(&mut live.store);
    let raw = raw.map_err(|error| start_error(&live.store, &error))?;
    Descriptor::check(raw, host.limits().stride_max).map_err(StartError::Refused)
}

fn start_error(store: &Store<Inside>, error: &wasmtime::Error) -> StartError {
    if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
        return StartError::Braked;
    }
    let failed = describe_failure(error, store.data().last_words().as_deref());
    debug_assert!(failed.failure != Failure::Fault, "faults are values");
    StartError::Refused(Refused::Start(failed.detail))
}
