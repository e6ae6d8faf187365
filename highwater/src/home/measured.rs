//! What the clients of Kafka and of the store measure, as metrics.
//!
//! Lives here: a small part of librdkafka's statistics, summed up so that labels are bounded: one value for each kind
//! of client, and for each broker where brokers differ. Does not live here: the backlog, which is measured for all
//! groups in one way (`watch`).
//!
//! Invariant: the thread that polls only puts the text down; it is read when the metrics are published.

use super::open::Measured;
use chassis::metrics as names;
use journal::kafka::Statistics;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use store::cql::CqlCounts;

/// Clients whose statistics are kept; more of them are not measured.
const CLIENTS_MAX: usize = 64;

/// The last statistics of each client, by its role, that were not looked at yet.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<BTreeMap<String, String>>>);

impl Told {
    /// Where librdkafka's clients put them.
    pub(crate) fn sink(&self) -> Statistics {
        let told = self.clone();
        Arc::new(move |role, json| {
            let mut told = told.0.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() < CLIENTS_MAX || told.contains_key(role) {
                told.insert(role.to_owned(), json.to_owned());
            }
        })
    }

    fn take(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is read of a client's statistics; times in microseconds, throttling in milliseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Client {
    msg_cnt: u64,
    brokers: BTreeMap<String, Broker>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Broker {
    nodeid: i64,
    outbuf_cnt: i64,
    waitresp_cnt: i64,
    txretries: u64,
    req_timeouts: u64,
    rtt: Spread,
    throttle: Spread,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spread {
    p99: f64,
}

/// Kinds of clients by the role that the journal gives them: what follows the first word names an instance.
fn kind(role: &str) -> &str {
    role.split(' ').next().unwrap_or(role)
}

/// A client's counters as they were; it begins again at 0 when a new one takes the role.
#[derive(Clone, Copy, Default)]
struct Counted {
    retries: u64,
    timeouts: u64,
}

/// What was published, so that the next look adds what has come.
#[derive(Default)]
pub(crate) struct Publisher {
    clients: BTreeMap<String, Counted>,
    store: CqlCounts,
    aborted: u64,
    renewed: u64,
}

fn risen(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

impl Publisher {
    /// Publishes what has come since the last look.
    pub(crate) fn look(&mut self, measured: &Measured) {
        self.kafka(&measured.told.take());
        if let Some(counts) = measured.kafka.as_ref().map(|kafka| kafka.counts()) {
            metrics::counter!(names::KAFKA_ABORTED_TOTAL).increment(risen(counts.aborted, self.aborted));
            metrics::counter!(names::KAFKA_RENEWED_TOTAL).increment(risen(counts.renewed, self.renewed));
            (self.aborted, self.renewed) = (counts.aborted, counts.renewed);
        }
        if let Some(counts) = measured.cql.as_ref().map(|store| store.counts()) {
            self.store(counts);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^52 are shown rounded by any scraper")]
    fn kafka(&mut self, told: &BTreeMap<String, String>) {
        let mut queued: BTreeMap<&str, u64> = BTreeMap::new();
        let mut waiting: BTreeMap<&str, i64> = BTreeMap::new();
        let mut slowest: BTreeMap<(&str, i64), (f64, f64)> = BTreeMap::new();
        for (role, json) in told {
            let Ok(client) = serde_json::from_str::<Client>(json) else {
                tracing::debug!(role, "a client's statistics cannot be read");
                continue;
            };
            let kind = kind(role);
            let mut counted = Counted::default();
            *queued.entry(kind).or_default() += client.msg_cnt;
            for broker in client.brokers.values() {
                counted.retries += broker.txretries;
                counted.timeouts += broker.req_timeouts;
                *waiting.entry(kind).or_default() += (broker.outbuf_cnt + broker.waitresp_cnt).max(0);
                // Below 0: an address of the configuration, or a role that a broker has besides.
                if broker.nodeid >= 0 {
                    let slow = slowest.entry((kind, broker.nodeid)).or_default();
                    *slow = (slow.0.max(broker.rtt.p99 / 1e6), slow.1.max(broker.throttle.p99 / 1e3));
                }
            }
            let before = self.clients.insert(role.clone(), counted).unwrap_or_default();
            let client = kind.to_owned();
            metrics::counter!(names::KAFKA_RETRIES_TOTAL, "client" => client.clone())
                .increment(risen(counted.retries, before.retries));
            metrics::counter!(names::KAFKA_TIMEOUTS_TOTAL, "client" => client)
                .increment(risen(counted.timeouts, before.timeouts));
        }
        for (kind, records) in queued {
            metrics::gauge!(names::KAFKA_QUEUED_RECORDS, "client" => kind.to_owned()).set(records as f64);
        }
        for (kind, requests) in waiting {
            metrics::gauge!(names::KAFKA_WAITING_REQUESTS, "client" => kind.to_owned()).set(requests as f64);
        }
        for ((kind, broker), (rtt, throttle)) in slowest {
            let labels = [("client", kind.to_owned()), ("broker", broker.to_string())];
            metrics::gauge!(names::KAFKA_RTT_P99_SECONDS, &labels).set(rtt);
            metrics::gauge!(names::KAFKA_THROTTLE_P99_SECONDS, &labels).set(throttle);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    fn store(&mut self, now: CqlCounts) {
        let before = std::mem::replace(&mut self.store, now);
        metrics::counter!(names::STORE_REQUESTS_TOTAL).increment(risen(now.requests, before.requests));
        metrics::counter!(names::STORE_REPEATS_TOTAL).increment(risen(now.repeats, before.repeats));
        for (class, now, before) in [
            ("overload", now.overloads, before.overloads),
            ("passing", now.passing, before.passing),
            ("fatal", now.fatal, before.fatal),
        ] {
            metrics::counter!(names::STORE_FAILURES_TOTAL, "class" => class).increment(risen(now, before));
        }
        metrics::gauge!(names::STORE_CONCURRENCY).set(now.concurrency as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kind_of_client_is_one_label_whatever_the_instance_is_called() {
        assert_eq!(kind("committer highwater-processor-a-1"), "committer");
        assert_eq!((kind("highwater-sink host-7"), kind("appender")), ("highwater-sink", "appender"));
    }

    #[test]
    fn a_client_that_began_anew_counts_from_nothing() {
        assert_eq!((risen(7, 5), risen(2, 5), risen(5, 5)), (2, 2, 0));
    }

    #[test]
    fn what_is_read_of_the_statistics_is_where_librdkafka_puts_it() {
        let text = r#"{"name":"a#producer-1","msg_cnt":3,"brokers":{
            "h:1/bootstrap":{"nodeid":-1,"outbuf_cnt":0,"waitresp_cnt":1,"txretries":1,"req_timeouts":0,
                "rtt":{"p99":0,"avg":1},"throttle":{"p99":0}},
            "h:1/1":{"nodeid":1,"outbuf_cnt":2,"waitresp_cnt":4,"txretries":5,"req_timeouts":6,
                "rtt":{"min":1,"p99":2500},"throttle":{"p99":120},"toppars":{}}},"topics":{}}"#;
        let client: Client = serde_json::from_str(text).unwrap();
        let broker = &client.brokers["h:1/1"];
        assert_eq!((client.msg_cnt, client.brokers.len(), broker.nodeid), (3, 2, 1));
        assert_eq!((broker.outbuf_cnt, broker.waitresp_cnt, broker.txretries), (2, 4, 5));
        assert_eq!((broker.req_timeouts, broker.rtt.p99, broker.throttle.p99), (6, 2500.0, 120.0));
    }

    #[test]
    fn statistics_of_no_more_than_so_many_clients_are_kept() {
        let told = Told::default();
        let sink = told.sink();
        for number in 0..=CLIENTS_MAX {
            sink(&format!("committer {number}"), "{}");
            sink("committer 0", "{\"msg_cnt\":1}");
        }
        let kept = told.take();
        assert_eq!((kept.len(), kept["committer 0"].as_str()), (CLIENTS_MAX, "{\"msg_cnt\":1}"));
        assert!(told.take().is_empty());
    }
}
