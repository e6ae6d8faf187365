//! `openapi.json` against the running server: the same paths, the same parameters, and answers that follow it.

use super::bench::{Answers, Bench, INGEST_KEY, KEY, keys, options};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use store::conformance::{aggregate, alert, device, score};
use store::port::Write;

fn document() -> Value {
    serde_json::from_str(include_str!("../../openapi.json")).unwrap()
}

fn parameters<'a>(path: &'a Value, place: &'a str) -> impl Iterator<Item = &'a Value> {
    path["get"]["parameters"].as_array().into_iter().flatten().filter(move |one| one["in"] == place)
}

fn names(path: &Value) -> BTreeSet<String> {
    parameters(path, "query").map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

/// A path with its example values; `also` is added to the query, parameters in `without` are left out.
fn example(path: &str, described: &Value, without: &str, also: &str) -> String {
    let text =
        |one: &Value| one["example"].as_str().map_or_else(|| one["example"].to_string(), str::to_owned);
    let mut url = path.to_owned();
    for one in parameters(described, "path") {
        url = url.replace(&format!("{{{}}}", one["name"].as_str().unwrap()), &text(one));
    }
    let mut query: Vec<String> = parameters(described, "query")
        .filter(|one| one["name"] != without && one.get("example").is_some())
        .map(|one| format!("{}={}", one["name"].as_str().unwrap(), text(one)))
        .collect();
    query.extend((!also.is_empty()).then(|| also.to_owned()));
    if query.is_empty() { url } else { format!("{url}?{}", query.join("&")) }
}

/// Where a value does not follow a schema.
fn faults(document: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "properties" | "additionalProperties" | "items" | "$ref" | "oneOf" => {
                inner_faults(document, schema, word, value, at, found);
            }
            other => found.extend(own_fault(other, rule, value).map(|fault| format!("{at}: {fault}"))),
        }
    }
}

/// What is wrong with the value itself. Knows the words that the document uses, and fails at any other.
fn own_fault(word: &str, rule: &Value, value: &Value) -> Option<String> {
    let holds = match word {
        "description" => true,
        "type" => match rule {
            Value::Array(names) => names.iter().any(|name| is(name, value)),
            name => is(name, value),
        },
        "required" => rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some()),
        "enum" => rule.as_array().unwrap().contains(value),
        "minimum" => value.as_i64() >= rule.as_i64(),
        "format" => value.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_ok()),
        other => panic!("the test does not know `{other}`"),
    };
    (!holds).then(|| format!("{value} breaks {word} {rule}"))
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    }
}

/// What is wrong with the parts of a value, or by another schema.
fn inner_faults(
    document: &Value,
    schema: &Value,
    word: &str,
    value: &Value,
    at: &str,
    found: &mut Vec<String>,
) {
    let rule = &schema[word];
    match word {
        "$ref" => {
            let place = rule.as_str().unwrap().trim_start_matches('#');
            let target = document.pointer(place).unwrap_or_else(|| panic!("{place} is missing"));
            faults(document, target, value, at, found);
        }
        "oneOf" => {
            let fits = |schema: &&Value| {
                let mut found = Vec::new();
                faults(document, schema, value, at, &mut found);
                found.is_empty()
            };
            if rule.as_array().unwrap().iter().filter(fits).count() != 1 {
                found.push(format!("{at}: {value} follows not exactly one of {rule}"));
            }
        }
        "items" => {
            for (index, value) in value.as_array().into_iter().flatten().enumerate() {
                faults(document, rule, value, &format!("{at}[{index}]"), found);
            }
        }
        "properties" => {
            for (name, schema) in rule.as_object().unwrap() {
                if let Some(value) = value.get(name) {
                    faults(document, schema, value, &format!("{at}.{name}"), found);
                }
            }
        }
        _ => {
            let known = schema["properties"].as_object().cloned().unwrap_or_else(Map::new);
            let others =
                value.as_object().into_iter().flatten().filter(|(name, _)| !known.contains_key(*name));
            for (name, value) in others {
                if rule == &json!(false) {
                    found.push(format!("{at}.{name} is not described"));
                } else {
                    faults(document, rule, value, &format!("{at}.{name}"), found);
                }
            }
        }
    }
}

#[test]
fn the_check_finds_what_does_not_follow() {
    let document = document();
    let schema = &document["components"]["schemas"]["Channel"];
    let faults_of = |value: Value| {
        let mut found = Vec::new();
        faults(&document, schema, &value, "channel", &mut found);
        found.len()
    };
    assert_eq!(faults_of(json!({ "unit": "K", "scale": 1, "offset": null })), 0);
    assert_eq!(faults_of(json!({ "unit": "K", "scale": 1 })), 1, "one is missing");
    assert_eq!(faults_of(json!({ "unit": 5, "scale": "1", "offset": null, "more": 1 })), 3);
}

/// Asks, and holds the answer against what the document says of that path and status.
async fn conforms(bench: &Bench, path: &str, url: &str, key: Option<&str>) -> (u16, Value) {
    let document = document();
    let mut request = bench.client.get(bench.url(url));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let described =
        &document["paths"][path]["get"]["responses"][status.to_string()]["content"][&kind]["schema"];
    assert!(!described.is_null(), "{url}: {status} with {kind} is not described");
    if kind == "text/event-stream" {
        return (status, Value::Null);
    }
    let body: Value = answer.json().await.unwrap();
    let mut found = Vec::new();
    faults(&document, described, &body, url, &mut found);
    assert_eq!(found, Vec::<String>::new());
    (status, body)
}

async fn filled() -> Bench {
    let bench = Bench::start(options()).await;
    let mut nothing = aggregate("sensor-12", 60_000_000, 1, 11);
    (nothing.count, nothing.mean, nothing.m2, nothing.device) = (0, None, None, None);
    bench.write(&[
        Write::Aggregate(aggregate("sensor-12", 1_600_000_000_000_000, 1, 10)),
        Write::Aggregate(nothing),
        Write::Alert(alert("sensor-12", "0-1-0", 1_600_000_000_000_000, 12)),
        Write::Score(score("sensor-12", "ewma", 1_600_000_000_000_000, 1, 13)),
        Write::Device(device("sensor-12", false, 14)),
    ]);
    bench
}

#[test]
fn the_paths_and_their_parameters_are_the_servers() {
    let document = document();
    let described: BTreeSet<&str> =
        document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, crate::api::PATHS.iter().map(|(path, _)| *path).collect());
    for (path, accepted) in crate::api::PATHS {
        let accepted: BTreeSet<String> = accepted.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(names(&document["paths"][path]), accepted, "{path}");
    }
}

#[tokio::test]
async fn every_path_answers_as_described() {
    let (bench, document) = (filled().await, document());
    assert_eq!(bench.get("/v1/openapi.json").await, document);
    for (path, described) in document["paths"].as_object().unwrap() {
        let (status, body) = conforms(&bench, path, &example(path, described, "", ""), None).await;
        assert_eq!(status, 200, "{path}");
        if body["items"].is_array() && path != "/v1/models" {
            assert!(!body["items"].as_array().unwrap().is_empty(), "{path}: the examples find something");
        }
    }
}

#[tokio::test]
async fn every_mistake_is_answered_as_described() {
    let (bench, document) = (filled().await, document());
    for (path, described) in document["paths"].as_object().unwrap() {
        let (status, problem) =
            conforms(&bench, path, &example(path, described, "", "unheard=1"), None).await;
        let accepted: BTreeSet<String> = serde_json::from_value(problem["accepted"].clone()).unwrap();
        assert_eq!((status, accepted), (400, names(described)), "{path}");
        for one in parameters(described, "query") {
            let name = one["name"].as_str().unwrap();
            let (status, _) = conforms(&bench, path, &example(path, described, name, ""), None).await;
            assert_eq!(status, if one["required"] == true { 400 } else { 200 }, "{path} without {name}");
            let strict = one["schema"]["type"] != "string"
                || one["schema"].get("format").is_some()
                || name == "cursor";
            let also = format!("{name}=%7Bx");
            let (status, _) = conforms(&bench, path, &example(path, described, name, &also), None).await;
            assert_eq!(status, if strict { 400 } else { 200 }, "{path} with {also}");
        }
        if described["get"]["responses"].get("404").is_some() {
            let (status, _) = conforms(&bench, path, &path.replace("{id}", "nobody"), None).await;
            assert_eq!(status, 404, "{path}");
        }
    }
    bench.live.set(Answers::Unavailable);
    for path in ["/v1/books", "/v1/lag", "/v1/models"] {
        assert_eq!(conforms(&bench, path, path, None).await.0, 503);
    }
}

#[tokio::test]
async fn keys_are_answered_as_described() {
    let mut options = options();
    options.keys = keys();
    let bench = Bench::start(options).await;
    for (path, described) in document()["paths"].as_object().unwrap() {
        let url = example(path, described, "", "");
        assert_eq!(conforms(&bench, path, &url, None).await.0, 401, "{path}");
        assert_eq!(conforms(&bench, path, &url, Some(INGEST_KEY)).await.0, 403, "{path}");
        let status = conforms(&bench, path, &url, Some(KEY)).await.0;
        assert!(status == 200 || (status == 404 && path == "/v1/devices/{id}"), "{path}: {status}");
    }
}
