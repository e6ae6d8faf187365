//! What is remembered, and for how long: outages, floods of foreign ids.

use crate::fake::{Answer, Fake, error, says};
use crate::{WAIT_MAX, config, registry};
use schemas::codec::{Codec, IdError, IdTable};
use schemas::contract::Subject;
use schemas::record::Raw;
use schemas::registry::{Registry, RegistryConfig};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

/// Gives every subject id 1, and id 2 a schema that says the same as this build's in other words.
fn warm() -> Fake {
    let other = Subject::Raw.schema().replace("Time has passed", "Time went by");
    let body = serde_json::json!({ "schema": other }).to_string();
    Fake::new(move |asked| match &*asked.line {
        "GET /schemas/ids/2?deleted=true" => says(&body),
        line if line.starts_with("GET /schemas/") => error(404, 40_403, "Schema not found"),
        _ => says(r#"{"id":1,"version":1,"schema":"\"string\""}"#),
    })
}

#[test]
fn a_warm_process_lives_through_an_outage() {
    let mut fake = warm();
    let registry = Arc::new(registry(&[&fake.url()]));
    let codec = Codec::new(Arc::clone(&registry) as Arc<dyn IdTable>).expect("ids");
    assert_eq!(codec.decode::<Raw>(&[0, 0, 0, 0, 2, 6]), Ok(Raw::Tick));
    fake.stop();
    // What it writes, what it has seen, and a codec made anew over the same registry.
    assert_eq!(codec.decode::<Raw>(&codec.to_bytes(&Raw::Tick)), Ok(Raw::Tick));
    let again = Codec::new(Arc::clone(&registry) as Arc<dyn IdTable>).expect("ids without the registry");
    assert_eq!(again.decode::<Raw>(&[0, 0, 0, 0, 2, 6]), Ok(Raw::Tick));
    assert!(matches!(registry.schema_of(3), Err(IdError::Retry(_))));
}

#[test]
fn an_unknown_id_is_asked_for_once_in_its_time() {
    let fake = Fake::saying(error(404, 40_403, "Schema not found"));
    let held = Registry::new(RegistryConfig { unknown_for: WAIT_MAX * 100, ..config(&[&fake.url()]) });
    let held = held.expect("a client");
    for _ in 0..100 {
        assert_eq!(held.schema_of(7), Ok(None));
    }
    assert_eq!(fake.asked().len(), 1);
}

#[test]
fn an_unknown_id_that_is_registered_later_is_found() {
    let registered = Arc::new(AtomicBool::new(false));
    let inside = Arc::clone(&registered);
    let fake = Fake::new(move |_| {
        if inside.load(Ordering::SeqCst) {
            says(r#"{"schema":"\"string\""}"#)
        } else {
            error(404, 40_403, "Schema not found")
        }
    });
    let registry =
        Registry::new(RegistryConfig { unknown_for: Duration::from_millis(20), ..config(&[&fake.url()]) });
    let registry = registry.expect("a client");
    let _ = registry.schema_of(7);
    registered.store(true, Ordering::SeqCst);
    let give_up = std::time::Instant::now() + WAIT_MAX;
    while !matches!(registry.schema_of(7), Ok(Some(_))) {
        assert!(std::time::Instant::now() < give_up, "never found");
        std::thread::yield_now();
    }
}

#[test]
fn a_question_that_came_to_nothing_is_not_repeated_at_once() {
    let fake = Fake::saying(Answer::Says(500, String::new()));
    let held = Registry::new(RegistryConfig { failed_for: WAIT_MAX * 100, ..config(&[&fake.url()]) });
    let held = held.expect("a client");
    let first = held.schema_of(7);
    for _ in 0..100 {
        assert_eq!(held.schema_of(7), first);
    }
    assert_eq!(fake.asked().len(), 1);
}

#[test]
fn many_threads_ask_for_an_id_once() {
    let fake = Fake::saying(says(r#"{"schema":"\"string\""}"#));
    let registry = registry(&[&fake.url()]);
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                for id in 0..10 {
                    assert_eq!(registry.schema_of(id), Ok(Some("\"string\"".to_owned())));
                }
            });
        }
    });
    assert_eq!(fake.asked().len(), 10);
}

#[test]
fn more_questions_than_may_wait_are_told_to_come_again() {
    let fake = Fake::saying(Answer::Silent);
    let config = RegistryConfig { patience: Duration::ZERO, ..config(&[&fake.url()]) };
    let registry = Registry::new(config).expect("a client");
    let told: Vec<String> =
        (0..100).map(|id| registry.schema_of(id).expect_err("no answer").to_string()).collect();
    assert!(told.last().expect("one").contains("64 questions wait"), "{told:?}");
    assert!(told[0].contains("has not answered for id 0 yet"), "{told:?}");
}
