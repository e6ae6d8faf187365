//! Log and metrics of this program, set up once.

use crate::config::Settings;
use anyhow::Result;
use chassis::admin::Identity;
use chassis::metrics::Metrics;

/// Commit of the build, when the build was told.
const BUILD: &str = match option_env!("HIGHWATER_BUILD") {
    Some(build) => build,
    None => env!("CARGO_PKG_VERSION"),
};

/// Whether this build can encrypt its connections to Kafka, the registry and the cluster.
pub(crate) const TLS: bool = cfg!(feature = "tls");

/// What `--version` says.
pub(crate) const VERSION: &str = if TLS {
    concat!(env!("CARGO_PKG_VERSION"), " (with TLS)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (without TLS)")
};

/// Who we are.
pub(crate) const fn identity(service: &'static str) -> Identity {
    Identity { name: service, version: env!("CARGO_PKG_VERSION"), build: BUILD, tls: TLS }
}

/// Sets log and metrics up.
///
/// # Errors
/// When another recorder is in place.
pub(crate) fn init(service: &'static str, settings: &Settings) -> Result<Metrics> {
    chassis::telemetry::init(service, env!("CARGO_PKG_VERSION"), &settings.log)?;
    Ok(chassis::metrics::install(service, env!("CARGO_PKG_VERSION"))?)
}
