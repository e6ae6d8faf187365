//! What a hostile body can make us hold.

use super::*;
use crate::admission::Budget;
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::Write;

const LIMITS: DecodedLimits = DecodedLimits { bytes_max: 1 << 20, ratio_max: 50 };

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

/// Decodes with plenty of room; also gives the room that was taken.
fn decoded(sent: &[u8], encoding: Encoding) -> (Result<Vec<u8>, EncodingError>, usize) {
    let budget = Budget::new(1 << 30);
    let mut room = budget.reserve(sent.len()).unwrap();
    let result = decode(sent, encoding, LIMITS, &mut room).map(Cow::into_owned);
    (result, budget.used())
}

/// Bytes that do not shrink much.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let step = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(step).take(count).collect()
}

#[test]
fn what_was_compressed_comes_back_and_its_memory_is_accounted() {
    for size in [0, 1, 1_000, STEP_BYTES, STEP_BYTES + 1, 300_000] {
        let bytes = noise(size);
        for (sent, encoding) in [
            (bytes.clone(), Encoding::Identity),
            (gzip(&bytes), Encoding::Gzip),
            (zstd(&bytes), Encoding::Zstd),
        ] {
            let (result, used) = decoded(&sent, encoding);
            assert!(result.as_deref() == Ok(&bytes), "{size} {encoding:?}");
            let held = if encoding == Encoding::Identity { size } else { size + sent.len() };
            assert!((held..=held * 3 + (9 << 20)).contains(&used), "{size} {encoding:?}: {used} accounted");
        }
    }
}

#[test]
fn several_members_or_frames_are_one_body() {
    let (result, _) = decoded(&[gzip(b"one,"), gzip(b"two")].concat(), Encoding::Gzip);
    assert_eq!(result.unwrap(), b"one,two");
    let skippable = [0x50_u8, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
    let (result, _) = decoded(&[zstd(b"one,"), skippable.to_vec(), zstd(b"two")].concat(), Encoding::Zstd);
    assert_eq!(result.unwrap(), b"one,two");
}

#[test]
fn bombs_are_stopped_by_size_and_by_ratio() {
    let huge = vec![b'0'; 8 << 20];
    for (sent, encoding) in [(gzip(&huge), Encoding::Gzip), (zstd(&huge), Encoding::Zstd)] {
        let (result, used) = decoded(&sent, encoding);
        assert!(
            matches!(result, Err(EncodingError::TooDense { ratio_max: 50 } | EncodingError::TooLarge { .. })),
            "{encoding:?}: {result:?}"
        );
        assert!(used < 20 << 20, "{encoding:?}: {used} bytes for a bomb of {}", sent.len());
    }
    let large = noise(LIMITS.bytes_max + 1);
    for (sent, encoding) in [(gzip(&large), Encoding::Gzip), (zstd(&large), Encoding::Zstd)] {
        assert_eq!(decoded(&sent, encoding).0, Err(EncodingError::TooLarge { bytes_max: LIMITS.bytes_max }));
    }
    let dense = gzip(&vec![b'0'; 900_000]);
    assert_eq!(decoded(&dense, Encoding::Gzip).0, Err(EncodingError::TooDense { ratio_max: 50 }));
}

#[test]
fn a_zstd_frame_may_not_ask_for_a_large_window_nor_come_in_thousands() {
    // Window descriptor 0xf8: 2^41 bytes.
    let wide = [0x28_u8, 0xb5, 0x2f, 0xfd, 0x00, 0xf8, 0x01, 0x00, 0x00];
    assert!(
        matches!(decoded(&wide, Encoding::Zstd), (Err(EncodingError::TooLarge { .. }), used) if used < 100)
    );
    // A single segment of 4 GiB.
    let long = [0x28_u8, 0xb5, 0x2f, 0xfd, 0xa0, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00, 0x00];
    assert!(
        matches!(decoded(&long, Encoding::Zstd), (Err(EncodingError::TooLarge { .. }), used) if used < 100)
    );
    let many = zstd(b"x").repeat(FRAMES_MAX + 1);
    let (result, _) = decoded(&many, Encoding::Zstd);
    assert_eq!(result, Err(malformed(&format!("more than {FRAMES_MAX} frames"))));
}

#[test]
fn no_room_is_said_before_the_memory_is_taken() {
    let bytes = noise(500_000);
    for (sent, encoding) in [(gzip(&bytes), Encoding::Gzip), (zstd(&bytes), Encoding::Zstd)] {
        let budget = Budget::new(sent.len() + 100_000);
        let mut room = budget.reserve(sent.len()).unwrap();
        let result = decode(&sent, encoding, LIMITS, &mut room);
        assert!(matches!(result, Err(EncodingError::NoRoom(_))), "{encoding:?}");
    }
}

#[test]
fn damaged_bodies_are_refused_at_every_length() {
    let bytes = noise(2_000);
    for (sent, encoding) in [(gzip(&bytes), Encoding::Gzip), (zstd(&bytes), Encoding::Zstd)] {
        for cut in (1..sent.len()).step_by(13) {
            let (result, _) = decoded(&sent[..cut], encoding);
            assert!(
                matches!(result, Err(EncodingError::Malformed(_))),
                "{encoding:?} cut to {cut}: {result:?}"
            );
        }
        let (result, _) = decoded(b"{\"device_id\":\"a\"}", encoding);
        assert!(matches!(result, Err(EncodingError::Malformed(_))), "{encoding:?}: {result:?}");
    }
}

#[test]
fn headers_name_encodings_or_nothing_known() {
    for (header, expected) in [
        (None, Some(Encoding::Identity)),
        (Some("identity"), Some(Encoding::Identity)),
        (Some("GZip"), Some(Encoding::Gzip)),
        (Some(" zstd "), Some(Encoding::Zstd)),
        (Some("br"), None),
        (Some("gzip, zstd"), None),
    ] {
        assert_eq!(Encoding::from_header(header), expected, "{header:?}");
    }
}
