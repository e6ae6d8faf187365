//! The closed books of a partition: one reading, one outcome. They are part of the state and committed with it, so
//! they survive whatever the process does not.

use super::bytes::{Bytes, Damaged, put_i64};
use schemas::record::Totals;
use schemas::topic::Topic;

/// Counts since the beginning of the partition's log, as [`Totals`] on the topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) received: i64,
    pub(crate) others: i64,
    pub(crate) aggregated: i64,
    pub(crate) filtered: i64,
    pub(crate) duplicate: i64,
    pub(crate) late: i64,
    pub(crate) rejected: i64,
    pub(crate) late_partial: i64,
    pub(crate) beyond_horizon: i64,
    pub(crate) scored: i64,
    pub(crate) scoring_failed: i64,
    /// Records of each output topic.
    pub(crate) outputs: [i64; Topic::ALL.len()],
    /// Values that no window took because the device or the partition had as many names as it may have.
    pub(crate) unnamed_values: i64,
    /// Offsets that retention took before they were read.
    pub(crate) lost: i64,
    /// First offset that was counted.
    pub(crate) counted_from: i64,
}

impl Books {
    /// As they are published.
    pub(crate) fn totals(&self) -> Totals {
        let written = Topic::ALL.iter().zip(self.outputs).filter(|(_, count)| *count > 0);
        Totals {
            received: self.received,
            others: self.others,
            aggregated: self.aggregated,
            filtered: self.filtered,
            duplicate: self.duplicate,
            late: self.late,
            rejected: self.rejected,
            late_partial: self.late_partial,
            beyond_horizon: self.beyond_horizon,
            scored: self.scored,
            scoring_failed: self.scoring_failed,
            outputs: written.map(|(topic, count)| (topic.name().to_owned(), count)).collect(),
        }
    }

    /// Takes over what was published; what was lost before stays counted as the difference.
    pub(crate) fn adopt(&mut self, totals: &Totals, position: i64) {
        let offsets = totals.received + totals.others;
        let mut outputs = [0; Topic::ALL.len()];
        for (topic, count) in Topic::ALL.iter().zip(&mut outputs) {
            *count = totals.outputs.get(topic.name()).copied().unwrap_or(0);
        }
        *self = Self {
            received: totals.received,
            others: totals.others,
            aggregated: totals.aggregated,
            filtered: totals.filtered,
            duplicate: totals.duplicate,
            late: totals.late,
            rejected: totals.rejected,
            late_partial: totals.late_partial,
            beyond_horizon: totals.beyond_horizon,
            scored: totals.scored,
            scoring_failed: totals.scoring_failed,
            outputs,
            unnamed_values: self.unnamed_values,
            lost: self.lost,
            counted_from: position - offsets - self.lost,
        };
    }

    fn fields(&mut self) -> [&mut i64; 14] {
        [
            &mut self.received,
            &mut self.others,
            &mut self.aggregated,
            &mut self.filtered,
            &mut self.duplicate,
            &mut self.late,
            &mut self.rejected,
            &mut self.late_partial,
            &mut self.beyond_horizon,
            &mut self.scored,
            &mut self.scoring_failed,
            &mut self.unnamed_values,
            &mut self.lost,
            &mut self.counted_from,
        ]
    }

    pub(crate) fn save(&self, out: &mut Vec<u8>) {
        let mut copy = self.clone();
        copy.fields().into_iter().for_each(|field| put_i64(out, *field));
        self.outputs.iter().for_each(|count| put_i64(out, *count));
    }

    /// Reads what [`Books::save`] wrote when there were so many topics.
    pub(crate) fn load(bytes: &mut Bytes<'_>, topics: usize) -> Result<Self, Damaged> {
        let mut books = Self::default();
        for field in books.fields() {
            *field = bytes.i64("the books")?;
        }
        for count in books.outputs.iter_mut().take(topics) {
            *count = bytes.i64("the books")?;
        }
        Ok(books)
    }
}
