//! A lane's state as bytes for snapshots: every slab with the version and stream it belongs to, so that it can be
//! loaded under any set of models. The same state gives the same bytes.
//!
//! Layout, little-endian: format (u8) · slabs (u32) · for each: version (32 bytes) · stream (u32 length, UTF-8) ·
//! stride (u32) · bytes (u64 length).

use crate::lane::{Lane, StreamKey};
use crate::loader::ModelSet;
use crate::slab::Slab;

const FORMAT: u8 = 1;

/// A saved lane that cannot be read: damaged, or written by a later release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the saved scoring state cannot be read: {0}")]
pub struct LoadStateError(&'static str);

impl Lane {
    /// Appends the state of all series. Flush first: rows that wait are not saved.
    pub fn save(&self, into: &mut Vec<u8>) {
        debug_assert_eq!(self.pending(), 0, "a snapshot is a barrier");
        into.push(FORMAT);
        put_u32(into, self.streams().count());
        for (key, slab) in self.streams() {
            into.extend_from_slice(key.version);
            put_u32(into, key.name.len());
            into.extend_from_slice(key.name.as_bytes());
            put_u32(into, slab.stride());
            let bytes = slab.trimmed();
            into.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            into.extend_from_slice(bytes);
        }
    }

    /// A lane that goes on where the saved one was. State of versions that are not in `set` is dropped.
    ///
    /// # Errors
    /// The bytes are not a saved lane.
    pub fn load(set: &ModelSet, bytes: &[u8]) -> Result<Self, LoadStateError> {
        let mut lane = Self::new(set);
        let mut rest = bytes;
        if take(&mut rest, 1)? != [FORMAT] {
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
            lane.adopt(&StreamKey { version: &version, name }, &slab);
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
