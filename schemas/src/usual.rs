//! What readings have in common: devices of one kind send the same names in the same order, reading after reading.
//! A decoder remembers the layouts it has seen, and of a reading laid out like one before it only reads the values.
//!
//! Lives here: the layout, its pieces of fixed bytes, and the few layouts a decoder keeps. What a layout looks like in
//! an encoding is in `json/usual.rs` and `raw/usual.rs`.
//!
//! Invariants: whatever is read by its layout the full decoder reads the same, field by field; a layout that does not
//! fit says nothing at all. Tests compare the two.

use crate::view::Span;

/// Layouts that a decoder keeps: kinds of devices in one partition. With more kinds the full decoder does its work.
const KEPT_MAX: usize = 4;
/// Readings that no layout fitted before one of them is learned: learning allocates.
const LEARN_AFTER: u32 = 8;
/// The same at most: when there was nothing to learn, or another layout had to go, the next time comes later.
const LEARN_AFTER_MAX: u32 = 4_096;

/// The names of a reading in their order. Two readings with the same layout measure the same things.
#[derive(Debug, Default)]
pub struct Layout {
    pub(crate) text: String,
    names: Vec<Span>,
}

impl Layout {
    /// Appends a name; returns where it stands in the text.
    pub(crate) fn add(&mut self, name: &str) -> Span {
        let start = self.text.len();
        self.text.push_str(name);
        Span::new(start, self.text.len())
    }

    /// Appends the name of a measurement.
    pub(crate) fn add_measurement(&mut self, name: &str) -> Span {
        let span = self.add(name);
        self.names.push(span);
        span
    }

    /// Names of the measurements, in the order they are sent.
    pub fn measurements(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|name| name.of(&self.text))
    }
}

/// Bytes that stand at one place of every reading of a layout.
#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    /// The first sixteen, as a number.
    head: u128,
    mask: u128,
    bytes: Box<[u8]>,
}

impl Fixed {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut head = [0; 16];
        let short = bytes.len().min(16);
        head[..short].copy_from_slice(&bytes[..short]);
        let mask = if short == 16 { u128::MAX } else { (1 << (8 * short)) - 1 };
        Self { head: u128::from_le_bytes(head), mask, bytes: bytes.into() }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What follows these bytes; none: something else stands there.
    #[inline]
    pub(crate) fn after<'a>(&self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let length = self.bytes.len();
        match rest.first_chunk::<16>() {
            Some(head) if length <= 16 => {
                if u128::from_le_bytes(*head) & self.mask == self.head {
                    rest.get(length..)
                } else {
                    None
                }
            }
            _ => rest.strip_prefix(&*self.bytes),
        }
    }
}

/// The layouts of one decoder, in one encoding.
#[derive(Debug)]
pub(crate) struct Usual<L> {
    list: Vec<L>,
    /// The one that fitted last.
    last: usize,
    /// Readings that none has fitted since the last was learned.
    missed: u32,
    learn_after: u32,
    /// Which one is given up next.
    oldest: usize,
}

impl<L> Default for Usual<L> {
    fn default() -> Self {
        Self { list: Vec::new(), last: 0, missed: 0, learn_after: LEARN_AFTER, oldest: 0 }
    }
}

impl<L> Usual<L> {
    /// Reads by the layout that fits, the last one first; true: [`Usual::found`] is the one that
    /// did.
    #[inline]
    pub(crate) fn read(&mut self, mut read: impl FnMut(&mut L) -> Option<()>) -> bool {
        let Some(last) = self.list.get_mut(self.last) else { return false };
        read(last).is_some() || self.read_other(read)
    }

    fn read_other(&mut self, mut read: impl FnMut(&mut L) -> Option<()>) -> bool {
        let tried = self.last;
        let fits = |(at, layout): (usize, &mut L)| at != tried && read(layout).is_some();
        match self.list.iter_mut().enumerate().position(fits) {
            Some(at) => {
                self.last = at;
                true
            }
            None => false,
        }
    }

    /// The layout that fitted last: to be asked after [`Usual::read`] has said that one did.
    #[inline]
    pub(crate) fn found(&self) -> &L {
        &self.list[self.last]
    }

    /// No layout fitted a reading; once in a while that reading's is kept.
    pub(crate) fn miss(&mut self, learn: impl FnOnce() -> Option<L>) {
        self.missed += 1;
        if self.missed < self.learn_after {
            return;
        }
        self.missed = 0;
        let learned = learn();
        if learned.is_none() || self.list.len() == KEPT_MAX {
            self.learn_after = (2 * self.learn_after).min(LEARN_AFTER_MAX);
        }
        let Some(layout) = learned else { return };
        if self.list.len() < KEPT_MAX {
            self.list.push(layout);
            self.last = self.list.len() - 1;
        } else {
            self.list[self.oldest] = layout;
            self.last = self.oldest;
            self.oldest = (self.oldest + 1) % KEPT_MAX;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_bytes_are_found_whatever_their_length_and_what_follows() {
        let text: Vec<u8> = (1..=60).collect();
        for length in 0..40 {
            let fixed = Fixed::new(&text[..length]);
            assert_eq!(fixed.bytes(), &text[..length]);
            for end in 0..text.len() {
                let after = (end >= length).then(|| &text[length..end]);
                assert_eq!(fixed.after(&text[..end]), after, "{length} {end}");
            }
            for at in 0..length {
                let mut other = text.clone();
                other[at] ^= 0x80;
                assert_eq!(fixed.after(&other), None);
                assert_eq!(fixed.after(&other[..length]), None);
            }
        }
    }

    #[test]
    fn few_layouts_are_kept_and_the_oldest_goes_first() {
        let mut usual: Usual<u32> = Usual::default();
        let mut ask = |wanted: u32| {
            let hit = usual.read(|layout| (*layout == wanted).then_some(()));
            if hit {
                assert_eq!(*usual.found(), wanted);
            } else {
                usual.miss(|| Some(wanted));
            }
            hit
        };
        for kind in 0..5 {
            for _ in 0..LEARN_AFTER {
                assert!(!ask(kind));
            }
            assert!(ask(kind));
        }
        assert!(!ask(0), "it was the oldest");
        assert!(ask(1) && ask(4) && ask(2) && ask(3));
    }
}
