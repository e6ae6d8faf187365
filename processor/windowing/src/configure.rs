//! From one configuration to the next: definitions that go on, that begin, that end.

use crate::api::{Micros, Settings, Sink, Slot, WindowRule};
use crate::assigner;
use crate::device::{Device, tracks};
use crate::mutation::Mutant;
use crate::shelf::Shelf;
use crate::track::{Place, Track};

/// Where each new definition's tracks come from: the old definition's index, or none for a new one.
pub(crate) fn mapping(old: &[WindowRule], new: &[WindowRule]) -> Vec<Option<usize>> {
    let mut used = vec![false; old.len()];
    new.iter()
        .map(|rule| {
            let same =
                |k: &usize| !used[*k] && old[*k].name == rule.name && old[*k].assigner == rule.assigner;
            let from = (0..old.len()).find(same);
            if let Some(k) = from {
                used[k] = true;
            }
            from
        })
        .collect()
}

/// Emits what is left of a removed definition.
pub(crate) fn close(
    device: &mut Device,
    shelf: &mut Shelf,
    window: usize,
    rule: &WindowRule,
    slot: Slot,
    mutant: Mutant,
    sink: &mut impl Sink,
) {
    device.emit_rest(shelf, Place { slot, window: window as u16, name: &rule.name, mutant }, sink);
}

/// Gives a device the tracks of the new definitions; those that are not asked for are forgotten.
pub(crate) fn remap(
    device: &mut Device,
    shelf: &mut Shelf,
    mapping: &[Option<usize>],
    old: Option<&Settings>,
    new: &[WindowRule],
    mutant: Mutant,
) {
    if let Some(old) = old {
        device.raise_floors(&old.windows, mutant);
    }
    let mut before: Vec<Option<Track>> = std::mem::take(&mut device.tracks).into_iter().map(Some).collect();
    let clocks = device.clocks;
    device.tracks = tracks(mapping.len().min(new.len()), |k| {
        let (from, rule) = (mapping[k], &new[k]);
        let known = from.and_then(|k| before.get_mut(k)).and_then(Option::take);
        if let Some(track) = known {
            let rule_before = from.and_then(|k| old.and_then(|old| old.windows.get(k)));
            if rule_before.is_some_and(|before| before.early_every != rule.early_every) {
                restart_early(&track, shelf, rule.early_every);
            }
            return track;
        }
        let mut track = Track::default();
        if old.is_some() && clocks.started {
            track.not_before = assigner::boundary(rule.assigner, clocks.max_event);
        }
        track
    });
    for mut gone in before.into_iter().flatten() {
        gone.clear(shelf);
    }
    device.recompute_due(shelf, new);
    let panes = device.tracks.iter().flat_map(|track| track.all(shelf));
    device.deep = panes.filter(|pane| pane.deep()).count() as u32;
}

fn restart_early(track: &Track, shelf: &mut Shelf, every: Option<Micros>) {
    for spot in &track.panes {
        let pane = &mut shelf[*spot];
        let next = every.map_or(Micros::MAX, |every| pane.start.saturating_add(every));
        pane.set_next_early(next);
    }
}
