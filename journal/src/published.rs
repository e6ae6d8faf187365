//! What both embedded homes keep in memory of the small committed things: positions and schemas.

use crate::port::{Committed, TopicPartition};
use std::collections::BTreeMap;

/// Committed positions and schema ids.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// By group and partition.
    pub(crate) committed: BTreeMap<String, BTreeMap<TopicPartition, Committed>>,
    /// By id.
    pub(crate) schemas: BTreeMap<u32, String>,
    /// Ids of a subject, oldest first.
    pub(crate) subjects: BTreeMap<String, Vec<u32>>,
}

impl Published {
    /// What a group has committed.
    pub(crate) fn committed(&self, group: &str, partition: TopicPartition) -> Option<Committed> {
        self.committed.get(group)?.get(&partition).cloned()
    }

    /// The id of a schema under a subject.
    pub(crate) fn id_under(&self, subject: &str, schema: &str) -> Option<u32> {
        let ids = self.subjects.get(subject)?;
        ids.iter().copied().find(|id| self.schemas.get(id).is_some_and(|text| text == schema))
    }

    /// Adds what a commit has changed.
    pub(crate) fn extend(&mut self, by: Self) {
        for (group, positions) in by.committed {
            self.committed.entry(group).or_default().extend(positions);
        }
        self.schemas.extend(by.schemas);
        for (subject, ids) in by.subjects {
            self.subjects.entry(subject).or_default().extend(ids);
        }
    }

    /// The id of a schema under a subject, here or in `draft`, where it goes when it is new. The same text has the
    /// same id under every subject. Returns whether the draft has changed.
    pub(crate) fn assign(&self, subject: &str, schema: &str, draft: &mut Self) -> (u32, bool) {
        let known = self.schemas.iter().chain(&draft.schemas);
        let next = u32::try_from(1 + known.clone().count()).expect("fewer than 2^32 schemas");
        let id = known.into_iter().find(|(_, text)| text.as_str() == schema).map(|(id, _)| *id);
        let id = id.unwrap_or_else(|| {
            draft.schemas.insert(next, schema.to_owned());
            next
        });
        let of_subject = [self.subjects.get(subject), draft.subjects.get(subject)];
        if of_subject.into_iter().flatten().flatten().any(|version| *version == id) {
            return (id, false);
        }
        draft.subjects.entry(subject.to_owned()).or_default().push(id);
        (id, true)
    }
}
