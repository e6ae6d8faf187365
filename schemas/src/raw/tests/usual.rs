//! Readings by their layout and in full: whatever is read by a layout the full decoder reads the same, and what the
//! full decoder refuses is refused with the same words.

use super::*;
use proptest::sample::Index;

const TIMES: usize = 20;

fn written<T: std::fmt::Debug>(outcome: Result<T, DecodeError>) -> String {
    // Equal numbers may differ in the sign of zero: compare what is written.
    format!("{outcome:?}")
}

fn outcome(decoder: &mut RawDecoder, value: &[u8]) -> (String, bool) {
    let codec = Codec::local();
    match decoder.decode(&codec, value, true) {
        Ok(RawView::Reading(view)) => (written(Ok(Raw::Reading(view.to_owned()))), view.layout().is_some()),
        other => (written(other.map(|view| view.to_owned())), false),
    }
}

/// A decoder that knows the layouts of these values.
fn knowing(values: &[&[u8]]) -> RawDecoder {
    let mut decoder = RawDecoder::default();
    for value in values {
        (0..TIMES).for_each(|_| drop(outcome(&mut decoder, value)));
    }
    decoder
}

fn agree(decoder: &mut RawDecoder, value: &[u8]) -> Result<bool, TestCaseError> {
    let (quick, by_layout) = outcome(decoder, value);
    let (full, _) = outcome(&mut RawDecoder::default(), value);
    prop_assert_eq!(quick, full, "{:02x?}", value);
    Ok(by_layout)
}

fn plain() -> Reading {
    Reading {
        measurements: vec![
            ("temperature".to_owned(), Measured::Number(21.5)),
            ("a name of more than sixteen bytes".to_owned(), Measured::Bool(true)),
            ("n".to_owned(), Measured::Null),
        ],
        ..reading()
    }
}

#[test]
fn the_layout_is_known_after_a_few_and_values_may_change_their_kind() {
    let codec = Codec::local();
    let value = |change: &dyn Fn(&mut Reading)| {
        let mut reading = plain();
        change(&mut reading);
        (codec.to_bytes(&Raw::Reading(reading.clone())), Raw::Reading(reading))
    };
    let mut decoder = knowing(&[&value(&|_| {}).0]);
    for change in [
        &(|_: &mut Reading| {}) as &dyn Fn(&mut Reading),
        &|r| r.device_id = "another-device".to_owned(),
        &|r| r.measurements.iter_mut().for_each(|(_, value)| *value = Measured::Null),
        &|r| r.measurements.iter_mut().for_each(|(_, value)| *value = Measured::Number(-0.5)),
        &|r| (r.event_time, r.seq, r.boot) = (None, None, None),
        &|r| r.seq = Some((1 << 55) - 1),
        &|r| r.tags[0].1 = String::new(),
    ] {
        let (value, raw) = value(change);
        let Ok(RawView::Reading(view)) = decoder.decode(&codec, &value, false) else { panic!("{raw:?}") };
        assert!(view.layout().is_some(), "{raw:?}");
        assert_eq!(Raw::Reading(view.to_owned()), raw);
    }
    for change in [
        &(|r: &mut Reading| r.tags[0].1 = "é".to_owned()) as &dyn Fn(&mut Reading),
        &|r| r.boot = Some("é".to_owned()),
        &|r| r.seq = Some(i64::MAX),
        &|r| r.measurements.swap(0, 1),
        &|r| drop(r.tags.pop()),
        &|r| drop(r.measurements.pop()),
    ] {
        let (value, raw) = value(change);
        let Ok(RawView::Reading(view)) = decoder.decode(&codec, &value, false) else { panic!("{raw:?}") };
        assert!(view.layout().is_none(), "it is for the full decoder: {raw:?}");
        assert_eq!(Raw::Reading(view.to_owned()), raw);
    }
}

#[test]
fn a_layout_is_the_same_for_all_that_share_it() {
    let codec = Codec::local();
    let value = codec.to_bytes(&Raw::Reading(plain()));
    let mut decoder = knowing(&[&value]);
    let mut layout = || match decoder.decode(&codec, &value, false) {
        Ok(RawView::Reading(view)) => view.layout().cloned().expect("it is known"),
        other => panic!("{other:?}"),
    };
    let (one, other) = (layout(), layout());
    assert!(std::sync::Arc::ptr_eq(&one, &other));
    let names: Vec<&str> = one.measurements().collect();
    assert_eq!(names, ["temperature", "a name of more than sixteen bytes", "n"]);
}

#[test]
fn json_and_a_few_kinds_of_devices_each_have_theirs() {
    let codec = Codec::local();
    let mut other = plain();
    other.measurements.reverse();
    let values = [
        codec.to_bytes(&Raw::Reading(plain())),
        codec.to_bytes(&Raw::Reading(other)),
        br#"{"device_id":"dev-1","ts":1627847280123,"t":23.51,"on":true,"site":"x","boot":"b","seq":184467}"#
            .to_vec(),
        br#"{ "device_id": "dev-1", "t": 23.51 }"#.to_vec(),
    ];
    let mut decoder = RawDecoder::default();
    for _ in 0..TIMES {
        values.iter().for_each(|value| drop(outcome(&mut decoder, value)));
    }
    for value in &values {
        assert!(outcome(&mut decoder, value).1, "{value:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn on_what_was_written(one in strategies::reading(), other in strategies::reading()) {
        let codec = Codec::local();
        let values = [one, other].map(|reading| codec.to_bytes(&Raw::Reading(reading)));
        let mut decoder = knowing(&[&values[0], &values[1]]);
        for value in &values {
            agree(&mut decoder, value)?;
        }
    }

    /// Names of one reading, everything else of another.
    #[test]
    fn on_other_values_in_the_same_places(one in strategies::reading(), mut other in strategies::reading()) {
        let codec = Codec::local();
        let measured: Vec<Measured> = other.measurements.iter().map(|(_, value)| *value).collect();
        let value = codec.to_bytes(&Raw::Reading(one.clone()));
        other.measurements = one.measurements;
        other.tags = one.tags;
        for ((_, value), by) in other.measurements.iter_mut().zip(measured) {
            *value = by;
        }
        agree(&mut knowing(&[&value]), &codec.to_bytes(&Raw::Reading(other)))?;
    }

    #[test]
    fn on_damaged_values(reading in strategies::reading(), ats in prop::collection::vec((any::<Index>(), any::<u8>(), 0..4), 1..4)) {
        let codec = Codec::local();
        let good = codec.to_bytes(&Raw::Reading(reading));
        let mut decoder = knowing(&[&good]);
        let mut value = good;
        for (at, byte, how) in ats {
            let at = at.index(value.len());
            match how {
                0 => value[at] = byte,
                1 => value.insert(at, byte),
                2 => drop(value.remove(at)),
                _ => value.truncate(at.max(1)),
            }
            if value.is_empty() {
                break;
            }
            agree(&mut decoder, &value)?;
        }
    }
}
