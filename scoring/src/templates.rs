//! Projects that `highwater model new` writes: one and the same detector, the shipped `ewma`, in each language.
//!
//! Lives here: which files a project has, and its name in them. The files themselves are in `scoring/templates`; the
//! contract, and all of the Rust project but its build, are the files that this repository builds itself. Does not live
//! here: writing them down (`highwater`), or building them (`scoring/guests/build`).
//!
//! Invariant: a project needs nothing of this repository: what it is built from is in it.

use std::fmt;
use std::str::FromStr;

/// What a project is called inside the templates.
const PLACEHOLDER: &str = "my-model";
/// What the shipped model, which is the Rust template, is called.
const SHIPPED: &str = "\"ewma\"";
/// Characters of a name.
const NAME_CHARACTERS_MAX: usize = 64;

const CONTRACT: File = ("wit/scorer.wit", include_str!("../wit/scorer.wit"));

type File = (&'static str, &'static str);

/// A language that there is a template for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// With the SDK of the shipped models.
    Rust,
    /// With wit-bindgen and any clang for wasm32-wasi.
    C,
    /// With componentize-py.
    Python,
    /// With Go's own compiler.
    Go,
    /// With componentize-js.
    JavaScript,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Rust, Self::C, Self::Python, Self::Go, Self::JavaScript];

    /// As it is typed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::C => "c",
            Self::Python => "python",
            Self::Go => "go",
            Self::JavaScript => "javascript",
        }
    }

    fn files(self) -> &'static [File] {
        match self {
            Self::Rust => &RUST,
            Self::C => &C,
            Self::Python => &PYTHON,
            Self::Go => &GO,
            Self::JavaScript => &JAVASCRIPT,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Language {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|language| language.as_str() == text)
            .ok_or_else(|| format!("`{text}` is none of {}", known()))
    }
}

/// A file of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFile {
    /// Where in the project.
    pub path: &'static str,
    /// What is in it.
    pub text: String,
    /// Whether it is to be run.
    pub executable: bool,
}

/// The files of a project of that name: `build` makes `NAME.wasm` in it.
///
/// # Errors
/// The name is not made of small letters, digits and dashes, beginning with a letter: it becomes the name of a package.
pub fn project(language: Language, name: &str) -> Result<Vec<ProjectFile>, String> {
    let small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let right = name.bytes().all(small)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.len() <= NAME_CHARACTERS_MAX;
    if !right {
        return Err(format!(
            "`{name}` is no name for a model: small letters, digits and dashes, a letter first, at most {NAME_CHARACTERS_MAX}"
        ));
    }
    let named = |text: &str| text.replace(PLACEHOLDER, name).replace(SHIPPED, &format!("\"{name}\""));
    let file = |(path, text): &File| {
        // The contract is the contract whatever the model is called.
        let text = if *path == CONTRACT.0 { (*text).to_owned() } else { named(text) };
        ProjectFile { path, text, executable: *path == "build" }
    };
    Ok(language.files().iter().chain([&CONTRACT]).map(file).collect())
}

/// `$path` in the project is `$of` in `scoring`.
macro_rules! files {
    ($($path:literal: $of:literal),* $(,)?) => { [$(($path, include_str!(concat!("../", $of)))),*] };
}

static RUST: [File; 10] = files! {
    "README.md": "templates/rust/README.md",
    "build": "templates/rust/build",
    ".gitignore": "templates/rust/gitignore",
    "Cargo.toml": "templates/rust/Cargo.toml",
    "src/lib.rs": "plugins/ewma/src/lib.rs",
    "sdk/guest/Cargo.toml": "templates/rust/guest.toml",
    "sdk/guest/src/lib.rs": "plugins/guest/src/lib.rs",
    "sdk/guest/src/habit.rs": "plugins/guest/src/habit.rs",
    "sdk/guest/src/settings.rs": "plugins/guest/src/settings.rs",
    "sdk/guest/src/univariate.rs": "plugins/guest/src/univariate.rs",
};

static C: [File; 6] = files! {
    "README.md": "templates/c/README.md",
    "build": "templates/c/build",
    ".gitignore": "templates/c/gitignore",
    "detector.h": "templates/c/detector.h",
    "detector.c": "templates/c/detector.c",
    "model.c": "templates/c/model.c",
};

static PYTHON: [File; 5] = files! {
    "README.md": "templates/python/README.md",
    "build": "templates/python/build",
    ".gitignore": "templates/python/gitignore",
    "detector.py": "templates/python/detector.py",
    "app.py": "templates/python/app.py",
};

static GO: [File; 6] = files! {
    "README.md": "templates/go/README.md",
    "build": "templates/go/build",
    ".gitignore": "templates/go/gitignore",
    "go.mod": "templates/go/go.mod",
    "detector/detector.go": "templates/go/detector/detector.go",
    "export_highwater_scoring_model/model.go": "templates/go/export_highwater_scoring_model/model.go",
};

static JAVASCRIPT: [File; 7] = files! {
    "README.md": "templates/javascript/README.md",
    "build": "templates/javascript/build",
    ".gitignore": "templates/javascript/gitignore",
    "package.json": "templates/javascript/package.json",
    "build.mjs": "templates/javascript/build.mjs",
    "detector.js": "templates/javascript/detector.js",
    "model.js": "templates/javascript/model.js",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_project_has_its_contract_its_build_and_its_name() {
        for language in Language::ALL {
            assert_eq!(language.as_str().parse(), Ok(language));
            let files = project(language, "pump-7").unwrap();
            let find = |path: &str| files.iter().find(|file| file.path == path).unwrap();
            assert_eq!(find("wit/scorer.wit").text, include_str!("../wit/scorer.wit"));
            let build = find("build");
            assert!(build.executable && build.text.contains("pump-7.wasm"), "{language}");
            assert!(find("README.md").text.contains("highwater model test pump-7.wasm"), "{language}");
            assert_eq!(files.iter().filter(|file| file.executable).count(), 1, "{language}");
            for file in &files {
                assert!(!file.text.contains("my-model"), "{language}: {}", file.path);
                assert!(file.text.ends_with('\n'), "{language}: {}", file.path);
            }
            // Describes itself by its name, as the one who picks a state by its schema does.
            let named =
                files.iter().any(|file| file.text.contains("pump-7\"") || file.text.contains("pump-7'"));
            assert!(named, "{language}");
        }
    }

    #[test]
    fn names_are_those_of_packages() {
        let longest = "m".repeat(NAME_CHARACTERS_MAX);
        for name in ["a", "pump-7", &longest] {
            assert!(project(Language::C, name).is_ok(), "{name}");
        }
        for name in ["", "7up", "Pump", "pump_7", "-", "pump-", "a/b", "..", &format!("{longest}m")] {
            assert!(project(Language::C, name).is_err(), "{name}");
        }
    }
}
