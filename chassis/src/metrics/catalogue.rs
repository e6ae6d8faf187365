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
        "Readings by stage and outcome: received, accepted, rejected, duplicate, late, filtered, aggregated, written.";
    READINGS_IN_FLIGHT = Gauge Count "highwater_readings_in_flight"
        "Readings received by a stage that have no outcome yet, measured by itself.";
    BOOKS_DIFFERENCE = Gauge Count "highwater_books_difference_readings"
        "Received minus all outcomes minus in flight, by stage: anything but 0 is a fault.";
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
    PROCESSOR_COMMIT_SECONDS = Histogram Seconds "highwater_processor_commit_seconds"
        "Duration of a commit.";
    PROCESSOR_STAGE_SECONDS_TOTAL = Counter Seconds "highwater_processor_stage_seconds_total"
        "Wall time of the poll thread by stage; the shares of all stages sum to 1.";
    PROCESSOR_SNAPSHOT_SECONDS = Histogram Seconds "highwater_processor_snapshot_seconds"
        "Duration of a snapshot.";
    PROCESSOR_SNAPSHOT_BYTES = Histogram Bytes "highwater_processor_snapshot_bytes"
        "Size of a snapshot.";
    PROCESSOR_PARTITIONS = Gauge Count "highwater_processor_partitions"
        "Partitions owned, by state.";
    PROCESSOR_DEVICES = Gauge Count "highwater_processor_devices"
        "Devices held, by partition.";
    PROCESSOR_PANES = Gauge Count "highwater_processor_panes"
        "Panes held, by partition.";
    // Scoring.
    SCORING_ROWS_TOTAL = Counter Count "highwater_scoring_rows_total"
        "Rows given to models, by model and outcome: scored, failed.";
    SCORING_CALL_SECONDS = Histogram Seconds "highwater_scoring_call_seconds"
        "Duration of a call into a model, by model.";
    // Sink.
    SINK_ROWS_TOTAL = Counter Count "highwater_sink_rows_total"
        "Rows written to the store, by table.";
    SINK_WRITE_SECONDS = Histogram Seconds "highwater_sink_write_seconds"
        "Duration of a batch's write to the store.";
    FRESHNESS_SECONDS = Histogram Seconds "highwater_freshness_seconds"
        "From a reading's receipt to a stage's result, by stage: ingested, processed, stored.";
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
            assert!(entry.name.starts_with("highwater_"), "{}", entry.name);
            assert_eq!(entry.name.ends_with("_total"), entry.kind == Kind::Counter, "{}", entry.name);
            assert!(entry.help.ends_with('.'), "{}", entry.name);
        }
    }
}
