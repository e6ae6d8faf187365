//! The rows of a cluster against the committed topics: the same windows and alerts, field for field, and no others.
//!
//! Does not live here: whether the topics are right (`ledger`).

use crate::ledger::{Opened, Place, each, open};
use anyhow::{Context, Result, bail, ensure};
use journal::port::{Journal, TopicPartition};
use schemas::record::{Aggregate, Alert, Audit, EmissionKind};
use schemas::topic::Topic;
use std::collections::{BTreeMap, BTreeSet};
use store::cql::{CqlConfig, CqlStore};
use store::port::{Listed, Page, Span, Store, StoreError};

const PAGE: u32 = 1_000;
/// 1970 to 2200.
const ALWAYS: Span = Span { from: 0, to: 7_258_118_400_000_000 };

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Windows.
    pub windows: usize,
    /// Alerts.
    pub alerts: usize,
    /// Readings that were aggregated, as the last commits say.
    pub aggregated: i64,
}

/// Device, metric, window name.
type Series = (String, String, String);

#[derive(Default)]
struct Expected {
    windows: BTreeMap<Series, BTreeMap<i64, Aggregate>>,
    alerts: BTreeMap<String, BTreeMap<String, Alert>>,
    aggregated: i64,
}

/// Compares everything.
///
/// # Errors
/// The first difference; or when a server or a record refuses.
pub fn compare(place: &Place, node: &str, keyspace: &str) -> Result<Compared> {
    let opened = open(place)?;
    let expected = expected(&opened)?;
    opened.journal.close();
    let config = CqlConfig { create: false, ..CqlConfig::new(vec![node.to_owned()], keyspace) };
    let store = CqlStore::open(config)?;
    let mut compared = Compared { aggregated: expected.aggregated, ..Compared::default() };
    let devices: BTreeSet<&String> =
        expected.windows.keys().map(|(device, ..)| device).chain(expected.alerts.keys()).collect();
    for (series, rows) in &expected.windows {
        let (device, metric, window) = series;
        let found = all(|page| store.windows(device, metric, window, ALWAYS, page))?;
        same(&format!("{series:?}"), rows.values().rev(), &found)?;
        compared.windows += found.len();
    }
    for device in devices {
        let mut found = all(|page| store.alerts(Some(device), ALWAYS, page))?;
        found.sort_by(|one, other| one.id.cmp(&other.id));
        let rows = expected.alerts.get(device);
        same(&format!("alerts of {device}"), rows.into_iter().flat_map(BTreeMap::values), &found)?;
        compared.alerts += found.len();
    }
    // Rows of series that nobody expects would not be found above.
    let counted = store.count()?;
    ensure!(
        counted.windows == compared.windows as u64 && counted.alerts == compared.alerts as u64,
        "the store has {counted:?}, {compared:?} are in the topics"
    );
    Ok(compared)
}

/// What a sink that has written everything leaves behind: of each row the last write by write clock.
fn expected(opened: &Opened) -> Result<Expected> {
    let mut expected = Expected::default();
    for partition in 0..opened.journal.partitions() {
        let mut rows = Vec::new();
        decoded(opened, TopicPartition { topic: Topic::Aggregates, partition }, &mut rows)?;
        for row in rows {
            let row: Aggregate = row;
            let series = (row.device_id.clone(), row.metric.clone(), row.window.clone());
            let windows = expected.windows.entry(series).or_default();
            match windows.get(&row.start) {
                Some(before) if before.write_clock > row.write_clock => {}
                _ => drop(windows.insert(row.start, row)),
            }
        }
        let mut alerts: Vec<Alert> = Vec::new();
        decoded(opened, TopicPartition { topic: Topic::Alerts, partition }, &mut alerts)?;
        for alert in alerts {
            let of_device = expected.alerts.entry(alert.device_id.clone()).or_default();
            let doubled = of_device.insert(alert.id.clone(), alert);
            ensure!(doubled.is_none(), "there twice: {doubled:?}");
        }
        let mut audits: Vec<Audit> = Vec::new();
        decoded(opened, TopicPartition { topic: Topic::Audit, partition }, &mut audits)?;
        expected.aggregated += audits.last().map_or(0, |last| last.totals.aggregated);
    }
    for windows in expected.windows.values_mut() {
        windows.retain(|_, row| row.kind != EmissionKind::Retracted);
    }
    Ok(expected)
}

fn decoded<T: schemas::contract::Contract>(
    opened: &Opened,
    of: TopicPartition,
    into: &mut Vec<T>,
) -> Result<()> {
    let mut trouble = None;
    each(opened, of, &mut |record| match opened.codec.decode::<T>(record.value) {
        Ok(value) => into.push(value),
        Err(error) => trouble = Some(format!("{of:?} at {}: {error}", record.offset)),
    })?;
    trouble.map_or(Ok(()), |why| bail!(why))
}

fn all<T>(ask: impl Fn(&Page) -> Result<Listed<T>, StoreError>) -> Result<Vec<T>> {
    let (mut items, mut cursor) = (Vec::new(), None);
    loop {
        let page = ask(&Page { limit: PAGE, cursor })?;
        items.extend(page.items);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(items),
        }
    }
}

fn same<'a, T: PartialEq + std::fmt::Debug + 'a>(
    what: &str,
    expected: impl Iterator<Item = &'a T>,
    found: &[T],
) -> Result<()> {
    let expected: Vec<&T> = expected.collect();
    let different =
        (0..found.len().max(expected.len())).find(|at| found.get(*at) != expected.get(*at).copied());
    let Some(at) = different else { return Ok(()) };
    Err(anyhow::anyhow!("{:?} instead of {:?}", found.get(at), expected.get(at)))
        .with_context(|| format!("{what}: {} rows stored, {} committed", found.len(), expected.len()))
}
