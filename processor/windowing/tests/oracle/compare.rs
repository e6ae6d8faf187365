//! The engine against the slow model, record by record.

use std::fmt;

use windowing::api::Micros;
use windowing::mutation::Mutation;
use windowing::partition::Partition;

use super::history::{History, What, Windows, apply};
use super::model::Model;
use super::moves::DEVICES;
use super::rows::Event;

/// What comes of every record, and how things stand afterwards, by the model.
pub(crate) fn expected(history: &History) -> Vec<Vec<Event>> {
    let mut model = Model::new();
    history.0.iter().enumerate().map(|(offset, step)| apply(&mut model, offset as i64, step)).collect()
}

/// By the engine.
pub(crate) fn actual(history: &History, mutation: Option<Mutation>) -> Vec<Vec<Event>> {
    let mut partition = Partition::new().with_mutation(mutation);
    history.0.iter().enumerate().map(|(offset, step)| apply(&mut partition, offset as i64, step)).collect()
}

/// Rows, answers, and everything that can be asked, after every record. The first difference, for people.
pub(crate) fn difference(history: &History) -> Option<String> {
    let mut model = Model::new();
    let mut partition = Partition::new();
    let mut configured = false;
    for (offset, step) in history.0.iter().enumerate() {
        configured |= matches!(step.what, What::Configure(_));
        let expected = apply(&mut model, offset as i64, step);
        let actual = apply(&mut partition, offset as i64, step);
        let told = |what: &str, expected: &dyn fmt::Debug, actual: &dyn fmt::Debug| {
            Some(format!(
                "{what} after record {offset}\nby the rules:  {expected:?}\nby the engine: {actual:?}"
            ))
        };
        if expected != actual {
            let at = expected.iter().zip(&actual).take_while(|(expected, actual)| expected == actual).count();
            return told("events", &Lines(&expected, at), &Lines(&actual, at));
        }
        if !configured {
            continue;
        }
        if model.panes() != Windows::panes(&partition) {
            return told("panes", &model.panes(), &Windows::panes(&partition));
        }
        if model.next_deadline() != Windows::next_deadline(&partition) {
            return told("deadline", &model.next_deadline(), &Windows::next_deadline(&partition));
        }
        if let Some(wrong) = wrong_wake(&mut partition, model.next_deadline(), step.receipt, offset) {
            return told("wake", &model.next_deadline(), &wrong);
        }
        if model.next_eviction() != Windows::next_eviction(&partition) {
            return told("eviction", &model.next_eviction(), &Windows::next_eviction(&partition));
        }
        for device in DEVICES {
            let (known, there) = (model.find(device), Windows::find(&partition, device));
            if known != there {
                return told("slot", &known, &there);
            }
            let Some(slot) = known else { continue };
            let (stands, is) = (model.explain(slot), Windows::explain(&partition, slot));
            if stands != is {
                return told("state", &stands, &is);
            }
        }
    }
    None
}

/// Asks when to look again, at other times before, at and after the deadline, and not after every record: asking must
/// change nothing. What was answered wrongly, and to which question.
fn wrong_wake(
    partition: &mut Partition,
    deadline: Option<Micros>,
    receipt: Micros,
    offset: usize,
) -> Option<(Micros, Option<Micros>)> {
    let near = deadline.unwrap_or(receipt);
    let by = match offset % 6 {
        0 => near.saturating_sub(1),
        1 => near,
        2 => near.saturating_add(1 + offset as Micros),
        3 => receipt,
        4 => receipt.saturating_add(1_000_000 * offset as Micros),
        _ => return None,
    };
    let wake = partition.wake_at(by);
    let right = match deadline {
        Some(deadline) if deadline <= by => wake == Some(deadline),
        Some(deadline) => wake.is_some_and(|wake| by < wake && wake <= deadline),
        None => wake.is_none_or(|wake| wake > by),
    };
    (!right).then_some((by, wake))
}

/// One line an event; the first that differs is marked.
struct Lines<'a>(&'a [Event], usize);

impl fmt::Debug for Lines<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(to)?;
        for (at, event) in self.0.iter().enumerate() {
            writeln!(to, "{} {event:?}", if at == self.1 { '>' } else { ' ' })?;
        }
        Ok(())
    }
}
