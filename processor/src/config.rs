//! What an operator writes about the processor, and what it means. Two halves that must not be mixed up:
//! [`pipeline`] changes results, so it enters the computation through the log only; [`engine`] changes when and how
//! fast, never a byte.
//!
//! Does not live here: reading files and the environment (`chassis`), proposing a pipeline to the log
//! (`controller`).

pub mod engine;
pub mod estimate;
mod model;
pub mod pipeline;
mod window;
mod written;

#[cfg(test)]
mod tests;

pub use engine::{ProcessorConfig, RawProcessorConfig};
pub use estimate::{StateEstimate, estimate};
pub use model::{RawModel, RawTagRule, is_digest};
pub use pipeline::RawPipelineConfig;

use chassis::config::Problems;
use schemas::Micros;
use std::time::Duration;

/// A span with its unit, in microseconds; the default when absent.
fn micros(problems: &mut Problems, key: &str, text: Option<&str>, default: Micros) -> Micros {
    optional_micros(problems, key, text).unwrap_or(default)
}

/// A span with its unit, in microseconds, if there is one.
fn optional_micros(problems: &mut Problems, key: &str, text: Option<&str>) -> Option<Micros> {
    let text = text?;
    let span = problems.duration(key, Some(text), Duration::ZERO);
    match Micros::try_from(span.as_micros()) {
        Ok(micros) if micros <= SPAN_MAX => Some(micros),
        _ => {
            problems.add(key, format!("`{text}` is longer than 100 years"));
            None
        }
    }
}

/// No span of the configuration is longer: sums with event times then stay far from the ends of the integers.
const SPAN_MAX: Micros = 100 * 365 * 86_400_000_000;
