//! `[dashboard]`: where to listen, and the bounds of pages, queries and streams.

use chassis::config::Problems;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// `[dashboard]` as written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RawDashboard {
    /// Address and port.
    pub listen: Option<String>,
    /// Items of a page when the caller does not say.
    pub page_items: Option<u32>,
    /// Items of a page at most.
    pub page_items_max: Option<u32>,
    /// Queries answered at the same time; others wait for their turn.
    pub queries_max: Option<u32>,
    /// Longest wait for a turn.
    pub query_wait_max: Option<String>,
    /// Open event streams.
    pub streams_max: Option<u32>,
    /// Events kept for a stream that is slow, or comes back.
    pub stream_events_max: Option<u32>,
    /// A stream says something at least so often.
    pub heartbeat: Option<String>,
    /// How often the store is asked for news when the sink runs elsewhere.
    pub poll_every: Option<String>,
}

/// Resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct DashboardConfig {
    /// See [`RawDashboard`], as the others.
    pub listen: SocketAddr,
    /// Default page.
    pub page_items: u32,
    /// Largest page.
    pub page_items_max: u32,
    /// Queries at the same time.
    pub queries_max: u32,
    /// Wait for a turn.
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub query_wait_max: Duration,
    /// Streams at the same time.
    pub streams_max: u32,
    /// Events kept.
    pub stream_events_max: u32,
    /// Silence at most.
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub heartbeat: Duration,
    /// Between polls.
    #[serde(serialize_with = "chassis::config::printed::duration")]
    pub poll_every: Duration,
}

impl Default for DashboardConfig {
    fn default() -> Self {
        RawDashboard::default().resolve("dashboard", &mut Problems::default())
    }
}

impl RawDashboard {
    /// Checks and resolves. Whether the address may be open is [`chassis::auth::Keys::check_address`]'s to say.
    pub fn resolve(self, at: &str, problems: &mut Problems) -> DashboardConfig {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        let listen = self.listen.as_deref().map_or(Ok(local), str::parse).unwrap_or_else(|_| {
            problems.add(format!("{at}.listen"), "is not an address with a port, like 127.0.0.1:8080");
            local
        });
        let mut bounded = |name: &str, value: Option<u32>, default: u32, max: u32| {
            let value = value.unwrap_or(default);
            if !(1..=max).contains(&value) {
                problems.add(format!("{at}.{name}"), format!("{value} is not between 1 and {max}"));
            }
            value.clamp(1, max)
        };
        let page_items_max = bounded("page-items-max", self.page_items_max, 1_000, 10_000);
        let page_items = bounded("page-items", self.page_items, page_items_max.min(100), page_items_max);
        let queries_max = bounded("queries-max", self.queries_max, 16, 256);
        let streams_max = bounded("streams-max", self.streams_max, 64, 512);
        let stream_events_max = bounded("stream-events-max", self.stream_events_max, 512, 65_536);
        let mut duration = |name: &str, text: Option<String>, default: Duration| {
            let value = problems.duration(&format!("{at}.{name}"), text.as_deref(), default);
            if value.is_zero() {
                problems.add(format!("{at}.{name}"), "is zero");
                return default;
            }
            value
        };
        let query_wait_max = duration("query-wait-max", self.query_wait_max, Duration::from_secs(5));
        let heartbeat = duration("heartbeat", self.heartbeat, Duration::from_secs(15));
        let poll_every = duration("poll-every", self.poll_every, Duration::from_secs(1));
        DashboardConfig {
            listen,
            page_items,
            page_items_max,
            queries_max,
            query_wait_max,
            streams_max,
            stream_events_max,
            heartbeat,
            poll_every,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sound_and_mistakes_are_named_together() {
        let mut problems = Problems::default();
        let config = RawDashboard::default().resolve("dashboard", &mut problems);
        assert!(problems.list().is_empty() && config.listen.ip().is_loopback());
        let raw = RawDashboard {
            listen: Some("here".to_owned()),
            page_items: Some(0),
            heartbeat: Some("0s".to_owned()),
            ..RawDashboard::default()
        };
        raw.resolve("dashboard", &mut problems);
        let keys: Vec<&str> = problems.list().iter().map(|problem| problem.key.as_str()).collect();
        assert_eq!(keys, ["dashboard.listen", "dashboard.page-items", "dashboard.heartbeat"]);
    }
}
