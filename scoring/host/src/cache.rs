//! Machine code kept between runs. A file is believed only when nobody else could have written it and its digest is
//! right; anything else is compiled again. Failing to write only costs time, so it is not an error.

use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

const DIGEST_BYTES: usize = 32;

/// A directory of compiled components.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Uses `dir`, which is created when first needed.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    fn path(&self, component: &[u8; 32], compatibility: &[u8; 32]) -> PathBuf {
        self.dir.join(format!("{}-{}.cwasm", hex(component), hex(&compatibility[..8])))
    }

    /// The code, unless it is absent, damaged, or could have been written by somebody else.
    pub(crate) fn read(&self, component: &[u8; 32], compatibility: &[u8; 32]) -> Option<Vec<u8>> {
        let mut file = fs::File::open(self.path(component, compatibility)).ok()?;
        if !is_private(&file.metadata().ok()?) {
            return None;
        }
        let mut code = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut code).ok()?;
        let digest = code.split_off(code.len().checked_sub(DIGEST_BYTES)?);
        (seal(&code, component, compatibility)[..] == digest[..]).then_some(code)
    }

    /// Keeps the code, atomically.
    pub(crate) fn write(&self, component: &[u8; 32], compatibility: &[u8; 32], code: &[u8]) {
        let path = self.path(component, compatibility);
        let _ = self.write_to(&path, code, &seal(code, component, compatibility));
    }

    fn write_to(&self, path: &Path, code: &[u8], digest: &[u8]) -> std::io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        let mut file = private_file(&draft)?;
        file.write_all(code).and_then(|()| file.write_all(digest))?;
        drop(file);
        fs::rename(&draft, path)
    }
}

/// Binds code to what it was compiled from and for.
fn seal(code: &[u8], component: &[u8; 32], compatibility: &[u8; 32]) -> [u8; DIGEST_BYTES] {
    Sha256::new().chain_update(code).chain_update(component).chain_update(compatibility).finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(unix)]
fn is_private(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.is_file() && metadata.permissions().mode() & 0o077 == 0
}

#[cfg(unix)]
fn private_file(path: &Path) -> std::io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    let _ = fs::remove_file(path);
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

// Elsewhere files cannot be told from others', so none is believed.
#[cfg(not(unix))]
fn is_private(_metadata: &fs::Metadata) -> bool {
    false
}

#[cfg(not(unix))]
fn private_file(path: &Path) -> std::io::Result<fs::File> {
    fs::File::create(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_private_and_undamaged_files_are_believed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("code"));
        let (component, other) = ([1; 32], [2; 32]);
        assert_eq!(cache.read(&component, &other), None);
        cache.write(&component, &other, b"machine code");
        assert_eq!(cache.read(&component, &other).as_deref(), Some(&b"machine code"[..]));
        assert_eq!(cache.read(&other, &other), None);

        let path = cache.path(&component, &other);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert_eq!(cache.read(&component, &other), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();

        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(cache.read(&component, &other), None);

        fs::copy(&path, cache.path(&other, &other)).unwrap();
        cache.write(&component, &other, b"machine code");
        fs::copy(&path, cache.path(&other, &other)).unwrap();
        assert_eq!(cache.read(&other, &other), None, "code of another component under this one's name");
    }
}
