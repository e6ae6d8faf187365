//! From a component to machine code: in this process, or in a child with caps on time and memory.
//!
//! Compiling is where a component's bytes have the most power: the compiler's time and memory follow what they say, and
//! nothing inside the process can take either back. So services compile in a child, which is this very program started
//! with another command; a child that takes too long or too much is ended, and whoever asked goes on. Libraries and tests
//! without such a program compile in their own process, without caps.
//!
//! Invariant: what a child writes is believed as much as what this process would have compiled itself: it is the same
//! program. Nothing else is.

use crate::engine::config;
use crate::plugin::Refused;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wasmtime::Engine;

/// Most bytes of machine code of one component.
pub(crate) const CODE_BYTES_MAX: u64 = 512 << 20;
/// Exit code of a child that found the component to be none; its standard error says why.
const NOT_A_COMPONENT: u8 = 3;
/// Bytes kept of what a child says.
const SAID_BYTES_MAX: usize = 4096;
/// Between two looks at whether a child has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What Rust's allocator says before it ends a process.
const OUT_OF_MEMORY: &str = "memory allocation of";

/// Where components are compiled.
#[derive(Clone, Debug, Default)]
pub enum Compiling {
    /// In this process, without caps.
    #[default]
    Here,
    /// In a child process for each component.
    Child(CompilerChild),
}

/// How a child is started, and what it may take.
#[derive(Clone, Debug)]
pub struct CompilerChild {
    /// The program; it must end up in [`compile_piped`].
    pub program: PathBuf,
    /// Its arguments; those of [`CompileOrder::arguments`] are added.
    pub arguments: Vec<OsString>,
    /// How long it may take; then it is killed.
    pub time_max: Duration,
    /// Bytes of address space it may have (Linux only).
    pub memory_bytes_max: u64,
}

/// What a child is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileOrder {
    /// As [`HostLimits::stack_bytes_max`](crate::HostLimits::stack_bytes_max).
    pub stack_bytes: usize,
    /// Bytes of address space it may have.
    pub memory_bytes: u64,
    /// Seconds of processor time it may use: ends it too when nobody is left to kill it.
    pub seconds: u64,
}

impl CompileOrder {
    /// As a command line says it.
    fn arguments(&self) -> [String; 3] {
        let Self { stack_bytes, memory_bytes, seconds } = self;
        [
            format!("--stack-bytes={stack_bytes}"),
            format!("--memory-bytes={memory_bytes}"),
            format!("--seconds={seconds}"),
        ]
    }
}

/// What a child does: takes its caps upon itself, reads a component, and writes its machine code.
///
/// # Errors
/// [`ChildError`], which says with which exit code to end.
pub fn compile_piped(
    order: CompileOrder,
    mut input: impl Read,
    mut output: impl Write,
) -> Result<(), ChildError> {
    caps(order).map_err(|why| ChildError::Failed(format!("its caps cannot be set: {why}")))?;
    let failed = |why: std::io::Error| ChildError::Failed(why.to_string());
    let mut component = Vec::new();
    input.read_to_end(&mut component).map_err(failed)?;
    let code = compile(&component, order.stack_bytes).map_err(ChildError::Refused)?;
    output.write_all(&code).and_then(|()| output.flush()).map_err(failed)
}

/// Why a child writes no machine code.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// The component's fault.
    #[error("{}", match .0 { Refused::NotAComponent(why) => why.clone(), other => other.to_string() })]
    Refused(Refused),
    /// Its own, or the machine's.
    #[error("{0}")]
    Failed(String),
}

impl ChildError {
    /// The exit code that the parent understands.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(Refused::NotAComponent(_)) => NOT_A_COMPONENT,
            Self::Refused(_) | Self::Failed(_) => 1,
        }
    }
}

#[cfg(target_os = "linux")]
fn caps(order: CompileOrder) -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
    // Without the one who asked for it, nobody reads what comes of it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let at_most = |bound| Rlimit { current: Some(bound), maximum: Some(bound) };
    setrlimit(Resource::As, at_most(order.memory_bytes))?;
    setrlimit(Resource::Cpu, at_most(order.seconds))?;
    // It leaves neither a core nor any other file behind.
    setrlimit(Resource::Core, at_most(0))?;
    setrlimit(Resource::Fsize, at_most(0))?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn caps(_order: CompileOrder) -> std::io::Result<()> {
    Ok(())
}

/// Compiles here, in an engine of its own: the compiler's working memory lives as long as its engine.
pub(crate) fn compile(component: &[u8], stack_bytes: usize) -> Result<Vec<u8>, Refused> {
    let engine = Engine::new(&config(stack_bytes)).map_err(|error| Refused::engine(&error))?;
    if let Some(other) = something_else(component) {
        return Err(Refused::NotAComponent(other));
    }
    engine.precompile_component(component).map_err(|error| Refused::NotAComponent(format!("{error:#}")))
}

/// What the bytes are that people take for a component by mistake, by their first eight: a core module's version is 1, a
/// component's has another layer beside it.
fn something_else(bytes: &[u8]) -> Option<String> {
    match bytes.first_chunk::<8>() {
        Some(b"\0asm\x01\0\0\0") => Some(
            "these bytes are a core WebAssembly module; `wasm-tools component new` makes a component of it"
                .to_owned(),
        ),
        Some(head) if head.starts_with(b"\0asm") => None,
        _ => {
            let head = &bytes[..bytes.len().min(8)];
            Some(format!("no WebAssembly at all: these bytes begin with \"{}\"", head.escape_ascii()))
        }
    }
}

impl Compiling {
    pub(crate) fn compile(&self, component: &[u8], stack_bytes: usize) -> Result<Vec<u8>, Refused> {
        match self {
            Self::Here => compile(component, stack_bytes),
            Self::Child(child) => child.compile(component, stack_bytes),
        }
    }
}

impl CompilerChild {
    /// This very program with another command: also when its file has been replaced since it was started.
    ///
    /// # Errors
    /// The program does not know where it lies.
    pub fn of_this_program(
        command: &str,
        time_max: Duration,
        memory_bytes_max: u64,
    ) -> std::io::Result<Self> {
        let running = PathBuf::from("/proc/self/exe");
        let program = if running.exists() { running } else { std::env::current_exe()? };
        Ok(Self { program, arguments: vec![command.into()], time_max, memory_bytes_max })
    }

    fn compile(&self, component: &[u8], stack_bytes: usize) -> Result<Vec<u8>, Refused> {
        let order = CompileOrder {
            stack_bytes,
            memory_bytes: self.memory_bytes_max,
            seconds: self.time_max.as_secs().saturating_add(1),
        };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args(order.arguments());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // It needs nothing from the environment, and what it compiles is not ours: no secret goes along.
        command.env_clear();
        let failed = |why: std::io::Error| Refused::Compiler(format!("cannot be started: {why}"));
        let mut child = command.spawn().map_err(failed)?;
        let pipes = Pipes::attach(&mut child, component.to_vec());
        let ended = wait(&mut child, self.time_max);
        // Reading ends with the child, on every path.
        let (code, said) = pipes.drained();
        match ended.map_err(failed)? {
            None => Err(Refused::CompileTime { time_max: self.time_max }),
            Some(status) if status.success() && (code.len() as u64) <= CODE_BYTES_MAX => Ok(code),
            Some(status) => Err(self.refusal(status, &said)),
        }
    }

    /// Names what ended a child.
    fn refusal(&self, status: ExitStatus, said: &str) -> Refused {
        if status.code() == Some(i32::from(NOT_A_COMPONENT)) {
            return Refused::NotAComponent(said.to_owned());
        }
        if said.contains(OUT_OF_MEMORY) {
            return Refused::CompileMemory { bytes_max: self.memory_bytes_max };
        }
        if status.success() {
            return Refused::Compiler(format!("more than {CODE_BYTES_MAX} bytes of machine code"));
        }
        #[cfg(target_os = "linux")]
        {
            use std::os::unix::process::ExitStatusExt;
            if status.signal() == Some(rustix::process::Signal::XCPU.as_raw()) {
                return Refused::CompileTime { time_max: self.time_max };
            }
        }
        Refused::Compiler(format!("ended with {status}: {said}"))
    }
}

/// Waits for a child's end, at most so long; none: it was killed.
fn wait(child: &mut Child, time_max: Duration) -> std::io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Some(status)),
            Ok(None) if began.elapsed() < time_max => std::thread::park_timeout(LOOK_EVERY),
            stopped => {
                child.kill()?;
                child.wait()?;
                return stopped.map(|_| None);
            }
        }
    }
}

/// The threads at a child's pipes: none may wait for another.
struct Pipes {
    code: Option<JoinHandle<Vec<u8>>>,
    said: Option<JoinHandle<String>>,
}

impl Pipes {
    fn attach(child: &mut Child, component: Vec<u8>) -> Self {
        if let Some(mut input) = child.stdin.take() {
            // A child that ends early does not read everything; what ended it is told elsewhere.
            std::thread::spawn(move || drop(input.write_all(&component)));
        }
        let read = |output: std::process::ChildStdout| {
            std::thread::spawn(move || {
                let mut code = Vec::new();
                // What was cut does not deserialize.
                drop(output.take(CODE_BYTES_MAX + 1).read_to_end(&mut code));
                code
            })
        };
        let listen = |output: std::process::ChildStderr| {
            std::thread::spawn(move || {
                let mut said = Vec::new();
                let mut output = output;
                drop(output.by_ref().take(SAID_BYTES_MAX as u64).read_to_end(&mut said));
                // The rest is taken and forgotten, so that the child does not wait for a reader.
                drop(std::io::copy(&mut output, &mut std::io::sink()));
                String::from_utf8_lossy(&said).trim().to_owned()
            })
        };
        Self { code: child.stdout.take().map(read), said: child.stderr.take().map(listen) }
    }

    fn drained(self) -> (Vec<u8>, String) {
        let code = self.code.and_then(|thread| thread.join().ok()).unwrap_or_default();
        let said = self.said.and_then(|thread| thread.join().ok()).unwrap_or_default();
        (code, said)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// A child that does what a shell is told, whatever component it is given.
    fn shell(script: &str, time_max: Duration) -> Result<Vec<u8>, Refused> {
        let child = CompilerChild {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into(), "compile".into()],
            time_max,
            memory_bytes_max: 1 << 30,
        };
        child.compile(&[7; 1 << 20], 4096)
    }

    const PATIENT: Duration = Duration::from_secs(60);

    #[test]
    fn a_child_gets_the_component_and_the_order_and_its_code_comes_back() {
        assert_eq!(shell("cat | wc -c", PATIENT).unwrap(), b"1048576\n");
        let told = shell("echo \"$@\"", PATIENT).unwrap();
        assert_eq!(told, b"--stack-bytes=4096 --memory-bytes=1073741824 --seconds=61\n");
    }

    #[test]
    fn a_child_knows_nothing_of_our_environment() {
        assert!(std::env::var_os("PATH").is_some());
        assert_eq!(shell("/usr/bin/env | /bin/grep -c HOME; true", PATIENT).unwrap(), b"0\n");
    }

    #[test]
    fn a_child_that_takes_too_long_is_killed_and_named() {
        let began = Instant::now();
        let refused = shell("exec sleep 600", Duration::from_millis(50)).unwrap_err();
        assert_eq!(refused, Refused::CompileTime { time_max: Duration::from_millis(50) });
        assert!(began.elapsed() < PATIENT);
    }

    #[test]
    fn what_ended_a_child_is_told() {
        let refused = shell("echo 'not a thing' >&2; exit 3", PATIENT).unwrap_err();
        assert_eq!(refused, Refused::NotAComponent("not a thing".to_owned()));
        let refused =
            shell("echo 'memory allocation of 9 bytes failed' >&2; kill -ABRT $$", PATIENT).unwrap_err();
        assert_eq!(refused, Refused::CompileMemory { bytes_max: 1 << 30 });
        let refused = shell("kill -XCPU $$", PATIENT).unwrap_err();
        assert_eq!(refused, Refused::CompileTime { time_max: PATIENT });
        let Refused::Compiler(why) = shell("echo broken >&2; exit 9", PATIENT).unwrap_err() else {
            panic!("another reason")
        };
        assert!(why.contains("exit status: 9") && why.ends_with(": broken"), "{why}");
        let missing = CompilerChild {
            program: "/nowhere".into(),
            arguments: Vec::new(),
            time_max: PATIENT,
            memory_bytes_max: 1,
        };
        assert!(matches!(missing.compile(&[], 1), Err(Refused::Compiler(_))));
    }

    #[test]
    fn what_a_child_says_is_bounded() {
        let Refused::Compiler(why) = shell("head -c 100000000 /dev/zero >&2; exit 9", PATIENT).unwrap_err()
        else {
            panic!("another reason")
        };
        assert!(why.len() < 2 * SAID_BYTES_MAX, "{} bytes", why.len());
    }
}
