//! The hot path allocates nothing once its scratch has grown: counted, not believed.

use schemas::codec::Codec;
use schemas::json::ReadingParser;
use schemas::raw::{RawDecoder, RawView};

const FLAT: &[u8] = br#"{"device_id":"dev-004217","ts":1627847280123,"temperature":23.51,"humidity":41.2,"on":true,"x":null,"site":"hall 3","boot":7,"seq":184467}"#;

/// Allocations of a thousand calls after a few to warm up: a decoder learns a layout once.
fn allocations(mut call: impl FnMut()) -> u64 {
    (0..20).for_each(|_| call());
    allocation_counter::measure(|| (0..1000).for_each(|_| call())).count_total
}

#[test]
fn decoding_and_encoding_a_reading_allocate_nothing() {
    let codec = Codec::local();
    let mut parser = ReadingParser::default();
    let mut avro = Vec::new();
    codec.encode_reading(&parser.parse(FLAT).expect("a reading"), &mut avro);

    let mut decoder = RawDecoder::default();
    for value in [FLAT, &avro] {
        let count = allocations(|| match decoder.decode(&codec, value, true) {
            Ok(RawView::Reading(view)) => {
                assert_eq!(view.device_id(), "dev-004217");
                assert_eq!((view.measurements().count(), view.tags().count()), (4, 1));
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(count, 0, "first byte {}", value[0]);
    }

    let view = parser.parse(FLAT).expect("a reading");
    let mut out = Vec::new();
    let count = allocations(|| {
        out.clear();
        codec.encode_reading(&view, &mut out);
    });
    assert_eq!(count, 0);
    assert_eq!(out, avro);
}

/// The counter counts: the full parser builds strings of its own.
#[test]
fn the_full_parser_does_allocate() {
    let mut parser = ReadingParser::default();
    let count =
        allocations(|| assert_eq!(parser.parse_in_full(FLAT).map(|view| view.seq()), Ok(Some(184_467))));
    assert!(count >= 1000, "{count}");
}
