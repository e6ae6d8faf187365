//! Device ids, most of them without an allocation: the id is compared with every reading, and one more place in
//! memory to look at costs as much as the rest of the look-up.

/// Longest id that is kept in place.
const SHORT_MAX: usize = 22;

/// A device id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    /// Length and bytes.
    Short(u8, [u8; SHORT_MAX]),
    /// Longer ones.
    Long(Box<str>),
}

impl Id {
    /// Keeps an id.
    pub fn new(id: &str) -> Self {
        if id.len() > SHORT_MAX {
            return Self(Repr::Long(id.into()));
        }
        let mut bytes = [0; SHORT_MAX];
        bytes[..id.len()].copy_from_slice(id.as_bytes());
        Self(Repr::Short(id.len() as u8, bytes))
    }

    /// Its bytes: the quick way to compare.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Short(len, bytes) => &bytes[..usize::from(*len)],
            Repr::Long(id) => id.as_bytes(),
        }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Short(..) => std::str::from_utf8(self.as_bytes()).expect("it was made from a text"),
            Repr::Long(id) => id,
        }
    }

    /// No device is called that.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.as_bytes().is_empty()
    }

    /// Bytes beyond its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.0 {
            Repr::Short(..) => 0,
            Repr::Long(id) => id.len(),
        }
    }
}

/// Whether two ids are equal, by their bytes: short ones without a call.
#[inline]
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    match (one.first_chunk::<8>(), one.last_chunk::<8>(), other.first_chunk::<8>(), other.last_chunk::<8>()) {
        // The first and the last eight bytes of up to sixteen are all of them.
        (Some(a), Some(b), Some(c), Some(d)) if one.len() <= 16 => {
            one.len() == other.len() && (word(a) ^ word(c)) | (word(b) ^ word(d)) == 0
        }
        _ => one == other,
    }
}

impl Default for Id {
    fn default() -> Self {
        Self::new("")
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::ops::Deref for Id {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_ids_return() {
        for id in [
            "",
            "a",
            "sensor-000001",
            "exactly-22-bytes-long-",
            "twenty-three-bytes-long",
            "häuser/äöü/ßßßß",
            &"x".repeat(300),
        ] {
            assert_eq!(Id::new(id).as_str(), id);
            assert_eq!(Id::new(id).as_bytes(), id.as_bytes());
        }
        for length in 0..40 {
            let id: Vec<u8> = (0..length).collect();
            assert!(is_same(&id, &id.clone()));
            for at in 0..id.len() {
                let mut other = id.clone();
                other[at] ^= 1;
                assert!(!is_same(&id, &other) && !is_same(&id, &id[..at]) && !is_same(&id[at..], &id[..at]));
            }
        }
        assert_eq!(Id::new(&"x".repeat(SHORT_MAX)).heap_bytes(), 0);
        assert!(size_of::<Id>() <= 24);
    }
}
