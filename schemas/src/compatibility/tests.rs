//! The checker on changes that are allowed and changes that are not, with `apache-avro`'s own check beside it.

use super::*;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

const BASE: &str = r#"{"type":"record","name":"Outer","namespace":"t","fields":[
    {"name":"id","type":"string"},
    {"name":"n","type":"long"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
    {"name":"note","type":["null","string"],"default":null},
    {"name":"kind","type":{"type":"enum","name":"Kind","symbols":["a","b"]}},
    {"name":"parts","type":{"type":"array","items":{"type":"record","name":"Part","fields":[
        {"name":"x","type":"double"},{"name":"y","type":"int","default":0}]}}},
    {"name":"more","type":{"type":"map","values":["null","double","boolean"]}},
    {"name":"last","type":["null","Part"],"default":null}]}"#;

fn changed(from: &str, to: &str) -> String {
    assert_eq!(BASE.matches(from).count(), 1, "{from}");
    BASE.replace(from, to)
}

/// What the library says about the same pair.
fn library_agrees(new: &str) -> bool {
    let (old, new) = (Schema::parse_str(BASE).unwrap(), Schema::parse_str(new).unwrap());
    SchemaCompatibility::mutual_read(&old, &new) == Ok(Compatibility::Full)
}

#[track_caller]
fn refused(from: &str, to: &str, path: &str, why: &str) {
    let new = changed(from, to);
    let found = check(BASE, &new).expect_err("accepted");
    assert!(found.iter().any(|i| i.path == path && i.why.contains(why)), "{found:?}");
    assert!(found.iter().all(|i| i.path.starts_with(path)), "{found:?}");
    // The other way round it is refused as well: both directions are asked.
    assert!(check(&new, BASE).is_err());
}

#[test]
fn what_may_change() {
    let cases = [
        (r#"{"name":"n","type":"long"},"#, r#"{"name":"n","type":"long","doc":"number"},"#),
        (
            r#"{"name":"n","type":"long"},"#,
            r#"{"name":"n","type":"long"},{"name":"new","type":"int","default":1},"#,
        ),
        (r#"{"name":"n","type":"long"},"#, r#"{"name":"n","type":"long","default":7},"#),
        (r#"{"name":"note","type":["null","string"],"default":null},"#, ""),
        (r#",{"name":"y","type":"int","default":0}"#, ""),
        (r#"["null","double","boolean"]"#, r#"["boolean","null","double"]"#),
        (r#""name":"id","type":"string""#, r#""name":"id","type":"bytes""#),
        ("\"fields\":[\n    {\"name\":\"id\",\"type\":\"string\"},", "\"fields\":["),
    ];
    for (from, to) in &cases[..7] {
        let new = changed(from, to);
        assert_eq!(check(BASE, &new), Ok(()), "{from} -> {to}");
        assert_eq!(check(&new, BASE), Ok(()), "{from} -> {to}");
        assert!(library_agrees(&new), "{from} -> {to}");
    }
    let (from, to) = cases[7];
    assert!(check(BASE, &changed(from, to)).is_err());
    assert_eq!(check(BASE, BASE), Ok(()));
}

#[test]
fn what_may_not() {
    let n = r#"{"name":"n","type":"long"},"#;
    refused(n, &format!(r#"{n}{{"name":"new","type":"int"}},"#), "Outer.new", "added without a default");
    refused(n, "", "Outer.n", "removed");
    refused(r#"{"name":"x","type":"double"},"#, "", "Outer.parts[].x", "removed");
    refused(r#""name":"n","type":"long""#, r#""name":"n","type":"string""#, "Outer.n", "schema has string");
    refused(r#""name":"n","type":"long""#, r#""name":"n","type":"int""#, "Outer.n", "schema has int");
    refused(r#""name":"n","type":"long""#, r#""name":"n","type":["null","long"]"#, "Outer.n", "branch null");
    refused(r#"["a","b"]"#, r#"["a"]"#, "Outer.kind", "symbol b");
    refused(r#"["a","b"]"#, r#"["a","b","c"]"#, "Outer.kind", "symbol c");
    refused(r#""name":"Kind""#, r#""name":"Sort""#, "Outer.kind", "called");
    refused(r#"["null","double","boolean"]"#, r#"["null","double"]"#, "Outer.more{}", "branch boolean");
    refused(
        r#"["null","double","boolean"]"#,
        r#"["null","double","boolean","string"]"#,
        "Outer.more{}",
        "branch string",
    );
    refused(r#""name":"Outer","namespace":"t""#, r#""name":"Outer","namespace":"u""#, "(schema)", "called");
    refused(
        r#"["null","Part"],"default":null"#,
        r#"["null","string"],"default":null"#,
        "Outer.last",
        "branch",
    );
}

#[test]
fn a_new_name_is_a_field_less_and_a_field_more() {
    let found = check(BASE, &changed(r#""name":"n""#, r#""name":"m""#)).unwrap_err();
    let paths: Vec<_> = found.iter().map(|i| i.path.as_str()).collect();
    assert_eq!(paths, ["Outer.m", "Outer.n"]);
}

#[test]
fn the_meaning_of_bytes_may_not_change_either() {
    let at = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
    for other in [r#"{"type":"long","logicalType":"timestamp-millis"}"#, r#""long""#] {
        refused(at, other, "Outer.at", "schema has");
        // The library lets this pass; that is why it is not enough.
        assert!(library_agrees(&changed(at, other)));
    }
}

#[test]
fn a_default_lets_symbols_change() {
    let with = |symbols: &str| changed(r#"["a","b"]"#, &format!(r#"{symbols},"default":"a""#));
    assert_eq!(check(&with(r#"["a","b"]"#), &with(r#"["a","b","c"]"#)), Ok(()));
}

#[test]
fn unions_of_records_go_by_name() {
    let record =
        |name: &str, fields: &str| format!(r#"{{"type":"record","name":"{name}","fields":[{fields}]}}"#);
    let (a, b) = (record("A", ""), record("B", r#"{"name":"x","type":"int"}"#));
    let both = format!("[{a},{b}]");
    assert_eq!(check(&both, &format!("[{b},{a}]")), Ok(()));
    let why = check(&both, &format!("[{a}]")).unwrap_err();
    assert!(why[0].why.contains("branch B"), "{why:?}");
    let other = format!("[{a},{}]", record("B", r#"{"name":"x","type":"string"}"#));
    let why = check(&both, &other).unwrap_err();
    assert!(why.iter().all(|i| i.path == "B.x"), "{why:?}");
}

#[test]
fn recursive_types_end() {
    let list =
        r#"{"type":"record","name":"List","fields":[{"name":"next","type":["null","List"],"default":null}]}"#;
    assert_eq!(check(list, list), Ok(()));
}

#[test]
fn every_earlier_version_counts() {
    // Each step is allowed; the first and the last do not go together.
    let v1 = r#"{"type":"record","name":"R","fields":[{"name":"f","type":"int","default":0}]}"#;
    let v2 = r#"{"type":"record","name":"R","fields":[]}"#;
    let v3 = r#"{"type":"record","name":"R","fields":[{"name":"f","type":"string","default":""}]}"#;
    assert_eq!(check(v1, v2), Ok(()));
    assert_eq!(check(v2, v3), Ok(()));
    let why = check_all([v1, v2], v3).unwrap_err();
    assert!(why.iter().all(|i| i.path == "version 1: R.f"), "{why:?}");
    assert!(why[0].to_string().starts_with("version 1: R.f: "), "{}", why[0]);
}

#[test]
fn what_cannot_be_read_is_said() {
    assert_eq!(check("{", BASE).unwrap_err()[0].path, "(old schema)");
    assert_eq!(check(BASE, "{").unwrap_err()[0].path, "(new schema)");
}
