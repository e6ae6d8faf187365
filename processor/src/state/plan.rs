//! What to do with readings of one layout: found out once, for all devices that send the same names in the same order.
//! It saves look-ups and decides nothing.
//!
//! Invariant: a plan is a function of its layout, of the rules it belongs to and of the names there were when it was
//! made; with more names it is made anew.

use super::names::Names;
use super::rules::Rules;
use schemas::usual::Layout;
use std::sync::Arc;
use windowing::api::Metric;

/// Plans kept: as many layouts as the decoders of a worker keep.
const KEPT_MAX: usize = 16;

/// A measurement that something may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its place in the reading.
    pub(crate) place: usize,
    pub(crate) how: How,
}

/// Who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Windows, by name.
    Named(Metric),
    /// Windows if the device counts it among its own, else perhaps filters or models.
    Own { metric: Metric, watched: bool },
    /// Windows if it gets a number.
    New,
    /// Filters or models alone.
    Watched(Metric),
}

#[derive(Debug)]
struct Plan {
    layout: Arc<Layout>,
    /// Names there were.
    names: usize,
    wanted: Vec<Wanted>,
}

/// The plans under one configuration.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    list: Vec<Plan>,
    last: usize,
    oldest: usize,
}

impl Plans {
    /// Makes the plan of a layout the last one.
    #[inline]
    fn find(&mut self, layout: &Arc<Layout>, names: usize) -> bool {
        let is_it = |plan: &Plan| Arc::ptr_eq(&plan.layout, layout) && plan.names == names;
        if self.list.get(self.last).is_some_and(is_it) {
            return true;
        }
        match self.list.iter().position(is_it) {
            Some(at) => {
                self.last = at;
                true
            }
            None => false,
        }
    }

    fn keep(&mut self, plan: Plan) {
        let outdated = self.list.iter().position(|known| Arc::ptr_eq(&known.layout, &plan.layout));
        match outdated {
            Some(at) => self.last = at,
            None if self.list.len() < KEPT_MAX => {
                self.list.push(plan);
                self.last = self.list.len() - 1;
                return;
            }
            None => {
                self.last = self.oldest;
                self.oldest = (self.oldest + 1) % KEPT_MAX;
            }
        }
        self.list[self.last] = plan;
    }
}

impl Rules {
    /// What is wanted of readings with this layout.
    #[inline]
    pub(crate) fn wanted(&mut self, layout: &Arc<Layout>, names: &Names) -> &[Wanted] {
        if !self.plans.find(layout, names.len()) {
            let plan = self.plan(layout, names);
            self.plans.keep(plan);
        }
        &self.plans.list[self.plans.last].wanted
    }

    #[cold]
    fn plan(&self, layout: &Arc<Layout>, names: &Names) -> Plan {
        let wanted = layout.measurements().enumerate().filter_map(|(place, name)| {
            let own = self.per_device_max.is_some();
            let how = match names.known(name) {
                None => own.then_some(How::New)?,
                Some(metric) if self.is_named(metric) => How::Named(metric),
                Some(metric) if own => How::Own { metric, watched: self.is_watched(metric) },
                Some(metric) => self.is_watched(metric).then_some(How::Watched(metric))?,
            };
            Some(Wanted { place, how })
        });
        Plan { layout: Arc::clone(layout), names: names.len(), wanted: wanted.collect() }
    }
}
