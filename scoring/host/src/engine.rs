//! The engine and its limits: configuration that makes results repeatable, the ticker behind the brake, components.

use crate::bindings::Scorer;
use crate::cache::Cache;
use crate::compiling::Compiling;
use crate::inert;
use crate::inside::Inside;
use crate::plugin::Refused;
use sha2::{Digest, Sha256};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::{HasSelf, Linker, types::ComponentItem};
use wasmtime::{Config, Engine, EngineWeak, WasmBacktraceDetails};

/// What a guest may import, any 1.x version of it; a function that came later than this host is missed at the start.
const IMPORTS: [&str; 2] = ["highwater:scoring/host-log@1.", "highwater:scoring/host-metrics@1."];

/// Bounds of every guest. The defaults leave room for an interpreter.
#[derive(Clone, Debug)]
pub struct HostLimits {
    /// Bytes of a component.
    pub component_bytes_max: usize,
    /// Bytes of linear memory of an instance; growing beyond fails inside the guest.
    pub memory_bytes_max: usize,
    /// Elements of an instance's tables.
    pub table_elements_max: usize,
    /// Bytes of native stack. The one limit whose effect differs between processor architectures.
    pub stack_bytes_max: usize,
    /// Bytes taken over from a guest in one call, arguments of its own calls included.
    pub lift_bytes_max: usize,
    /// Fuel for instantiating, configuring and describing together.
    pub start_fuel: u64,
    /// Bytes a guest may say (log and metrics) in one call; more is a trap.
    pub said_bytes_max: usize,
    /// Log lines kept until they are taken; more are counted.
    pub log_lines_max: usize,
    /// Bytes kept of a line.
    pub log_line_bytes_max: usize,
    /// Names of gauges kept; more are counted.
    pub gauges_max: usize,
    /// Growth of linear memory since the start after which an instance is replaced.
    pub memory_growth_max: usize,
    /// Bytes of state of a series.
    pub stride_max: u32,
    /// Length of a tick of the brake.
    pub tick: Duration,
    /// Ticks after which a call is stopped without a result.
    pub brake_ticks: u64,
    /// Times a call is stopped before [`CallError::Braked`](crate::CallError::Braked).
    pub brake_attempts_max: u32,
}

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            component_bytes_max: 32 << 20,
            memory_bytes_max: 128 << 20,
            table_elements_max: 20_000,
            stack_bytes_max: 512 << 10,
            lift_bytes_max: 16 << 20,
            start_fuel: 2_000_000_000,
            said_bytes_max: 1 << 20,
            log_lines_max: 64,
            log_line_bytes_max: 1024,
            gauges_max: 16,
            memory_growth_max: 16 << 20,
            stride_max: 64 << 10,
            tick: Duration::from_millis(50),
            brake_ticks: 100,
            brake_attempts_max: 3,
        }
    }
}

/// Where guests run: one engine, shared by all threads of a process. Cheap to clone.
#[derive(Clone)]
pub struct Host {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Inside>,
    pub(crate) limits: HostLimits,
    compiling: Compiling,
}

/// A component that was compiled and imports nothing it should not.
#[derive(Clone)]
pub struct Component {
    pub(crate) inner: wasmtime::component::Component,
    digest: [u8; 32],
}

impl Component {
    /// SHA-256 of the component's bytes.
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl Host {
    /// Sets up the engine and starts the ticker thread, which ends when the last user of the engine is gone. Components
    /// are compiled in this process.
    ///
    /// # Errors
    /// The engine does not run on this machine.
    pub fn new(limits: HostLimits) -> Result<Self, Refused> {
        Self::with(limits, Compiling::Here)
    }

    /// The same, compiling elsewhere.
    ///
    /// # Errors
    /// The engine does not run on this machine.
    pub fn with(limits: HostLimits, compiling: Compiling) -> Result<Self, Refused> {
        let engine = Engine::new(&config(limits.stack_bytes_max)).map_err(|error| Refused::engine(&error))?;
        let mut linker = Linker::new(&engine);
        Scorer::add_to_linker::<_, HasSelf<Inside>>(&mut linker, |inside| inside)
            .map_err(|error| Refused::engine(&error))?;
        start_ticker(engine.weak(), limits.tick)?;
        Ok(Self { inner: Arc::new(Inner { engine, linker, limits, compiling }) })
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &HostLimits {
        &self.inner.limits
    }

    /// Compiles a component, or takes its machine code from the cache. Takes 10 ms to seconds when compiling.
    ///
    /// # Errors
    /// Not a component, too large, or it imports something foreign.
    pub fn component(&self, bytes: &[u8], cache: Option<&Cache>) -> Result<Component, Refused> {
        let bytes_max = self.inner.limits.component_bytes_max;
        if bytes.len() > bytes_max {
            return Err(Refused::TooLarge { bytes: bytes.len(), bytes_max });
        }
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let compatibility = self.compatibility();
        let cached = cache.and_then(|cache| cache.read(&digest, &compatibility));
        let inner = match cached.and_then(|code| self.deserialize(&code).ok()) {
            Some(component) => component,
            None => {
                let code = self.inner.compiling.compile(bytes, self.inner.limits.stack_bytes_max)?;
                if let Some(cache) = cache {
                    cache.write(&digest, &compatibility, &code);
                }
                self.deserialize(&code).map_err(|error| Refused::engine(&error))?
            }
        };
        self.check_imports(&inner)?;
        Ok(Component { inner, digest })
    }

    #[allow(unsafe_code, reason = "wasmtime cannot tell forged machine code; ours comes from `Compiling`")]
    fn deserialize(&self, code: &[u8]) -> wasmtime::Result<wasmtime::component::Component> {
        // SAFETY: `code` was made by `Compiling` just now, in this process or in a child that is the same program, or by
        // an earlier process of this user and kept in a file that only this user can write: `Cache` has checked owner,
        // rights and digest of the very bytes it read.
        unsafe { wasmtime::component::Component::deserialize(&self.inner.engine, code) }
    }

    fn check_imports(&self, component: &wasmtime::component::Component) -> Result<(), Refused> {
        let kind = component.component_type();
        for (name, import) in kind.imports(&self.inner.engine) {
            let known = IMPORTS.iter().any(|allowed| name.starts_with(allowed)) || inert::knows(name);
            if !known || !matches!(import.ty, ComponentItem::ComponentInstance(_)) {
                return Err(Refused::Import(name.to_owned()));
            }
        }
        Ok(())
    }

    /// Identifies what this engine's machine code depends on: version, target, features, options.
    fn compatibility(&self) -> [u8; 32] {
        let mut hasher = Sha256Hasher(Sha256::new());
        self.inner.engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.0.finalize().into()
    }
}

/// Everything that machine code depends on.
pub(crate) fn config(stack_bytes_max: usize) -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(stack_bytes_max)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // Else a variable of the environment decides.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

fn start_ticker(engine: EngineWeak, tick: Duration) -> Result<(), Refused> {
    let beat = move || {
        loop {
            std::thread::park_timeout(tick);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    };
    std::thread::Builder::new()
        .name("scoring-ticker".to_owned())
        .spawn(beat)
        .map(drop)
        .map_err(|error| Refused::Engine(format!("cannot start the ticker: {error}")))
}

/// Lets a value that only knows `Hash` be digested.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}
