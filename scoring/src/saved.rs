//! A lane's state as bytes for snapshots: every slab with the version and stream it belongs to, so that it can be
//! loaded under any set of models. The same state gives the same bytes.
//!
//! Layout, little-endian: format (u8) · slabs (u32) · for each: version (32 bytes) · stream (u32 length, UTF-8; of a
//! model with a route its name after [`OWNER_SEPARATOR`]) · stride (u32) · bytes (u64 length). Format 2, which is written when a breaker has counted anything, goes on with:
//! breakers (u32) · for each: version (32 bytes) · model (u32 length, UTF-8) · rows, failed, pause (u32 each).

use crate::breaker::Breaker;
use crate::lane::{Lane, StreamKey};
use crate::loader::ModelSet;
use crate::slab::Slab;

const FORMAT: u8 = 1;
/// With breakers.
const FORMAT_BREAKERS: u8 = 2;

/// Stands between a stream and the model it belongs to; no name contains it.
const OWNER_SEPARATOR: char = '\u{1d}';

/// A saved lane that cannot be read: damaged, or written by a later release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the saved scoring state cannot be read: {0}")]
pub struct LoadStateError(&'static str);

impl Lane {
    /// Appends the state of all series. Flush first: rows that wait are not saved.
    pub fn save(&self, into: &mut Vec<u8>) {
        debug_assert_eq!(self.pending(), 0, "a snapshot is a barrier");
        let breakers: Vec<(&str, &[u8; 32], Breaker)> =
            self.breakers().filter(|(_, _, breaker)| *breaker != Breaker::default()).collect();
        into.push(if breakers.is_empty() { FORMAT } else { FORMAT_BREAKERS });
        put_u32(into, self.streams().count());
        for (key, slab) in self.streams() {
            into.extend_from_slice(key.version);
            let mut name = key.name.to_owned();
            if let Some(owner) = key.owner {
                name.push(OWNER_SEPARATOR);
                name.push_str(owner);
            }
            put_u32(into, name.len());
            into.extend_from_slice(name.as_bytes());
            put_u32(into, slab.stride());
            let bytes = slab.trimmed();
            into.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            into.extend_from_slice(bytes);
        }
        if breakers.is_empty() {
            return;
        }
        put_u32(into, breakers.len());
        for (name, version, Breaker { rows, failed, pause }) in breakers {
            into.extend_from_slice(version);
            put_u32(into, name.len());
            into.extend_from_slice(name.as_bytes());
            [rows, failed, pause].iter().for_each(|count| into.extend_from_slice(&count.to_le_bytes()));
        }
    }

    /// A lane that goes on where the saved one was. State of versions that are not in `set` is dropped.
    ///
    /// # Errors
    /// The bytes are not a saved lane.
    pub fn load(set: &ModelSet, bytes: &[u8]) -> Result<Self, LoadStateError> {
        let mut lane = Self::new(set);
        let mut rest = bytes;
        let [format] = take_array(&mut rest)?;
        if format != FORMAT && format != FORMAT_BREAKERS {
            return Err(LoadStateError("unknown format"));
        }
        for _ in 0..take_u32(&mut rest)? {
            let version = take_array(&mut rest)?;
            let length = take_u32(&mut rest)?;
            let name = str::from_utf8(take(&mut rest, length)?).map_err(|_| LoadStateError("not UTF-8"))?;
            let stride = take_u32(&mut rest)?;
            let length = u64::from_le_bytes(take_array(&mut rest)?);
            let length = usize::try_from(length).map_err(|_| LoadStateError("too long"))?;
            if (stride == 0 && length > 0) || (stride > 0 && length % stride != 0) {
                return Err(LoadStateError("not a multiple of its stride"));
            }
            let slab = Slab::from_bytes(stride, take(&mut rest, length)?.to_vec());
            let (name, owner) = match name.split_once(OWNER_SEPARATOR) {
                Some((name, owner)) => (name, Some(owner)),
                None => (name, None),
            };
            lane.adopt(&StreamKey { version: &version, name, owner }, &slab);
        }
        let breakers = if format == FORMAT_BREAKERS { take_u32(&mut rest)? } else { 0 };
        for _ in 0..breakers {
            let version = take_array(&mut rest)?;
            let length = take_u32(&mut rest)?;
            let name = str::from_utf8(take(&mut rest, length)?).map_err(|_| LoadStateError("not UTF-8"))?;
            let mut count = || take_array(&mut rest).map(u32::from_le_bytes);
            let breaker = Breaker { rows: count()?, failed: count()?, pause: count()? };
            lane.adopt_breaker(name, &version, breaker);
        }
        if !rest.is_empty() {
            return Err(LoadStateError("more bytes than expected"));
        }
        Ok(lane)
    }
}

fn put_u32(into: &mut Vec<u8>, number: usize) {
    into.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes());
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Result<&'b [u8], LoadStateError> {
    let (taken, left) = rest.split_at_checked(length).ok_or(LoadStateError("fewer bytes than expected"))?;
    *rest = left;
    Ok(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], LoadStateError> {
    let (taken, left) = rest.split_first_chunk().ok_or(LoadStateError("fewer bytes than expected"))?;
    *rest = left;
    Ok(*taken)
}

fn take_u32(rest: &mut &[u8]) -> Result<usize, LoadStateError> {
    take_array(rest).map(|bytes| u32::from_le_bytes(bytes) as usize)
}
