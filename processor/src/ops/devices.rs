//! One device's time: its clocks, and why each of its panes is open.

use super::{OpsError, rfc3339, rfc3339_or_null};
use crate::view::{DeviceView, Question, View};
use schemas::Micros;
use serde::Serialize;
use windowing::api::{PaneState, Phase, WindowState};

/// One device, for people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceExplained {
    /// Id.
    pub device_id: String,
    /// Its partition.
    pub partition: u32,
    /// Configuration in force.
    pub generation: i64,
    /// Greatest event time of a reading that was taken.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub max_event: Option<Micros>,
    /// Its clock now: follows its readings and, in silence, runs on.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub clock: Option<Micros>,
    /// Receipt time of its last reading that was taken.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub last_receipt: Option<Micros>,
    /// Running maximum of receipt times of its partition.
    #[serde(serialize_with = "rfc3339")]
    pub receipt_now: Micros,
    /// When it is forgotten if nothing arrives.
    #[serde(serialize_with = "rfc3339")]
    pub forgotten_at: Micros,
    /// By window definition.
    pub windows: Vec<WindowExplained>,
}

/// One window definition of one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WindowExplained {
    /// Its name.
    pub window: String,
    /// Own watermark: readings before it are out of order.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub watermark: Option<Micros>,
    /// Intervals that are complete, published and forgotten: readings in them are late.
    pub sealed: usize,
    /// Open panes, ascending.
    pub panes: Vec<PaneExplained>,
}

/// One open pane.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PaneExplained {
    /// First instant.
    #[serde(serialize_with = "rfc3339")]
    pub start: Micros,
    /// First instant after it.
    #[serde(serialize_with = "rfc3339")]
    pub end: Micros,
    /// Readings in it.
    pub readings: u64,
    /// `live`, `emitted`, `waiting` or `deep`.
    pub phase: &'static str,
    /// Why it is open, in a sentence.
    pub why: String,
    /// Receipt time at which something happens to it if nothing arrives.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub due_at: Option<Micros>,
    /// Metrics: name, revisions emitted, whether something was contributed since.
    pub metrics: Vec<(String, u32, bool)>,
}

/// One device's clock and open panes, asked of its owner.
///
/// # Errors
/// [`OpsError::NotFound`] when no partition of this process knows it.
pub fn explain_device(view: &View, device: &str) -> Result<DeviceExplained, OpsError> {
    let answers = view.ask(|reply| Question::Explain { device: device.to_owned(), reply })?;
    let found = answers.into_iter().flatten().next();
    let found = found.ok_or_else(|| {
        OpsError::NotFound(format!("no partition of this process knows a device `{device}`"))
    })?;
    Ok(explained(found))
}

/// Ids of devices after `after` in alphabetical order, at most so many.
///
/// # Errors
/// When a worker does not answer.
pub fn devices(view: &View, after: &str, limit: usize) -> Result<Vec<String>, OpsError> {
    let lists = view.ask(|reply| Question::Devices { after: after.to_owned(), limit, reply })?;
    let mut ids: Vec<String> = lists.into_iter().flatten().collect();
    ids.sort_unstable();
    ids.truncate(limit);
    Ok(ids)
}

fn explained(view: DeviceView) -> DeviceExplained {
    let DeviceView { partition, windows: state, metrics, last_receipt, receipt_now, generation } = view;
    let window = |window: WindowState| WindowExplained {
        sealed: window.seals.len(),
        panes: window.panes.iter().map(|one| pane(one, window.watermark, &metrics)).collect(),
        watermark: window.watermark,
        window: window.name,
    };
    DeviceExplained {
        device_id: state.device,
        partition,
        generation,
        max_event: state.max_event,
        clock: state.clock,
        last_receipt,
        receipt_now,
        forgotten_at: state.evicted_at,
        windows: state.windows.into_iter().map(window).collect(),
    }
}

fn pane(pane: &PaneState, watermark: Option<Micros>, names: &[String]) -> PaneExplained {
    let (phase, why) = match pane.phase {
        Phase::Live => {
            let missing = watermark.map_or(0, |watermark| pane.end.saturating_sub(watermark));
            let ahead = match missing.max(0).div_euclid(1_000_000) {
                0 => "less than a second".to_owned(),
                seconds => format!("{seconds} s"),
            };
            let why = format!(
                "its end is {ahead} ahead of the device's watermark; a later reading or silence closes it"
            );
            ("live", why)
        }
        Phase::Emitted => {
            ("emitted", "published; it still takes late readings until its lateness is over".to_owned())
        }
        Phase::Held => (
            "held",
            "published; one reading carried the watermark far beyond its end, and it still takes the readings that the \
             device held back"
                .to_owned(),
        ),
        Phase::Waiting => {
            ("waiting", "late readings have come in; a revision is published once they settle".to_owned())
        }
        Phase::Deep => (
            "deep",
            "readings far behind the watermark have opened it; published and dropped once they settle"
                .to_owned(),
        ),
    };
    let name = |metric: usize| names.get(metric).cloned().unwrap_or_default();
    let metrics = pane
        .metrics
        .iter()
        .map(|(metric, revisions, changed)| (name(usize::from(metric.0)), *revisions, *changed));
    PaneExplained {
        start: pane.start,
        end: pane.end,
        readings: pane.readings,
        phase,
        why,
        due_at: pane.due_at,
        metrics: metrics.collect(),
    }
}
