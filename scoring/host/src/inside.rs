//! What belongs to one instance on the host's side: its memory limit, what it says, both bounded, and its inert WASI.

use crate::bindings::highwater::scoring::{host_log, host_metrics};
use crate::engine::HostLimits;
use crate::inert::Inert;
use std::collections::{BTreeMap, VecDeque};
use wasmtime::ResourceLimiter;

/// Least a call to the host is charged, so that saying nothing very often is bounded too.
const SAID_BYTES_MIN: usize = 64;
/// Lines of the running call that are kept for the case that it fails.
const RECENT_MAX: usize = 16;
/// Bytes kept of a gauge's name.
const GAUGE_NAME_BYTES_MAX: usize = 64;

/// How much a line of a guest's log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Finest.
    Trace,
    /// For developers of the model.
    Debug,
    /// Worth keeping.
    Info,
    /// Worth looking at.
    Warn,
    /// A failure; the last one is quoted when the call fails.
    Error,
}

/// A line a guest logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its level.
    pub level: LogLevel,
    /// Its text, cut to [`HostLimits::log_line_bytes_max`].
    pub message: String,
}

/// The data of a store.
pub(crate) struct Inside {
    memory_bytes_max: usize,
    table_elements_max: usize,
    said_bytes_max: usize,
    lines_max: usize,
    line_bytes_max: usize,
    gauges_max: usize,
    /// What it sees of WASI.
    pub(crate) inert: Inert,
    /// Linear memory as it is.
    pub(crate) memory_bytes: usize,
    said_bytes: usize,
    pub(crate) lines: Vec<LogLine>,
    pub(crate) lines_dropped: u64,
    /// The last line of level error in this call.
    pub(crate) last_error: Option<String>,
    /// The last lines of this call.
    pub(crate) recent: VecDeque<LogLine>,
    pub(crate) gauges: BTreeMap<String, f64>,
    pub(crate) gauges_dropped: u64,
}

impl Inside {
    pub(crate) fn new(limits: &HostLimits, seed: u64) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes_max,
            table_elements_max: limits.table_elements_max,
            said_bytes_max: limits.said_bytes_max,
            lines_max: limits.log_lines_max,
            line_bytes_max: limits.log_line_bytes_max,
            gauges_max: limits.gauges_max,
            inert: Inert::new(seed),
            memory_bytes: 0,
            said_bytes: 0,
            lines: Vec::new(),
            lines_dropped: 0,
            last_error: None,
            recent: VecDeque::new(),
            gauges: BTreeMap::new(),
            gauges_dropped: 0,
        }
    }

    /// A new call may say as much as the one before.
    pub(crate) fn begin_call(&mut self) {
        self.said_bytes = 0;
        self.last_error = None;
        self.recent.clear();
        self.inert.begin_call();
    }

    /// What a guest said last before it failed: its last error, else the end of what it printed.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.last_error.clone().or_else(|| self.inert.last_words())
    }

    pub(crate) fn line_bytes_max(&self) -> usize {
        self.line_bytes_max
    }

    /// Keeps a line, or counts it.
    pub(crate) fn keep(&mut self, level: LogLevel, message: String) {
        if self.lines.len() < self.lines_max {
            self.lines.push(LogLine { level, message });
        } else {
            self.lines_dropped += 1;
        }
    }

    /// Counts against what one call may say.
    pub(crate) fn charge(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.said_bytes = self.said_bytes.saturating_add(bytes.max(SAID_BYTES_MIN));
        if self.said_bytes > self.said_bytes_max {
            return Err(SaidTooMuch.into());
        }
        Ok(())
    }
}

/// Ends a call that talks more than it scores.
#[derive(Debug, thiserror::Error)]
#[error("logs and gauges beyond what one call may say")]
pub(crate) struct SaidTooMuch;

impl host_log::Host for Inside {
    fn enabled(&mut self, level: host_log::Level) -> wasmtime::Result<bool> {
        self.charge(0)?;
        Ok(LogLevel::from(level) >= LogLevel::Info)
    }

    fn log(&mut self, level: host_log::Level, mut message: String) -> wasmtime::Result<()> {
        self.charge(message.len())?;
        let level = LogLevel::from(level);
        if level < LogLevel::Info {
            return Ok(());
        }
        message.truncate(message.floor_char_boundary(self.line_bytes_max));
        message.shrink_to_fit();
        if level == LogLevel::Error {
            self.last_error = Some(message.clone());
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(LogLine { level, message: message.clone() });
        self.keep(level, message);
        Ok(())
    }
}

impl host_metrics::Host for Inside {
    fn gauge(&mut self, mut name: String, value: f64) -> wasmtime::Result<()> {
        self.charge(name.len())?;
        name.truncate(name.floor_char_boundary(GAUGE_NAME_BYTES_MAX));
        if self.gauges.len() < self.gauges_max || self.gauges.contains_key(&name) {
            self.gauges.insert(name, value);
        } else {
            self.gauges_dropped += 1;
        }
        Ok(())
    }
}

impl From<host_log::Level> for LogLevel {
    fn from(level: host_log::Level) -> Self {
        match level {
            host_log::Level::Trace => Self::Trace,
            host_log::Level::Debug => Self::Debug,
            host_log::Level::Info => Self::Info,
            host_log::Level::Warn => Self::Warn,
            host_log::Level::Error => Self::Error,
        }
    }
}

impl ResourceLimiter for Inside {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory_bytes.saturating_sub(current).saturating_add(desired);
        let granted = total <= self.memory_bytes_max;
        if granted {
            self.memory_bytes = total;
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _max: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements_max)
    }

    fn instances(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        4
    }

    fn tables(&self) -> usize {
        64
    }
}
