//! Packing against the plain list of records, and bytes that are no packing at all.

use super::*;
use crate::StoredRecord;
use proptest::prelude::*;
use schemas::topic::Topic;

fn part() -> TopicPartition {
    TopicPartition { topic: Topic::Raw, partition: 0 }
}

prop_compose! {
    fn record()(
        partition in 0..3_u32,
        key in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
        value in prop::collection::vec(any::<u8>(), 0..300),
        headers in prop::collection::vec((".{0,8}", prop::collection::vec(any::<u8>(), 0..9)), 0..3),
    ) -> NewRecord {
        NewRecord { to: TopicPartition { topic: Topic::Raw, partition }, key, value, headers }
    }
}

fn chunk_of(pieces: &[Piece], base: i64) -> Chunk {
    let mut chunk = Chunk::default();
    let mut next = base;
    for (piece, received_at) in pieces.iter().zip(1000..) {
        chunk.push(next, piece.count, received_at, &piece.body);
        next += i64::from(piece.count);
    }
    chunk
}

proptest! {
    #[test]
    fn what_is_packed_comes_back_in_any_portions(
        records in prop::collection::vec(record(), 1..40),
        piece_bytes_max in 1..600_usize,
        portions in prop::collection::vec(1..20_usize, 40),
        skip in 0..50_i64,
    ) {
        let packed = Packed::new(&records, piece_bytes_max);
        let first: Vec<i64> = packed.parts.iter().map(|_| 100).collect();
        let offsets = packed.offsets(&first);
        for (to, pieces) in &packed.parts {
            prop_assert!(pieces.iter().all(|piece| piece.count > 0));
            let mut chunk = chunk_of(pieces, 100);
            let mut read = Vec::new();
            let mut next = 100 + skip;
            for portion in &portions {
                let mut visited = 0;
                let after = chunk
                    .take(next, *portion, &mut |found| {
                        visited += found.len();
                        read.extend(found.iter().map(|record| StoredRecord::copy(*to, record)));
                    })
                    .unwrap();
                prop_assert!(visited <= *portion);
                prop_assert_eq!(after.is_some(), visited > 0);
                match after {
                    Some(after) => next = after,
                    None => break,
                }
            }
            let expected: Vec<(i64, &NewRecord)> = offsets
                .iter()
                .copied()
                .zip(&records)
                .filter(|(offset, record)| record.to == *to && *offset >= 100 + skip)
                .collect();
            // 40 portions of at least 1 empty a chunk of at most 40 records.
            prop_assert_eq!(read.len(), expected.len());
            for (read, (offset, expected)) in read.iter().zip(expected) {
                prop_assert_eq!(read.offset, offset);
                prop_assert_eq!(&read.key, &expected.key);
                prop_assert_eq!(&read.value, &expected.value);
                prop_assert_eq!(&read.headers, &expected.headers);
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read_and_never_panic(body in prop::collection::vec(any::<u8>(), 0..60), count in 1..9_u32) {
        let mut chunk = Chunk::default();
        chunk.push(0, count, 0, &body);
        let _ = chunk.take(0, 100, &mut |_| {});
    }
}

#[test]
fn a_chunk_says_when_it_does_not_hold_an_offset() {
    let record = NewRecord { to: part(), key: None, value: vec![1], headers: Vec::new() };
    let packed = Packed::new(&[record.clone(), record], 100);
    let mut chunk = chunk_of(&packed.parts[0].1, 5);
    let mut none = |found: &[RecordRef<'_>]| panic!("{found:?}");
    assert_eq!(chunk.take(4, 10, &mut none).unwrap(), None);
    assert_eq!(chunk.take(7, 10, &mut none).unwrap(), None);
    assert_eq!(chunk.first(), None, "it was read past its end");
}

#[test]
fn lengths_of_every_size_come_back() {
    for shift in 0..usize::BITS {
        for length in [(1_usize << shift) - 1, 1 << shift] {
            let mut body = Vec::new();
            put(&mut body, length);
            let mut rest = body.as_slice();
            assert_eq!(number(&mut rest), Some(length));
            assert!(rest.is_empty());
        }
    }
}
