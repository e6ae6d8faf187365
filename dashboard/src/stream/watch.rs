//! Finding out what is new: told by the sink in the same process, or by asking the store.

use super::Hub;
use crate::rows;
use chassis::BoxError;
use chassis::shutdown::{Phase, Shutdown};
use schemas::Micros;
use schemas::record::Alert;
use serde_json::json;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use store::feed::Feed;
use store::port::{Page, Span, Store, StoreError, StoreTotals, Write};
use tokio::sync::broadcast::error::RecvError;

/// Device ids in one `stored` event; more are only hinted at.
const DEVICES_MAX: usize = 200;
/// How often `stored` is told at most.
const STORED_EVERY: Duration = Duration::from_millis(500);
/// Newest alerts looked at by a poll, and ids remembered.
const POLLED_ALERTS: u32 = 100;
const REMEMBERED_MAX: usize = 4 * POLLED_ALERTS as usize;

/// Feeds the hub until the shutdown begins.
pub(crate) async fn watch(
    hub: Arc<Hub>,
    store: Arc<dyn Store>,
    feed: Option<Feed>,
    shutdown: Shutdown,
    poll_every: Duration,
) -> Result<(), BoxError> {
    tokio::select! {
        () = shutdown.reached(Phase::StopIntake) => {}
        () = async {
            match feed {
                Some(feed) => listen(&hub, &feed).await,
                None => poll(&hub, store, poll_every).await,
            }
        } => {}
    }
    Ok(())
}

/// What one `stored` event will say.
#[derive(Default)]
struct Stored {
    devices: BTreeSet<String>,
    more: bool,
    rows: u64,
}

impl Stored {
    fn add(&mut self, device: &str) {
        self.rows += 1;
        if self.devices.len() < DEVICES_MAX {
            self.devices.insert(device.to_owned());
        } else if !self.devices.contains(device) {
            self.more = true;
        }
    }

    fn tell(&mut self, hub: &Hub) {
        let Self { devices, more, rows } = std::mem::take(self);
        if rows > 0 || more {
            hub.tell("stored", &json!({ "devices": devices, "more": more, "rows": rows }));
        }
    }
}

async fn listen(hub: &Hub, feed: &Feed) {
    let mut told = feed.listen();
    let mut stored = Stored::default();
    let mut tick = tokio::time::interval(STORED_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => stored.tell(hub),
            writes = told.recv() => match writes {
                Ok(writes) => writes.iter().for_each(|write| match write {
                    Write::Alert(row) => {
                        hub.tell("alert", &rows::alert(row));
                        stored.add(&row.device_id);
                    }
                    Write::Aggregate(row) => stored.add(&row.device_id),
                    Write::Score(row) => stored.add(&row.device_id),
                    Write::Device(row) => stored.add(&row.device.device_id),
                }),
                Err(RecvError::Lagged(batches)) => {
                    tracing::debug!(batches, "the event stream fell behind the sink");
                    hub.tell("gap", &json!({}));
                }
                Err(RecvError::Closed) => return,
            },
        }
    }
}

/// What the last poll found.
struct Polled {
    totals: Option<StoreTotals>,
    remembered: VecDeque<String>,
}

async fn poll(hub: &Hub, store: Arc<dyn Store>, every: Duration) {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before: Option<Polled> = None;
    let mut failing = false;
    loop {
        tick.tick().await;
        let (asked, last) = (Arc::clone(&store), before.as_ref().and_then(|polled| polled.totals));
        let found = tokio::task::spawn_blocking(move || ask(&*asked, last)).await;
        match found {
            Ok(Ok(None)) => failing = false,
            Ok(Ok(Some((totals, alerts)))) => {
                failing = false;
                before = Some(compare(hub, before.take(), totals, &alerts));
            }
            Ok(Err(error)) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "the store could not be asked for news; trying again");
                }
            }
            Err(error) => tracing::error!(%error, "asking the store for news failed"),
        }
    }
}

type News = Option<(Option<StoreTotals>, Vec<Alert>)>;

/// The newest alerts, when anything has changed since `last`. A row that was only replaced changes no total: its
/// page asks again by itself. A store that keeps no totals cannot say: then anything may have changed.
fn ask(store: &dyn Store, last: Option<StoreTotals>) -> Result<News, StoreError> {
    let totals = store.totals()?;
    if totals.is_some() && totals == last {
        return Ok(None);
    }
    let always = Span { from: Micros::MIN, to: Micros::MAX };
    let alerts = store.alerts(None, always, &Page { limit: POLLED_ALERTS, cursor: None })?;
    Ok(Some((totals, alerts.items)))
}

/// Tells what is new since `before`; at the first time everything is old.
fn compare(hub: &Hub, before: Option<Polled>, totals: Option<StoreTotals>, alerts: &[Alert]) -> Polled {
    let first = before.is_none();
    let mut remembered = before.map(|polled| polled.remembered).unwrap_or_default();
    for alert in alerts.iter().rev() {
        let key = format!("{} {}", alert.device_id, alert.id);
        if remembered.contains(&key) {
            continue;
        }
        if !first {
            hub.tell("alert", &rows::alert(alert));
        }
        if remembered.len() == REMEMBERED_MAX {
            remembered.pop_front();
        }
        remembered.push_back(key);
    }
    if !first {
        // Which devices the rows belong to is not known from outside.
        hub.tell("stored", &json!({ "devices": [], "more": true, "rows": 0 }));
    }
    Polled { totals, remembered }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DashboardConfig;
    use store::conformance::alert;

    fn hub() -> Arc<Hub> {
        Hub::new(&DashboardConfig::default(), 7)
    }

    #[test]
    fn an_event_names_so_many_devices_and_hints_at_the_others() {
        let mut stored = Stored::default();
        for number in 0..DEVICES_MAX {
            stored.add(&format!("d{number}"));
        }
        stored.add("d0");
        assert_eq!((stored.devices.len(), stored.more, stored.rows), (DEVICES_MAX, false, 201));
        stored.add("one more");
        assert_eq!((stored.devices.len(), stored.more, stored.rows), (DEVICES_MAX, true, 202));
    }

    #[tokio::test]
    async fn a_stream_that_fell_behind_the_sink_says_so() {
        let (hub, feed) = (hub(), Feed::default());
        let (its_hub, its_feed) = (Arc::clone(&hub), feed.clone());
        let listening = tokio::spawn(async move { listen(&its_hub, &its_feed).await });
        tokio::task::yield_now().await;
        // On one thread: it hears nothing until all of this has been told.
        for number in 0..100 {
            feed.tell(&[Write::Alert(alert("d", &format!("0-{number}-0"), number, 1))]);
        }
        let mut last = hub.last.subscribe();
        tokio::time::timeout(Duration::from_secs(20), last.wait_for(|number| *number > 0))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(hub.after(0).unwrap().0.name, "gap");
        listening.abort();
    }

    #[test]
    fn what_was_told_is_remembered_within_bounds() {
        let mut polled = compare(&hub(), None, None, &[]);
        for round in 0..6 {
            let alerts: Vec<Alert> =
                (0..100).map(|i| alert("d", &format!("0-{round}-{i}"), round * 100 + i, 1)).collect();
            polled = compare(&hub(), Some(polled), None, &alerts);
        }
        assert_eq!(polled.remembered.len(), REMEMBERED_MAX);
    }
}
