//! Machine code kept between runs. A file is believed only when nobody else could have written it and its digest is
//! right; anything else is compiled again. Failing to write only costs time, so it is not an error.
//!
//! What is checked is what is run: rights and owner are those of the open file, and the digest is taken over the bytes
//! that were read from it, which go to the engine from memory.

use crate::compiling::CODE_BYTES_MAX;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

const DIGEST_BYTES: usize = 32;
/// Files kept; beyond them the oldest go.
const FILES_MAX: usize = 64;
/// How files with machine code end.
const EXTENSION: &str = "cwasm";

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
        self.dir.join(format!("{}-{}.{EXTENSION}", hex(component), hex(&compatibility[..8])))
    }

    /// The code, unless it is absent, damaged, or could have been written by somebody else.
    pub(crate) fn read(&self, component: &[u8; 32], compatibility: &[u8; 32]) -> Option<Vec<u8>> {
        let file = fs::File::open(self.path(component, compatibility)).ok()?;
        if !is_private(&file.metadata().ok()?) {
            return None;
        }
        let mut code = Vec::new();
        file.take(CODE_BYTES_MAX + DIGEST_BYTES as u64).read_to_end(&mut code).ok()?;
        let digest = code.split_off(code.len().checked_sub(DIGEST_BYTES)?);
        (seal(&code, component, compatibility)[..] == digest[..]).then_some(code)
    }

    /// Keeps the code, atomically.
    pub(crate) fn write(&self, component: &[u8; 32], compatibility: &[u8; 32], code: &[u8]) {
        let path = self.path(component, compatibility);
        let _ = self.write_to(&path, code, &seal(code, component, compatibility));
    }

    fn write_to(&self, path: &Path, code: &[u8], digest: &[u8]) -> std::io::Result<()> {
        private_dir(&self.dir)?;
        self.make_room()?;
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        let mut file = private_file(&draft)?;
        file.write_all(code).and_then(|()| file.write_all(digest))?;
        drop(file);
        fs::rename(&draft, path)
    }

    /// Removes the oldest files when there are too many: other versions of the engine leave theirs.
    fn make_room(&self) -> std::io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                files.push((fs::metadata(&path)?.modified()?, path));
            }
        }
        files.sort_unstable();
        let surplus = (files.len() + 1).saturating_sub(FILES_MAX);
        files.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
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
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    ours && metadata.is_file() && metadata.permissions().mode() & 0o077 == 0
}

#[cfg(unix)]
fn private_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn private_dir(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)
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

    #[test]
    fn nothing_under_a_directory_of_ours_is_open_to_others() {
        let dir = tempfile::tempdir().unwrap();
        Cache::new(dir.path().join("a/b")).write(&[1; 32], &[2; 32], b"machine code");
        for made in ["a", "a/b"] {
            assert_eq!(fs::metadata(dir.path().join(made)).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_file_of_another_user_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        cache.write(&[1; 32], &[2; 32], b"machine code");
        let path = cache.path(&[1; 32], &[2; 32]);
        // Only root can give a file away; as anybody else, what can be tried is a file of root's.
        if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
            assert_eq!(cache.read(&[1; 32], &[2; 32]), None);
        } else {
            assert!(!is_private(&fs::metadata("/etc/passwd").unwrap()));
        }
    }

    #[test]
    fn no_more_than_so_many_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path());
        let component = |number: usize| [u8::try_from(number).unwrap(); 32];
        for number in 0..FILES_MAX + 3 {
            cache.write(&component(number), &[0; 32], b"machine code");
            let time = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            fs::File::open(cache.path(&component(number), &[0; 32])).unwrap().set_modified(time).unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), FILES_MAX);
        assert_eq!(cache.read(&component(2), &[0; 32]), None);
        assert!(cache.read(&component(3), &[0; 32]).is_some());
    }
}
