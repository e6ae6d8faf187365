//! Rows for trials: plain ones, odd ones, and ways to cut and renumber them.

use crate::profile::Columns;
use scoring_host::{Batch, Descriptor, MissingRule};

const SECOND: i64 = 1_000_000;
/// Event time of the first row: 2023-11-14T22:13:20Z.
const START: i64 = 1_700_000_000 * SECOND;

/// Values that a sensor can send.
const ODD: [f64; 12] =
    [0.0, -0.0, 1.0, -1.0, 5e-324, f64::MIN_POSITIVE, 1e-200, 1e150, 1e300, -1e300, f64::MAX, f64::MIN];

/// Rows of several series, in log order.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) slots: u32,
    slot: Vec<u32>,
    event_time: Vec<i64>,
    /// Column-major.
    values: Vec<f64>,
    /// Bitmap over the values, or empty.
    missing: Vec<u8>,
}

impl Rows {
    /// So many rows with ordinary values, the series in a scattered order.
    pub(super) fn plain(rows: usize, slots: u32, features: usize) -> Self {
        let slot = (0..rows).map(|row| (row * 7 % 11 % slots.max(1) as usize) as u32).collect();
        let event_time = (0..rows).map(|row| START + row as i64 * 17 * SECOND).collect();
        let value = |feature: usize, row: usize| {
            20.0 * (feature + 1) as f64 + ((row + 31 * feature) * 7919 % 101) as f64 / 50.0
        };
        let values =
            (0..features).flat_map(|feature| (0..rows).map(move |row| value(feature, row))).collect();
        Self { slots, slot, event_time, values, missing: Vec::new() }
    }

    /// Each odd value in each column, among ordinary ones; and, where the model takes that, what is missing.
    pub(super) fn odd(descriptor: &Descriptor, slots: u32) -> Self {
        let features = descriptor.features.len();
        let rows = 4 * ODD.len() * features;
        let mut odd = Self::plain(rows, slots, features);
        for (number, value) in ODD.iter().cycle().take(ODD.len() * features).enumerate() {
            let feature = number / ODD.len();
            odd.values[feature * rows + 4 * number] = *value;
        }
        for (feature, described) in descriptor.features.iter().enumerate() {
            if described.missing == MissingRule::AsNan {
                odd.miss(feature * rows + 4 * feature + 1);
                odd.miss(feature * rows + 4 * feature + 2);
            }
        }
        odd
    }

    fn miss(&mut self, cell: usize) {
        self.missing.resize(self.values.len().div_ceil(8), 0);
        self.values[cell] = f64::NAN;
        self.missing[cell / 8] |= 1 << (cell % 8);
    }

    /// The same rows at times that go back, stand still, and lie before the epoch.
    pub(super) fn with_unruly_times(mut self) -> Self {
        for (row, time) in self.event_time.iter_mut().enumerate() {
            *time = match row % 4 {
                0 => START,
                1 => START - row as i64 * 86_400 * SECOND,
                2 => -(row as i64),
                _ => *time,
            };
        }
        self
    }

    /// The same rows, with the state of their series.
    pub(super) fn with_state(self, state: Vec<u8>) -> Columns {
        let Self { slots, slot, event_time, values, missing } = self;
        Columns { slots, slot, event_time, values, missing, state }
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.slot.len()
    }

    fn features(&self) -> usize {
        self.values.len() / self.len().max(1)
    }

    /// Some of the rows, all series.
    fn select(&self, places: &[usize]) -> Self {
        let of = |row: &usize| *row;
        let cells: Vec<usize> = (0..self.features())
            .flat_map(|feature| places.iter().map(move |row| feature * self.len() + row))
            .collect();
        let mut selected = Self {
            slots: self.slots,
            slot: places.iter().map(of).map(|row| self.slot[row]).collect(),
            event_time: places.iter().map(of).map(|row| self.event_time[row]).collect(),
            values: cells.iter().map(|cell| self.values[*cell]).collect(),
            missing: Vec::new(),
        };
        for (to, from) in cells.iter().enumerate() {
            if self.missing.get(from / 8).is_some_and(|byte| byte >> (from % 8) & 1 == 1) {
                selected.miss(to);
            }
        }
        selected
    }

    /// Batches of so many rows.
    pub(super) fn parts(&self, size: usize) -> impl Iterator<Item = Self> {
        let size = size.max(1);
        (0..self.len()).step_by(size).map(move |from| {
            let places: Vec<usize> = (from..self.len().min(from + size)).collect();
            self.select(&places)
        })
    }

    /// The first half, and the rest.
    pub(super) fn halves(&self) -> (Self, Self) {
        let places: Vec<usize> = (0..self.len()).collect();
        let (first, second) = places.split_at(self.len() / 2);
        (self.select(first), self.select(second))
    }

    /// The rows of one series, which is the only one, and their places among all.
    pub(super) fn of(&self, series: u32) -> (Self, Vec<usize>) {
        let places: Vec<usize> = (0..self.len()).filter(|row| self.slot[*row] == series).collect();
        let mut alone = self.select(&places);
        alone.slots = 1;
        alone.slot.fill(0);
        (alone, places)
    }

    /// The same rows with the series numbered from the other end.
    pub(super) fn renumbered(mut self) -> Self {
        let slots = self.slots;
        self.slot.iter_mut().for_each(|slot| *slot = slots - 1 - *slot);
        self
    }

    /// As the host takes them.
    pub(super) fn batch<'a>(&'a self, state: &'a [u8]) -> Batch<'a> {
        Batch {
            slots: self.slots,
            slot: &self.slot,
            event_time: &self.event_time,
            values: &self.values,
            missing: &self.missing,
            state,
        }
    }
}
