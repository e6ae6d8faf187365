//! A log as the windows see it: one step a record. The same driver runs the engine and the model.

use std::collections::BTreeMap;
use std::fmt;

use windowing::api::{
    DeviceLimit, DeviceState, Metric, Micros, Observation, Overrides, PaneLimit, Scored, Sequence, Settings,
    Slot, Taken, Value,
};
use windowing::partition::Partition;

use super::rows::{Event, Events};

/// A log, one line a record when it is printed.
#[derive(Clone)]
pub(crate) struct History(pub(crate) Vec<Step>);

impl fmt::Debug for History {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to)?;
        for (offset, step) in self.0.iter().enumerate() {
            writeln!(to, "{offset}: @{} {:?}", step.receipt, step.what)?;
        }
        Ok(())
    }
}

/// One record.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// As the journal says it; may go back.
    pub(crate) receipt: Micros,
    pub(crate) what: What,
}

/// What the record says.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Tick,
    Reading(Reading),
    End(Option<&'static str>),
    Overrides(&'static str, Overrides),
    Configure(Box<Settings>),
}

/// One reading.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) device: &'static str,
    pub(crate) event_time: Micros,
    /// Metric, value, scores.
    pub(crate) values: Vec<(u16, Option<f64>, Vec<Scored>)>,
    /// Boot and number.
    pub(crate) seq: Option<(Option<&'static str>, i64)>,
}

impl What {
    /// The device that the record is about.
    pub(crate) fn device(&self) -> Option<&'static str> {
        match self {
            Self::Reading(Reading { device, .. }) | Self::Overrides(device, _) => Some(device),
            Self::End(device) => *device,
            Self::Tick | Self::Configure(_) => None,
        }
    }
}

/// Which device has which slot, as far as the records tell.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<u32, &'static str>);

impl Names {
    /// The events of a record with the devices they are about. A slot may be free and taken again in one record.
    pub(crate) fn of(
        &mut self,
        partition: &Partition,
        step: &Step,
        events: Vec<Event>,
    ) -> Vec<(&'static str, Event)> {
        let own = step.what.device().unwrap_or("");
        let mut named = Vec::new();
        for event in events {
            let device = match &event {
                Event::Row(row) => self.0.get(&row.slot).copied().unwrap_or(own),
                Event::Evicted(slot, _) => self.0.remove(slot).unwrap_or(own),
                _ => own,
            };
            named.push((device, event));
        }
        if let Some(slot) = partition.find(own) {
            self.0.insert(slot.0, own);
        }
        named
    }
}

/// What both can be asked.
pub(crate) trait Windows {
    fn advance(&mut self, receipt: Micros, events: &mut Events);
    fn locate(&mut self, device: &str, receipt: Micros) -> Result<Slot, DeviceLimit>;
    fn find(&self, device: &str) -> Option<Slot>;
    fn sequence(&self, slot: Slot, boot: Option<&str>, seq: i64, event_time: Micros) -> Sequence;
    fn mark(&mut self, slot: Slot, boot: Option<&str>, seq: i64, event_time: Micros);
    fn observe(
        &mut self,
        slot: Slot,
        reading: &Observation<'_>,
        events: &mut Events,
    ) -> Result<Taken, PaneLimit>;
    fn end(&mut self, slot: Option<Slot>, events: &mut Events);
    fn set_overrides(&mut self, slot: Slot, overrides: Overrides);
    fn configure(&mut self, settings: Settings, receipt: Micros, events: &mut Events);
    fn panes(&self) -> u32;
    fn next_deadline(&self) -> Option<Micros>;
    fn next_eviction(&self) -> Option<Micros>;
    fn explain(&self, slot: Slot) -> DeviceState;
}

impl Windows for Partition {
    fn advance(&mut self, receipt: Micros, events: &mut Events) {
        self.advance(receipt, events);
    }
    fn locate(&mut self, device: &str, receipt: Micros) -> Result<Slot, DeviceLimit> {
        self.locate(device, receipt)
    }
    fn find(&self, device: &str) -> Option<Slot> {
        self.find(device)
    }
    fn sequence(&self, slot: Slot, boot: Option<&str>, seq: i64, event_time: Micros) -> Sequence {
        self.sequence(slot, boot, seq, event_time)
    }
    fn mark(&mut self, slot: Slot, boot: Option<&str>, seq: i64, event_time: Micros) {
        self.mark(slot, boot, seq, event_time);
    }
    fn observe(
        &mut self,
        slot: Slot,
        reading: &Observation<'_>,
        events: &mut Events,
    ) -> Result<Taken, PaneLimit> {
        self.observe(slot, reading, events)
    }
    fn end(&mut self, slot: Option<Slot>, events: &mut Events) {
        self.end(slot, events);
    }
    fn set_overrides(&mut self, slot: Slot, overrides: Overrides) {
        self.set_overrides(slot, overrides);
    }
    fn configure(&mut self, settings: Settings, receipt: Micros, events: &mut Events) {
        self.configure(settings, receipt, events);
    }
    fn panes(&self) -> u32 {
        self.panes()
    }
    fn next_deadline(&self) -> Option<Micros> {
        self.next_deadline()
    }
    fn next_eviction(&self) -> Option<Micros> {
        self.next_eviction()
    }
    fn explain(&self, slot: Slot) -> DeviceState {
        self.explain(slot)
    }
}

/// Applies one record; what came of it.
pub(crate) fn apply(windows: &mut impl Windows, offset: i64, step: &Step) -> Vec<Event> {
    let mut events = Events::default();
    windows.advance(step.receipt, &mut events);
    match &step.what {
        What::Tick => {}
        What::Reading(reading) => read(windows, offset, step.receipt, reading, &mut events),
        What::End(None) => windows.end(None, &mut events),
        What::End(Some(device)) => {
            if let Some(slot) = windows.find(device) {
                windows.end(Some(slot), &mut events);
            }
        }
        What::Overrides(device, overrides) => match windows.locate(device, step.receipt) {
            Ok(slot) => windows.set_overrides(slot, *overrides),
            Err(limit) => events.0.push(Event::DeviceLimit(limit.0)),
        },
        What::Configure(settings) => {
            windows.configure(settings.as_ref().clone(), step.receipt, &mut events);
        }
    }
    events.0
}

fn read(windows: &mut impl Windows, offset: i64, receipt: Micros, reading: &Reading, events: &mut Events) {
    let slot = match windows.locate(reading.device, receipt) {
        Ok(slot) => slot,
        Err(limit) => return events.0.push(Event::DeviceLimit(limit.0)),
    };
    if let Some((boot, seq)) = reading.seq {
        let seen = windows.sequence(slot, boot, seq, reading.event_time);
        events.0.push(Event::Seen(seen));
        if seen == Sequence::Duplicate {
            // The caller drops it; marking it once more must change nothing.
            return windows.mark(slot, boot, seq, reading.event_time);
        }
    }
    let value = |(metric, value, scores): &'_ (u16, Option<f64>, Vec<Scored>)| {
        (Metric(*metric), *value, scores.clone())
    };
    let owned: Vec<_> = reading.values.iter().map(value).collect();
    let values: Vec<Value<'_>> = owned
        .iter()
        .map(|(metric, value, scores)| Value { metric: *metric, value: *value, scores })
        .collect();
    let observation = Observation { event_time: reading.event_time, offset, values: &values };
    match windows.observe(slot, &observation, events) {
        Err(limit) => events.0.push(Event::PaneLimit(limit.0)),
        Ok(taken) => {
            let late = taken.panes == 0 && !taken.refused.is_empty();
            if let Some((boot, seq)) = reading.seq.filter(|_| !late) {
                windows.mark(slot, boot, seq, reading.event_time);
            }
            events.0.push(Event::Taken(taken));
        }
    }
}
