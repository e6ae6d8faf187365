//! The plain bytes of a snapshot: little-endian integers and length-prefixed strings, read with bounds.

/// Why a snapshot could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot is damaged at byte {at}: {what}")]
pub struct Damaged {
    /// Where.
    pub at: usize,
    /// What should have stood there.
    pub what: String,
}

pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_len(out: &mut Vec<u8>, length: usize) {
    put_u32(out, u32::try_from(length).expect("a part of a snapshot is shorter than 4 GiB"));
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Writes a part whose length is known only afterwards.
pub(crate) fn put_part(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_u32(out, 0);
    write(out);
    let length = u32::try_from(out.len() - start - 4).expect("a part of a snapshot is shorter than 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Reads what the functions above wrote.
#[derive(Debug)]
pub(crate) struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    pub(crate) fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }

    pub(crate) fn damaged(&self, what: impl Into<String>) -> Damaged {
        Damaged { at: self.at, what: what.into() }
    }

    fn take(&mut self, length: usize, what: &str) -> Result<&'a [u8], Damaged> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.all.len());
        let end = end.ok_or_else(|| self.damaged(format!("{what}: {length} bytes expected")))?;
        let taken = &self.all[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Damaged> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    pub(crate) fn i64(&mut self, what: &str) -> Result<i64, Damaged> {
        self.array(what).map(i64::from_le_bytes)
    }

    pub(crate) fn u32(&mut self, what: &str) -> Result<u32, Damaged> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(crate) fn u8(&mut self, what: &str) -> Result<u8, Damaged> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    pub(crate) fn bytes(&mut self, what: &str) -> Result<&'a [u8], Damaged> {
        let length = self.u32(what)? as usize;
        self.take(length, what)
    }

    pub(crate) fn str(&mut self, what: &str) -> Result<&'a str, Damaged> {
        let bytes = self.bytes(what)?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged(format!("{what}: not UTF-8")))
    }

    pub(crate) fn finish(&self) -> Result<(), Damaged> {
        if self.at == self.all.len() { Ok(()) } else { Err(self.damaged("the end")) }
    }
}
