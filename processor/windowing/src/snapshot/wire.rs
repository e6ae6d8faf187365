//! Numbers, flags, texts and lists as bytes.

use crate::api::LoadError;

const SHORT: LoadError = LoadError::Damaged("it ends early");

/// Appends.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.out.push(byte);
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    /// Seven bits a byte, least first; the high bit says that more follow.
    pub(super) fn unsigned(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// Zigzag: small numbers of either sign are short.
    pub(super) fn int(&mut self, value: i64) {
        self.unsigned(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(super) fn len(&mut self, len: usize) {
        self.unsigned(len as u64);
    }

    pub(super) fn float(&mut self, value: f64) {
        self.out.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.len(text.len());
        self.out.extend_from_slice(text.as_bytes());
    }

    /// None, or a value.
    pub(super) fn maybe<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub(super) fn list<T>(&mut self, list: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.len(list.len());
        for item in list {
            write(self, item);
        }
    }
}

/// Takes from the front.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], LoadError> {
        let (front, rest) = self.bytes.split_at_checked(len).ok_or(SHORT)?;
        self.bytes = rest;
        Ok(front)
    }

    pub(super) fn byte(&mut self) -> Result<u8, LoadError> {
        let (&byte, rest) = self.bytes.split_first().ok_or(SHORT)?;
        self.bytes = rest;
        Ok(byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, LoadError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(LoadError::Damaged("a flag is neither set nor clear")),
        }
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, LoadError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(LoadError::Damaged("a number is too long"))
    }

    pub(super) fn int(&mut self) -> Result<i64, LoadError> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number that fits a smaller type.
    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, LoadError> {
        T::try_from(self.unsigned()?).map_err(|_| LoadError::Damaged("a number is out of range"))
    }

    /// A length: every item takes at least one byte, so more than what is left cannot be true.
    pub(super) fn len(&mut self) -> Result<usize, LoadError> {
        let len: usize = self.small()?;
        if len > self.bytes.len() { Err(SHORT) } else { Ok(len) }
    }

    pub(super) fn float(&mut self) -> Result<f64, LoadError> {
        let bytes = self.take(8)?;
        let mut word = [0; 8];
        word.copy_from_slice(bytes);
        Ok(f64::from_bits(u64::from_le_bytes(word)))
    }

    pub(super) fn text(&mut self) -> Result<&'a str, LoadError> {
        let len = self.len()?;
        std::str::from_utf8(self.take(len)?).map_err(|_| LoadError::Damaged("a text is not UTF-8"))
    }

    pub(super) fn maybe<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, LoadError>,
    ) -> Result<Option<T>, LoadError> {
        if self.flag()? { read(self).map(Some) } else { Ok(None) }
    }

    pub(super) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, LoadError>,
    ) -> Result<Vec<T>, LoadError> {
        let len = self.len()?;
        // Grown as items prove to be there: a length alone reserves little.
        let mut list = Vec::with_capacity(len.min(16));
        for _ in 0..len {
            list.push(read(self)?);
        }
        Ok(list)
    }

    pub(super) fn finish(self) -> Result<(), LoadError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(LoadError::Damaged("it goes on too long")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_return() {
        let mut out = Vec::new();
        let ints = [0, -1, 1, 63, 64, -64, -65, i64::MAX, i64::MIN, 1_700_000_000_000_000];
        let words = [0, 127, 128, u64::MAX, u64::MAX - 1, 1 << 63];
        let mut to = Writer::new(&mut out);
        ints.iter().for_each(|v| to.int(*v));
        words.iter().for_each(|v| to.unsigned(*v));
        to.float(-0.0);
        to.text("häuser");
        let mut from = Reader::new(&out);
        for v in ints {
            assert_eq!(from.int(), Ok(v));
        }
        for v in words {
            assert_eq!(from.unsigned(), Ok(v));
        }
        assert_eq!(from.float().map(f64::to_bits), Ok((-0.0_f64).to_bits()));
        assert_eq!(from.text(), Ok("häuser"));
        assert_eq!(from.finish(), Ok(()));
    }

    #[test]
    fn what_no_writer_writes_is_refused() {
        assert!(Reader::new(&[0xff; 10]).unsigned().is_err(), "more than 64 bits");
        assert!(Reader::new(&[0x80]).unsigned().is_err(), "an end in the middle");
        assert!(Reader::new(&[2]).flag().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).len().is_err(), "longer than what follows");
        assert!(Reader::new(&[1, 0xff]).text().is_err());
    }
}
