//! Waits between attempts: doubling, with jitter so that several sinks do not come back in step.

use std::time::Duration;

/// The next wait of a series of attempts.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    /// `seed` tells instances apart.
    pub(crate) fn new(min: Duration, max: Duration, seed: &str) -> Self {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        let random = seed.bytes().fold(u64::from(std::process::id()) | 1 << 40, mix) | 1;
        Self { min, max, next: min, random }
    }

    /// It worked: the next series begins with the shortest wait.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }

    /// Half of the current wait, and a random part of the other half.
    pub(crate) fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        // Marsaglia's xorshift64: good enough to keep instances apart.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = u32::try_from(self.random % 1_024).unwrap_or(0);
        whole / 2 + whole / 2 / 1_024 * share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_the_bound_and_differ_between_instances() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(2));
        let waits = |seed| {
            let mut backoff = Backoff::new(min, max, seed);
            (0..12).map(|_| backoff.wait()).collect::<Vec<_>>()
        };
        let mut whole = min;
        for wait in waits("a") {
            assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
            whole = (whole * 2).min(max);
        }
        assert_ne!(waits("a"), waits("b"));
        let mut backoff = Backoff::new(min, max, "a");
        for _ in 0..9 {
            let _ = backoff.wait();
        }
        backoff.reset();
        assert!(backoff.wait() <= min);
    }
}
