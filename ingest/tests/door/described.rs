//! The description against the server: every path, method and example in it is tried, every answer is one it lists.

use crate::fake::{Answer, Door, Mode, keys, open, open_with, small};
use chassis::auth::Role;
use journal::port::JournalError;
use reqwest::Method;
use serde_json::Value;

struct Operation {
    method: Method,
    path: String,
    described: Value,
}

async fn description(door: &Door) -> (Value, Vec<Operation>) {
    let answer = door.ask(Method::GET, "/v1/openapi.json", "").await;
    assert_eq!(answer.status, 200);
    let mut operations = Vec::new();
    for (path, methods) in answer.body["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            operations.push(Operation {
                method: method.to_uppercase().parse().unwrap(),
                path: path.replace("{id}", "sensor-12"),
                described: described.clone(),
            });
        }
    }
    (answer.body, operations)
}

/// The bodies an operation is described with; one empty body where it takes none.
fn examples(operation: &Operation) -> Vec<String> {
    let Some(contents) = operation.described["requestBody"]["content"].as_object() else {
        return vec![String::new()];
    };
    let text = |example: &Value| example.as_str().map_or_else(|| example.to_string(), str::to_owned);
    contents.values().map(|content| text(&content["example"])).collect()
}

/// The answer's status is listed, and its body has every field that is required there.
fn check(whole: &Value, operation: &Operation, answer: &Answer) {
    let at = format!("{} {} -> {}", operation.method, operation.path, answer.status);
    let listed = &operation.described["responses"][answer.status.to_string()];
    assert!(listed.is_object(), "{at} is not described: {}", answer.body);
    let (_, content) = listed["content"].as_object().unwrap().iter().next().unwrap();
    let schema = match content["schema"]["$ref"].as_str() {
        Some(reference) => {
            whole.pointer(reference.strip_prefix('#').unwrap()).unwrap_or_else(|| panic!("{reference}"))
        }
        None => &content["schema"],
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        let field = required.as_str().unwrap();
        assert!(answer.body.get(field).is_some(), "{at}: no {field} in {}", answer.body);
    }
    for field in answer.body.as_object().unwrap().keys().filter(|_| schema["properties"].is_object()) {
        assert!(schema["properties"][field].is_object(), "{at}: {field} is not described");
    }
    let promises_later = listed["headers"]["Retry-After"].is_object();
    assert_eq!(promises_later, answer.retry_after_s.is_some(), "{at}: Retry-After");
}

#[tokio::test]
async fn every_described_operation_takes_its_examples() {
    let door = open(small()).await;
    let (whole, operations) = description(&door).await;
    assert_eq!(operations.len(), 5);
    for operation in &operations {
        for example in examples(operation) {
            let answer = door.ask(operation.method.clone(), &operation.path, &example).await;
            assert_eq!(answer.status, 200, "{} {}: {}", operation.method, operation.path, answer.body);
            check(&whole, operation, &answer);
        }
    }
    door.check_books();
}

#[tokio::test]
async fn every_refusal_is_described() {
    let faults =
        [Mode::Accept, Mode::Full, Mode::Fail(JournalError::Retry("disk full".to_owned())), Mode::Drop];
    for fault in faults {
        let door = open(small()).await;
        let (whole, operations) = description(&door).await;
        door.journal.set(fault);
        for operation in operations.iter().filter(|operation| operation.path != "/v1/openapi.json") {
            let mut bodies = examples(operation);
            bodies.extend(["nonsense".to_owned(), " ".repeat(2 << 20)]);
            for body in bodies {
                let answer = door.ask(operation.method.clone(), &operation.path, &body).await;
                check(&whole, operation, &answer);
            }
        }
    }
    let door = open_with(small(), keys(&[("page", Role::Read)])).await;
    let (whole, operations) = description(&door).await;
    for operation in operations.iter().filter(|operation| operation.path != "/v1/openapi.json") {
        let answer = door.ask(operation.method.clone(), &operation.path, "{}").await;
        assert_eq!(answer.status, 401);
        check(&whole, operation, &answer);
    }
}
