//! The metadata of a device as people write it.

use crate::grammar::ReadingLimits;
use crate::json::parse_device;
use crate::reason::{Reject, RejectReason};
use crate::record::{Channel, Device};

fn parse(json: &str) -> Result<Device, Reject> {
    parse_device("d", json.as_bytes(), &ReadingLimits::DEFAULT)
}

#[test]
fn everything_and_nothing() {
    let json = r#"{"site":"hall 3","model":"TH-20","tags":{"line":"7"},
        "channels":{"temp":{"unit":"C","scale":2,"offset":-0.4},"rh":{}},
        "disorder":"250ms","quiet-after":"5m","lateness":"24h","settle":"0s"}"#;
    let channel = Channel { unit: Some("C".to_owned()), scale: Some(2.0), offset: Some(-0.4) };
    let expected = Device {
        device_id: "d".to_owned(),
        deleted: false,
        site: Some("hall 3".to_owned()),
        model: Some("TH-20".to_owned()),
        tags: [("line".to_owned(), "7".to_owned())].into(),
        channels: [("temp".to_owned(), channel), ("rh".to_owned(), Channel::default())].into(),
        disorder: Some(250_000),
        quiet_after: Some(300_000_000),
        lateness: Some(86_400_000_000),
        settle: Some(0),
    };
    assert_eq!(parse(json), Ok(expected));
    assert_eq!(parse("{}"), Ok(Device { device_id: "d".to_owned(), ..Device::default() }));
    assert_eq!(parse(r#"{"lateness":"366d"}"#).unwrap().lateness, Some(crate::grammar::DEVICE_SPAN_MAX));
    assert_eq!(parse(r#"{"site":null,"lateness":null}"#).unwrap().lateness, None);
}

#[test]
fn mistakes_are_named() {
    for (json, part) in [
        ("", "line 1"),
        ("[]", "expected"),
        (r#"{"sight":"x"}"#, "sight"),
        (r#"{"site":7}"#, "expected a string"),
        (r#"{"site":"a","site":"b"}"#, "site"),
        (r#"{"tags":{"a":"1","a":"2"}}"#, "`a` appears twice"),
        (r#"{"tags":{"":"1"}}"#, "name"),
        (r#"{"channels":{"t":{"scale":0}}}"#, "channels.t.scale"),
        (r#"{"channels":{"t":{"factor":1}}}"#, "factor"),
        (r#"{"channels":{"t":{"scale":1e999}}}"#, "out of range"),
        (r#"{"disorder":"5"}"#, "`disorder` is \"5\""),
        (r#"{"disorder":"5 m"}"#, "disorder"),
        (r#"{"disorder":"-5m"}"#, "disorder"),
        (r#"{"disorder":"m"}"#, "disorder"),
        (r#"{"disorder":300}"#, "expected a string"),
        (r#"{"quiet-after":"367d"}"#, "quiet-after"),
        (r#"{"quiet_after":"1d"}"#, "quiet_after"),
        (r#"{"settle":"99999999999999999999d"}"#, "settle"),
        (r#"{"lateness":"9223372036854775807d"}"#, "lateness"),
        (r#"{"device_id":"e"}"#, "device_id"),
    ] {
        let why = parse(json).unwrap_err();
        assert_eq!(why.reason, RejectReason::BadDevice, "{json}: {why}");
        assert!(why.detail.contains(part), "`{part}` is not in: {why}");
    }
    let limits = ReadingLimits { reading_bytes_max: 10, ..ReadingLimits::DEFAULT };
    let reason = |id, json: &[u8], limits| parse_device(id, json, limits).unwrap_err().reason;
    assert_eq!(reason("a/b", b"{}", &limits), RejectReason::BadDeviceId);
    assert_eq!(reason("d", b"{         }", &limits), RejectReason::TooLarge);
    assert_eq!(reason("d", b"\xff", &limits), RejectReason::InvalidUtf8);
}
