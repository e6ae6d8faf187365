//! From one configuration to the next: definitions that go on, that begin, that end.

use crate::api::{Micros, Settings, Sink, Slot, WindowRule};
use crate::assigner;
use crate::device::Device;
use crate::mutation::Mutant;
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
    window: usize,
    rule: &WindowRule,
    slot: Slot,
    mutant: Mutant,
    sink: &mut impl Sink,
) {
    device.emit_rest(Place { slot, window: window as u16, name: &rule.name, mutant }, sink);
}

/// Gives a device the tracks of the new definitions; those that are not asked for are forgotten.
pub(crate) fn remap(
    device: &mut Device,
    mapping: &[Option<usize>],
    old: Option<&Settings>,
    new: &[WindowRule],
    mutant: Mutant,
) {
    if let Some(old) = old {
        device.raise_floors(&old.windows, mutant);
    }
    let mut tracks: Vec<Option<Track>> = std::mem::take(&mut device.tracks).into_iter().map(Some).collect();
    let clocks = device.clocks;
    device.tracks = mapping
        .iter()
        .zip(new)
        .map(|(from, rule)| {
            let known = from.and_then(|k| tracks.get_mut(k)).and_then(Option::take);
            if let Some(mut track) = known {
                let before = from.and_then(|k| old.and_then(|old| old.windows.get(k)));
                if before.is_some_and(|before| before.early_every != rule.early_every) {
                    restart_early(&mut track, rule.early_every);
                }
                return track;
            }
            let mut track = Track::default();
            if old.is_some() && clocks.started {
                track.not_before = assigner::boundary(rule.assigner, clocks.max_event);
            }
            track
        })
        .collect();
    device.recompute_due(new);
    device.deep = device.tracks.iter().flat_map(|track| &track.panes).filter(|pane| pane.deep).count() as u32;
}

fn restart_early(track: &mut Track, every: Option<Micros>) {
    for pane in &mut track.panes {
        let next = every.map_or(Micros::MAX, |every| pane.start.saturating_add(every));
        pane.set_next_early(next);
    }
}
