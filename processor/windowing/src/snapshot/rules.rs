//! The configuration in force.

use super::wire::{Reader, Writer};
use crate::api::{Assigner, LoadError, Metric, Settings, WindowRule};

/// Indexes of window definitions are 16 bits.
const WINDOWS_MAX: usize = 1 << 16;

pub(super) fn save(settings: &Settings, to: &mut Writer<'_>) {
    to.list(&settings.windows, |to, rule| save_rule(rule, to));
    to.int(settings.idle_retention);
    to.int(settings.device_retention);
    to.unsigned(settings.devices_max.into());
    to.unsigned(settings.panes_max.into());
    to.unsigned(settings.backfill_panes_max.into());
    to.unsigned(settings.models.into());
}

pub(super) fn load(from: &mut Reader<'_>) -> Result<Settings, LoadError> {
    let windows = from.list(load_rule)?;
    if windows.len() > WINDOWS_MAX {
        return Err(LoadError::Damaged("too many window definitions"));
    }
    Ok(Settings {
        windows,
        idle_retention: from.int()?,
        device_retention: from.int()?,
        devices_max: from.small()?,
        panes_max: from.small()?,
        backfill_panes_max: from.small()?,
        models: from.small()?,
    })
}

fn save_rule(rule: &WindowRule, to: &mut Writer<'_>) {
    to.text(&rule.name);
    let (tag, first, second) = match rule.assigner {
        Assigner::Tumbling { size, offset } => (0, size, offset),
        Assigner::Hopping { size, advance } => (1, size, advance),
        Assigner::Session { gap } => (2, gap, 0),
    };
    to.byte(tag);
    to.int(first);
    to.int(second);
    to.maybe(rule.early_every, Writer::int);
    to.maybe(rule.early_count, Writer::unsigned);
    to.maybe(rule.metrics.as_deref(), |to, metrics| {
        to.list(metrics, |to, metric| to.unsigned(metric.0.into()))
    });
    to.int(rule.disorder);
    to.int(rule.quiet_after);
    to.int(rule.lateness);
    to.int(rule.settle);
}

fn load_rule(from: &mut Reader<'_>) -> Result<WindowRule, LoadError> {
    let name = from.text()?.to_owned();
    let (tag, first, second) = (from.byte()?, from.int()?, from.int()?);
    let assigner = match tag {
        0 => Assigner::Tumbling { size: first, offset: second },
        1 => Assigner::Hopping { size: first, advance: second },
        2 if second == 0 => Assigner::Session { gap: first },
        _ => return Err(LoadError::Damaged("an assigner that does not exist")),
    };
    Ok(WindowRule {
        name,
        assigner,
        early_every: from.maybe(Reader::int)?,
        early_count: from.maybe(Reader::unsigned)?,
        metrics: from.maybe(|from| from.list(|from| from.small().map(Metric)))?,
        disorder: from.int()?,
        quiet_after: from.int()?,
        lateness: from.int()?,
        settle: from.int()?,
    })
}
