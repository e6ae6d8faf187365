//! Handing the state of a model's version over to another one beside it: as it is where both mean the same by such
//! bytes, else translated by the new version (`upgrade-state`), else not at all, and its series warm up.
//!
//! Does not live here: whose state stays with whom when models are put in force (`lane`).
//!
//! Invariants:
//! * Whether a state is translated, and into what, follows from the bytes and the versions alone.
//! * A series that was never seen is never shown to a translator: it stays unseen.

use crate::lane::{Braked, Lane};
use crate::loader::{Loaded, ModelSet, Role};
use crate::slab::Slab;
use scoring_host::{CallError, Session, StateId};
use std::collections::BTreeMap;

/// Series translated in one call.
const SERIES_MAX: usize = 1_024;

/// What versions to come made of the state of those beside them; for [`Lane::configure`].
#[derive(Debug, Default)]
pub struct Translated {
    /// By version; the slabs as [`Loaded::streams`] has them.
    slabs: BTreeMap<[u8; 32], Vec<Slab>>,
}

/// A version that hands over, and one that is new, by index.
struct Pair {
    from: usize,
    to: usize,
}

/// The pairs of a set of which one version is known.
fn pairs(set: &[Loaded], known: impl Fn(&[u8; 32]) -> bool) -> Vec<Pair> {
    let beside = |champion: usize| {
        let (Role::Champion(_), challenger) = (set[champion].info.role, champion + 1) else { return None };
        match (known(&set[champion].version), known(&set[challenger].version)) {
            (true, false) => Some(Pair { from: champion, to: challenger }),
            (false, true) => Some(Pair { from: challenger, to: champion }),
            _ => None,
        }
    };
    (0..set.len().saturating_sub(1)).filter_map(beside).collect()
}

/// Whether the bytes of one mean the same to the other.
fn same(from: &Loaded, to: &Loaded) -> bool {
    let (source, target) = (from.plugin.descriptor(), to.plugin.descriptor());
    source.state == target.state && source.stride == target.stride
}

impl Lane {
    /// Lets versions that are new in a set translate the state of those that are in force. Flush first.
    ///
    /// # Errors
    /// [`Braked`], and nothing has changed.
    pub fn translate(&self, set: &ModelSet) -> Result<Translated, Braked> {
        let mut translated = Translated::default();
        let loaded = set.loaded();
        for Pair { from, to } in pairs(loaded, |version| self.knows(version)) {
            let (source, target) = (&loaded[from], &loaded[to]);
            let state = &source.plugin.descriptor().state;
            if same(source, target) || !target.plugin.descriptor().accepts.contains(state) {
                continue;
            }
            let slabs = source.streams.iter().map(|stream| self.state_for(source, stream));
            let slabs = slabs.map(|slab| slab.map_or_else(|| Slab::new(source.info.stride), Slab::clone));
            if let Some(slabs) = upgraded(target, state, slabs.collect())? {
                translated.slabs.insert(target.version, slabs);
            }
        }
        Ok(translated)
    }

    /// Gives versions that are new what they take over of those beside them.
    pub(crate) fn hand_over(&mut self, known: &dyn Fn(&[u8; 32]) -> bool, mut translated: Translated) {
        let set = self.models().clone();
        let loaded = set.loaded();
        for Pair { from, to } in pairs(loaded, known) {
            if same(&loaded[from], &loaded[to]) {
                let given = self.slabs(from).to_vec();
                self.slabs_mut(to).clone_from_slice(&given);
            } else if let Some(slabs) = translated.slabs.remove(&loaded[to].version) {
                // Devices may have been forgotten since.
                let slots = |slab: &Slab| slab.seen().map(|(slot, _)| slot).collect::<Vec<_>>();
                let seen: Vec<Vec<u32>> = self.slabs(from).iter().map(slots).collect();
                for ((slab, slots), own) in slabs.iter().zip(seen).zip(self.slabs_mut(to)) {
                    for slot in slots {
                        let mut bytes = Vec::with_capacity(slab.stride());
                        slab.gather(slot, &mut bytes);
                        own.scatter(slot, &bytes);
                    }
                }
            }
        }
    }
}

/// What a version makes of another one's state; none: it could not.
fn upgraded(target: &Loaded, source: &StateId, slabs: Vec<Slab>) -> Result<Option<Vec<Slab>>, Braked> {
    let mut session = Session::new(target.plugin.clone());
    let mut upgraded = Vec::with_capacity(slabs.len());
    for slab in slabs {
        let seen: Vec<(u32, &[u8])> = slab.seen().collect();
        let mut own = Slab::new(target.info.stride);
        for series in seen.chunks(SERIES_MAX) {
            let state: Vec<u8> = series.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
            let fuel = target.fuel_per_row.saturating_mul(series.len() as u64);
            let slots = u32::try_from(series.len()).unwrap_or(u32::MAX);
            match session.upgrade_state(source, slots, &state, fuel) {
                Ok(state) => {
                    for ((slot, _), bytes) in series.iter().zip(state.chunks_exact(target.info.stride.max(1)))
                    {
                        own.scatter(*slot, bytes);
                    }
                }
                Err(CallError::Braked(reason)) => {
                    let (model, version) = (target.info.name.clone(), target.info.version.clone());
                    return Err(Braked { model, version, reason });
                }
                Err(why @ CallError::Failed { .. }) => {
                    let (model, version) = (&target.info.name, &target.info.version);
                    tracing::warn!(model, version, %why, "the state was not handed over: its series warm up");
                    return Ok(None);
                }
            }
        }
        upgraded.push(own);
    }
    Ok(Some(upgraded))
}
