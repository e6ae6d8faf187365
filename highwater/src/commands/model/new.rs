//! `model new`: a project that builds a model. Does not live here: what is in it (`scoring::templates`).
//!
//! Invariant: nothing that exists is touched.

use crate::exit::{Outcome, Usage};
use crate::output::out;
use anyhow::{Context, Result};
use scoring::templates::{Language, project};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Runs the command.
///
/// # Errors
/// The name is none, the directory exists, or it cannot be written.
pub(super) fn run(directory: &Path, language: Language) -> Result<Outcome> {
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let files = project(language, name).map_err(Usage)?;
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    match fs::create_dir(directory) {
        Err(why) if why.kind() == ErrorKind::AlreadyExists => {
            return Err(
                Usage(format!("{} exists: a new model gets a new directory", directory.display())).into()
            );
        }
        made => made.with_context(|| format!("making {}", directory.display()))?,
    }
    for file in &files {
        let path = directory.join(file.path);
        write(&path, &file.text, file.executable).with_context(|| format!("writing {}", path.display()))?;
    }
    let project = directory.display();
    out!("{project}: a model in {language}. README.md says what it needs and what to change. Next:");
    out!("  {}", directory.join("build").display());
    out!("  highwater model test {}", directory.join(format!("{name}.wasm")).display());
    Ok(Outcome::Done)
}

fn write(path: &Path, text: &str, executable: bool) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, text)?;
    if executable {
        allow_running(path)?;
    }
    Ok(())
}

#[cfg(unix)]
fn allow_running(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn allow_running(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what fails in here fails the test")]

    use super::*;

    #[test]
    fn a_project_is_written_once() {
        let parent = tempfile::tempdir().unwrap();
        let project = parent.path().join("deeper/pump-7");
        run(&project, Language::Python).unwrap();
        let build = project.join("build");
        assert!(fs::read_to_string(&build).unwrap().contains("pump-7.wasm"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&build).unwrap().permissions().mode() & 0o111, 0o111);
        }
        assert!(project.join("wit/scorer.wit").is_file());

        fs::write(&build, "mine").unwrap();
        let refused = run(&project, Language::C).unwrap_err();
        assert!(refused.downcast_ref::<Usage>().is_some() && refused.to_string().contains("exists"));
        assert_eq!(fs::read_to_string(&build).unwrap(), "mine");
    }

    #[test]
    fn a_name_that_is_none_writes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        for name in ["Pump", "pump 7", ".."] {
            let refused = run(&parent.path().join("new").join(name), Language::Rust).unwrap_err();
            assert!(refused.downcast_ref::<Usage>().is_some(), "{name}: {refused}");
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
