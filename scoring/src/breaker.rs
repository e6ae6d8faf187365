//! Leaves a model alone that fails on many of its rows: each failure costs several calls and an instance, and the stream
//! shall keep its speed.
//!
//! It counts rows, not seconds, and is part of the partition's state: every run of the log leaves out the same rows.
//! A window begins with a row that fails and has [`WINDOW_ROWS`] rows. With its [`FAILED_MAX`]th failure it ends, and the
//! next [`PAUSE_ROWS`] rows are not given to the model. A model that does not fail has no window, and nothing to save.

/// Rows among which failures are counted.
pub const WINDOW_ROWS: u32 = 1_000;
/// Failures among them that open it.
pub const FAILED_MAX: u32 = 100;
/// Rows that an open one leaves out.
pub const PAUSE_ROWS: u32 = 10_000;

/// One model's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaker {
    /// Rows of this window so far; 0: there is none.
    pub(crate) rows: u32,
    /// Those that failed.
    pub(crate) failed: u32,
    /// Rows still to be left out.
    pub(crate) pause: u32,
}

impl Breaker {
    /// Whether the next row is to be left out.
    pub(crate) fn is_open(self) -> bool {
        self.pause > 0
    }

    /// Leaves out at most so many rows; how many.
    pub(crate) fn pass(&mut self, rows: usize) -> usize {
        let left_out = self.pause.min(u32::try_from(rows).unwrap_or(u32::MAX));
        self.pause -= left_out;
        left_out as usize
    }

    /// So many rows in a row did not fail.
    pub(crate) fn succeeded(&mut self, rows: usize) {
        if self.rows == 0 {
            return;
        }
        match u32::try_from(rows).ok().and_then(|rows| self.rows.checked_add(rows)) {
            Some(rows) if rows < WINDOW_ROWS => self.rows = rows,
            _ => *self = Self::default(),
        }
    }

    /// A row failed; true: it is open now.
    pub(crate) fn failed(&mut self) -> bool {
        self.failed += 1;
        self.rows += 1;
        if self.failed >= FAILED_MAX {
            *self = Self { pause: PAUSE_ROWS, ..Self::default() };
            return true;
        }
        if self.rows == WINDOW_ROWS {
            *self = Self::default();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the heading says it, row by row.
    fn left_out(fails: &[bool]) -> Vec<bool> {
        let (mut window, mut pause) = (Vec::new(), 0);
        let one = |fails: &bool| {
            if pause > 0 {
                pause -= 1;
                return true;
            }
            if window.is_empty() && !*fails {
                return false;
            }
            window.push(*fails);
            if window.iter().filter(|failed| **failed).count() as u32 == FAILED_MAX {
                pause = PAUSE_ROWS;
                window.clear();
            } else if window.len() as u32 == WINDOW_ROWS {
                window.clear();
            }
            false
        };
        fails.iter().map(one).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However many rows at a time succeed or are left out.
        #[test]
        fn the_same_rows_are_left_out_whatever_the_batches(
            every in 2_usize..20, rows in 1_usize..40_000, batch in 1_usize..2_000,
        ) {
            let fails: Vec<bool> = (0..rows).map(|row| row * 7919 % every == 0).collect();
            let mut breaker = Breaker::default();
            let mut found = Vec::new();
            while found.len() < rows {
                let begin = found.len();
                let left = (rows - begin).min(batch);
                let paused = breaker.pass(left);
                if paused > 0 {
                    found.resize(begin + paused, true);
                    continue;
                }
                let good = fails[begin..begin + left].iter().position(|fails| *fails).unwrap_or(left);
                breaker.succeeded(good);
                found.resize(begin + good, false);
                if good < left {
                    breaker.failed();
                    found.push(false);
                }
            }
            prop_assert_eq!(found, left_out(&fails));
        }
    }

    #[test]
    fn a_model_that_always_fails_is_called_for_one_row_in_a_hundred() {
        let out = left_out(&vec![true; 101_000]);
        let given = out.iter().filter(|left_out| !**left_out).count();
        assert_eq!(given, 1_000);
        assert!(!left_out(&vec![false; 20_000]).contains(&true));
    }
}
