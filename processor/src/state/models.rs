//! Models of a partition by number, so that open panes know whose scores they hold whatever the configuration becomes.
//!
//! Invariants: a number means one version of one model for as long as it is in force or an accumulator holds scores
//! under it; then the next new model may have it. New models take the least number that is free.

use super::bytes::{Bytes, Damaged, put_bytes, put_len};
use scoring::ModelSet;

/// Models in force and in open panes of a partition.
const MODELS_MAX: usize = 256;

/// The partition has no number left for a model of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the models of it and those that open panes still name are more than {MODELS_MAX}")]
pub(crate) struct TooManyModels;

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// Name and version, by number; none: free.
    list: Vec<Option<(Box<str>, Box<str>)>>,
    /// Numbers of the models in force, in the order of the configuration.
    in_force: Vec<usize>,
}

impl Numbers {
    /// Numbers the models of a new configuration. `scored`: numbers under which accumulators hold scores.
    pub(crate) fn put_in_force(&mut self, set: &ModelSet, scored: &[bool]) -> Result<(), TooManyModels> {
        let models: Vec<(&str, &str)> = set.models().map(|model| (&*model.name, &*model.version)).collect();
        self.number(&models, scored)
    }

    fn number(&mut self, models: &[(&str, &str)], scored: &[bool]) -> Result<(), TooManyModels> {
        let mut list = self.list.clone();
        for (number, entry) in list.iter_mut().enumerate() {
            let stays = entry.as_ref().is_some_and(|entry| models.contains(&(&*entry.0, &*entry.1)));
            if !stays && !scored.get(number).is_some_and(|scored| *scored) {
                *entry = None;
            }
        }
        let mut in_force = Vec::with_capacity(models.len());
        for (name, version) in models {
            let known = find(&list, name, version);
            let number = known.or_else(|| list.iter().position(Option::is_none)).unwrap_or(list.len());
            if number == list.len() {
                list.push(None);
            }
            list[number] = Some(((*name).into(), (*version).into()));
            in_force.push(number);
        }
        if list.len() > MODELS_MAX {
            return Err(TooManyModels);
        }
        (self.list, self.in_force) = (list, in_force);
        Ok(())
    }

    /// Finds the models of the configuration that was in force when this was saved; false: one has no number.
    pub(crate) fn resume(&mut self, set: &ModelSet) -> bool {
        let numbers = set.models().map(|model| find(&self.list, &model.name, &model.version));
        match numbers.collect() {
            Some(in_force) => {
                self.in_force = in_force;
                true
            }
            None => false,
        }
    }

    /// Numbers of the models in force, in the order of the configuration.
    pub(crate) fn in_force(&self) -> impl Iterator<Item = usize> {
        self.in_force.iter().copied()
    }

    /// Numbers in force are below it.
    pub(crate) fn width(&self) -> usize {
        self.in_force.iter().max().map_or(0, |greatest| greatest + 1)
    }

    /// Whose scores stand under a number.
    pub(crate) fn name(&self, number: usize) -> &str {
        let entry = self.list.get(number).and_then(Option::as_ref);
        &entry.expect("scores stand under numbers that were given out").0
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        put_len(out, self.list.len());
        for entry in &self.list {
            let (name, version) = entry.as_ref().map_or(("", ""), |(name, version)| (name, version));
            put_bytes(out, name.as_bytes());
            put_bytes(out, version.as_bytes());
        }
    }

    /// Reads what [`Numbers::save`] wrote; nothing is in force before [`Numbers::resume`].
    pub(crate) fn load(bytes: &mut Bytes<'_>) -> Result<Self, Damaged> {
        let mut numbers = Self::default();
        for _ in 0..bytes.u32("number of models")? {
            let (name, version) = (bytes.str("a model's name")?, bytes.str("a model's version")?);
            if find(&numbers.list, name, version).is_some() || numbers.list.len() == MODELS_MAX {
                return Err(bytes.damaged("a model that was not there before"));
            }
            let free = name.is_empty();
            numbers.list.push((!free).then(|| (name.into(), version.into())));
        }
        Ok(numbers)
    }
}

fn find(list: &[Option<(Box<str>, Box<str>)>], name: &str, version: &str) -> Option<usize> {
    list.iter()
        .position(|entry| entry.as_ref().is_some_and(|known| (&*known.0, &*known.1) == (name, version)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_given_to_another_model_when_nothing_holds_scores_under_it() {
        let mut numbers = Numbers::default();
        numbers.number(&[("a", "1"), ("b", "1")], &[]).expect("room");
        assert_eq!((numbers.in_force.as_slice(), numbers.width()), (&[0, 1][..], 2));
        numbers.number(&[("c", "1"), ("b", "1")], &[true, true]).expect("room");
        assert_eq!(numbers.in_force, [2, 1], "`a` is still in open panes");
        assert_eq!(numbers.name(0), "a");
        numbers.number(&[("b", "1"), ("c", "2")], &[true, true, true]).expect("room");
        assert_eq!(numbers.in_force, [1, 3], "another version is another model");
        numbers.number(&[("d", "1"), ("b", "1"), ("e", "1")], &[false, true, false, false]).expect("room");
        assert_eq!((numbers.in_force.as_slice(), numbers.width()), (&[0, 1, 2][..], 3));
        numbers.number(&[], &[false, true]).expect("room");
        assert_eq!((numbers.width(), numbers.name(1)), (0, "b"));
        numbers.number(&[("b", "1")], &[false, true]).expect("room");
        assert_eq!(numbers.in_force, [1], "who comes back while panes are open goes on there");
        let mut bytes = Vec::new();
        numbers.save(&mut bytes);
        let loaded = Numbers::load(&mut Bytes::new(&bytes)).expect("its own bytes");
        assert_eq!(loaded.list, numbers.list);
        assert!(Numbers::load(&mut Bytes::new(&bytes[..bytes.len() - 1])).is_err());
    }

    #[test]
    fn numbers_are_not_without_end() {
        let mut numbers = Numbers::default();
        let versions: Vec<String> = (0..=MODELS_MAX).map(|number| number.to_string()).collect();
        let models: Vec<(&str, &str)> = versions.iter().map(|version| ("m", &**version)).collect();
        numbers.number(&models[..3], &[]).expect("room");
        assert_eq!(numbers.number(&models, &[]), Err(TooManyModels));
        assert_eq!(
            (numbers.in_force.as_slice(), numbers.name(2)),
            (&[0, 1, 2][..], "m"),
            "nothing has changed"
        );
        numbers.number(&models[1..], &[]).expect("as many as there may be");
        assert_eq!(numbers.number(&models[..1], &[true; MODELS_MAX]), Err(TooManyModels));
    }
}
