//! How fast a counter moves.

use schemas::Micros;

/// A rate in units per second, weighted exponentially by time, not by samples: looking more often changes nothing.
///
/// `rate = sum(w * increase) / sum(w * span)` with weights halving every half-life. It always lies between the
/// least and the greatest rate seen, from the second look on, whatever the spacing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    half_life: f64,
    last: Option<(Micros, i64)>,
    increase: f64,
    span: f64,
}

impl Rate {
    pub(crate) const fn new(half_life_seconds: f64) -> Self {
        Self { half_life: half_life_seconds, last: None, increase: 0.0, span: 0.0 }
    }

    /// The counter stands at `count` now. One that goes back (a rewind, a log made anew) adds no increase.
    #[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
    pub(crate) fn observe(&mut self, at: Micros, count: i64) {
        let Some((before, from)) = self.last else {
            self.last = Some((at, count));
            return;
        };
        if at <= before {
            // No time has passed: the increase is counted with the next look, which has some.
            return;
        }
        let seconds = at.saturating_sub(before) as f64 / 1e6;
        let weight = (-seconds / self.half_life).exp2();
        self.increase = self.increase * weight + count.saturating_sub(from).max(0) as f64;
        self.span = self.span * weight + seconds;
        self.last = Some((at, count));
    }

    /// Units per second; none before two looks at different times.
    pub(crate) fn per_second(&self) -> Option<f64> {
        (self.span > 0.0).then(|| self.increase / self.span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_steady_counter_has_its_rate_at_once_and_for_ever() {
        let mut rate = Rate::new(30.0);
        rate.observe(0, 100);
        assert_eq!(rate.per_second(), None);
        for second in 1..100 {
            rate.observe(second * 1_000_000, 100 + second * 250);
            assert!((rate.per_second().unwrap() - 250.0).abs() < 1e-9);
        }
    }

    #[test]
    fn half_of_a_change_is_seen_after_a_half_life() {
        let mut rate = Rate::new(10.0);
        let mut count = 0;
        for second in 0..400 {
            rate.observe(second * 1_000_000, count);
            count += 100;
        }
        for second in 400..410 {
            rate.observe(second * 1_000_000, count);
            count += 300;
        }
        let seen = rate.per_second().unwrap();
        assert!((190.0..210.0).contains(&seen), "{seen}");
    }

    proptest! {
        #[test]
        fn it_lies_between_the_least_and_greatest_rate_seen(
            steps in prop::collection::vec((1_i64..60_000_000, 0_i64..1_000_000), 1..50),
        ) {
            let mut rate = Rate::new(30.0);
            let (mut at, mut count) = (0, 0);
            let (mut least, mut greatest) = (f64::INFINITY, 0.0_f64);
            rate.observe(at, count);
            for (span, increase) in steps {
                at += span;
                count += increase;
                rate.observe(at, count);
                let this = increase as f64 / (span as f64 / 1e6);
                (least, greatest) = (least.min(this), greatest.max(this));
            }
            let seen = rate.per_second().unwrap();
            prop_assert!(seen >= least * (1.0 - 1e-9) && seen <= greatest * (1.0 + 1e-9));
        }

        #[test]
        fn any_counter_gives_a_finite_rate_from_zero_up(looks in prop::collection::vec((any::<i64>(), any::<i64>()), 0..30)) {
            let mut rate = Rate::new(30.0);
            for (at, count) in looks {
                rate.observe(at, count);
                prop_assert!(rate.per_second().is_none_or(|seen| seen >= 0.0 && seen.is_finite()));
            }
        }
    }
}
