//! What models said of single rows: sampled scores of the versions that serve, and of those that look on.

use crate::Micros;

/// One sampled score.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Key.
    pub device_id: String,
    /// Name of the model.
    pub model: String,
    /// Digest of the version, hexadecimal.
    pub version: String,
    /// The model's first input metric.
    pub metric: String,
    /// Event time of the reading, or start of the window.
    pub event_time: Micros,
    /// Raw value of that metric, before calibration; of a window the model's first feature.
    pub value: Option<f64>,
    /// The score.
    pub score: f64,
    /// Threshold in force.
    pub threshold: f64,
    /// The model was still warming up.
    pub warm_up: bool,
    /// Offset of the reading in `iot.raw`, or of the record that closed the window.
    pub source_offset: i64,
    /// Receipt time of that record.
    pub received_at: Micros,
    /// Window definition's name, for scores of windows.
    pub window: Option<String>,
    /// First instant after the window.
    pub window_end: Option<Micros>,
    /// See [`super::Aggregate::write_clock`].
    pub write_clock: Micros,
}

/// A sampled score of a version on trial that did not serve, in `iot.shadow`.
#[derive(Clone, Debug, PartialEq)]
pub struct Shadow {
    /// Key.
    pub device_id: String,
    /// Name of the model.
    pub model: String,
    /// Digest of the version that looked on, hexadecimal.
    pub version: String,
    /// The model's first input metric.
    pub metric: String,
    /// Event time of the reading, or start of the window.
    pub event_time: Micros,
    /// Raw value of that metric, before calibration; of a window the model's first feature.
    pub value: Option<f64>,
    /// Its score.
    pub score: f64,
    /// Its threshold.
    pub threshold: f64,
    /// It was still warming up.
    pub warm_up: bool,
    /// Score of the version that served; absent: it had none.
    pub served_score: Option<f64>,
    /// Offset of the reading in `iot.raw`, or of the record that closed the window.
    pub source_offset: i64,
    /// Receipt time of that record.
    pub received_at: Micros,
    /// Window definition's name, for scores of windows.
    pub window: Option<String>,
    /// First instant after the window.
    pub window_end: Option<Micros>,
    /// See [`super::Aggregate::write_clock`].
    pub write_clock: Micros,
}
