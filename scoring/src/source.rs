//! Where the bytes of components come from.

use crate::shipped::digest_of;
use crate::signing::SIGNATURE_BYTES_MAX;
use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most files of a directory that are looked at.
const FILES_MAX: usize = 256;
/// Most bytes of a file that are read; the host's own limit on a component is lower.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// How files with components end.
const EXTENSION: &str = "wasm";

/// A place that may hold components.
pub trait ComponentSource: Send + Sync {
    /// The component whose SHA-256 is `digest` (64 lower-case hexadecimal digits), if this place has it. The loader
    /// checks the digest itself.
    ///
    /// # Errors
    /// The place cannot be asked now; a later attempt may succeed.
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError>;

    /// What is known of a component besides its bytes. The loader checks the signature itself.
    ///
    /// # Errors
    /// The place cannot be asked now; a later attempt may succeed.
    fn provenance(&self, digest: &str) -> Result<Provenance, SourceError> {
        Ok(Provenance { origin: format!("the component with SHA-256 {digest}"), signature: None })
    }
}

/// Where a component is from, and who vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// What it is called in a message: its file, mostly.
    pub origin: String,
    /// Text of a minisign signature, if there is one.
    pub signature: Option<String>,
}

/// A source cannot be asked; worth another attempt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Several places, asked one after the other.
#[derive(Clone)]
pub struct Places(pub Vec<Arc<dyn ComponentSource>>);

impl ComponentSource for Places {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        self.0.iter().find_map(|place| place.fetch(digest).transpose()).transpose()
    }

    fn provenance(&self, digest: &str) -> Result<Provenance, SourceError> {
        for place in &self.0 {
            if place.fetch(digest)?.is_some() {
                return place.provenance(digest);
            }
        }
        Err(SourceError(format!("no component with SHA-256 {digest} is known")))
    }
}

/// A directory of files `NAME.wasm`, each with its signature beside it as `NAME.wasm.minisig`.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Uses `path`, which need not be there.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The digest of `NAME.wasm`, if there is such a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn digest_of(&self, name: &str) -> Result<Option<String>, SourceError> {
        // A name, not a way out of the directory.
        if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
            return Ok(None);
        }
        let path = self.path.join(format!("{name}.{EXTENSION}"));
        Ok(read(&path, FILE_BYTES_MAX)?.map(|bytes| digest_of(&bytes)))
    }

    /// The file with these bytes.
    fn find(&self, digest: &str) -> Result<Option<(PathBuf, Vec<u8>)>, SourceError> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(failed(&self.path, &why)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|why| failed(&self.path, &why))?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                files.push(path);
            }
        }
        if files.len() > FILES_MAX {
            let (path, count) = (self.path.display(), files.len());
            return Err(SourceError(format!(
                "{path} has {count} components, at most {FILES_MAX} are looked at"
            )));
        }
        files.sort_unstable();
        for path in files {
            if let Some(bytes) = read(&path, FILE_BYTES_MAX)?
                && digest_of(&bytes) == digest
            {
                return Ok(Some((path, bytes)));
            }
        }
        Ok(None)
    }
}

impl ComponentSource for Directory {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        Ok(self.find(digest)?.map(|(_, bytes)| Cow::Owned(bytes)))
    }

    fn provenance(&self, digest: &str) -> Result<Provenance, SourceError> {
        let Some((path, _)) = self.find(digest)? else {
            return Err(SourceError(format!("{} has it no longer", self.path.display())));
        };
        let beside = path.with_extension(format!("{EXTENSION}.minisig"));
        let signature = read(&beside, SIGNATURE_BYTES_MAX)?;
        let signature = signature.map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(Provenance { origin: path.display().to_string(), signature })
    }
}

/// A file's bytes; none: there is no such file. More than `bytes_max` are not read, and what was cut has another digest.
fn read(path: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, SourceError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(failed(path, &why)),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max).read_to_end(&mut bytes).map_err(|why| failed(path, &why))?;
    Ok(Some(bytes))
}

fn failed(path: &Path, why: &std::io::Error) -> SourceError {
    SourceError(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shipped::{self, Shipped};

    #[test]
    fn a_component_is_found_by_its_bytes_and_by_its_name_with_its_signature() {
        let dir = tempfile::tempdir().unwrap();
        let place = Directory::new(dir.path().join("models"));
        assert_eq!(place.fetch(&digest_of(b"mine")), Ok(None), "a directory that is not there yet");
        std::fs::create_dir(dir.path().join("models")).unwrap();
        std::fs::write(dir.path().join("models/a.wasm"), b"other").unwrap();
        std::fs::write(dir.path().join("models/mine.wasm"), b"mine").unwrap();
        std::fs::write(dir.path().join("models/mine.txt"), b"no component").unwrap();
        std::fs::write(dir.path().join("models/mine.wasm.minisig"), b"signed").unwrap();
        let digest = digest_of(b"mine");
        assert_eq!(place.fetch(&digest).unwrap().as_deref(), Some(&b"mine"[..]));
        assert_eq!(place.fetch(&digest_of(b"no component")), Ok(None));
        assert_eq!(place.digest_of("mine"), Ok(Some(digest.clone())));
        assert_eq!(place.digest_of("../models/mine"), Ok(None));
        assert_eq!(place.digest_of("yours"), Ok(None));
        let from = place.provenance(&digest).unwrap();
        assert!(from.origin.ends_with("models/mine.wasm"), "{}", from.origin);
        assert_eq!(from.signature.as_deref(), Some("signed"));
        assert_eq!(place.provenance(&digest_of(b"other")).unwrap().signature, None);
    }

    #[test]
    fn places_are_asked_in_turn_and_the_one_that_has_it_says_where_from() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine.wasm"), b"mine").unwrap();
        let places = Places(vec![Arc::new(Shipped), Arc::new(Directory::new(dir.path()))]);
        let (mine, shipped) = (digest_of(b"mine"), &shipped::ewma().digest);
        assert_eq!(places.fetch(&mine).unwrap().as_deref(), Some(&b"mine"[..]));
        assert!(places.provenance(&mine).unwrap().origin.ends_with("mine.wasm"));
        assert_eq!(places.fetch(shipped).unwrap().as_deref(), Some(shipped::ewma().bytes));
        assert!(places.provenance(shipped).unwrap().origin.contains(shipped.as_str()));
        assert_eq!(places.fetch(&digest_of(b"nobody's")), Ok(None));
    }

    #[test]
    fn a_directory_of_too_many_files_is_not_searched() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..=FILES_MAX {
            std::fs::write(dir.path().join(format!("{number}.wasm")), number.to_string()).unwrap();
        }
        let refused = Directory::new(dir.path()).fetch(&digest_of(b"0")).unwrap_err();
        assert!(refused.0.contains("257 components"), "{refused}");
    }
}
