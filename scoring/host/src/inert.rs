//! An inert WASI: what the run-times of interpreted languages import, with nothing behind it.
//!
//! Lives here: which interfaces of `wasi:*` a guest may import, and the answer of every function in them. The clocks stand
//! still, random numbers come from the configured seed, there is no environment, no argument, no file and no input; what
//! is printed goes where `host-log` goes. Everything is answered by the function's name and by values built here, so there
//! is no foreign code between a guest and the machine ([decision 0020](../../../docs/decisions/0020-an-inert-wasi.md)).
//! Does not live here: any other import (`engine`), limits of what is said (`inside`).
//!
//! Invariants:
//! * No answer depends on anything but the function, its arguments, and the calls before it in the same call of the model:
//!   the random sequence begins anew with each.
//! * A function that is not in the table ends the call, by name. No table entry does anything outside the store.
//! * Each function costs [`CALL_FUEL`], and [`ITEM_FUEL`] for each item of a list, so that the host's work is paid for like the guest's.

use crate::inside::Inside;
use wasmtime::component::types::{ComponentInstance, ComponentItem};
use wasmtime::component::{Component, Linker, LinkerInstance, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{AsContextMut, Engine, StoreContextMut, Trap};

/// Interfaces that are answered, any 0.2 version of each. No sockets, no HTTP.
const INTERFACES: [&str; 17] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
];
/// The same, where the seed is behind them.
const RANDOM: [&str; 3] = ["wasi:random/random", "wasi:random/insecure", "wasi:random/insecure-seed"];
/// What versions they may have.
const VERSION: &str = "@0.2.";

/// Where the monotonic clock stands, in nanoseconds: Go's run-time takes zero for a broken clock.
const MONOTONIC: u64 = 1;
/// Fuel of one function of WASI.
const CALL_FUEL: u64 = 1000;
/// And of each byte or handle that it takes or gives in a list.
const ITEM_FUEL: u64 = 16;
/// Random bytes that may be asked for at once.
const RANDOM_BYTES_MAX: u64 = 64 << 10;
/// Bytes that an output stream says it takes.
const WRITE_BYTES_MAX: u64 = 4096;
/// Handles that an instance may hold at a time.
const HANDLES_MAX: u32 = 1024;
/// Bytes kept of what was printed last: they travel with a failure.
const TAIL_BYTES_MAX: usize = 384;

/// Whether an import of that name is answered here.
pub(crate) fn knows(import: &str) -> bool {
    let Some((interface, version)) = import.split_once(VERSION) else { return false };
    let digits = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    digits && (INTERFACES.contains(&interface) || RANDOM.contains(&interface))
}

/// Ends a call that asks for what an inert WASI cannot do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// Not in the table.
    #[error("calls `{0}`, which a model does not get")]
    Function(String),
    /// `wasi:cli/exit`.
    #[error("exits")]
    Exit,
    /// More than one of the limits above.
    #[error("asks for more than {max} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: u64,
    },
}

/// An instance's share of the inert WASI.
pub(crate) struct Inert {
    seed: u64,
    random: u64,
    handles: u32,
    /// The line that is being printed.
    line: Vec<u8>,
    /// The end of what was printed in this call.
    tail: Vec<u8>,
}

impl Inert {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, random: seed, handles: 0, line: Vec::new(), tail: Vec::new() }
    }

    /// A new call sees what the first one saw.
    pub(crate) fn begin_call(&mut self) {
        self.random = self.seed;
        self.line.clear();
        self.tail.clear();
    }

    /// The end of what was printed in this call, in one line.
    pub(crate) fn last_words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.tail);
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        (!lines.is_empty()).then(|| lines.join(" | "))
    }

    /// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Takes printed bytes; the lines they complete, each cut to so many bytes.
    fn print(&mut self, bytes: &[u8], line_bytes_max: usize) -> Vec<String> {
        self.tail.extend_from_slice(bytes);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES_MAX));
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = line_bytes_max.saturating_sub(self.line.len());
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if text.len() < part.len() {
                lines.push(String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned());
            }
        }
        lines
    }
}

/// The resources of WASI; their handles have nothing behind them.
enum Stream {}
enum Pollable {}
enum Other {}

/// The linker for a component: with the inert WASI when the component imports any of it.
///
/// # Errors
/// The component imports of WASI what is no function, resource or type.
pub(crate) fn linker(
    base: &Linker<Inside>,
    engine: &Engine,
    component: &Component,
) -> wasmtime::Result<Linker<Inside>> {
    let mut linker = base.clone();
    for (name, import) in component.component_type().imports(engine) {
        if let ComponentItem::ComponentInstance(interface) = import.ty
            && knows(name)
        {
            define(&mut linker.instance(name)?, engine, name, &interface)?;
        }
    }
    Ok(linker)
}

fn define(
    linker: &mut LinkerInstance<'_, Inside>,
    engine: &Engine,
    import: &str,
    interface: &ComponentInstance,
) -> wasmtime::Result<()> {
    let unversioned = import.split('@').next().unwrap_or(import);
    for (name, export) in interface.exports(engine) {
        match export.ty {
            ComponentItem::ComponentFunc(_) => {
                let function = format!("{unversioned}#{name}");
                linker.func_new(name, move |store, _, arguments, results| {
                    call(store, &function, arguments, results)
                })?;
            }
            ComponentItem::Resource(_) => {
                let kind = match name {
                    "input-stream" | "output-stream" => ResourceType::host::<Stream>(),
                    "pollable" => ResourceType::host::<Pollable>(),
                    _ => ResourceType::host::<Other>(),
                };
                linker.resource(name, kind, |mut store, _| {
                    let handles = &mut store.data_mut().inert.handles;
                    *handles = handles.saturating_sub(1);
                    Ok(())
                })?;
            }
            ComponentItem::Type(_) => {}
            _ => wasmtime::bail!("`{import}` has `{name}`, which is neither function, resource nor type"),
        }
    }
    Ok(())
}

/// One function, whatever it is: paid for, answered, its borrowed handles given back.
fn call(
    mut store: StoreContextMut<'_, Inside>,
    function: &str,
    arguments: &[Val],
    results: &mut [Val],
) -> wasmtime::Result<()> {
    let items: usize =
        arguments.iter().map(|argument| if let Val::List(items) = argument { items.len() } else { 0 }).sum();
    pay(&mut store, CALL_FUEL.saturating_add(ITEM_FUEL.saturating_mul(items as u64)))?;
    let answer = answer(&mut store, function, arguments)?;
    for argument in arguments {
        give_back(&mut store, argument)?;
    }
    match (results, answer) {
        ([], None) => Ok(()),
        ([result], Some(value)) => {
            *result = value;
            Ok(())
        }
        _ => Err(Refusal::Function(function.to_owned()).into()),
    }
}

fn pay(store: &mut StoreContextMut<'_, Inside>, price: u64) -> wasmtime::Result<()> {
    let fuel = store.get_fuel()?;
    store.set_fuel(fuel.saturating_sub(price))?;
    if fuel < price {
        return Err(Trap::OutOfFuel.into());
    }
    Ok(())
}

fn give_back(store: &mut StoreContextMut<'_, Inside>, argument: &Val) -> wasmtime::Result<()> {
    match argument {
        Val::Resource(handle) => handle.resource_drop(store.as_context_mut()),
        Val::List(items) => items.iter().try_for_each(|item| match item {
            Val::Resource(_) => give_back(store, item),
            _ => Ok(()),
        }),
        _ => Ok(()),
    }
}

/// The table: what each function gives. None: it gives nothing.
fn answer(
    store: &mut StoreContextMut<'_, Inside>,
    function: &str,
    arguments: &[Val],
) -> wasmtime::Result<Option<Val>> {
    let argument = arguments.last();
    let value = match function {
        "wasi:cli/environment#get-environment"
        | "wasi:cli/environment#get-arguments"
        | "wasi:filesystem/preopens#get-directories" => Val::List(Vec::new()),
        "wasi:cli/environment#initial-cwd"
        | "wasi:cli/terminal-stdin#get-terminal-stdin"
        | "wasi:cli/terminal-stdout#get-terminal-stdout"
        | "wasi:cli/terminal-stderr#get-terminal-stderr"
        | "wasi:filesystem/types#filesystem-error-code" => Val::Option(None),
        "wasi:cli/exit#exit" | "wasi:cli/exit#exit-with-code" => return Err(Refusal::Exit.into()),
        "wasi:cli/stdin#get-stdin" | "wasi:cli/stdout#get-stdout" | "wasi:cli/stderr#get-stderr" => {
            handle::<Stream>(store)?
        }
        "wasi:clocks/monotonic-clock#now" => Val::U64(MONOTONIC),
        "wasi:clocks/monotonic-clock#resolution" => Val::U64(1),
        "wasi:clocks/wall-clock#now" => datetime(0),
        "wasi:clocks/wall-clock#resolution" => datetime(1),
        "wasi:clocks/monotonic-clock#subscribe-instant"
        | "wasi:clocks/monotonic-clock#subscribe-duration"
        | "wasi:io/streams#[method]input-stream.subscribe"
        | "wasi:io/streams#[method]output-stream.subscribe" => handle::<Pollable>(store)?,
        "wasi:io/poll#[method]pollable.ready" => Val::Bool(true),
        "wasi:io/poll#[method]pollable.block" => return Ok(None),
        "wasi:io/poll#poll" => all_ready(argument),
        "wasi:io/error#[method]error.to-debug-string" => Val::String("nothing is there".to_owned()),
        "wasi:random/random#get-random-u64" | "wasi:random/insecure#get-insecure-random-u64" => {
            Val::U64(store.data_mut().inert.next())
        }
        "wasi:random/insecure-seed#insecure-seed" => {
            let inert = &mut store.data_mut().inert;
            Val::Tuple(vec![Val::U64(inert.next()), Val::U64(inert.next())])
        }
        "wasi:random/random#get-random-bytes" | "wasi:random/insecure#get-insecure-random-bytes" => {
            random_bytes(store, argument)?
        }
        _ => match function.strip_prefix("wasi:io/streams#[method]") {
            Some(method) => stream(store.data_mut(), function, method, argument)?,
            None => return Err(Refusal::Function(function.to_owned()).into()),
        },
    };
    Ok(Some(value))
}

/// Methods of streams: input is at its end, output is printed.
fn stream(
    inside: &mut Inside,
    function: &str,
    method: &str,
    argument: Option<&Val>,
) -> wasmtime::Result<Val> {
    let done = Val::Result(Ok(None));
    match method {
        "input-stream.read"
        | "input-stream.blocking-read"
        | "input-stream.skip"
        | "input-stream.blocking-skip"
        | "output-stream.splice"
        | "output-stream.blocking-splice" => {
            Ok(Val::Result(Err(Some(Box::new(Val::Variant("closed".to_owned(), None))))))
        }
        "output-stream.check-write" => Ok(Val::Result(Ok(Some(Box::new(Val::U64(WRITE_BYTES_MAX)))))),
        "output-stream.flush" | "output-stream.blocking-flush" => Ok(done),
        "output-stream.write" | "output-stream.blocking-write-and-flush" => {
            let Some(Val::List(bytes)) = argument else {
                return Err(Refusal::Function(function.to_owned()).into());
            };
            let bytes: Vec<u8> =
                bytes.iter().map(|byte| if let Val::U8(byte) = byte { *byte } else { b'?' }).collect();
            inside.printed(&bytes)?;
            Ok(done)
        }
        _ => Err(Refusal::Function(function.to_owned()).into()),
    }
}

/// Output written by a guest: charged and kept as what it logs is.
impl Inside {
    fn printed(&mut self, bytes: &[u8]) -> wasmtime::Result<()> {
        self.charge(bytes.len())?;
        for line in self.inert.print(bytes, self.line_bytes_max()) {
            self.keep(crate::inside::LogLevel::Info, line);
        }
        Ok(())
    }
}

fn handle<T: 'static>(store: &mut StoreContextMut<'_, Inside>) -> wasmtime::Result<Val> {
    let handles = &mut store.data_mut().inert.handles;
    *handles += 1;
    if *handles > HANDLES_MAX {
        return Err(Refusal::TooMuch { what: "handles", max: u64::from(HANDLES_MAX) }.into());
    }
    let handle = ResourceAny::try_from_resource(Resource::<T>::new_own(0), store.as_context_mut())?;
    Ok(Val::Resource(handle))
}

fn datetime(nanoseconds: u32) -> Val {
    let field = |name: &str, value| (name.to_owned(), value);
    Val::Record(vec![field("seconds", Val::U64(0)), field("nanoseconds", Val::U32(nanoseconds))])
}

fn all_ready(pollables: Option<&Val>) -> Val {
    let count = if let Some(Val::List(items)) = pollables { items.len() } else { 0 };
    Val::List((0..count).map(|index| Val::U32(u32::try_from(index).unwrap_or(u32::MAX))).collect())
}

fn random_bytes(store: &mut StoreContextMut<'_, Inside>, length: Option<&Val>) -> wasmtime::Result<Val> {
    let length = if let Some(Val::U64(length)) = length { *length } else { u64::MAX };
    if length > RANDOM_BYTES_MAX {
        return Err(Refusal::TooMuch { what: "random bytes", max: RANDOM_BYTES_MAX }.into());
    }
    pay(store, ITEM_FUEL * length)?;
    let inert = &mut store.data_mut().inert;
    let words = std::iter::repeat_with(|| inert.next().to_le_bytes());
    let bytes = words.flatten().take(usize::try_from(length).unwrap_or(0));
    Ok(Val::List(bytes.map(Val::U8).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_interfaces_and_versions_are_known() {
        for import in ["wasi:io/streams@0.2.0", "wasi:random/insecure-seed@0.2.12"] {
            assert!(knows(import), "{import}");
        }
        for import in [
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/types@0.2.0",
            "wasi:io/streams",
            "wasi:io/streams@0.2.",
            "wasi:io/streams@0.2.0-rc",
            "wasi:io/streams@0.3.0",
            "wasi:io/streamsx@0.2.0",
        ] {
            assert!(!knows(import), "{import}");
        }
    }

    #[test]
    fn random_numbers_follow_the_seed_and_begin_anew() {
        // The first outputs of SplitMix64 for the seed 1234567, from its reference implementation.
        let mut inert = Inert::new(1_234_567);
        let first = [inert.next(), inert.next()];
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
        inert.begin_call();
        assert_eq!([inert.next(), inert.next()], first);
        assert_ne!(Inert::new(1).next(), Inert::new(2).next());
    }

    #[test]
    fn printed_lines_are_joined_across_writes_and_cut() {
        let mut inert = Inert::new(0);
        assert_eq!(inert.print(b"one\ntw", 5), ["one"]);
        assert_eq!(inert.print(b"o\nthree and more\nrest", 5), ["two", "three"]);
        assert_eq!(inert.last_words().as_deref(), Some("one | two | three and more | rest"));
        inert.begin_call();
        assert_eq!(inert.last_words(), None);
        assert_eq!(inert.print(&[b'x'; 3 * TAIL_BYTES_MAX], 5), Vec::<String>::new());
        assert_eq!(inert.last_words(), Some("x".repeat(TAIL_BYTES_MAX)));
    }
}
