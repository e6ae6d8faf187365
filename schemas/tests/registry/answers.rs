//! What every class of answer means to who waits for a schema.

use crate::fake::{Answer, Fake, dead_url, error, says};
use crate::{config, registry};
use schemas::codec::{Codec, DecodeError, IdError, IdTable};
use schemas::contract::Subject;
use schemas::reason::RejectReason;
use schemas::record::Raw;
use schemas::registry::{Access, Registry, RegistryConfig};
use std::sync::Arc;
use std::time::Duration;

const STRING: &str = r#"{"schema":"\"string\"","schemaType":"AVRO"}"#;

fn retry<T: std::fmt::Debug>(answer: Result<T, IdError>) -> String {
    match answer {
        Err(IdError::Retry(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn fatal<T: std::fmt::Debug>(answer: Result<T, IdError>) -> String {
    match answer {
        Err(IdError::Fatal(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn denied<T: std::fmt::Debug>(answer: Result<T, IdError>) -> String {
    match answer {
        Err(IdError::Denied(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_known_id_has_its_schema_and_is_asked_for_once() {
    let fake = Fake::saying(says(STRING));
    let registry = registry(&[&fake.url()]);
    for _ in 0..3 {
        assert_eq!(registry.schema_of(7), Ok(Some("\"string\"".to_owned())));
    }
    assert_eq!(fake.lines(), ["GET /schemas/ids/7?deleted=true"]);
}

#[test]
fn only_the_registrys_own_words_make_an_id_unknown() {
    let fake = Fake::saying(error(404, 40_403, "Schema not found"));
    assert_eq!(registry(&[&fake.url()]).schema_of(7), Ok(None));
    for answer in [
        Answer::Says(404, "<html>no such page</html>".to_owned()),
        Answer::Says(404, String::new()),
        Answer::Says(404, r#"{"title":"Not Found","status":404}"#.to_owned()),
        error(404, 404, "HTTP 404 Not Found"),
        error(404, 0, "nothing"),
    ] {
        let shown = format!("{answer:?}");
        let fake = Fake::saying(answer);
        let why = retry(registry(&[&fake.url()]).schema_of(7));
        assert!(
            why.contains("404") && why.contains("address") && why.contains(&fake.url()),
            "{shown}: {why}"
        );
    }
}

#[test]
fn an_answer_to_another_question_does_not_make_an_id_unknown() {
    for code in [40_401, 40_402] {
        let fake = Fake::saying(error(404, code, "Subject not found"));
        retry(registry(&[&fake.url()]).schema_of(7));
    }
    for status in [400, 410, 500] {
        let fake = Fake::saying(error(status, 40_403, "Schema not found"));
        assert!(registry(&[&fake.url()]).schema_of(7).is_err());
    }
}

#[test]
fn a_server_in_trouble_is_asked_again() {
    for status in [408, 429, 500, 502, 503, 504] {
        let fake = Fake::saying(error(status, 50_001, "Error in the backend datastore"));
        let why = retry(registry(&[&fake.url()]).schema_of(7));
        assert!(why.contains(&status.to_string()) && why.contains("backend datastore"), "{why}");
    }
}

#[test]
fn an_answer_that_is_none_of_a_registrys_is_asked_for_again() {
    for body in ["", "<html>", "[]", r#"{"schema":1}"#, r#"{"id":7}"#] {
        let fake = Fake::saying(says(body));
        let why = retry(registry(&[&fake.url()]).schema_of(7));
        assert!(why.contains("schema registry's address"), "{body}: {why}");
    }
    let fake = Fake::saying(Answer::Closes);
    retry(registry(&[&fake.url()]).schema_of(7));
}

#[test]
fn nobody_there_and_nobody_answering_are_told_apart() {
    let why = retry(registry(&[&dead_url()]).schema_of(7));
    assert!(why.contains("refused"), "{why}");
    let fake = Fake::saying(Answer::Silent);
    let config = RegistryConfig { timeout: Duration::from_millis(50), ..config(&[&fake.url()]) };
    let why = retry(Registry::new(config).expect("a client").schema_of(7));
    assert!(why.contains("no answer within 50ms"), "{why}");
}

#[test]
fn who_decodes_is_not_held_up_longer_than_its_patience() {
    let fake = Fake::saying(Answer::Silent);
    let config = RegistryConfig { patience: Duration::from_millis(1), ..config(&[&fake.url()]) };
    let registry = Registry::new(config).expect("a client");
    let why = retry(registry.schema_of(7));
    assert!(why.contains("has not answered for id 7 yet"), "{why}");
    // The question is on its way: it is not asked twice.
    retry(registry.schema_of(7));
    assert!(fake.lines().len() <= 1, "{:?}", fake.lines());
}

#[test]
fn refused_credentials_are_said_plainly_and_never_shown() {
    let secret = "hunter2";
    let basic = Access::Basic { user: "me".to_owned(), password: secret.to_owned() };
    let bearer = Access::Bearer { token: secret.to_owned() };
    for (access, sent) in [(basic, "Basic bWU6aHVudGVyMg=="), (bearer, "Bearer hunter2")] {
        for answer in [Answer::Says(401, "<html>".to_owned()), error(401, 401, "Unauthorized")] {
            let fake = Fake::saying(answer);
            let config = RegistryConfig { access: access.clone(), ..config(&[&fake.url()]) };
            let registry = Registry::new(config).expect("a client");
            let why = denied(registry.schema_of(7));
            assert!(why.contains("401: it wants a login, or does not take this one"), "{why}");
            let level = registry.set_compatibility("s", schemas::registry::Compatibility::FullTransitive);
            let shown = format!("{registry:?} {why} {}", denied(level));
            assert!(!shown.contains(secret) && !shown.contains(sent), "{shown}");
            for asked in fake.asked() {
                assert_eq!(asked.headers.get("authorization").map(String::as_str), Some(sent), "{asked:?}");
            }
        }
    }
    let fake = Fake::saying(error(403, 403, "Forbidden"));
    assert!(denied(registry(&[&fake.url()]).schema_of(7)).contains("403"));
}

#[test]
fn credentials_that_no_header_can_carry_are_refused_without_being_shown() {
    let access = Access::Bearer { token: "hunter2\n".to_owned() };
    let fake = Fake::saying(says(STRING));
    let config = RegistryConfig { access, ..config(&[&fake.url()]) };
    let outcome = Registry::new(config).and_then(|registry| registry.schema_of(7));
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(!format!("{outcome:?}").contains("hunter2"), "{outcome:?}");
}

#[test]
fn a_redirection_is_not_followed() {
    let elsewhere = Fake::saying(says(STRING));
    for status in [301, 302, 307, 308] {
        let fake = Fake::saying(Answer::Leads(status, format!("{}/schemas/ids/7", elsewhere.url())));
        let why = fatal(registry(&[&fake.url()]).schema_of(7));
        assert!(why.contains("redirections are not followed"), "{why}");
    }
    assert!(elsewhere.asked().is_empty());
}

#[test]
fn of_two_addresses_one_that_answers_is_enough() {
    let fake = Fake::saying(says(STRING));
    let (dead, live) = (dead_url(), fake.url());
    for urls in [[&*dead, &live], [&live, &dead]] {
        let registry = registry(&urls);
        assert!(registry.schema_of(7).expect("an answer").is_some());
    }
    let troubled = Fake::saying(Answer::Says(503, String::new()));
    let registry = registry(&[&troubled.url(), &live]);
    for id in 0..5 {
        assert!(registry.schema_of(id).expect("an answer").is_some());
    }
    // The one that answered is asked first from then on.
    assert_eq!(troubled.asked().len(), 1);
}

#[test]
fn an_id_is_unknown_when_no_address_knows_better() {
    let knows_not = || Fake::saying(error(404, 40_403, "Schema not found"));
    let (one, other) = (knows_not(), knows_not());
    assert_eq!(registry(&[&one.url(), &other.url()]).schema_of(7), Ok(None));
    assert_eq!(registry(&[&dead_url(), &one.url()]).schema_of(7), Ok(None));
    let ahead = Fake::saying(says(STRING));
    assert!(registry(&[&one.url(), &ahead.url()]).schema_of(7).expect("an answer").is_some());
}

#[test]
fn when_no_address_answers_each_is_named_with_its_reason() {
    let (dead, troubled) = (dead_url(), Fake::saying(Answer::Says(503, String::new())));
    let why = retry(registry(&[&dead, &troubled.url()]).schema_of(7));
    assert!(why.contains(&dead) && why.contains(&troubled.url()) && why.contains("503"), "{why}");
    let denied = Fake::saying(Answer::Says(401, String::new()));
    // One of them may come back and know.
    retry(registry(&[&dead, &denied.url()]).schema_of(7));
}

#[test]
fn a_subject_that_is_not_registered_stops_the_start_and_names_the_command() {
    for code in [40_401, 40_403] {
        let fake = Fake::saying(error(404, code, "not found"));
        let registry = Arc::new(registry(&[&fake.url()]));
        let why = fatal(Codec::new(registry).map(drop));
        assert!(why.contains("iot.raw-value") && why.contains("highwater schema register"), "{why}");
        assert!(fake.lines().iter().all(|line| !line.starts_with("POST /subjects/iot.raw-value/versions")));
    }
    retry(Codec::new(Arc::new(registry(&[&dead_url()]))).map(drop));
}

/// The codec over a registry that has given out its ids, and what it then says of foreign ones.
#[test]
fn a_value_waits_for_a_registry_that_is_away_and_is_a_dead_letter_when_the_id_is_unknown() {
    let fake = Fake::new(|asked| match asked.line.split_once(" /schemas/ids/") {
        Some((_, id)) if id.starts_with("900?") => error(404, 40_403, "Schema not found"),
        Some((_, id)) if id.starts_with("901?") => Answer::Says(500, String::new()),
        Some((_, id)) if id.starts_with("902?") => Answer::Says(401, String::new()),
        Some(_) => Answer::Says(404, "<html>".to_owned()),
        None => says(r#"{"id":1,"version":1,"schema":"\"string\""}"#),
    });
    let codec = Codec::new(Arc::new(registry(&[&fake.url()]))).expect("ids");
    assert_eq!(codec.id(Subject::Raw), 1);
    let decode = |id: u32| codec.decode::<Raw>(&[&[0], id.to_be_bytes().as_slice(), &[6]].concat());
    assert!(
        matches!(decode(900), Err(DecodeError::Reject(why)) if why.reason == RejectReason::UnknownSchema)
    );
    for id in [901, 902, 903] {
        let why = decode(id).expect_err("no schema");
        assert!(matches!(why, DecodeError::Retry(_)), "{id}: {why}");
    }
}

#[test]
fn a_subject_that_would_leave_its_part_of_the_address_is_refused() {
    let fake = Fake::saying(says("[]"));
    for subject in ["", "a/b", "../x", "a?b", "a b", "a%2Fb"] {
        fatal(registry(&[&fake.url()]).versions(subject));
    }
    assert!(fake.asked().is_empty());
}

#[tokio::test]
async fn it_may_be_used_and_dropped_where_an_async_runtime_runs() {
    let fake = Fake::saying(says(STRING));
    let url = fake.url();
    let registry = Arc::new(registry(&[&url]));
    assert!(registry.schema_of(1).expect("an answer").is_some());
    let inside = Arc::clone(&registry);
    let joined = tokio::task::spawn_blocking(move || inside.schema_of(2)).await;
    assert!(joined.expect("no panic").expect("an answer").is_some());
    drop(registry);
    drop(crate::registry(&[&url]));
}
