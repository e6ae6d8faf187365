//! Where the bytes of components come from.

use std::borrow::Cow;

/// A place that may hold components.
pub trait ComponentSource: Send + Sync {
    /// The component whose SHA-256 is `digest` (64 lower-case hexadecimal digits), if this place has it. The loader
    /// checks the digest itself.
    ///
    /// # Errors
    /// The place cannot be asked now; a later attempt may succeed.
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError>;
}

/// A source cannot be asked; worth another attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);
