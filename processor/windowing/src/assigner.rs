//! Which windows an event time falls into. The only place that computes window starts.
//!
//! Starts are multiples (plus a shift) by Euclidean remainder, so times before the epoch fall where they belong.
//! Everything saturates: at the ends of time windows are cut short, never absent and never a panic.

use crate::api::{Assigner, Micros};

/// Greatest multiple of `width`, shifted by `offset`, at or before `at`.
#[inline]
pub(crate) fn floor(at: Micros, width: Micros, offset: Micros) -> Micros {
    let width = width.max(1);
    let shift = if offset == 0 { 0 } else { offset.rem_euclid(width) };
    // The remainder of the difference, without forming a difference that could overflow.
    let over = at.rem_euclid(width) - shift;
    at.saturating_sub(if over < 0 { over + width } else { over })
}

/// Starts of the windows of `size` every `advance` that contain `at`, ascending.
#[inline]
pub(crate) fn hops(at: Micros, size: Micros, advance: Micros) -> impl Iterator<Item = Micros> {
    let advance = advance.max(1);
    let last = floor(at, advance, 0);
    // Windows that start `k * advance` before `last` contain `at` while `at - start < size`.
    let room = size.saturating_sub(1).saturating_sub(at.saturating_sub(last));
    let before = if room < 0 { -1 } else { room / advance };
    let least = last.saturating_sub(advance.saturating_mul(before.max(0)));
    (0..=before).map(move |k| least.saturating_add(advance.saturating_mul(k)))
}

/// Width of the slices that the windows of a hopping assigner share.
pub(crate) fn slice_width(size: Micros, advance: Micros) -> Micros {
    let (mut a, mut b) = (size.max(1), advance.max(1));
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Least start a definition takes that comes into force when a device's clock shows `max_event`.
pub(crate) fn boundary(assigner: Assigner, max_event: Micros) -> Micros {
    let (width, offset) = match assigner {
        Assigner::Tumbling { size, offset } => (size, offset),
        Assigner::Hopping { advance, .. } => (advance, 0),
        Assigner::Session { .. } => return max_event.saturating_add(1),
    };
    let start = floor(max_event, width, offset);
    if start == max_event { start } else { start.saturating_add(width.max(1)) }
}

/// Most windows that one event time falls into.
pub(crate) fn windows_max(assigner: Assigner) -> u64 {
    match assigner {
        Assigner::Tumbling { .. } | Assigner::Session { .. } => 1,
        Assigner::Hopping { size, advance } => (size.max(1) as u64).div_ceil(advance.max(1) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops_of(at: Micros, size: Micros, advance: Micros) -> Vec<Micros> {
        hops(at, size, advance).collect()
    }

    #[test]
    fn starts_lie_on_the_grid_on_both_sides_of_the_epoch() {
        assert_eq!(floor(0, 60, 0), 0);
        assert_eq!(floor(59, 60, 0), 0);
        assert_eq!(floor(60, 60, 0), 60);
        assert_eq!(floor(-1, 60, 0), -60);
        assert_eq!(floor(-60, 60, 0), -60);
        assert_eq!(floor(10, 60, 15), -45);
        assert_eq!(floor(15, 60, 15), 15);
        assert_eq!(floor(15, 60, -45), 15);
        assert_eq!(floor(15, 60, 75), 15);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for at in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            for width in [1, 7, 60_000_000, i64::MAX] {
                let start = floor(at, width, 3);
                assert!(start <= at, "{at} {width} {start}");
                assert!(boundary(Assigner::Tumbling { size: width, offset: 3 }, at) >= start);
            }
            assert!(hops(at, 60, 7).count() <= 9);
        }
        assert_eq!(floor(5, 0, 0), 5, "a width of nothing counts as one");
    }

    #[test]
    fn hopping_windows_contain_the_time_and_ascend() {
        assert_eq!(hops_of(10, 10, 5), [5, 10]);
        assert_eq!(hops_of(9, 10, 5), [0, 5]);
        assert_eq!(hops_of(-1, 10, 5), [-10, -5]);
        assert_eq!(hops_of(7, 10, 10), [0]);
        assert_eq!(hops_of(11, 10, 3), [3, 6, 9]);
        assert_eq!(hops_of(7, 3, 5), [5]);
        assert_eq!(hops_of(9, 3, 5), [] as [Micros; 0], "between windows that do not meet");
    }

    #[test]
    fn slices_divide_both() {
        assert_eq!(slice_width(60, 10), 10);
        assert_eq!(slice_width(60, 25), 5);
        assert_eq!(slice_width(7, 3), 1);
    }

    #[test]
    fn a_new_definition_starts_at_the_next_boundary() {
        let tumbling = Assigner::Tumbling { size: 60, offset: 0 };
        assert_eq!(boundary(tumbling, 60), 60);
        assert_eq!(boundary(tumbling, 61), 120);
        assert_eq!(boundary(Assigner::Hopping { size: 60, advance: 10 }, 61), 70);
        assert_eq!(boundary(Assigner::Session { gap: 5 }, 61), 62);
    }
}
