//! Compressed bodies. Three limits hold while a body grows: its size, the ratio to what was sent, and the room there
//! is for all requests; so that a few bytes cannot become much memory, however they are nested.

use crate::admission::{NoRoom, Reservation};
use flate2::read::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;
use std::borrow::Cow;
use std::io::{ErrorKind, Read};

#[cfg(test)]
mod tests;

/// Step in which a body grows, and in which the limits are looked at.
const STEP_BYTES: usize = 64 << 10;
/// Below this size the ratio does not matter.
const RATIO_FROM_BYTES: usize = 64 << 10;
/// Frames of a zstd body: each costs a decoder, however small it is.
const FRAMES_MAX: usize = 64;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// What `Content-Encoding` says; none: something else.
    pub(crate) fn from_header(value: Option<&str>) -> Option<Self> {
        match value.unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Limits of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecodedLimits {
    pub(crate) bytes_max: usize,
    pub(crate) ratio_max: usize,
}

/// Why a body was not decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodingError {
    #[error("the body is larger than {bytes_max} bytes once decompressed")]
    TooLarge { bytes_max: usize },
    #[error("the body grows more than {ratio_max} times when it is decompressed")]
    TooDense { ratio_max: usize },
    #[error("the body is not what Content-Encoding says: {0}")]
    Malformed(String),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// Decompresses a body. `room` holds the sent bytes already and grows with the result.
pub(crate) fn decode<'a>(
    sent: &'a [u8],
    encoding: Encoding,
    limits: DecodedLimits,
    room: &mut Reservation,
) -> Result<Cow<'a, [u8]>, EncodingError> {
    let mut growing = Growing { out: Vec::new(), sent_bytes: sent.len(), limits, room };
    match encoding {
        Encoding::Identity => return Ok(Cow::Borrowed(sent)),
        Encoding::Gzip => growing.take_all(MultiGzDecoder::new(sent))?,
        Encoding::Zstd => unpack_zstd(sent, &mut growing)?,
    }
    Ok(Cow::Owned(growing.out))
}

struct Growing<'a> {
    out: Vec<u8>,
    sent_bytes: usize,
    limits: DecodedLimits,
    room: &'a mut Reservation,
}

impl Growing<'_> {
    fn take_all(&mut self, mut source: impl Read) -> Result<(), EncodingError> {
        let mut step = vec![0; STEP_BYTES];
        loop {
            let count = match source.read(&mut step) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(EncodingError::Malformed(error.to_string())),
            };
            let DecodedLimits { bytes_max, ratio_max } = self.limits;
            let total = self.out.len() + count;
            if total > bytes_max {
                return Err(EncodingError::TooLarge { bytes_max });
            }
            if total > RATIO_FROM_BYTES && total / ratio_max > self.sent_bytes {
                return Err(EncodingError::TooDense { ratio_max });
            }
            // A vector doubles when it is full.
            let capacity = self.out.capacity();
            if total > capacity {
                let grown = total.max(capacity * 2).min(bytes_max);
                self.room.grow(grown - capacity)?;
                self.out.reserve_exact(grown - self.out.len());
            }
            self.out.extend_from_slice(&step[..count]);
        }
    }
}

/// Frame by frame: the library reads one, and allows a window of 100 MiB and more.
fn unpack_zstd(mut rest: &[u8], growing: &mut Growing<'_>) -> Result<(), EncodingError> {
    const MAGIC: u32 = 0xfd2f_b528;
    const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184d_2a50..=0x184d_2a5f;
    let mut largest = 0;
    for frame in 0.. {
        if rest.is_empty() {
            break;
        }
        if frame == FRAMES_MAX {
            return Err(malformed(&format!("more than {FRAMES_MAX} frames")));
        }
        let magic = little_endian(rest, 0, 4).and_then(|magic| u32::try_from(magic).ok());
        match magic {
            Some(MAGIC) => {
                let window = window_bytes(rest).ok_or_else(|| malformed("a frame header is cut off"))?;
                if window > growing.limits.bytes_max as u64 {
                    return Err(EncodingError::TooLarge { bytes_max: growing.limits.bytes_max });
                }
                // The decoder holds a window beside what it has given out.
                let window = usize::try_from(window).unwrap_or(usize::MAX);
                growing.room.grow(window.saturating_sub(largest))?;
                largest = largest.max(window);
                let mut decoder = StreamingDecoder::new(rest)
                    .map_err(|error| EncodingError::Malformed(error.to_string()))?;
                growing.take_all(&mut decoder)?;
                rest = decoder.into_inner();
            }
            Some(magic) if SKIPPABLE.contains(&magic) => {
                let bytes = little_endian(rest, 4, 4).and_then(|bytes| usize::try_from(bytes).ok());
                rest = bytes
                    .and_then(|bytes| rest.get(8 + bytes..))
                    .ok_or_else(|| malformed("a frame is cut off"))?;
            }
            _ => return Err(malformed("no zstd frame where one should begin")),
        }
    }
    Ok(())
}

/// Window of a frame (RFC 8878, 3.1.1.1), none when its header is cut off.
fn window_bytes(frame: &[u8]) -> Option<u64> {
    let descriptor = *frame.get(4)?;
    if descriptor & 0x20 == 0 {
        let window = *frame.get(5)?;
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * u64::from(window & 7));
    }
    // A single segment has no window of its own but its whole content.
    let dictionary_id_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let (size_bytes, added) = [(1, 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
    little_endian(frame, 5 + dictionary_id_bytes, size_bytes)?.checked_add(added)
}

fn little_endian(bytes: &[u8], at: usize, count: usize) -> Option<u64> {
    let mut number = [0_u8; 8];
    number.get_mut(..count)?.copy_from_slice(bytes.get(at..at + count)?);
    Some(u64::from_le_bytes(number))
}

fn malformed(why: &str) -> EncodingError {
    EncodingError::Malformed(why.to_owned())
}
