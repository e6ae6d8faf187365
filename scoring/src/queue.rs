//! One model's rows that wait for a flush, already in the columns the guest takes.

use crate::slab::Slab;

/// Most rows a model gets in one flush, and most readings that may be pending.
pub const ROWS_MAX: usize = 1024;

/// A stream and a device slot: a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Series {
    pub(crate) stream: u16,
    pub(crate) slot: u32,
}

/// A row to be added.
pub(crate) struct NewRow {
    pub(crate) series: Series,
    pub(crate) event_time: i64,
    /// Of the reading in the log.
    pub(crate) offset: i64,
    /// Where its verdict goes.
    pub(crate) cell: u32,
    pub(crate) sampled: bool,
}

/// Rows in log order, by column.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Row -> index into `members`.
    pub(crate) series: Vec<u32>,
    pub(crate) event_time: Vec<i64>,
    pub(crate) offset: Vec<i64>,
    /// Feature -> row -> value; NaN: missing.
    pub(crate) columns: Vec<Vec<f64>>,
    pub(crate) cell: Vec<u32>,
    pub(crate) sampled: Vec<bool>,
    /// The series that occur, in order of first appearance.
    pub(crate) members: Vec<Series>,
    /// By stream and slot, the flush a series was last seen in, and its index there.
    seen: Vec<Vec<(u32, u32)>>,
    /// Number of this flush, never 0.
    flush: u32,
}

impl Queue {
    pub(crate) fn new(streams: usize, features: usize) -> Self {
        let columns = vec![Vec::new(); features];
        Self { columns, seen: vec![Vec::new(); streams], flush: 1, ..Self::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    #[inline]
    pub(crate) fn push(&mut self, row: &NewRow, values: &[f64]) {
        let index = self.member(row.series);
        self.series.push(index);
        self.event_time.push(row.event_time);
        self.offset.push(row.offset);
        self.cell.push(row.cell);
        self.sampled.push(row.sampled);
        for (column, value) in self.columns.iter_mut().zip(values) {
            column.push(*value);
        }
    }

    #[inline]
    fn member(&mut self, series: Series) -> u32 {
        let seen = &mut self.seen[series.stream as usize];
        let slot = series.slot as usize;
        if seen.len() <= slot {
            seen.resize(slot + 1, (0, 0));
        }
        let (flush, index) = &mut seen[slot];
        if *flush != self.flush {
            *flush = self.flush;
            *index = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
            self.members.push(series);
        }
        *index
    }

    /// The state of the series that occur, in the order of `members`.
    pub(crate) fn gather(&self, slabs: &[Slab], into: &mut Vec<u8>) {
        into.clear();
        for member in &self.members {
            slabs[member.stream as usize].gather(member.slot, into);
        }
    }

    /// Puts the state of the series that occur back.
    pub(crate) fn scatter(&self, state: &[u8], slabs: &mut [Slab]) {
        let stride = slabs.first().map_or(0, Slab::stride);
        if stride == 0 {
            return;
        }
        for (member, bytes) in self.members.iter().zip(state.chunks_exact(stride)) {
            slabs[member.stream as usize].scatter(member.slot, bytes);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.series.clear();
        self.event_time.clear();
        self.offset.clear();
        self.columns.iter_mut().for_each(Vec::clear);
        self.cell.clear();
        self.sampled.clear();
        self.members.clear();
        self.flush = self.flush.wrapping_add(1);
        if self.flush == 0 {
            self.flush = 1;
            self.seen.iter_mut().for_each(|seen| seen.fill((0, 0)));
        }
    }
}
