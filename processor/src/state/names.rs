//! Measurement names of a partition, numbered in order of first appearance in the log.

use super::bytes::{Bytes, Damaged, put_bytes, put_len};
use hashbrown::HashMap;
use windowing::api::Metric;

/// Distinct measurement names of a partition: what a `Metric` can number, less a reserve.
pub(crate) const NAMES_MAX: usize = 60_000;

/// The table. The map is for lookups only; order comes from the list.
#[derive(Debug, Default)]
pub(crate) struct Names {
    list: Vec<Box<str>>,
    find: HashMap<Box<str>, Metric>,
    /// What stood at each place of the last reading, known or not: devices of one kind send the same names in the
    /// same order. It saves look-ups and decides nothing.
    layout: Vec<(String, Option<Metric>)>,
}

/// Places of a reading that are remembered.
const LAYOUT_MAX: usize = 64;

impl Names {
    /// The number of a name, if it has one; `place` is its place in the reading.
    #[inline]
    pub(crate) fn find(&mut self, place: usize, name: &str) -> Option<Metric> {
        match self.layout.get(place) {
            Some((known, metric)) if known == name => *metric,
            _ => self.look_up(place, name),
        }
    }

    /// The number of a name, if it has one.
    pub(crate) fn known(&self, name: &str) -> Option<Metric> {
        self.find.get(name).copied()
    }

    fn look_up(&mut self, place: usize, name: &str) -> Option<Metric> {
        let metric = self.known(name);
        if place == self.layout.len() && place < LAYOUT_MAX {
            self.layout.push((String::new(), None));
        }
        if let Some((known, found)) = self.layout.get_mut(place) {
            known.clear();
            known.push_str(name);
            *found = metric;
        }
        metric
    }

    /// The number of a name, a new one if need be; none when all are given out.
    pub(crate) fn intern(&mut self, name: &str) -> Option<Metric> {
        if let Some(metric) = self.find.get(name) {
            return Some(*metric);
        }
        if self.list.len() >= NAMES_MAX {
            return None;
        }
        let metric = Metric(u16::try_from(self.list.len()).ok()?);
        self.list.push(name.into());
        self.find.insert(name.into(), metric);
        self.layout.clear();
        Some(metric)
    }

    /// The name of a number given out here.
    pub(crate) fn name(&self, metric: Metric) -> &str {
        &self.list[usize::from(metric.0)]
    }

    /// Every name, by number.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|name| &**name)
    }

    /// Names given out.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_len(out, self.list.len());
        for name in &self.list {
            put_bytes(out, name.as_bytes());
        }
    }

    pub(crate) fn load(bytes: &mut Bytes<'_>) -> Result<Self, Damaged> {
        let mut names = Self::default();
        for expected in 0..bytes.u32("number of names")? {
            let name = bytes.str("a name")?;
            if names.intern(name).map(|metric| u32::from(metric.0)) != Some(expected) {
                return Err(bytes.damaged("a name that was not there before"));
            }
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_first_appearance_and_survive_a_snapshot() {
        let mut names = Names::default();
        assert_eq!(names.find(0, "a"), None);
        for (number, name) in ["b", "a", "c"].into_iter().enumerate() {
            assert_eq!(names.intern(name), u16::try_from(number).ok().map(Metric));
        }
        assert_eq!(names.find(0, "a"), Some(Metric(1)), "what was unknown at this place is known now");
        assert_eq!(names.find(0, "b"), Some(Metric(0)));
        assert_eq!(names.find(7, "c"), Some(Metric(2)), "places may be skipped");
        let mut bytes = Vec::new();
        names.save(&mut bytes);
        let mut loaded = Names::load(&mut Bytes::new(&bytes)).expect("its own bytes");
        assert_eq!(loaded.all().collect::<Vec<_>>(), ["b", "a", "c"]);
        assert_eq!(loaded.find(0, "c"), Some(Metric(2)));
        assert!(Names::load(&mut Bytes::new(&bytes[..bytes.len() - 1])).is_err());
    }

    #[test]
    fn numbers_are_not_without_end() {
        let mut names = Names::default();
        for number in 0..NAMES_MAX {
            assert!(names.intern(&number.to_string()).is_some());
        }
        assert_eq!(names.intern("one more"), None);
        assert!(names.intern("7").is_some(), "known names stay known");
    }
}
