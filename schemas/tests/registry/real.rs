//! The same against a real registry: `HIGHWATER_TEST_REGISTRY`, the address Confluent's clients would be given
//! (Apicurio's ends in `/apis/ccompat/v7`). Without it the tests say so and do nothing; with
//! `HIGHWATER_TEST_REQUIRED=1` that is a failure. A registry has one space of names: every test has its own.

use crate::registry;
use schemas::codec::{Codec, IdError, IdTable};
use schemas::contract::Subject;
use schemas::record::Raw;
use schemas::registry::{Compatibility, RegisterError, Registry};
use std::sync::Arc;

const VARIABLE: &str = "HIGHWATER_TEST_REGISTRY";

fn real(test: &str) -> Option<Registry> {
    if let Ok(url) = std::env::var(VARIABLE) {
        return Some(registry(&[&url]));
    }
    let required = std::env::var("HIGHWATER_TEST_REQUIRED").is_ok_and(|value| value == "1");
    assert!(!required, "{test}: {VARIABLE} is not set");
    // Not `println!`, which the test harness keeps to itself when a test passes.
    let line = format!("skipped: {test}: {VARIABLE} is not set\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), line.as_bytes());
    None
}

/// Letters that no other run has used.
fn suffix() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// Our subjects under names of this run.
struct Renamed {
    registry: Arc<Registry>,
    suffix: String,
}

impl IdTable for Renamed {
    fn id_of(&self, subject: &str, schema: &str) -> Result<u32, IdError> {
        self.registry.id_of(&format!("{subject}-{}", self.suffix), schema)
    }
    fn schema_of(&self, id: u32) -> Result<Option<String>, IdError> {
        self.registry.schema_of(id)
    }
}

#[test]
fn real_every_subject_is_registered_once_and_its_values_come_back() {
    let Some(registry) = real("real_every_subject_is_registered_once_and_its_values_come_back") else {
        return;
    };
    let table = Renamed { registry: Arc::new(registry), suffix: suffix() };
    let registry = Arc::clone(&table.registry);
    let suffix = table.suffix.clone();
    let table: Arc<dyn IdTable> = Arc::new(table);
    let why = Codec::new(Arc::clone(&table)).expect_err("nothing is registered");
    assert!(matches!(&why, IdError::Fatal(why) if why.contains("highwater schema register")), "{why:?}");
    for subject in Subject::ALL {
        let name = format!("{}-{suffix}", subject.name());
        let first = registry.register(&name, subject.schema()).expect("registered");
        assert!(first.new && first.version == 1, "{name}: {first:?}");
        registry.set_compatibility(&name, Compatibility::FullTransitive).expect("the level");
        let again = registry.register(&name, subject.schema()).expect("there already");
        assert!(!again.new && again.id == first.id && again.version == 1, "{name}: {again:?}");
        // Spelled otherwise it is the same, to us.
        let spelled = format!(" {}", subject.schema());
        let found = registry.find(&name, &spelled).expect("an answer").expect(&name);
        assert_eq!(found.id, first.id, "{name}");
        assert!(registry.schema_of(first.id).expect("an answer").is_some());
    }
    let codec = Codec::new(table).expect("ids");
    assert_eq!(codec.decode::<Raw>(&codec.to_bytes(&Raw::Tick)), Ok(Raw::Tick));
}

#[test]
fn real_a_change_is_judged_against_every_version() {
    let Some(registry) = real("real_a_change_is_judged_against_every_version") else { return };
    let subject = format!("changes-{}", suffix());
    let with = |fields: &str| format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
    let (a, b) = (r#"{"name":"a","type":"int"}"#, r#"{"name":"b","type":"int","default":0}"#);
    let first = registry.register(&subject, &with(a)).expect("the first");
    registry.set_compatibility(&subject, Compatibility::FullTransitive).expect("the level");
    let second = registry.register(&subject, &with(&format!("{a},{b}"))).expect("one with a default");
    assert_eq!((first.version, second.version), (1, 2));
    assert_ne!(first.id, second.id);
    let versions = registry.versions(&subject).expect("versions");
    assert_eq!(versions.iter().map(|known| known.id).collect::<Vec<_>>(), [first.id, second.id]);
    let told = registry.register(&subject, &with(b)).expect_err("a is missing");
    let RegisterError::Incompatible { reasons, .. } = &told else { panic!("{told:?}") };
    assert!(reasons.iter().any(|reason| reason.path == "version 1: R.a"), "{told}");
    assert_eq!(registry.versions(&subject).expect("versions").len(), 2);
}

#[test]
fn real_an_id_that_was_never_given_out_is_unknown() {
    let Some(registry) = real("real_an_id_that_was_never_given_out_is_unknown") else { return };
    assert_eq!(registry.schema_of(2_000_000_000), Ok(None));
    assert_eq!(registry.versions(&format!("nothing-{}", suffix())), Ok(Vec::new()));
}
