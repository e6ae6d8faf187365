//! What the JSON parsers accept and refuse, and that the two agree.

mod agreement;
mod device;

use super::*;
use crate::reason::RejectReason;
use crate::record::{Measured, Reading};

/// The record that throughput is measured with.
const USUAL: &str = r#"{"device_id":"dev-004217","ts":1627847280123,"temperature":23.51,"humidity":41.2,"pressure":1013.25,"battery":3.71,"seq":184467}"#;

fn parse(json: impl AsRef<[u8]>) -> Result<Reading, Reject> {
    ReadingParser::default().parse(json.as_ref()).map(|view| view.to_owned())
}

fn scanned(json: &str) -> bool {
    scanner::scan(json, &ReadingLimits::DEFAULT, &mut Parts::default()).is_some()
}

/// With this field besides a good device id and a measurement.
fn field(field: &str) -> Result<Reading, Reject> {
    parse(format!(r#"{{"device_id":"d","m":1,{field}}}"#))
}

#[track_caller]
fn refused(json: impl AsRef<[u8]>, reason: RejectReason, detail: &[&str]) {
    let why = parse(&json).expect_err("accepted");
    assert_eq!(why.reason, reason, "{why}");
    for part in detail {
        assert!(why.detail.contains(part), "`{part}` is not in: {why}");
    }
}

#[track_caller]
fn field_refused(text: &str, reason: RejectReason, detail: &[&str]) {
    refused(format!(r#"{{"device_id":"d","m":1,{text}}}"#), reason, detail);
}

fn measured(json: &str) -> Vec<(String, Measured)> {
    parse(json).unwrap().measurements
}

#[test]
fn the_seed_message_is_accepted_as_it_stands() {
    let json = r#"{"device_id":"sensor-12","temp":23.5,"ts":1627847280}"#;
    assert!(scanned(json));
    let reading = parse(json).unwrap();
    assert_eq!(reading.device_id, "sensor-12");
    assert_eq!(reading.event_time, Some(1_627_847_280_000_000));
    assert_eq!(reading.measurements, [("temp".to_owned(), Measured::Number(23.5))]);
    assert_eq!((reading.seq, reading.boot, reading.tags), (None, None, vec![]));
}

#[test]
fn the_scanner_takes_what_devices_usually_send() {
    for json in [
        USUAL,
        "{ \"device_id\" : \"d\" ,\n\t\"t\" : -1.5 }\r\n",
        r#" {"a":true,"b":false,"c":null,"s":"text","boot":"x","device_id":"d"}"#,
        r#"{"device_id":"d","ts":"2021-08-01T19:48:00Z","boot":17,"t":0}"#,
        r#"{"device_id":"d","ts":1627847280.25,"t":-0.0}"#,
        r#"{"device_id":"d","t":123456789012345678901234567890.5}"#,
    ] {
        assert!(scanned(json), "{json}");
    }
    let reading = parse(USUAL).unwrap();
    assert_eq!((reading.seq, reading.event_time), (Some(184_467), Some(1_627_847_280_123_000)));
    let values: Vec<_> = reading.measurements.iter().map(|(_, value)| *value).collect();
    assert_eq!(values, [23.51, 41.2, 1013.25, 3.71].map(Measured::Number));
}

#[test]
fn fields_go_where_the_grammar_says() {
    let json =
        r#"{"device_id":"d","b":1,"a":null,"on":true,"seq":0,"boot":7,"ts":null,"site":"x","fw":"1.2"}"#;
    let reading = parse(json).unwrap();
    let names: Vec<_> = reading.measurements.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["b", "a", "on"]);
    assert_eq!(reading.measurements[1].1, Measured::Null);
    assert_eq!(reading.measurements[2].1, Measured::Bool(true));
    assert_eq!((reading.seq, reading.boot.as_deref(), reading.event_time), (Some(0), Some("7"), None));
    assert_eq!(reading.tags, [("site", "x"), ("fw", "1.2")].map(|(a, b)| (a.to_owned(), b.to_owned())));
    let nulls = field(r#""seq":null,"boot":null,"ts":null"#).unwrap();
    assert_eq!((nulls.seq, nulls.boot, nulls.event_time, nulls.measurements.len()), (None, None, None, 1));
}

#[test]
fn nested_objects_are_flattened_in_the_order_written() {
    let json = r#"{"z":1,"env":{"temp":2,"in":{"co2":null,"ts":3},"room":"k","device_id":5,"e":{}},"device_id":"d","a.b":4}"#;
    let names: Vec<_> = measured(json).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["z", "env.temp", "env.in.co2", "env.in.ts", "env.device_id", "a.b"]);
    assert_eq!(parse(json).unwrap().tags, [("env.room".to_owned(), "k".to_owned())]);
}

#[test]
fn escapes_and_other_scripts_are_read() {
    let reading = field(r#""t\u00e4g":"\ud83c\udf21 \"warm\"\n","\u0061":2,"気温":3"#).unwrap();
    assert_eq!(reading.tags, [("täg".to_owned(), "🌡 \"warm\"\n".to_owned())]);
    let names: Vec<_> = reading.measurements.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["m", "a", "気温"]);
}

#[test]
fn numbers_are_correctly_rounded() {
    for text in [
        "0",
        "-0",
        "0.1",
        "0.2",
        "0.3",
        "1e23",
        "9007199254740993",
        "9007199254740992.5",
        "1.7976931348623157e308",
        "4.9e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "2.2250738585072011e-308",
        "1e-400",
        "0.000000000000000000000000000000000000000001",
        "123456789012345678",
        "8.5",
        "18446744073709551616",
        "0.30000000000000004",
        "1448997445238699",
        "10000000000000000000000",
        "3.1415926535897932384626433832795",
        "1e0",
        "12E+2",
        "7450580596923828125e-27",
        "9223372036854775808.1",
    ] {
        let expected: f64 = text.parse().unwrap();
        for json in
            [format!(r#"{{"device_id":"d","v":{text}}}"#), format!(r#"{{"device_id":"d","v": {text} }}"#)]
        {
            let Measured::Number(value) = measured(&json)[0].1 else { panic!("{text}") };
            assert_eq!(value.to_bits(), expected.to_bits(), "{text}");
        }
    }
}

#[test]
fn text_that_is_no_json_is_malformed() {
    use RejectReason::MalformedJson;
    for json in [
        "",
        " ",
        "{",
        "}",
        "{}}",
        r#"{"device_id":"d","m":1"#,
        r#"{"device_id":"d","m":1,}"#,
        r#"{"device_id":"d" "m":1}"#,
        r#"{device_id:"d"}"#,
        r#"{'device_id':'d'}"#,
        r#"{"device_id":"d","m":}"#,
        r#"{"device_id":"d","m":1}x"#,
        "tru",
        "\"",
        "[1",
        "{\"device_id\":\"a\nb\",\"m\":1}",
        "\u{feff}{}",
        "{\"device_id\":\"d\",\"m\":1}\0",
    ] {
        refused(json, MalformedJson, &["line 1 column", "expected"]);
    }
    for number in ["01", "1.", ".5", "+1", "1e", "1e+", "0x10", "1_000", "--1", "-", "1.2.3", "inf", "nan"] {
        refused(format!(r#"{{"device_id":"d","m":{number}}}"#), MalformedJson, &[]);
    }
    // Lone surrogates, in a value, a name and inside an object.
    for text in
        [r#""s":"\ud800""#, r#""\udc00x":1"#, r#""o":{"s":"\ud83c\ud83c"}"#, r#""s":"\u12g4""#, r#""s":"\x""#]
    {
        field_refused(text, MalformedJson, &[]);
    }
}

#[test]
fn every_other_reason_can_be_provoked() {
    use RejectReason::*;
    refused(b"{\"device_id\":\"d\xff\",\"m\":1}", InvalidUtf8, &["from 15 on"]);
    for (json, kind) in
        [("[]", "an array"), ("1", "a number"), ("\"x\"", "a text"), ("null", "null"), ("true", "a boolean")]
    {
        refused(json, NotAnObject, &[kind]);
    }
    refused(r#"{"m":1}"#, MissingDeviceId, &["device_id"]);
    refused(r#"{"device_id":null,"m":1}"#, MissingDeviceId, &[]);
    refused(r#"{"device_id":7,"m":1}"#, WrongType, &["device_id", "a number", "7"]);
    field_refused(r#""list":[1,2]"#, WrongType, &["list", "an array"]);
    field_refused(r#""o":{"list":[]}"#, WrongType, &["o.list"]);
    for id in ["", "a/b", "..", ".", "a b", "é", "a\\u0000", &"x".repeat(129)] {
        refused(format!(r#"{{"device_id":"{id}","m":1}}"#), BadDeviceId, &["128 letters"]);
    }
    let deep = |levels: usize| format!("{}1{}", r#"{"o":"#.repeat(levels), "}".repeat(levels));
    field_refused(&format!(r#""o":{}"#, deep(8)), TooDeep, &["level 9", "at most 8"]);
    assert!(field(&format!(r#""o":{}"#, deep(7))).is_ok());
    for name in ["", "a\\u0007", "\\u0085", &"x".repeat(65)] {
        field_refused(&format!(r#""{name}":1"#), BadName, &["1 to 64"]);
        field_refused(&format!(r#""{name}":"text""#), BadName, &[]);
        field_refused(&format!(r#""o":{{"{name}":1}}"#), BadName, &[]);
    }
    assert!(field(&format!(r#""{}":1"#, "x".repeat(64))).is_ok());
    field_refused(r#""s":"a\u0000b""#, BadText, &["\"s\""]);
    field_refused(&format!(r#""s":"{}""#, "x".repeat(1025)), BadText, &["1024"]);
    for twice in
        [r#""m":2"#, r#""m":"x""#, r#""device_id":"e""#, r#""ts":null,"ts":null"#, r#""seq":1,"seq":1"#]
    {
        field_refused(twice, DuplicateKey, &["twice"]);
    }
    for twice in [
        r#""o":{"a":1},"o.a":2"#,
        r#""o":{"a":1},"o":{"b":2}"#,
        r#""o":{"a":1,"a":2}"#,
        r#""\u006d":1"#,
        r#""boot":"a","boot":"a""#,
    ] {
        field_refused(twice, DuplicateKey, &["twice"]);
    }
}

#[test]
fn times_numbers_and_counters_that_cannot_be_read_are_refused() {
    use RejectReason::*;
    for ts in ["0", "-5", "12", "true", "{}", "[]", "\"yesterday\"", "1e400", "253402300799"] {
        field_refused(&format!(r#""ts":{ts}"#), BadTimestamp, &["ts"]);
    }
    for number in ["1e400", "-1e309", &"9".repeat(400)] {
        field_refused(&format!(r#""v":{number}"#), NotFinite, &["\"v\"", "finite"]);
    }
    for word in ["NaN", "Infinity", "-Infinity"] {
        field_refused(&format!(r#""v":{word}"#), NotFinite, &[word, "no JSON"]);
        field_refused(&format!("\n\"v\": {word} "), NotFinite, &[word, "line 2"]);
    }
    for seq in ["-1", "1.5", "1.0", "1e3", "\"7\"", "true", "-0", "9223372036854775808", "{}"] {
        field_refused(&format!(r#""seq":{seq}"#), BadSequence, &["seq", "whole number"]);
    }
    assert_eq!(field(r#""seq":9223372036854775807"#).unwrap().seq, Some(i64::MAX));
    for boot in ["1.5", "true", "[]", "\"\"", "\"a\\nb\"", &format!("\"{}\"", "x".repeat(65))] {
        field_refused(&format!(r#""boot":{boot}"#), BadSequence, &["boot"]);
    }
    refused(r#"{"device_id":"d"}"#, NoMeasurements, &["at least one"]);
    refused(r#"{"device_id":"d","ts":1627847280,"site":"x","o":{}}"#, NoMeasurements, &[]);
    refused("{}", MissingDeviceId, &[]);
    let many = |count: usize, value: &str| {
        (0..count).map(|n| format!(r#""f{n}":{value}"#)).collect::<Vec<_>>().join(",")
    };
    assert!(parse(format!(r#"{{"device_id":"d",{}}}"#, many(64, "1"))).is_ok());
    refused(format!(r#"{{"device_id":"d",{}}}"#, many(65, "1")), TooManyMeasurements, &["64"]);
    assert!(field(&many(64, "\"x\"")).is_ok());
    field_refused(&many(65, "\"x\""), TooManyTags, &["64"]);
    let large = format!(r#"{{"device_id":"d","m":1{}}}"#, " ".repeat(64 << 10));
    refused(large, TooLarge, &["65536"]);
}

#[test]
fn limits_are_the_callers() {
    let limits = ReadingLimits {
        measurements_max: 2,
        depth_max: 1,
        event_time_min: 1_700_000_000_000_000,
        ..ReadingLimits::DEFAULT
    };
    let mut parser = ReadingParser::new(limits);
    let mut reason =
        |json: &str| parser.parse(json.as_bytes()).map(|view| view.to_owned()).map_err(|why| why.reason);
    assert!(reason(r#"{"device_id":"d","a":1,"b":2}"#).is_ok());
    assert_eq!(reason(r#"{"device_id":"d","a":1,"b":2,"c":3}"#), Err(RejectReason::TooManyMeasurements));
    assert_eq!(reason(r#"{"device_id":"d","a":{"b":2}}"#), Err(RejectReason::TooDeep));
    assert_eq!(reason(r#"{"device_id":"d","a":1,"ts":1627847280}"#), Err(RejectReason::BadTimestamp));
    assert!(reason(r#"{"device_id":"d","a":1,"ts":1763000000}"#).is_ok());
}

#[test]
fn hostile_depth_and_length_cost_little_and_never_overflow_the_stack() {
    for text in [
        "[".repeat(60_000),
        r#"{"a":"#.repeat(12_000),
        format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000)),
    ] {
        let why = parse(format!(r#"{{"device_id":"d","m":{text}}}"#)).unwrap_err();
        assert!(matches!(why.reason, RejectReason::MalformedJson | RejectReason::WrongType), "{why}");
    }
    let deep = format!("{}1{}", r#"{"a":"#.repeat(8_000), "}".repeat(8_000));
    refused(format!(r#"{{"device_id":"d","m":{deep}}}"#), RejectReason::TooDeep, &[]);
    let details = parse(format!(r#"{{"device_id":"{}","m":1}}"#, "é".repeat(20_000))).unwrap_err().detail;
    assert!(details.len() <= 512);
}

#[test]
fn a_text_cut_anywhere_is_refused() {
    let json =
        r#" {"device_id":"d","ts":"2021-08-01T19:48:00Z","o":{"a":-1.5e3,"s":"\u00e9é"},"t":true,"n":null}"#;
    assert!(parse(json).is_ok());
    for length in 0..json.len() {
        assert!(parse(&json.as_bytes()[..length]).is_err(), "{length}");
    }
    for length in 0..USUAL.len() {
        assert!(parse(&USUAL.as_bytes()[..length]).is_err(), "{length}");
    }
}
