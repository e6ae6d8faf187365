//! The scanner and the full parser on the same text: whatever the scanner takes, the full parser takes, and both
//! read the same. The texts are made of pieces that matter to either, then damaged.

use super::{ReadingParser, USUAL, parse, scanned};
use crate::avro::tests::strategies;
use crate::record::{Measured, Reading};
use proptest::prelude::*;
use proptest::sample::{Index, select};

fn agree(json: &[u8]) -> Result<(), TestCaseError> {
    agree_after(&[], json)
}

/// With a parser that knows the layouts of these texts.
fn agree_after(known: &[&[u8]], json: &[u8]) -> Result<(), TestCaseError> {
    let (mut one, mut other) = (ReadingParser::default(), ReadingParser::default());
    for text in known {
        (0..20).for_each(|_| drop(one.parse(text).map(|view| view.to_owned())));
    }
    let quick = one.parse(json).map(|view| view.to_owned());
    let full = other.parse_in_full(json).map(|view| view.to_owned());
    // Equal numbers may differ in the sign of zero: compare what is written.
    prop_assert_eq!(format!("{quick:?}"), format!("{full:?}"), "{}", String::from_utf8_lossy(json));
    Ok(())
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![12 => Just(""), 2 => Just(" "), 1 => select(vec!["\n", "\t\r", "\u{a0}", "\0", "\u{c}"])]
}

fn key() -> impl Strategy<Value = String> {
    let usual = vec!["device_id", "ts", "seq", "boot", "a", "b", "ab", "temperature", "o.a", "o"];
    let weird = vec!["", "\\u0061", "é", "\\ud800", "\\n", "device_id ", "Ts", "a\u{7f}", "\u{1}"];
    prop_oneof![
        16 => select(usual).prop_map(str::to_owned),
        2 => select(weird).prop_map(str::to_owned),
        2 => "[a-z]{60,68}",
        4 => "[a-z]{1,3}"
    ]
}

fn number() -> impl Strategy<Value = String> {
    let weird = vec![
        "-0",
        "0.0",
        "-0.0",
        "00",
        "01",
        "-01",
        "1.",
        ".5",
        "-",
        "+1",
        "1e5",
        "1E-5",
        "1e400",
        "-1e400",
        "1e",
        "0e0",
        "9007199254740992",
        "9007199254740993",
        "9007199254740993.0",
        "18446744073709551615",
        "18446744073709551616",
        "9223372036854775807",
        "9223372036854775808",
        "0.1e1",
        "5e-324",
        "1627847280",
        "1627847280123",
        "1627847280123456",
        "1627847280.5",
        "1627847280123456789",
        "946684799",
        "4102444800",
        "-1627847280",
        "NaN",
        "0x1",
        "1_0",
        "1 0",
        "9999999999999999999",
        "99999999999999999999",
    ];
    prop_oneof![
        3 => select(weird).prop_map(str::to_owned),
        3 => "-?[0-9]{1,4}(\\.[0-9]{1,3})?",
        2 => "-?[1-9][0-9]{0,25}(\\.[0-9]{1,25})?",
        1 => (any::<f64>()).prop_map(|value| value.to_string()),
        1 => (any::<f64>()).prop_map(|value| format!("{value:e}"))
    ]
}

fn value() -> impl Strategy<Value = String> {
    let texts = vec![
        "\"d\"",
        "\"dev-1\"",
        "\"\"",
        "\"a b\"",
        "\"a/b\"",
        "\"é\"",
        "\"\\u0041\"",
        "\"\\ud83c\\udf21\"",
        "\"\\ud800\"",
        "\"\\q\"",
        "\"a\u{1}\"",
        "\"..\"",
        "\"2021-08-01T19:48:00Z\"",
        "\"2021-08-01T19:48:00\"",
        "\"x",
        "'x'",
        "\"a\u{7f}\"",
        "\"a\tb\"",
        "\"a\\tb\"",
    ];
    let others = vec![
        "true",
        "false",
        "null",
        "tru",
        "nul",
        "True",
        "[]",
        "[1]",
        "{}",
        "{\"a\":1}",
        "{\"a\":{\"b\":2}}",
        "{\"a\":1,\"a\":2}",
        "",
    ];
    prop_oneof![
        5 => number(),
        4 => select(texts).prop_map(str::to_owned),
        3 => select(others).prop_map(str::to_owned)
    ]
}

/// Mostly a reading, with anything in it.
fn text() -> impl Strategy<Value = String> {
    let entry = (space(), key(), space(), space(), value(), space())
        .prop_map(|(a, key, b, c, value, d)| format!("{a}\"{key}\"{b}:{c}{value}{d}"));
    let good = (select(vec!["a", "b", "c"]), number()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    let entries = prop::collection::vec(prop_oneof![2 => entry, 3 => good], 0..6);
    (entries, any::<bool>(), space(), select(vec!["}", "}", "}", "}", "", "}}", ",}", "}x"])).prop_map(
        |(mut entries, known, space, end)| {
            if known {
                entries.insert(entries.len() / 2, r#""device_id":"d""#.to_owned());
            }
            format!("{space}{{{}{end}{space}", entries.join(","))
        },
    )
}

/// Numbers as a device prints them, names of its own, in any order.
fn rendered(reading: &Reading, order: &[Index]) -> String {
    let quote = |text: &str| serde_json::to_string(text).unwrap();
    let mut fields = vec![format!("\"device_id\":{}", quote(&reading.device_id))];
    fields.extend(reading.event_time.map(|micros| format!("\"ts\":{micros}")));
    fields.extend(reading.seq.map(|seq| format!("\"seq\":{seq}")));
    fields.extend(reading.boot.as_ref().map(|boot| format!("\"boot\":{}", quote(boot))));
    for field in &mut fields {
        field.insert(0, ' ');
    }
    let mut named: Vec<String> = Vec::new();
    for (name, value) in &reading.measurements {
        let value = match value {
            Measured::Null => "null".to_owned(),
            Measured::Bool(value) => value.to_string(),
            Measured::Number(value) => serde_json::to_string(value).unwrap(),
        };
        named.push(format!("{}:{value}", quote(name)));
    }
    named.extend(reading.tags.iter().map(|(name, value)| format!("{}: {}", quote(name), quote(value))));
    for (field, at) in fields.into_iter().zip(order) {
        named.insert(at.index(named.len() + 1), field);
    }
    format!("{{{}}}", named.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn on_texts_made_of_pieces(json in text()) {
        agree(json.as_bytes())?;
    }

    #[test]
    fn on_damaged_texts(at in any::<Index>(), byte in any::<u8>(), how in 0..4, second in any::<Index>()) {
        let mut json = USUAL.as_bytes().to_vec();
        let at = at.index(json.len());
        match how {
            0 => json[at] = byte,
            1 => json.insert(at, byte),
            2 => drop(json.remove(at)),
            _ => {
                let piece = json[at..(at + 12).min(json.len())].to_vec();
                let to = second.index(json.len());
                json.splice(to..to, piece);
            }
        }
        agree(&json)?;
        agree_after(&[USUAL.as_bytes()], &json)?;
    }

    /// Layouts of anything that is a reading, then the same with other values in their places.
    #[test]
    fn on_texts_with_a_known_layout(
        one in text(),
        other in text(),
        values in prop::collection::vec(value(), 8),
    ) {
        let known = [one.as_bytes(), other.as_bytes()];
        agree_after(&known, one.as_bytes())?;
        agree_after(&known, other.as_bytes())?;
        let mut values = values.iter();
        let field = |field: &str| match (field.split_once(':'), values.next()) {
            (Some((name, _)), Some(value)) if !name.contains("device_id") => format!("{name}:{value}"),
            _ => field.to_owned(),
        };
        let changed: Vec<String> = one.trim_end_matches('}').split(',').map(field).collect();
        agree_after(&known, format!("{}}}", changed.join(",")).as_bytes())?;
    }

    #[test]
    fn on_random_bytes(json in prop::collection::vec(any::<u8>(), 0..60)) {
        agree(&json)?;
    }

    #[test]
    fn what_was_written_is_read(reading in strategies::reading(), order in prop::collection::vec(any::<Index>(), 4)) {
        // In JSON these names mean something else at the top.
        prop_assume!(!reading.measurements.iter().any(|(name, _)| ["ts", "seq", "boot"].contains(&name.as_str())));
        let json = rendered(&reading, &order);
        agree(json.as_bytes())?;
        agree_after(&[json.as_bytes()], json.as_bytes())?;
        prop_assert_eq!(parse(&json).map(|found| format!("{found:?}")), Ok(format!("{reading:?}")), "{}", json);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// The plain numbers of devices never leave the quick way, and come out as the standard library reads them.
    #[test]
    fn plain_numbers_are_scanned(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,24})?") {
        let json = format!(r#"{{"device_id":"d","v":{text}}}"#);
        prop_assert!(scanned(&json), "{json}");
        let Measured::Number(value) = parse(&json).unwrap().measurements[0].1 else { panic!("{json}") };
        prop_assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{}", text);
    }
}
