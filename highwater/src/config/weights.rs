//! Trained weights that the configuration names by their files. What enters the log is their SHA-256; the bytes go to
//! `iot.models` before it.

use chassis::config::Problems;
use processor::config::{RawModel, is_digest};
use scoring::{ARTIFACT_BYTES_MAX, ComponentSource, SourceError, shipped};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Says that a version has no weights.
pub(crate) const NO_WEIGHTS: &str = "none";

/// Weights by their digest.
#[derive(Clone, Default)]
pub(crate) struct Weights(BTreeMap<String, Arc<[u8]>>);

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Weights {
    /// Puts digests in the place of paths, and keeps what the files hold.
    pub(crate) fn read(models: &mut [RawModel], problems: &mut Problems) -> Self {
        let mut read = Self::default();
        for (index, model) in models.iter_mut().enumerate() {
            let Some(path) = model.artifact.take_if(|written| !is_digest(written)) else { continue };
            match file(Path::new(&path)) {
                Ok(bytes) => {
                    let digest = shipped::digest_of(&bytes);
                    read.0.insert(digest.clone(), bytes.into());
                    model.artifact = Some(digest);
                }
                Err(why) => problems.add(
                    format!("model[{index}].artifact"),
                    format!("`{path}` is neither a SHA-256 in hexadecimal nor a file of weights: {why}"),
                ),
            }
        }
        read
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.0.values().map(|bytes| &**bytes)
    }
}

impl ComponentSource for Weights {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        Ok(self.0.get(digest).map(|bytes| Cow::Owned(bytes.to_vec())))
    }
}

/// A file of weights.
///
/// # Errors
/// It cannot be read, is empty, or is longer than weights may be.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let opened = File::open(path).map_err(|why| why.to_string())?;
    opened.take(ARTIFACT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(|why| why.to_string())?;
    match bytes.len() {
        0 => Err("it is empty".to_owned()),
        1..=ARTIFACT_BYTES_MAX => Ok(bytes),
        _ => Err(format!("it has more than {ARTIFACT_BYTES_MAX} bytes")),
    }
}
