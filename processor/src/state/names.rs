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
    /// What stood at each place of the last reading: devices of one kind send the same names in the same order.
    layout: Vec<Metric>,
}

impl Names {
    /// The number of a name, if it has one; `place` is its place in the reading.
    #[inline]
    pub(crate) fn find(&mut self, place: usize, name: &str) -> Option<Metric> {
        if let Some(metric) = self.layout.get(place)
            && &*self.list[usize::from(metric.0)] == name
        {
            return Some(*metric);
        }
        let metric = *self.find.get(name)?;
        if place < self.layout.len() {
            self.layout[place] = metric;
        } else if place == self.layout.len() && place < 64 {
            self.layout.push(metric);
        }
        Some(metric)
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
