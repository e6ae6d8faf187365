//! Looking up, comparing and registering, against a registry kept in memory that respells what it is given.

use crate::fake::{Answer, Asked, Fake, error, says};
use crate::registry;
use schemas::codec::{IdError, IdTable};
use schemas::registry::{Compatibility, RegisterError, Registration};
use serde_json::{Value, json};

const ONE: &str = r#"{ "type": "record", "name": "R", "fields": [ { "name": "a", "type": "int" } ] }"#;
const TWO: &str = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int","default":0}]}"#;
const NOT_AFTER_ONE: &str = r#"{"type":"record","name":"R","fields":[{"name":"c","type":"int"}]}"#;

/// Versions of one subject, as (id, text). Ids begin at 11.
#[derive(Default)]
struct Book {
    versions: Vec<(u32, String)>,
    refuses: bool,
    /// What it makes of a text it is given.
    respelled: Option<fn(&str) -> String>,
}

impl Book {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let text = body["schema"].as_str().unwrap_or_default();
        let absent = || error(404, if self.versions.is_empty() { 40_401 } else { 40_403 }, "not found");
        let entry = |at: usize| {
            let (id, schema) = &self.versions[at];
            says(&json!({ "subject": "s", "id": id, "version": at + 1, "schema": schema }).to_string())
        };
        match &*asked.line {
            // By the spelling, as Apicurio does it.
            "POST /subjects/s?deleted=false" => {
                self.versions.iter().position(|(_, known)| known == text).map_or_else(absent, entry)
            }
            "GET /subjects/s/versions" if self.versions.is_empty() => absent(),
            "GET /subjects/s/versions" => {
                says(&json!((1..=self.versions.len()).rev().collect::<Vec<_>>()).to_string())
            }
            "POST /compatibility/subjects/s/versions" if self.versions.is_empty() => absent(),
            "POST /compatibility/subjects/s/versions" => {
                says(&json!({ "is_compatible": !self.refuses }).to_string())
            }
            "POST /subjects/s/versions" => {
                let text = self.respelled.map_or_else(|| text.to_owned(), |respell| respell(text));
                let id = 11 + u32::try_from(self.versions.len()).expect("few");
                self.versions.push((id, text));
                says(&json!({ "id": id }).to_string())
            }
            "PUT /config/s" => says(&body.to_string()),
            line => match line.strip_prefix("GET /subjects/s/versions/").and_then(|at| at.parse().ok()) {
                Some(at @ 1..) if at <= self.versions.len() => entry(at - 1),
                _ => error(404, 40_402, "not found"),
            },
        }
    }

    fn serve(mut self) -> Fake {
        Fake::new(move |asked| self.answer(asked))
    }
}

fn with(versions: &[&str]) -> Book {
    Book {
        versions: versions.iter().zip(11..).map(|(text, id)| (id, (*text).to_owned())).collect(),
        ..Book::default()
    }
}

fn posted(fake: &Fake) -> usize {
    fake.lines().iter().filter(|line| *line == "POST /subjects/s/versions").count()
}

#[test]
fn registering_twice_registers_once() {
    let fake = with(&[]).serve();
    let registry = registry(&[&fake.url()]);
    assert_eq!(registry.register("s", ONE), Ok(Registration { id: 11, version: 1, new: true }));
    assert_eq!(registry.register("s", ONE), Ok(Registration { id: 11, version: 1, new: false }));
    assert_eq!(registry.register("s", TWO), Ok(Registration { id: 12, version: 2, new: true }));
    assert_eq!(registry.find("s", ONE), Ok(Some(Registration { id: 11, version: 1, new: false })));
    assert_eq!(posted(&fake), 2);
}

#[test]
fn a_registry_that_respells_is_not_given_the_same_schema_twice() {
    let respell: fn(&str) -> String = |text| {
        let value: Value = serde_json::from_str(text).expect("JSON");
        format!(" {value}")
    };
    let fake = Book { respelled: Some(respell), ..Book::default() }.serve();
    let registry = registry(&[&fake.url()]);
    assert_eq!(registry.register("s", ONE), Ok(Registration { id: 11, version: 1, new: true }));
    assert_eq!(registry.register("s", ONE), Ok(Registration { id: 11, version: 1, new: false }));
    assert_eq!(registry.id_of("s", ONE), Ok(11));
    assert_eq!(posted(&fake), 1);
}

#[test]
fn of_two_versions_that_say_the_same_the_newer_is_meant() {
    let fake = with(&[&format!(" {ONE}"), TWO, &format!("{ONE} ")]).serve();
    let found = registry(&[&fake.url()]).find("s", ONE).expect("an answer");
    assert_eq!(found, Some(Registration { id: 13, version: 3, new: false }));
}

#[test]
fn what_some_version_forbids_is_not_registered_and_is_named() {
    let fake = with(&[ONE, TWO]).serve();
    let registry = registry(&[&fake.url()]);
    let Err(RegisterError::Incompatible { subject, reasons }) = registry.register("s", NOT_AFTER_ONE) else {
        panic!("registered")
    };
    assert_eq!(subject, "s");
    let paths: Vec<&str> = reasons.iter().map(|reason| &*reason.path).collect();
    assert_eq!(paths, ["version 1: R.a", "version 1: R.c", "version 2: R.a", "version 2: R.c"]);
    assert_eq!(
        registry.check("s", NOT_AFTER_ONE).expect_err("the same").to_string().matches("version").count(),
        4
    );
    assert_eq!(posted(&fake), 0);
}

#[test]
fn what_the_registry_forbids_is_not_registered() {
    let fake = Book { refuses: true, ..with(&[ONE]) }.serve();
    let why = registry(&[&fake.url()]).register("s", TWO).expect_err("refused").to_string();
    assert!(why.contains("the registry's own check refuses it"), "{why}");
    assert_eq!(posted(&fake), 0);
}

#[test]
fn a_version_that_cannot_be_read_forbids_and_is_named() {
    let fake = with(&["syntax = \"proto3\";"]).serve();
    let why = registry(&[&fake.url()]).check("s", ONE).expect_err("no Avro").to_string();
    assert!(why.contains("version 1") && why.contains("cannot be read"), "{why}");
}

#[test]
fn a_subject_that_is_not_there_has_no_versions_and_forbids_nothing() {
    let fake = with(&[]).serve();
    let registry = registry(&[&fake.url()]);
    assert_eq!(registry.versions("s"), Ok(Vec::new()));
    assert_eq!(registry.check("s", ONE), Ok(()));
    assert_eq!(registry.find("s", ONE), Ok(None));
}

#[test]
fn versions_come_oldest_first_whatever_the_registrys_order() {
    let fake = with(&[ONE, TWO]).serve();
    let versions = registry(&[&fake.url()]).versions("s").expect("versions");
    assert_eq!(
        versions.iter().map(|known| (known.version, known.id)).collect::<Vec<_>>(),
        [(1, 11), (2, 12)]
    );
    assert_eq!(versions[1].schema, TWO);
}

#[test]
fn an_id_that_is_another_when_looked_up_stops_everything() {
    let mut posted = false;
    let fake = Fake::new(move |asked| match &*asked.line {
        "POST /subjects/s/versions" => {
            posted = true;
            says(r#"{"id":5}"#)
        }
        "POST /subjects/s?deleted=false" if posted => says(r#"{"id":6,"version":1}"#),
        _ => error(404, 40_401, "not found"),
    });
    let told = registry(&[&fake.url()]).register("s", ONE).expect_err("two ids");
    let RegisterError::Registry(IdError::Fatal(why)) = told else { panic!("{told:?}") };
    assert!(why.contains("id 5") && why.contains("id 6"), "{why}");
}

#[test]
fn the_level_is_set_with_one_request() {
    let fake = with(&[ONE]).serve();
    registry(&[&fake.url()]).set_compatibility("s", Compatibility::FullTransitive).expect("set");
    let asked = fake.asked();
    assert_eq!(asked[0].line, "PUT /config/s");
    assert_eq!(asked[0].body, r#"{"compatibility":"FULL_TRANSITIVE"}"#);
    assert_eq!(asked[0].headers["content-type"], "application/vnd.schemaregistry.v1+json");
    let fake = Fake::saying(error(422, 42_203, "Invalid compatibility level"));
    let why = registry(&[&fake.url()]).set_compatibility("s", Compatibility::FullTransitive);
    assert!(
        matches!(&why, Err(IdError::Fatal(why)) if why.contains("Invalid compatibility level")),
        "{why:?}"
    );
}
