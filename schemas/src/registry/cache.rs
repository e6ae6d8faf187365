//! What is remembered of ids: schemas for good, what came to nothing for a while.
//!
//! Does not live here: asking, waiting.

use crate::codec::IdError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Ids remembered. Beyond it what came to nothing goes first; were all of them schemas, they are all asked for again.
const ENTRIES_MAX: usize = 1024;

/// What is known of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Its schema; ids never change their meaning.
    Known(Arc<str>),
    /// The registry does not know it.
    Unknown { until: Instant },
    /// The question came to nothing.
    Failed { until: Instant, why: IdError },
    /// The question is on its way.
    Asking,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        match self {
            Self::Known(_) | Self::Asking => false,
            Self::Unknown { until } | Self::Failed { until, .. } => *until <= now,
        }
    }
}

/// The bounded memory.
#[derive(Debug, Default)]
pub(super) struct Cache(BTreeMap<u32, Entry>);

impl Cache {
    /// What is known now.
    pub(super) fn look(&self, id: u32, now: Instant) -> Option<&Entry> {
        self.0.get(&id).filter(|entry| !entry.is_over(now))
    }

    /// Remembers.
    pub(super) fn put(&mut self, id: u32, entry: Entry, now: Instant) {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&id) {
            self.make_room(now);
        }
        self.0.insert(id, entry);
    }

    /// Forgets that an id was asked for, if nothing more is known of it.
    pub(super) fn forget_question(&mut self, id: u32) {
        if self.0.get(&id) == Some(&Entry::Asking) {
            self.0.remove(&id);
        }
    }

    /// Questions on their way stay: somebody waits for each, and there are no more than threads that wait.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, entry| !entry.is_over(now));
        if self.0.len() >= ENTRIES_MAX {
            self.0.retain(|_, entry| matches!(entry, Entry::Known(_) | Entry::Asking));
        }
        if self.0.len() >= ENTRIES_MAX {
            self.0.retain(|_, entry| matches!(entry, Entry::Asking));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MAX: u32 = ENTRIES_MAX as u32;

    fn known() -> Entry {
        Entry::Known("\"string\"".into())
    }

    #[test]
    fn a_schema_stays_and_what_came_to_nothing_goes_at_its_time() {
        let now = Instant::now();
        let until = now + Duration::from_secs(1);
        let mut cache = Cache::default();
        cache.put(1, known(), now);
        cache.put(2, Entry::Unknown { until }, now);
        cache.put(3, Entry::Failed { until, why: IdError::Retry("away".to_owned()) }, now);
        let seen = |now| [1, 2, 3].map(|id| cache.look(id, now).is_some());
        assert_eq!(seen(until - Duration::from_nanos(1)), [true; 3]);
        assert_eq!(seen(until), [true, false, false]);
    }

    #[test]
    fn a_question_is_forgotten_and_an_answer_is_not() {
        let now = Instant::now();
        let mut cache = Cache::default();
        cache.put(1, Entry::Asking, now);
        cache.put(2, known(), now);
        cache.forget_question(1);
        cache.forget_question(2);
        assert_eq!((cache.look(1, now), cache.look(2, now)), (None, Some(&known())));
    }

    #[test]
    fn a_flood_of_unknown_ids_does_not_push_out_schemas_or_questions() {
        let now = Instant::now();
        let until = now + Duration::from_secs(1);
        let mut cache = Cache::default();
        cache.put(0, known(), now);
        cache.put(1, Entry::Asking, now);
        for id in 2..10 * MAX {
            cache.put(id, Entry::Unknown { until }, now);
            assert!(cache.0.len() <= ENTRIES_MAX);
        }
        assert_eq!(cache.look(0, now), Some(&known()));
        assert_eq!(cache.look(1, now), Some(&Entry::Asking));
    }

    #[test]
    fn too_many_schemas_are_asked_for_again() {
        let now = Instant::now();
        let mut cache = Cache::default();
        for id in 0..=MAX {
            cache.put(id, known(), now);
            assert!(cache.0.len() <= ENTRIES_MAX);
        }
        assert_eq!(cache.look(MAX, now), Some(&known()));
        assert_eq!(cache.look(0, now), None);
        // One that is there needs no room.
        for id in 0..MAX - 1 {
            cache.put(id, known(), now);
        }
        cache.put(0, known(), now);
        assert_eq!(cache.0.len(), ENTRIES_MAX);
    }
}
