//! Which models a reading is for: the conditions of each that are not about its metrics.
//!
//! What counts is what is in force when the reading is judged: its own tags, else those of its device's metadata. All
//! models whose conditions hold score it.

use crate::state::PartitionState;
use schemas::view::ReadingView;
use windowing::api::Slot;

impl PartitionState {
    /// Finds out which models a reading is not for, by index; nothing when each is for every reading.
    pub(super) fn route(&mut self, slot: Slot, view: &ReadingView<'_>) {
        let without = &mut self.queue.without;
        without.clear();
        let set = self.lane.models();
        if !set.has_routes() {
            return;
        }
        let device = self.core.fleet.entry(slot).current();
        let value_of = |tag: &str| {
            let own = view.tags().find(|(name, _)| *name == tag).map(|(_, value)| value);
            own.or_else(|| device?.record.tags.get(tag).map(String::as_str))
        };
        let takes = |route: &schemas::pipeline::Route| {
            route.is_open() || route.takes_device(view.device_id()) && route.takes_tags(value_of)
        };
        without.extend(set.models().map(|model| !takes(&model.route)));
    }
}
