//! The event stream: alerts as they are stored, and that something was stored.
//!
//! Events: `alert` (an alert as `/v1/alerts` gives it), `stored` (`{"devices": [ids], "more": bool, "rows": n}`:
//! these devices have new rows; `more`: others may, too), `gap` (events were missed: ask the lists again).
//! Ids are `START-NUMBER`; a client that comes back with the last one gets what followed it, or a `gap`.
//!
//! Invariants: one ring of the last events serves all clients; a slow client skips with a `gap` and never holds
//! anything up; every stream ends when the shutdown begins.

mod watch;

pub(crate) use watch::watch;

use crate::config::DashboardConfig;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chassis::shutdown::{Phase, Shutdown};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch as signal;

/// The last events, and who waits for the next.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Tells one start of the program from another: numbers begin again.
    start: i64,
    events_max: usize,
    ring: Mutex<Ring>,
    last: signal::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    /// Number of the newest event; they count from 1.
    last: u64,
    events: VecDeque<Arc<Told>>,
}

#[derive(Debug)]
struct Told {
    number: u64,
    name: &'static str,
    text: String,
}

impl Hub {
    pub(crate) fn new(config: &DashboardConfig, start: i64) -> Arc<Self> {
        let events_max = config.stream_events_max as usize;
        Arc::new(Self { start, events_max, ring: Mutex::default(), last: signal::Sender::new(0) })
    }

    /// Tells every client.
    pub(crate) fn tell(&self, name: &'static str, value: &Value) {
        let mut ring = self.lock();
        ring.last += 1;
        let number = ring.last;
        if ring.events.len() == self.events_max {
            ring.events.pop_front();
        }
        ring.events.push_back(Arc::new(Told { number, name, text: value.to_string() }));
        drop(ring);
        self.last.send_replace(number);
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The event after `number`, and whether some between were missed.
    fn after(&self, number: u64) -> Option<(Arc<Told>, bool)> {
        let ring = self.lock();
        let first = ring.events.front()?.number;
        if number >= ring.last {
            return None;
        }
        let wanted = number + 1;
        let index = usize::try_from(wanted.saturating_sub(first)).ok()?;
        ring.events.get(index).map(|event| (Arc::clone(event), first > wanted))
    }

    /// Where a client goes on, and whether it must be told of a gap first.
    fn resume(&self, last_id: Option<&str>) -> (u64, bool) {
        let newest = self.lock().last;
        let Some(id) = last_id else { return (newest, false) };
        let number = id.split_once('-').and_then(|(start, number)| {
            let same = start.parse::<i64>().ok()? == self.start;
            number.parse::<u64>().ok().filter(|number| same && *number <= newest)
        });
        number.map_or((newest, true), |number| (number, false))
    }

    fn event(&self, told: &Told) -> Event {
        Event::default().id(format!("{}-{}", self.start, told.number)).event(told.name).data(&told.text)
    }

    fn gap(&self, number: u64) -> Event {
        Event::default().id(format!("{}-{number}", self.start)).event("gap").data("{}")
    }
}

/// One client's stream; `place` is given back at its end.
pub(crate) fn response(
    hub: &Arc<Hub>,
    last_id: Option<&str>,
    place: OwnedSemaphorePermit,
    shutdown: Shutdown,
    heartbeat: Duration,
) -> Response {
    let (number, gap) = hub.resume(last_id);
    // The first bytes go out at once, so that a client knows that it is connected.
    let opening = Event::default().comment("connected").retry(Duration::from_secs(2));
    let opening = std::iter::once(opening).chain(gap.then(|| hub.gap(number)));
    let client =
        Client { hub: Arc::clone(hub), changed: hub.last.subscribe(), number, queued: None, _place: place };
    let events = stream::iter(opening)
        .chain(stream::unfold(client, |mut client| async move {
            let event = client.next().await?;
            Some((event, client))
        }))
        .map(Ok::<_, Infallible>)
        .take_until(async move { shutdown.reached(Phase::StopIntake).await });
    let keep_alive = KeepAlive::new().interval(heartbeat).text("heartbeat");
    Sse::new(events).keep_alive(keep_alive).into_response()
}

struct Client {
    hub: Arc<Hub>,
    changed: signal::Receiver<u64>,
    /// Of the last event given to it.
    number: u64,
    /// Comes after a gap.
    queued: Option<Event>,
    _place: OwnedSemaphorePermit,
}

impl Client {
    async fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.queued.take() {
            return Some(event);
        }
        loop {
            self.changed.borrow_and_update();
            if let Some((told, missed)) = self.hub.after(self.number) {
                self.number = told.number;
                let event = self.hub.event(&told);
                if missed {
                    self.queued = Some(event);
                    return Some(self.hub.gap(told.number - 1));
                }
                return Some(event);
            }
            self.changed.changed().await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(events_max: u32) -> Arc<Hub> {
        Hub::new(&DashboardConfig { stream_events_max: events_max, ..DashboardConfig::default() }, 7)
    }

    #[test]
    fn a_client_goes_on_where_it_was_or_is_told_of_a_gap() {
        let hub = hub(3);
        assert_eq!(hub.resume(None), (0, false));
        for number in 0..5 {
            hub.tell("alert", &number.into());
        }
        assert_eq!(hub.resume(None), (5, false), "a new client starts with what comes");
        assert_eq!(hub.resume(Some("7-4")), (4, false));
        for other in ["6-4", "7-6", "7", "", "7-x"] {
            assert_eq!(hub.resume(Some(other)), (5, true), "{other}");
        }
        let (event, missed) = hub.after(4).unwrap();
        assert_eq!((event.number, event.text.as_str(), missed), (5, "4", false));
        let (event, missed) = hub.after(2).unwrap();
        assert_eq!((event.number, missed), (3, false), "2 was the last that fell out");
        let (event, missed) = hub.after(1).unwrap();
        assert_eq!((event.number, missed), (3, true), "2 fell out before it was seen");
        assert!(hub.after(5).is_none());
    }
}
