//! The commands against a registry kept in memory.

use super::*;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Texts of each subject's versions; an id is a text's place among all texts.
#[derive(Default)]
struct Book {
    subjects: BTreeMap<String, Vec<String>>,
    texts: Vec<String>,
    levels: BTreeMap<String, String>,
}

type Shared = Arc<Mutex<Book>>;

impl Book {
    fn add(&mut self, subject: &str, text: &str) -> usize {
        self.subjects.entry(subject.to_owned()).or_default().push(text.to_owned());
        if !self.texts.iter().any(|known| known == text) {
            self.texts.push(text.to_owned());
        }
        self.id(text)
    }

    fn id(&self, text: &str) -> usize {
        self.texts.iter().position(|known| known == text).map_or(0, |at| at + 1)
    }

    fn version(&self, subject: &str, at: usize) -> Value {
        let text = &self.subjects[subject][at];
        json!({ "subject": subject, "version": at + 1, "id": self.id(text), "schema": text })
    }

    fn answer(&mut self, method: &str, path: &str, body: &Value) -> Option<Value> {
        let text = body["schema"].as_str().unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (method, &*parts) {
            ("POST", ["subjects", subject]) => {
                let at = self.subjects.get(*subject)?.iter().position(|known| known == text)?;
                Some(self.version(subject, at))
            }
            ("GET", ["subjects", subject, "versions"]) => {
                Some(json!((1..=self.subjects.get(*subject)?.len()).collect::<Vec<_>>()))
            }
            ("GET", ["subjects", subject, "versions", at]) => {
                Some(self.version(subject, at.parse::<usize>().ok()?.checked_sub(1)?))
            }
            ("POST", ["subjects", subject, "versions"]) => Some(json!({ "id": self.add(subject, text) })),
            ("POST", ["compatibility", "subjects", subject, "versions"]) => {
                self.subjects.get(*subject).map(|_| json!({ "is_compatible": true }))
            }
            ("PUT", ["config", subject]) => {
                self.levels.insert((*subject).to_owned(), body["compatibility"].as_str()?.to_owned());
                Some(body.clone())
            }
            _ => None,
        }
    }
}

async fn answer(State(book): State<Shared>, request: Request) -> axum::response::Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.expect("a body");
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let answer = book.lock().expect("the book").answer(method.as_str(), &path, &body);
    let absent =
        || (StatusCode::NOT_FOUND, axum::Json(json!({ "error_code": 40401, "message": "not found" })));
    answer.map_or_else(|| absent().into_response(), |answer| axum::Json(answer).into_response())
}

/// An empty registry, and its address.
async fn started() -> (Shared, RegistryArgs) {
    let book = Shared::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&book));
    tokio::spawn(std::future::IntoFuture::into_future(axum::serve(listener, app)));
    (book, RegistryArgs { registry: Some(url), ..RegistryArgs::default() })
}

/// This build's schema of the aggregates without its first field.
fn without_a_field() -> String {
    let mut schema: Value = serde_json::from_str(Subject::Aggregates.schema()).expect("JSON");
    schema["fields"].as_array_mut().expect("fields").remove(0);
    schema.to_string()
}

fn check_all(at: &RegistryArgs) -> SchemaAction {
    SchemaAction::Check { file: None, subject: None, at: at.clone() }
}

fn register_all(at: &RegistryArgs, keep_level: bool) -> SchemaAction {
    SchemaAction::Register { keep_level, at: at.clone() }
}

async fn standing_of(at: &RegistryArgs, subject: Subject) -> Value {
    let at = at.clone();
    let asked = tokio::task::spawn_blocking(move || {
        standing(&registry(&at).expect("right").expect("a registry"), subject).expect("an answer")
    });
    asked.await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_registered_once() {
    let (book, at) = started().await;
    assert_eq!(standing_of(&at, Subject::Raw).await["state"], "none");
    assert_eq!(run(check_all(&at)).await.expect("compatible"), Outcome::Done);
    assert_eq!(run(register_all(&at, true)).await.expect("registered"), Outcome::Done);
    assert!(book.lock().expect("the book").levels.is_empty());
    assert_eq!(run(register_all(&at, false)).await.expect("there already"), Outcome::Done);
    {
        let book = book.lock().expect("the book");
        assert_eq!(book.subjects.len(), Subject::ALL.len());
        assert!(book.subjects.values().all(|versions| versions.len() == 1));
        assert_eq!(book.levels.len(), Subject::ALL.len());
        assert!(book.levels.values().all(|level| level == "FULL_TRANSITIVE"));
    }
    let standing = standing_of(&at, Subject::Raw).await;
    assert_eq!((&standing["state"], &standing["version"]), (&json!("newest"), &json!(1)));
    assert_eq!(run(SchemaAction::List(at)).await.expect("listed"), Outcome::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_subject_that_is_incompatible_keeps_all_from_being_registered() {
    let (book, at) = started().await;
    book.lock().expect("the book").add(Subject::Aggregates.name(), &without_a_field());
    assert_eq!(run(check_all(&at)).await.expect("a verdict"), Outcome::Negative);
    assert_eq!(run(register_all(&at, false)).await.expect("a verdict"), Outcome::Negative);
    assert_eq!(book.lock().expect("the book").subjects.len(), 1);
    assert_eq!(standing_of(&at, Subject::Aggregates).await["state"], "other");
    let only = |subject: Subject| SchemaAction::Check {
        file: None,
        subject: Some(subject.name().to_owned()),
        at: at.clone(),
    };
    assert_eq!(run(only(Subject::Raw)).await.expect("a verdict"), Outcome::Done);
    assert_eq!(run(only(Subject::Aggregates)).await.expect("a verdict"), Outcome::Negative);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_told_from_this_builds() {
    let (book, at) = started().await;
    {
        let mut book = book.lock().expect("the book");
        book.add(Subject::Raw.name(), Subject::Raw.schema());
        book.add(Subject::Raw.name(), &Subject::Raw.schema().replace("Time has passed", "Time went by"));
    }
    let standing = standing_of(&at, Subject::Raw).await;
    assert_eq!((&standing["state"], &standing["newest_version"]), (&json!("older"), &json!(2)));
    assert_eq!(in_words(&standing), "registered: id 1, version 1; the newest is 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_is_compared_with_this_build_and_with_what_is_registered() {
    let (book, at) = started().await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("changed.avsc");
    let check = |registry: bool| SchemaAction::Check {
        file: Some(file.clone()),
        subject: Some(Subject::Aggregates.name().to_owned()),
        at: if registry { at.clone() } else { RegistryArgs::default() },
    };
    std::fs::write(&file, without_a_field()).expect("written");
    assert_eq!(run(check(false)).await.expect("a verdict"), Outcome::Negative);
    std::fs::write(&file, Subject::Aggregates.schema()).expect("written");
    assert_eq!(run(check(true)).await.expect("a verdict"), Outcome::Done);
    book.lock().expect("the book").add(Subject::Aggregates.name(), &without_a_field());
    assert_eq!(run(check(false)).await.expect("a verdict"), Outcome::Done);
    assert_eq!(run(check(true)).await.expect("a verdict"), Outcome::Negative);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_said() {
    let usage =
        |result: Result<Outcome>| result.expect_err("used wrongly").downcast::<Usage>().expect("usage").0;
    let told = usage(run(register_all(&RegistryArgs::default(), false)).await);
    assert!(told.contains("--registry"), "{told}");
    let told = usage(run(check_all(&RegistryArgs::default())).await);
    assert!(told.contains("FILE") && told.contains("--registry"), "{told}");
    let nonsense = RegistryArgs { registry: Some("nonsense".to_owned()), ..RegistryArgs::default() };
    let told = usage(run(SchemaAction::List(nonsense)).await);
    assert!(told.contains("registry.url"), "{told}");
    let subject = Some("iot.nothing-value".to_owned());
    let told = usage(run(SchemaAction::Check { file: None, subject, at: RegistryArgs::default() }).await);
    assert!(told.contains("iot.raw-value"), "{told}");
}
