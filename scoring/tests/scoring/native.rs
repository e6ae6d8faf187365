//! The shipped EWMA model written a second time, from its documentation, as plain Rust.

#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) alpha: f64,
    pub(crate) warm_up_rows: u32,
    pub(crate) trigger: f64,
    pub(crate) refractory_rows: u32,
    pub(crate) sigma_min: f64,
    pub(crate) sigma_min_ratio: f64,
}

impl Settings {
    pub(crate) const DEFAULT: Self = Self {
        alpha: 0.01,
        warm_up_rows: 100,
        trigger: 5.0,
        refractory_rows: 100,
        sigma_min: 0.0,
        sigma_min_ratio: 0.001,
    };

    pub(crate) fn json(&self) -> String {
        format!(
            r#"{{"alpha": {}, "warm-up-rows": {}, "trigger": {}, "refractory-rows": {}, "sigma-min": {}, "sigma-min-ratio": {}}}"#,
            self.alpha,
            self.warm_up_rows,
            self.trigger,
            self.refractory_rows,
            self.sigma_min,
            self.sigma_min_ratio
        )
    }
}

#[derive(Clone, Copy, Default)]
pub(crate) struct Series {
    mean: f64,
    variance: f64,
    seen: u32,
    quiet: u32,
}

impl Series {
    /// The score, and whether the series was still warming up.
    pub(crate) fn observe(&mut self, value: f64, settings: &Settings) -> (f64, bool) {
        let value = if value > 1e150 { 1e150 } else { value };
        let value = if value < -1e150 { -1e150 } else { value };
        let mut sigma = self.variance.sqrt();
        for floor in [settings.sigma_min, settings.sigma_min_ratio * self.mean.abs()] {
            if sigma < floor {
                sigma = floor;
            }
        }
        let difference = value - self.mean;
        let mut score = if self.seen == 0 || difference == 0.0 { 0.0 } else { difference.abs() / sigma };
        if score > 1000.0 {
            score = 1000.0;
        }
        let warming = self.seen < settings.warm_up_rows;
        let plain = 1.0 / (f64::from(self.seen) + 1.0);
        let weight = if plain > settings.alpha { plain } else { settings.alpha };
        self.mean += weight * difference;
        self.variance = (1.0 - weight) * (self.variance + difference * (weight * difference));
        self.seen += 1;
        if self.quiet > 0 {
            self.quiet -= 1;
            return (score.min(settings.trigger / 2.0), warming);
        }
        if !warming && score >= settings.trigger {
            self.quiet = settings.refractory_rows;
        }
        (score, warming)
    }
}
