//! What makes a program one of our services: configuration, telemetry, metrics, admin address, keys, shutdown,
//! supervision, clock. Does not live here: anything a reading passes through.
//!
//! Invariants:
//! * Nothing here is global but the installed log subscriber and metrics recorder; everything else is handed in.
//! * Only [`clock`] reads the time of day.
//! * Every listener is served by [`server`], so that its limits hold for each of them.

pub mod admin;
pub mod auth;
pub mod body;
pub mod clock;
pub mod config;
pub mod metrics;
pub mod problem;
pub mod server;
pub mod shutdown;
pub mod supervise;
pub mod telemetry;

/// An error of any kind, as tasks and threads end with it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error with its causes, outermost first, on one line.
#[must_use]
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Some libraries print their cause themselves.
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
