//! Every metric that is ours, by name. Names are public interface: base units, the unit last, `_total` on counters.
//! Cardinality never grows with devices. What a label may be stands in the help text.

use metrics::Unit;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// A distribution.
    Histogram,
}

/// One entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Name as scraped.
    pub name: &'static str,
    /// Kind.
    pub kind: Kind,
    /// Unit.
    pub unit: Unit,
    /// What it says.
    pub help: &'static str,
}

macro_rules! catalogue {
    ($($ident:ident = $kind:ident $unit:ident $name:literal $help:literal;)+) => {
        $(#[doc = $help] pub const $ident: &str = $name;)+
        /// Every entry.
        pub const CATALOGUE: &[Entry] =
            &[$(Entry { name: $name, kind: Kind::$kind, unit: Unit::$unit, help: $help },)+];
    };
}

catalogue! {
    // The books.
    READINGS_TOTAL = Counter Count "highwater_readings_total"
        "Readings by stage (ingest, processor) and outcome: received, accepted, rejected, returned; aggregated, \
         filtered, duplicate, late, rejected.";
    READINGS_IN_FLIGHT = Gauge Count "highwater_readings_in_flight"
        "Readings received by a stage that have no outcome yet, measured by itself.";
    BOOKS_DIFFERENCE = Gauge Count "highwater_books_difference_readings"
        "Received minus all outcomes minus what waits inside, by stage: anything but 0 is a fault.";
    REJECTED_TOTAL = Counter Count "highwater_rejected_total"
        "Rejected records by stage and reason; each is also a dead letter.";
    // Listeners.
    HTTP_REQUESTS_TOTAL = Counter Count "highwater_http_requests_total"
        "Requests by listener and status code.";
    HTTP_REQUEST_SECONDS = Histogram Seconds "highwater_http_request_seconds"
        "From a request's head to its answer's head, by listener.";
    HTTP_CONNECTIONS = Gauge Count "highwater_http_connections"
        "Open connections by listener.";
    HTTP_CONNECTIONS_CLOSED_TOTAL = Counter Count "highwater_http_connections_closed_total"
        "Connections that we closed, by listener and reason: full, evicted, slow-headers, aborted, panicked.";
    AUTH_DENIED_TOTAL = Counter Count "highwater_auth_denied_total"
        "Requests without a key that opens the role asked for, by role.";
    // Ingest.
    INGEST_BODY_BYTES = Gauge Bytes "highwater_ingest_body_in_flight_bytes"
        "Bytes admitted for request bodies and their decompression.";
    INGEST_BACK_PRESSURE_TOTAL = Counter Count "highwater_ingest_back_pressure_total"
        "Requests turned away before anything was written, by cause: bodies, queue, journal, stopping.";
    INGEST_APPEND_SECONDS = Histogram Seconds "highwater_ingest_append_seconds"
        "From handing records to the journal to their durability.";
    INGEST_BATCH_RECORDS = Histogram Count "highwater_ingest_batch_records"
        "Readings of a request.";
    // Processor.
    PARTITIONS = Gauge Count "highwater_partitions"
        "Partitions held by this process, by state: starting, recovering, ok, degraded, blocked, quarantined.";
    COMMITS_TOTAL = Counter Count "highwater_commits_total"
        "Commits of the processor.";
    COMMIT_RECORDS_TOTAL = Counter Count "highwater_commit_records_total"
        "Result records committed by the processor.";
    COMMITS_FAILED_TOTAL = Counter Count "highwater_commits_failed_total"
        "Commits that the journal did not take at once; each is sent again from its buffer.";
    TICKS_TOTAL = Counter Count "highwater_ticks_total"
        "Tick records written because a timer was due in silence.";
    DEVICES = Gauge Count "highwater_devices"
        "Devices held, by partition.";
    PANES = Gauge Count "highwater_panes"
        "Panes held, by partition.";
    LATE_PARTIAL_READINGS = Gauge Count "highwater_late_partial_readings"
        "Readings refused by some of their windows and taken by others, by partition; outside the books' sum.";
    BEYOND_HORIZON_READINGS = Gauge Count "highwater_beyond_horizon_readings"
        "Readings whose sequence number lies below the horizon of duplicates, by partition; taken, outside the sum.";
    UNNAMED_VALUES = Gauge Count "highwater_unnamed_values"
        "Values left out because their device has as many metrics as it may, by partition; outside the sum.";
    LOST_OFFSETS = Gauge Count "highwater_lost_offsets"
        "Offsets that retention deleted before they were read, by partition; anything but 0 is data lost.";
    LOST_RECORDS_TOTAL = Counter Count "highwater_lost_records_total"
        "The same, since this process started.";
    SINCE_SNAPSHOT_RECORDS = Gauge Count "highwater_since_snapshot_records"
        "Records folded since the last snapshot, by partition: what a restart folds again.";
    SNAPSHOT_BYTES_TOTAL = Counter Bytes "highwater_snapshot_bytes_total"
        "Bytes of snapshots written.";
    SNAPSHOTS_FAILED_TOTAL = Counter Count "highwater_snapshots_failed_total"
        "Snapshots that could not be written; the one before stays in force.";
    REFOLD_DIFFERS_TOTAL = Counter Count "highwater_refold_differs_total"
        "Partitions whose re-fold did not give what had been committed: quarantined, or degraded after another build.";
    BOOKS_BALANCED = Gauge Count "highwater_books_balanced"
        "1 when every line of the books of this process balances, else 0.";
    // Backlog, by group, topic and partition.
    LAG_RECORDS = Gauge Count "highwater_lag_records"
        "Records behind the committed position.";
    LAG_SECONDS = Gauge Seconds "highwater_lag_seconds"
        "Age of the oldest record behind the committed position.";
    LAG_STATE = Gauge Count "highwater_lag_state"
        "1 for the state the partition is in, 0 for the others, by state.";
    ARRIVAL_RATE = Gauge Count "highwater_arrival_records_per_second"
        "Records appended.";
    SERVICE_RATE = Gauge Count "highwater_service_records_per_second"
        "Records worked off.";
    PROGRESS_AGE_SECONDS = Gauge Seconds "highwater_progress_age_seconds"
        "Since the committed position moved, or there was nothing to do.";
    RECORDS_LOST = Gauge Count "highwater_records_lost"
        "Records that retention deleted before the group read them.";
    // The same under names that existing dashboards know; label cluster_name is `embedded`.
    KAFKA_GROUP_OFFSET = Gauge Count "kafka_consumergroup_group_offset"
        "Committed offset.";
    KAFKA_GROUP_LAG = Gauge Count "kafka_consumergroup_group_lag"
        "As highwater_lag_records.";
    KAFKA_GROUP_LAG_SECONDS = Gauge Seconds "kafka_consumergroup_group_lag_seconds"
        "As highwater_lag_seconds.";
    KAFKA_GROUP_TOPIC_SUM = Gauge Count "kafka_consumergroup_group_topic_sum_lag"
        "Sum over a topic's partitions.";
    KAFKA_GROUP_SUM = Gauge Count "kafka_consumergroup_group_sum_lag"
        "Sum over a group's partitions.";
    KAFKA_GROUP_MAX = Gauge Count "kafka_consumergroup_group_max_lag"
        "Greatest of a group's partitions.";
    KAFKA_GROUP_MAX_SECONDS = Gauge Seconds "kafka_consumergroup_group_max_lag_seconds"
        "Greatest of a group's partitions, in seconds.";
    KAFKA_LATEST_OFFSET = Gauge Count "kafka_partition_latest_offset"
        "End of a partition's log.";
    KAFKA_EARLIEST_OFFSET = Gauge Count "kafka_partition_earliest_offset"
        "First offset of a partition that is kept.";
    // Sink.
    SINK_ROWS_TOTAL = Counter Count "highwater_sink_rows_total"
        "Rows written to the store, by table.";
    SINK_WRITE_SECONDS = Histogram Seconds "highwater_sink_write_seconds"
        "Duration of a batch's write to the store.";
    FRESHNESS_SECONDS = Histogram Seconds "highwater_freshness_seconds"
        "From a result's last contribution to its row in the store; stage is `stored`.";
    // The clients of Kafka, as librdkafka measures them: by client (appender, committer, or a group) and broker.
    KAFKA_RTT_P99_SECONDS = Gauge Seconds "highwater_kafka_rtt_p99_seconds"
        "Time from a request to its answer, 99th percentile of the last interval, by client and broker; a fetch waits \
         for records.";
    KAFKA_THROTTLE_P99_SECONDS = Gauge Seconds "highwater_kafka_throttle_p99_seconds"
        "How long a broker made a client wait for its quota, 99th percentile of the last interval, by client and broker.";
    KAFKA_WAITING_REQUESTS = Gauge Count "highwater_kafka_waiting_requests"
        "Requests that wait to be sent or to be answered, by client.";
    KAFKA_QUEUED_RECORDS = Gauge Count "highwater_kafka_queued_records"
        "Records of a producer that wait to be sent or to be acknowledged, by client.";
    KAFKA_RETRIES_TOTAL = Counter Count "highwater_kafka_request_retries_total"
        "Requests sent again by librdkafka, by client.";
    KAFKA_TIMEOUTS_TOTAL = Counter Count "highwater_kafka_request_timeouts_total"
        "Requests that were not answered in time, by client.";
    KAFKA_ABORTED_TOTAL = Counter Count "highwater_kafka_transactions_aborted_total"
        "Transactions that were not committed; what they held is sent again.";
    KAFKA_RENEWED_TOTAL = Counter Count "highwater_kafka_producers_renewed_total"
        "Producers that took over from the one before: after a failure, or after a commit so slow that it may have been \
         sent twice.";
    // The store, where it is a cluster.
    STORE_REQUESTS_TOTAL = Counter Count "highwater_store_requests_total"
        "Requests to write sent to the cluster, the repeated ones included.";
    STORE_REPEATS_TOTAL = Counter Count "highwater_store_repeats_total"
        "Requests to write that were sent again.";
    STORE_FAILURES_TOTAL = Counter Count "highwater_store_failures_total"
        "Requests to write that failed, by class: overload (refused, or not in time), passing, fatal.";
    STORE_CONCURRENCY = Gauge Count "highwater_store_concurrency_allowed"
        "Requests that may be on the way to the cluster at once now.";
    // Models, as this process runs them.
    MODEL_CALLS_TOTAL = Counter Count "highwater_model_calls_total"
        "Calls of a model, by model and model_version; a batch in which a row fails takes several.";
    MODEL_ROWS_TOTAL = Counter Count "highwater_model_rows_total"
        "Rows of a model, by model, model_version and outcome: scored, declined, out-of-fuel, trap, fault, invalid-output, left-out (it had failed too often).";
    MODEL_ALERTS_TOTAL = Counter Count "highwater_model_alerts_total"
        "Scores at or above the model's threshold, by model and model_version.";
    MODEL_BUSY_TOTAL = Counter Nanoseconds "highwater_model_busy_nanoseconds_total"
        "Time that workers spent in a model, starting its instances included, by model and model_version.";
    MODEL_FUEL_TOTAL = Counter Count "highwater_model_fuel_total"
        "Fuel used by calls that succeeded, by model and model_version.";
    MODEL_INSTANCES_TOTAL = Counter Count "highwater_model_instances_started_total"
        "Instances of a model started, by model and model_version: a new one after every failed call, and when memory grows.";
    MODEL_BRAKES_TOTAL = Counter Count "highwater_model_brakes_total"
        "Calls stopped by the emergency brake, without a verdict, by model and model_version.";
    MODEL_HALVED_TOTAL = Counter Count "highwater_model_halved_batches_total"
        "Batches cut in two because a row failed or the fuel of one row did not do, by model and model_version.";
    MODEL_SAID_DROPPED_TOTAL = Counter Count "highwater_model_said_dropped_total"
        "Log lines and gauges of a model that were not kept, by model and model_version.";
    MODEL_MEMORY_PEAK_BYTES = Gauge Bytes "highwater_model_memory_peak_bytes"
        "Greatest linear memory of an instance of a model, by model, model_version and partition.";
    SCORING_FAILED_BATCHES_TOTAL = Counter Count "highwater_scoring_failed_batches_total"
        "Rows on which a model failed, put together for a file, by outcome: saved, dropped (enough of them, too large, or not written).";
}

/// Tells the installed recorder what each entry means.
pub(super) fn describe() {
    for entry in CATALOGUE {
        match entry.kind {
            Kind::Counter => metrics::describe_counter!(entry.name, entry.unit, entry.help),
            Kind::Gauge => metrics::describe_gauge!(entry.name, entry.unit, entry.help),
            Kind::Histogram => metrics::describe_histogram!(entry.name, entry.unit, entry.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let mut names: Vec<&str> = CATALOGUE.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
        for entry in CATALOGUE {
            let known = entry.name.starts_with("highwater_") || entry.name.starts_with("kafka_");
            assert!(known, "{}", entry.name);
            assert_eq!(entry.name.ends_with("_total"), entry.kind == Kind::Counter, "{}", entry.name);
            assert!(entry.help.ends_with('.'), "{}", entry.name);
        }
    }
}
