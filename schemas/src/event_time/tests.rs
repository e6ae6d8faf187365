//! Every way to write one instant, and every way to get it wrong.

use super::*;
use proptest::prelude::*;

const INSTANT: Micros = 1_627_847_280_000_000; // 2021-08-01T19:48:00Z

#[test]
fn one_instant_in_every_unit() {
    for text in [
        "1627847280",
        "1627847280000",
        "1627847280000000",
        "1627847280.0",
        "1.62784728e9",
        "1.62784728E12",
        "162784728e+1",
        "16278472800e-1",
        "1627847280000.0000",
        "1627847280.0000009",
    ] {
        assert_eq!(of_number(text), Ok(INSTANT), "{text}");
    }
    for text in [
        "2021-08-01T19:48:00Z",
        "2021-08-01t19:48:00z",
        "2021-08-01 19:48:00Z",
        "2021-08-01T21:48:00+02:00",
        "2021-08-01T14:18:00.000-05:30",
        "2021-08-01T19:48:00.000000Z",
        "2021-08-01T19:48:00.000000999Z",
        "2021-08-01T19:48:00-00:00",
    ] {
        assert_eq!(of_text(text), Ok(INSTANT), "{text}");
    }
}

#[test]
fn fractions_are_exact_to_the_microsecond_and_cut_below() {
    assert_eq!(of_number("1627847280.123456"), Ok(INSTANT + 123_456));
    assert_eq!(of_number("1627847280.1234569"), Ok(INSTANT + 123_456));
    assert_eq!(of_number("1627847280123.999"), Ok(INSTANT + 123_999));
    assert_eq!(of_number("1627847280.99999999999999999999999999999999999999"), Ok(INSTANT + 999_999));
    assert_eq!(of_text("2021-08-01T19:48:00.123456789Z"), Ok(INSTANT + 123_456));
}

#[test]
fn the_ranges_of_the_units_end_where_they_should() {
    for (text, expected) in [
        ("946684800", Some(EVENT_TIME_MIN)),
        ("946684799", None),
        ("946684799.999999", None),
        ("4102444799.999999", Some(EVENT_TIME_END - 1)),
        ("4102444800", None),
        ("946684800000", Some(EVENT_TIME_MIN)),
        ("946684799999", None),
        ("4102444799999", Some(EVENT_TIME_END - 1000)),
        ("4102444800000", None),
        ("946684800000000", Some(EVENT_TIME_MIN)),
        ("946684799999999", None),
        ("4102444799999999", Some(EVENT_TIME_END - 1)),
        ("4102444800000000", None),
    ] {
        assert_eq!(of_number(text).ok(), expected, "{text}");
        if let Ok(number) = text.parse() {
            assert_eq!(of_integer(number), expected, "{text}");
        }
    }
}

#[test]
fn what_is_no_time_is_refused_with_value_and_range() {
    for text in [
        "0",
        "-1",
        "-1627847280",
        "1",
        "1e400",
        "1e-400",
        "9e99",
        "253402300799",
        "1e999999999999",
        "18446744073709551616",
    ] {
        let why = of_number(text).unwrap_err();
        assert_eq!(why.reason, RejectReason::BadTimestamp, "{text}");
        assert!(why.detail.contains(text) && why.detail.contains("946684800 to 4102444800"), "{why}");
    }
    assert!(of_number("0").unwrap_err().detail.contains("never set"));
    assert!(of_number("1627847280000000000").unwrap_err().detail.contains("nanoseconds"));
    for text in [
        "",
        "now",
        "2021-08-01",
        "2021-08-01T19:48:00",
        "2021-08-01T19:48Z",
        "2021-13-01T19:48:00Z",
        "2021-02-29T19:48:00Z",
        "2021-08-01T25:48:00Z",
        "2021-08-01T19:48:00.Z",
        "2021-08-01T19:48:00.1234567890Z",
        "2021-08-01T19:48:00+0200",
        "2021-08-01T19:48:00+02",
        "2021-08-01T19:48:00Z[Europe/Berlin]",
        "2021-08-01T19:48:00+99:00",
        "9999-12-31T23:59:59Z",
        "1999-12-31T23:59:59.999999Z",
        "2100-01-01T00:00:00Z",
        "2021-08-01T19:48:00é:00",
        "+02021-08-01T19:48:00Z",
    ] {
        let why = of_text(text).unwrap_err();
        assert_eq!(why.reason, RejectReason::BadTimestamp, "{text}");
        assert!(why.detail.contains("RFC 3339"), "{why}");
    }
    assert!(of_text("1627847280").unwrap_err().detail.contains("a number in quotes"));
}

proptest! {
    #[test]
    fn every_microsecond_survives_every_notation(micros in EVENT_TIME_MIN..EVENT_TIME_END) {
        let seconds = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let milliseconds = format!("{}.{:03}", micros / 1_000, micros % 1_000);
        prop_assert_eq!(of_number(&seconds), Ok(micros));
        prop_assert_eq!(of_number(&milliseconds), Ok(micros));
        prop_assert_eq!(of_number(&micros.to_string()), Ok(micros));
        prop_assert_eq!(of_integer(micros.cast_unsigned()), Some(micros));
        let text = jiff::Timestamp::from_microsecond(micros).unwrap().to_string();
        prop_assert_eq!(of_text(&text), Ok(micros));
    }

    #[test]
    fn numbers_never_panic(text in "-?[0-9]{1,40}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,12})?") {
        let _ = of_number(&text);
    }

    #[test]
    fn texts_never_panic(text in "\\PC{0,30}|[0-9TZ:+.-]{18,32}") {
        let _ = of_text(&text);
    }
}
