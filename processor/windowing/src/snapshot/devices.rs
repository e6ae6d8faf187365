//! One device with its clocks, panes, seals and boots.
//!
//! Invariant: what is loaded keeps the invariants of [`crate::track`], [`crate::pane`], [`crate::seal`],
//! [`crate::session`] and [`crate::sequence`], or it is refused.

use super::wire::{Reader, Writer};
use crate::accumulator::Acc;
use crate::api::{Assigner, LoadError, Metric, Overrides, ScoreStats, Settings, WindowRule};
use crate::device::{Device, tracks};
use crate::pane::{NEVER, Pane, Series};
use crate::seal::Seals;
use crate::sequence::{Bits, Boot, Boots};
use crate::shelf::Shelf;
use crate::slices::{Slice, Slices};
use crate::track::Track;

pub(super) fn save(device: &Device, shelf: &Shelf, to: &mut Writer<'_>) {
    to.text(device.id.as_str());
    let clocks = &device.clocks;
    to.flag(clocks.started);
    for time in [clocks.max_event, clocks.seen_at, clocks.last_receipt, clocks.created_at] {
        to.int(time);
    }
    to.maybe(device.overrides.as_deref(), |to, own| {
        for time in [own.disorder, own.quiet_after, own.lateness, own.settle] {
            to.maybe(time, Writer::int);
        }
    });
    to.list(device.boots.list(), save_boot);
    for track in &device.tracks {
        save_track(track, shelf, to);
    }
}

pub(super) fn load(
    from: &mut Reader<'_>,
    settings: &Settings,
    shelf: &mut Shelf,
) -> Result<Device, LoadError> {
    let id = from.text()?;
    let mut device = Device::new(id, 0, 0);
    device.clocks.started = from.flag()?;
    device.clocks.max_event = from.int()?;
    device.clocks.seen_at = from.int()?;
    device.clocks.last_receipt = from.int()?;
    device.clocks.created_at = from.int()?;
    device.overrides = from.maybe(load_overrides)?.map(Box::new);
    device.boots =
        Boots::restore(from.list(load_boot)?).ok_or(LoadError::Damaged("boots contradict each other"))?;
    let mut tracks = tracks(settings.windows.len(), |_| Track::default());
    for (track, rule) in tracks.iter_mut().zip(&settings.windows) {
        *track = load_track(from, rule, shelf)?;
    }
    let panes = || tracks.iter().flat_map(|track: &Track| track.all(shelf));
    if !device.clocks.started && panes().next().is_some() {
        return Err(LoadError::Damaged("a pane without a reading"));
    }
    device.deep = panes().filter(|pane| pane.deep()).count() as u32;
    device.tracks = tracks;
    device.recompute_due(shelf, &settings.windows);
    Ok(device)
}

fn load_overrides(from: &mut Reader<'_>) -> Result<Overrides, LoadError> {
    Ok(Overrides {
        disorder: from.maybe(Reader::int)?,
        quiet_after: from.maybe(Reader::int)?,
        lateness: from.maybe(Reader::int)?,
        settle: from.maybe(Reader::int)?,
    })
}

fn save_boot(to: &mut Writer<'_>, boot: &Boot) {
    to.maybe(boot.id(), Writer::text);
    to.int(boot.greatest());
    to.int(boot.newest());
    boot.bits().iter().for_each(|word| to.unsigned(*word));
}

fn load_boot(from: &mut Reader<'_>) -> Result<Boot, LoadError> {
    let id = from.maybe(|from| from.text().map(Into::into))?;
    let (greatest, newest) = (from.int()?, from.int()?);
    let mut bits = Bits::default();
    for word in &mut bits {
        *word = from.unsigned()?;
    }
    Ok(Boot::restore(id, greatest, newest, bits))
}

fn save_track(track: &Track, shelf: &Shelf, to: &mut Writer<'_>) {
    to.int(track.floor);
    to.int(track.not_before);
    to.list(track.seals.list(), |to, (start, end)| {
        to.int(*start);
        to.int(*end);
    });
    to.list(&track.newest, |to, (metric, start)| {
        to.unsigned(metric.0.into());
        to.int(*start);
    });
    to.list(&track.panes, |to, spot| save_pane(to, &shelf[*spot]));
    to.list(track.slices.as_deref().map_or(&[], |slices| &slices.list), |to, slice| {
        to.int(slice.start);
        to.list(&slice.metrics, |to, (metric, acc)| {
            to.unsigned(metric.0.into());
            save_acc(to, acc);
        });
    });
}

fn load_track(from: &mut Reader<'_>, rule: &WindowRule, shelf: &mut Shelf) -> Result<Track, LoadError> {
    let mut track = Track { floor: from.int()?, not_before: from.int()?, ..Track::default() };
    let seals = from.list(|from| Ok((from.int()?, from.int()?)))?;
    track.seals = Seals::restore(seals).ok_or(LoadError::Damaged("seals out of order"))?;
    track.newest = from.list(|from| Ok((Metric(from.small()?), from.int()?)))?.into_iter().collect();
    let panes = from.list(load_pane)?;
    let session = matches!(rule.assigner, Assigner::Session { .. });
    let ordered =
        |pair: &[Pane]| pair[0].start < pair[1].start && (!session || pair[0].end() <= pair[1].start);
    if !panes.windows(2).all(ordered) || panes.iter().any(|pane| pane.start > pane.end()) {
        return Err(LoadError::Damaged("panes out of order"));
    }
    track.panes = panes.into_iter().map(|pane| shelf.put(pane)).collect();
    let list = from.list(|from| {
        let start = from.int()?;
        let metrics = from.list(|from| Ok((Metric(from.small()?), load_acc(from)?)))?;
        Ok(Slice { start, metrics })
    })?;
    if !list.windows(2).all(|pair| pair[0].start < pair[1].start) {
        return Err(LoadError::Damaged("slices out of order"));
    }
    if matches!(rule.assigner, Assigner::Hopping { .. }) {
        track.slices = Some(Box::new(Slices { list }));
    } else if !list.is_empty() {
        return Err(LoadError::Damaged("slices of windows that do not overlap"));
    }
    Ok(track)
}

const LIVE: u8 = 1;
const COMPLETED: u8 = 2;
const WAITING: u8 = 4;
const DEEP: u8 = 8;
const HELD: u8 = 16;

fn save_pane(to: &mut Writer<'_>, pane: &Pane) {
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    to.byte(
        bit(pane.live(), LIVE)
            | bit(pane.completed(), COMPLETED)
            | bit(pane.waiting(), WAITING)
            | bit(pane.deep(), DEEP)
            | bit(pane.held_at().is_some(), HELD),
    );
    to.int(pane.start);
    to.int(pane.end().wrapping_sub(pane.start));
    to.int(pane.contributed_at);
    to.unsigned(pane.readings());
    to.int(pane.next_early());
    // What it was before only matters while something waits.
    to.int(if pane.waiting() { pane.first_waiting() } else { 0 });
    if let Some(at) = pane.held_at() {
        to.int(at);
    }
    to.len(pane.accumulators() as usize);
    pane.series().for_each(|series| save_series(to, series));
}

fn load_pane(from: &mut Reader<'_>) -> Result<Pane, LoadError> {
    let flags = from.byte()?;
    let start = from.int()?;
    let end = start.wrapping_add(from.int()?);
    let mut pane = Pane::open(start, end, Metric(0));
    let (live, waiting, deep) = (flags & LIVE != 0, flags & WAITING != 0, flags & DEEP != 0);
    let held = flags & HELD != 0;
    if flags > LIVE + COMPLETED + WAITING + DEEP + HELD
        || (live && waiting)
        || (deep && !waiting)
        || (held && (live || deep))
    {
        return Err(LoadError::Damaged("a pane in two phases"));
    }
    pane.set_live(live);
    pane.set_completed(flags & COMPLETED != 0);
    pane.set_deep(deep);
    pane.contributed_at = from.int()?;
    let readings = from.unsigned()?;
    let (next_early, first_waiting) = (from.int()?, from.int()?);
    let held_at = if held { from.int()? } else { NEVER };
    if held && held_at == NEVER {
        return Err(LoadError::Damaged("held for ever"));
    }
    let series = from.list(load_series)?;
    for (k, one) in series.iter().enumerate() {
        if series[..k].iter().any(|other| other.metric == one.metric) {
            return Err(LoadError::Damaged("two series of one metric"));
        }
    }
    if series.is_empty() {
        return Err(LoadError::Damaged("a pane without a series"));
    }
    pane.set_series(series);
    pane.set_next_early(next_early);
    if waiting {
        pane.wait_since(first_waiting);
    }
    if held {
        pane.hold(held_at);
    }
    pane.set_readings(readings);
    Ok(pane)
}

fn save_series(to: &mut Writer<'_>, series: &Series) {
    to.unsigned(series.metric.into());
    to.flag(series.changed);
    to.unsigned(series.revision.into());
    save_acc(to, &series.acc);
}

fn load_series(from: &mut Reader<'_>) -> Result<Series, LoadError> {
    let mut series = Series::of(Metric(from.small()?));
    (series.changed, series.revision) = (from.flag()?, from.small()?);
    series.acc = load_acc(from)?;
    Ok(series)
}

fn save_acc(to: &mut Writer<'_>, acc: &Acc) {
    to.unsigned(acc.count());
    to.unsigned(acc.nulls());
    if acc.count() > 0 {
        for number in [acc.sum, acc.min, acc.max, acc.first, acc.last, acc.mean, acc.m2] {
            to.float(number);
        }
        to.int(acc.first_at);
        to.int(acc.last_at);
    }
    to.list(acc.scores(), |to, scores| {
        to.unsigned(scores.count);
        to.float(scores.mean);
        to.float(scores.max);
        to.unsigned(scores.alerts);
        to.unsigned(scores.failed);
    });
}

fn load_acc(from: &mut Reader<'_>) -> Result<Acc, LoadError> {
    let mut acc = Acc::default();
    let (count, nulls) = (from.unsigned()?, from.unsigned()?);
    acc.set_counts(count, nulls);
    if acc.count() > 0 {
        for number in [
            &mut acc.sum,
            &mut acc.min,
            &mut acc.max,
            &mut acc.first,
            &mut acc.last,
            &mut acc.mean,
            &mut acc.m2,
        ] {
            *number = from.float()?;
        }
        acc.first_at = from.int()?;
        acc.last_at = from.int()?;
    }
    let scores = from.list(|from| {
        Ok(ScoreStats {
            count: from.unsigned()?,
            mean: from.float()?,
            max: from.float()?,
            alerts: from.unsigned()?,
            failed: from.unsigned()?,
        })
    })?;
    acc.set_scores(scores);
    Ok(acc)
}
