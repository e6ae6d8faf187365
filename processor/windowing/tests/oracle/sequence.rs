//! Sequence numbers: every number ever marked is kept, and the rules are asked of the list.

use std::collections::BTreeSet;

use windowing::api::{BootState, Micros, Sequence};

const BOOTS_MAX: usize = 4;
const HORIZON: i64 = 1_024;

/// One boot.
#[derive(Clone, Debug)]
struct Boot {
    name: Option<String>,
    marked: BTreeSet<i64>,
    newest: Micros,
}

impl Boot {
    fn greatest(&self) -> i64 {
        *self.marked.last().expect("a boot is remembered by its first number")
    }

    fn ask(&self, seq: i64, event_time: Micros) -> Sequence {
        let below = seq <= self.greatest().saturating_sub(HORIZON);
        let repeated = !below && self.marked.contains(&seq);
        match (below || repeated, event_time > self.newest) {
            (false, _) | (true, true) => Sequence::Fresh,
            (true, false) if repeated => Sequence::Duplicate,
            (true, false) => Sequence::BeyondHorizon,
        }
    }
}

/// All boots of one device, the one marked longest ago first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Boots(Vec<Boot>);

impl Boots {
    pub(crate) fn ask(&self, name: Option<&str>, seq: i64, event_time: Micros) -> Sequence {
        let boot = self.0.iter().find(|boot| boot.name.as_deref() == name);
        boot.map_or(Sequence::Fresh, |boot| boot.ask(seq, event_time))
    }

    pub(crate) fn mark(&mut self, name: Option<&str>, seq: i64, event_time: Micros) {
        let Some(at) = self.0.iter().position(|boot| boot.name.as_deref() == name) else {
            if self.0.len() == BOOTS_MAX {
                self.0.remove(0);
            }
            let name = name.map(str::to_owned);
            self.0.push(Boot { name, marked: BTreeSet::from([seq]), newest: event_time });
            return;
        };
        let mut boot = self.0.remove(at);
        if boot.ask(seq, event_time) == Sequence::Fresh {
            if seq <= boot.greatest().saturating_sub(HORIZON) || boot.marked.contains(&seq) {
                boot.marked.clear();
            }
            boot.marked.insert(seq);
            boot.newest = boot.newest.max(event_time);
        }
        self.0.push(boot);
    }

    pub(crate) fn states(&self) -> Vec<BootState> {
        let state = |boot: &Boot| BootState {
            boot: boot.name.clone(),
            greatest: boot.greatest(),
            newest: boot.newest,
        };
        self.0.iter().map(state).collect()
    }
}
