//! The hot path against the plain one, and everything that foreign producers can get wrong.

mod usual;

use super::*;
use crate::avro::tests::strategies;
use crate::record::{Channel, Reading};
use proptest::prelude::*;

fn reading() -> Reading {
    Reading {
        device_id: "sensor-12".to_owned(),
        event_time: Some(1_627_847_280_000_000),
        seq: Some(7),
        boot: Some("b".to_owned()),
        measurements: vec![("t".to_owned(), Measured::Number(1.5)), ("n".to_owned(), Measured::Null)],
        tags: vec![("site".to_owned(), "x".to_owned())],
    }
}

fn decoded(raw: &Raw) -> Result<Raw, RejectReason> {
    let codec = Codec::local();
    let mut decoder = RawDecoder::default();
    match decoder.decode(&codec, &codec.to_bytes(raw), false) {
        Ok(view) => Ok(view.to_owned()),
        Err(DecodeError::Reject(why)) => Err(why.reason),
        Err(retry) => panic!("{retry}"),
    }
}

/// What a change to a good reading leads to.
fn changed(change: impl FnOnce(&mut Reading)) -> Result<Raw, RejectReason> {
    let mut reading = reading();
    change(&mut reading);
    decoded(&Raw::Reading(reading))
}

#[test]
fn every_kind_of_record_is_told() {
    for raw in [
        Raw::Reading(reading()),
        Raw::Device(Device { device_id: "d".to_owned(), ..Device::default() }),
        Raw::Control(Control { generation: 1, pipeline: None, models: None, skip_from: None, skip_to: None }),
        Raw::Tick,
        Raw::End(End { device_id: None }),
        Raw::End(End { device_id: Some("d".to_owned()) }),
    ] {
        assert_eq!(decoded(&raw), Ok(raw));
    }
}

#[test]
fn the_first_byte_tells_avro_json_and_foreign_bytes_apart() {
    let codec = Codec::local();
    let mut decoder = RawDecoder::default();
    let json = br#"  {"device_id":"d","t":1}"#;
    assert!(
        matches!(decoder.decode(&codec, json, true), Ok(RawView::Reading(view)) if view.device_id() == "d")
    );
    let mut reason = |value: &[u8], bare_json| match decoder.decode(&codec, value, bare_json) {
        Err(DecodeError::Reject(why)) => why.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(json, false), RejectReason::BareJsonRefused);
    for foreign in [&b""[..], b" ", b"[1]", b"\"x\"", b"\x01\x02", b"\xef\xbb\xbf{}", b"\xff"] {
        assert_eq!(reason(foreign, true), RejectReason::ForeignBytes, "{foreign:?}");
    }
    assert_eq!(reason(b"{", true), RejectReason::MalformedJson);
    assert_eq!(reason(&[0, 0, 0, 0, 1], true), RejectReason::MalformedAvro);
    assert_eq!(reason(&[0, 0, 0, 0, 99, 0], true), RejectReason::UnknownSchema);
    assert_eq!(reason(&[0], true), RejectReason::ForeignBytes);
}

#[test]
fn readings_in_avro_pass_the_same_checks_as_in_json() {
    use RejectReason::*;
    assert_eq!(changed(|r| r.device_id.clear()), Err(BadDeviceId));
    assert_eq!(changed(|r| r.device_id = "a/b".to_owned()), Err(BadDeviceId));
    assert_eq!(changed(|r| r.device_id = "..".to_owned()), Err(BadDeviceId));
    assert_eq!(changed(|r| r.device_id = "x".repeat(129)), Err(BadDeviceId));
    assert!(changed(|r| r.device_id = "x".repeat(128)).is_ok());
    assert_eq!(changed(|r| r.event_time = Some(0)), Err(BadTimestamp));
    assert_eq!(changed(|r| r.event_time = Some(i64::MAX)), Err(BadTimestamp));
    assert!(changed(|r| r.event_time = None).is_ok());
    assert_eq!(changed(|r| r.seq = Some(-1)), Err(BadSequence));
    assert_eq!(changed(|r| r.boot = Some(String::new())), Err(BadSequence));
    assert_eq!(changed(|r| r.boot = Some("a\nb".to_owned())), Err(BadSequence));
    assert_eq!(changed(|r| r.measurements.clear()), Err(NoMeasurements));
    assert_eq!(changed(|r| r.measurements[0].1 = Measured::Number(f64::NAN)), Err(NotFinite));
    assert_eq!(changed(|r| r.measurements[0].1 = Measured::Number(f64::NEG_INFINITY)), Err(NotFinite));
    assert_eq!(changed(|r| r.measurements[0].0.clear()), Err(BadName));
    assert_eq!(changed(|r| r.measurements[0].0 = "x".repeat(65)), Err(BadName));
    assert_eq!(changed(|r| r.measurements[0].0 = "a\u{7f}".to_owned()), Err(BadName));
    assert!(changed(|r| r.measurements[0].0 = "°".repeat(64)).is_ok());
    assert_eq!(changed(|r| r.measurements[0].0 = "n".to_owned()), Err(DuplicateKey));
    assert_eq!(changed(|r| r.tags[0].0 = "t".to_owned()), Err(DuplicateKey));
    assert_eq!(changed(|r| r.tags[0].1 = "a\0".to_owned()), Err(BadText));
    assert!(changed(|r| r.tags[0].1 = "a\tb\r\n".to_owned()).is_ok());
    assert_eq!(changed(|r| r.tags[0].1 = "x".repeat(1025)), Err(BadText));
    let many = |count: usize| (0..count).map(|n| (format!("m{n}"), Measured::Null)).collect::<Vec<_>>();
    assert!(changed(|r| r.measurements = many(64)).is_ok());
    assert_eq!(changed(|r| r.measurements = many(65)), Err(TooManyMeasurements));
    let many = |count: usize| (0..count).map(|n| (format!("x{n}"), String::new())).collect::<Vec<_>>();
    assert!(changed(|r| r.tags = many(64)).is_ok());
    assert_eq!(changed(|r| r.tags = many(65)), Err(TooManyTags));
    assert_eq!(
        changed(|r| r.tags = (0..64).map(|n| (format!("x{n}"), "y".repeat(1024))).collect()),
        Err(TooLarge)
    );
}

#[test]
fn devices_and_ends_are_checked_too() {
    let device = |change: fn(&mut Device)| {
        let mut device = Device { device_id: "d".to_owned(), ..Device::default() };
        device.channels.insert("t".to_owned(), Channel::default());
        change(&mut device);
        decoded(&Raw::Device(device)).map(drop)
    };
    assert_eq!(device(|_| {}), Ok(()));
    assert_eq!(device(|d| d.device_id = "a b".to_owned()), Err(RejectReason::BadDeviceId));
    for change in [
        (|d| d.site = Some("\0".to_owned())) as fn(&mut Device),
        |d| d.disorder = Some(-1),
        |d| d.lateness = Some(i64::MAX),
        |d| d.channels.values_mut().for_each(|channel| channel.scale = Some(0.0)),
        |d| d.channels.values_mut().for_each(|channel| channel.scale = Some(f64::NAN)),
        |d| d.channels.values_mut().for_each(|channel| channel.offset = Some(f64::INFINITY)),
        |d| d.channels.values_mut().for_each(|channel| channel.unit = Some("\u{1}".to_owned())),
        |d| d.tags = (0..65).map(|n| (format!("t{n}"), String::new())).collect(),
        |d| d.tags = [(String::new(), String::new())].into(),
    ] {
        assert_eq!(device(change), Err(RejectReason::BadDevice));
    }
    assert_eq!(decoded(&Raw::End(End { device_id: Some("/".to_owned()) })), Err(RejectReason::BadDeviceId));
}

#[test]
fn null_and_absent_stay_apart_from_json_to_avro_and_back() {
    let codec = Codec::local();
    let mut decoder = RawDecoder::default();
    let json = br#"{"device_id":"d","a":null,"b":0}"#;
    let mut avro = Vec::new();
    let Ok(RawView::Reading(view)) = decoder.decode(&codec, json, true) else { panic!("a reading") };
    codec.encode_reading(&view, &mut avro);
    let Ok(RawView::Reading(view)) = decoder.decode(&codec, &avro, false) else { panic!("a reading") };
    let measured: Vec<_> = view.measurements().collect();
    assert_eq!(measured, [("a", Measured::Null), ("b", Measured::Number(0.0))]);
}

/// A refused reading leaves nothing behind that the next one could pick up.
#[test]
fn nothing_is_left_over_from_the_reading_before() {
    let codec = Codec::local();
    let mut decoder = RawDecoder::default();
    let full = codec.to_bytes(&Raw::Reading(reading()));
    for cut in (5..full.len()).step_by(3) {
        assert!(decoder.decode(&codec, &full[..cut], false).is_err());
        let Ok(RawView::Reading(view)) = decoder.decode(&codec, br#"{"device_id":"e","z":true}"#, true)
        else {
            panic!("a reading")
        };
        assert_eq!((view.device_id(), view.event_time(), view.seq(), view.boot()), ("e", None, None, None));
        assert_eq!((view.measurements().len(), view.tags().len()), (1, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_view_is_the_record(reading in strategies::reading()) {
        let codec = Codec::local();
        let raw = Raw::Reading(reading);
        let value = codec.to_bytes(&raw);
        let mut decoder = RawDecoder::default();
        let Ok(RawView::Reading(view)) = decoder.decode(&codec, &value, false) else { panic!("{raw:?}") };
        let mut again = Vec::new();
        codec.encode_reading(&view, &mut again);
        prop_assert_eq!(&again, &value);
        prop_assert_eq!(Raw::Reading(view.to_owned()), raw);
    }

    #[test]
    fn random_values_never_panic(mut value in prop::collection::vec(any::<u8>(), 0..120), frame in any::<bool>()) {
        let codec = Codec::local();
        if frame {
            value.splice(0..0, [0, 0, 0, 0, 1, 0]);
        }
        let _ = RawDecoder::default().decode(&codec, &value, true).map(|view| view.to_owned());
    }

    #[test]
    fn damaged_values_never_panic(reading in strategies::reading(), at in any::<prop::sample::Index>(), bits in 1..=255_u8) {
        let codec = Codec::local();
        let mut value = codec.to_bytes(&Raw::Reading(reading));
        let at = at.index(value.len());
        value[at] ^= bits;
        let _ = RawDecoder::default().decode(&codec, &value, true).map(|view| view.to_owned());
    }
}
