//! Headers of a record as read: taken apart only for whoever asks.
//!
//! Nearly nobody does, and a client library may have to allocate for it (librdkafka: several times a record).

use crate::port::Header;

/// Headers in the form that a journal keeps them in.
pub trait HeaderSource {
    /// Calls `visit` with name and value of each, in order; those whose names are no text are left out.
    fn each(&self, visit: &mut dyn FnMut(&str, &[u8]));
}

/// Headers at hand: names and values.
impl HeaderSource for [(&str, &[u8])] {
    fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
        self.iter().for_each(|(name, value)| visit(name, value));
    }
}

/// Headers of a record.
#[derive(Clone, Copy)]
pub struct Headers<'a>(Kept<'a>);

#[derive(Clone, Copy)]
enum Kept<'a> {
    Listed(&'a [(&'a str, &'a [u8])]),
    Deferred(&'a dyn HeaderSource),
}

impl<'a> Headers<'a> {
    /// No headers.
    pub const NONE: Self = Self(Kept::Listed(&[]));

    /// Headers that are at hand.
    #[must_use]
    pub const fn listed(headers: &'a [(&'a str, &'a [u8])]) -> Self {
        Self(Kept::Listed(headers))
    }

    /// Headers that cost something to look at.
    #[must_use]
    pub const fn deferred(source: &'a dyn HeaderSource) -> Self {
        Self(Kept::Deferred(source))
    }

    /// Calls `visit` with name and value of each, in order.
    pub fn each(self, visit: &mut dyn FnMut(&str, &[u8])) {
        match self.0 {
            Kept::Listed(headers) => headers.each(visit),
            Kept::Deferred(source) => source.each(visit),
        }
    }

    /// What `read` makes of the first one of a name; none: there is none of it.
    pub fn first<T>(self, name: &str, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let (mut read, mut found) = (Some(read), None);
        self.each(&mut |of, value| {
            if of == name
                && let Some(read) = read.take()
            {
                found = Some(read(value));
            }
        });
        found
    }

    /// All of them, owned.
    #[must_use]
    pub fn to_vec(self) -> Vec<Header> {
        let mut all = Vec::new();
        self.each(&mut |name, value| all.push((name.to_owned(), value.to_vec())));
        all
    }
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.to_vec()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Headers;

    #[test]
    fn the_first_of_a_name_is_found_and_later_ones_are_kept() {
        let listed: [(&str, &[u8]); 3] = [("a", b"1"), ("b", b"2"), ("a", b"3")];
        for headers in [Headers::listed(&listed), Headers::deferred(&Tripled)] {
            assert_eq!(headers.first("a", <[u8]>::to_vec), Some(b"1".to_vec()));
            assert_eq!(headers.first("c", <[u8]>::to_vec), None);
            let names: Vec<String> = headers.to_vec().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, ["a", "b", "a"]);
        }
        assert!(Headers::NONE.to_vec().is_empty());
    }

    struct Tripled;

    impl super::HeaderSource for Tripled {
        fn each(&self, visit: &mut dyn FnMut(&str, &[u8])) {
            visit("a", b"1");
            visit("b", b"2");
            visit("a", b"3");
        }
    }
}
