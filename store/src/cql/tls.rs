//! Encrypted connections, by the system's OpenSSL.
//!
//! A node's certificate is checked against the address that is connected to, which the certificate must name.

use super::config::Tls;
use crate::port::StoreError;
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslFiletype, SslMethod};
use openssl::x509::store::X509StoreBuilder;
use scylla::client::session::{OpenSsl010Config, TlsContext};

/// The driver's context.
///
/// # Errors
/// [`StoreError::Fatal`] when a file cannot be read or is not what it should be; the file is named.
pub(super) fn context(tls: &Tls) -> Result<TlsContext, StoreError> {
    let broken = |error: ErrorStack| StoreError::Fatal(format!("TLS to the store: {error}"));
    let mut builder = SslConnector::builder(SslMethod::tls()).map_err(broken)?;
    if let Some(path) = &tls.ca {
        // Only these, and not those of the system besides.
        builder.set_cert_store(X509StoreBuilder::new().map_err(broken)?.build());
        builder.set_ca_file(path).map_err(|error| unreadable(path, &error))?;
    }
    if let Some((certificate, key)) = &tls.certificate {
        builder.set_certificate_chain_file(certificate).map_err(|error| unreadable(certificate, &error))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(|error| unreadable(key, &error))?;
        builder.check_private_key().map_err(|error| unreadable(key, &error))?;
    }
    Ok(TlsContext::OpenSsl010Config(OpenSsl010Config::new(builder)))
}

fn unreadable(path: &std::path::Path, error: &ErrorStack) -> StoreError {
    StoreError::Fatal(format!("TLS to the store: {} cannot be used: {error}", path.display()))
}
