//! Figures for Prometheus: the recorder, and the catalogue of names. A component counts with the `metrics` crate's
//! macros under a name of [`catalogue`]; nothing is labelled by device.

pub mod catalogue;

pub use catalogue::*;

use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};
use std::sync::{Mutex, PoisonError};

/// Buckets of durations in seconds: 100 us to 10 s, for requests, commits and freshness.
const SECONDS: [f64; 16] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Buckets of sizes in bytes: 256 B to 16 MiB.
const BYTES: [f64; 9] =
    [256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];
/// Buckets of counts, such as records of a batch.
const COUNTS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0];

/// The process has a recorder already, of another service; or a constant is wrong.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// One recorder a process.
    #[error("metrics are set up already, for service {0}")]
    Installed(String),
    /// From the exporter.
    #[error("metrics cannot be set up")]
    Exporter(#[source] BuildError),
}

/// Renders what the recorder has.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// The text that Prometheus scrapes.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }

    /// Folds recorded samples into their histograms. Without it, and without scrapes, samples pile up.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

static INSTALLED: Mutex<Option<(String, Metrics)>> = Mutex::new(None);

/// Installs the process's recorder with the constant labels `service` and `version`, and describes the catalogue.
/// A second call for the same service gives the same handle.
///
/// # Errors
/// When one is installed for another service.
pub fn install(service: &str, version: &str) -> Result<Metrics, InstallError> {
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, metrics)) = &*installed {
        return if known == service {
            Ok(metrics.clone())
        } else {
            Err(InstallError::Installed(known.clone()))
        };
    }
    let recorder = recorder(service, version).map_err(InstallError::Exporter)?;
    let handle = Metrics(recorder.handle());
    metrics::set_global_recorder(recorder).map_err(|_| InstallError::Installed("another".to_owned()))?;
    catalogue::describe();
    *installed = Some((service.to_owned(), handle.clone()));
    Ok(handle)
}

fn recorder(service: &str, version: &str) -> Result<PrometheusRecorder, BuildError> {
    Ok(PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &BYTES)?
        .set_buckets_for_metric(Matcher::Suffix("_records".to_owned()), &COUNTS)?
        .set_buckets(&SECONDS)?
        .add_global_label("service", service)
        .add_global_label("version", version)
        .build_recorder())
}

/// Runs `body` with a recorder of its own on this thread and gives what it rendered at the end. For tests, which
/// share a process.
pub fn recorded(service: &str, version: &str, body: impl FnOnce()) -> Result<String, InstallError> {
    let recorder = recorder(service, version).map_err(InstallError::Exporter)?;
    let handle = Metrics(recorder.handle());
    metrics::with_local_recorder(&recorder, || {
        catalogue::describe();
        body();
    });
    Ok(handle.render())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_carries_service_and_version_and_its_help() {
        let text = recorded("ingest", "1.2.3", || {
            metrics::counter!(READINGS_TOTAL, "stage" => "ingest", "outcome" => "accepted").increment(7);
            metrics::gauge!(READINGS_IN_FLIGHT, "stage" => "ingest").set(2.0);
            metrics::histogram!(HTTP_REQUEST_SECONDS, "listener" => "ingest").record(0.003);
        })
        .unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            assert!(line.contains("service=\"ingest\"") && line.contains("version=\"1.2.3\""), "{line}");
        }
        for expected in ["# HELP highwater_readings_total ", "outcome=\"accepted\"} 7", "le=\"0.005\"} 1"] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
    }

    #[test]
    fn the_recorder_is_installed_once_for_one_service() {
        let first = install("ingest", "1.2.3").unwrap();
        metrics::counter!(READINGS_TOTAL, "stage" => "test", "outcome" => "accepted").increment(1);
        assert!(first.render().contains("stage=\"test\""));
        assert!(install("ingest", "1.2.3").unwrap().render().contains("stage=\"test\""));
        assert!(matches!(install("sink", "1.2.3"), Err(InstallError::Installed(known)) if known == "ingest"));
    }
}
