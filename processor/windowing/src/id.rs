//! Device ids, most of them without an allocation: the id is compared with every reading, and one more place in
//! memory to look at costs as much as the rest of the look-up.

/// Longest id that is kept in place.
const SHORT_MAX: usize = 22;

/// A device id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    /// Length and bytes.
    Short(u8, [u8; SHORT_MAX]),
    /// Longer ones.
    Long(Box<str>),
}

impl Id {
    pub(crate) fn new(id: &str) -> Self {
        if id.len() > SHORT_MAX {
            return Self::Long(id.into());
        }
        let mut bytes = [0; SHORT_MAX];
        bytes[..id.len()].copy_from_slice(id.as_bytes());
        Self::Short(id.len() as u8, bytes)
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => &bytes[..usize::from(*len)],
            Self::Long(id) => id.as_bytes(),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Short(..) => std::str::from_utf8(self.as_bytes()).expect("it was made from a text"),
            Self::Long(id) => id,
        }
    }

    /// Bytes beyond its own size.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Short(..) => 0,
            Self::Long(id) => id.len(),
        }
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
        assert_eq!(Id::new(&"x".repeat(SHORT_MAX)).heap_bytes(), 0);
        assert!(size_of::<Id>() <= 24);
    }
}
