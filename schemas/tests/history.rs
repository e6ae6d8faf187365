//! Every schema against every version that was ever released: `history/SUBJECT/N.avsc`, N from 1, never edited.
//!
//! To change a schema: edit it under `avro/`, run this, and copy it to the next number when the change is released.

use schemas::compatibility;
use schemas::contract::Subject;
use std::path::{Path, PathBuf};

fn directory(subject: Subject) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("history").join(subject.name())
}

/// The versions, oldest first; numbers must be consecutive.
fn versions(subject: Subject) -> Vec<String> {
    let directory = directory(subject);
    let count =
        std::fs::read_dir(&directory).unwrap_or_else(|why| panic!("{}: {why}", directory.display())).count();
    let read = |number: usize| std::fs::read_to_string(directory.join(format!("{number}.avsc")));
    (1..=count)
        .map(|number| read(number).unwrap_or_else(|why| panic!("{subject:?} {number}: {why}")))
        .collect()
}

#[test]
fn todays_schemas_go_with_every_released_version() {
    for subject in Subject::ALL {
        let versions = versions(subject);
        assert!(!versions.is_empty(), "{} has no version 1", subject.name());
        if versions.last().map(String::as_str) == Some(subject.schema()) {
            continue;
        }
        if let Err(found) = compatibility::check_all(versions.iter().map(String::as_str), subject.schema()) {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            panic!("{} breaks its readers or writers:\n{}", subject.name(), found.join("\n"));
        }
    }
}

#[test]
fn released_versions_go_with_each_other() {
    for subject in Subject::ALL {
        let versions = versions(subject);
        for (index, version) in versions.iter().enumerate() {
            let earlier = versions[..index].iter().map(String::as_str);
            assert_eq!(
                compatibility::check_all(earlier, version),
                Ok(()),
                "{} {}",
                subject.name(),
                index + 1
            );
        }
    }
}

#[test]
fn the_history_holds_subjects_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("history");
    for entry in std::fs::read_dir(root).expect("the history") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_string_lossy();
        assert!(Subject::from_name(&name).is_some(), "{name} is no subject");
    }
}

/// The check is asked about each of our own schemas with each of its required fields gone: it must name the field.
#[test]
fn a_required_field_can_be_removed_from_no_schema_unnoticed() {
    for subject in Subject::ALL {
        let mut schema: serde_json::Value = serde_json::from_str(subject.schema()).expect("JSON");
        let record = if schema.is_array() { &mut schema[0] } else { &mut schema };
        let fields = record["fields"].as_array_mut().expect("fields");
        let removed = fields.remove(0)["name"].as_str().expect("a name").to_owned();
        let found = compatibility::check(subject.schema(), &schema.to_string()).expect_err(&removed);
        assert!(found[0].path.ends_with(&format!(".{removed}")), "{}: {found:?}", subject.name());
    }
}
