//! The link between processor and sink: every result the processor has committed was read by the sink. Without it
//! a result that vanished inside the journal would be missed by both books.
//!
//! The two keep their counts apart and at different moments, so they are compared only while nothing moves.

use super::books::{Line, Stage};
use processor::view::PartitionView;
use std::collections::BTreeMap;

/// Results written by partition of `iot.raw` (which is the partition of the result too) and topic.
pub(super) type Written = BTreeMap<u32, BTreeMap<String, i64>>;

/// Positions and results of the processor's partitions at one moment.
pub(super) fn written(views: &[PartitionView]) -> (Vec<(u32, i64)>, Written) {
    let positions = views.iter().map(|view| (view.partition, view.position)).collect();
    let outputs = views.iter().map(|view| (view.partition, view.totals.outputs.clone())).collect();
    (positions, outputs)
}

/// The stage; its difference is what the processor wrote and the sink never saw, or the other way round.
pub(super) fn stage(written: &Written, sink: &sink::books::Books) -> Stage {
    // Of several processes each knows the results of its own partitions only.
    let known =
        sink.entries.iter().filter_map(|entry| Some((entry, written.get(&entry.partition.partition)?)));
    let lines = known.map(|(entry, outputs)| {
        let (topic, partition) = (entry.partition.topic.name(), entry.partition.partition);
        let results = outputs.get(topic).copied().unwrap_or(0);
        let outcomes = [("read-by-sink", entry.totals.read), ("lost-to-retention", entry.totals.lost)];
        Line::new(Some(format!("{topic}/{partition}")), results, &outcomes, entry.in_flight, entry.in_flight)
    });
    Stage::sum("results", "records", lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::port::TopicPartition;
    use schemas::topic::Topic;
    use sink::books::{Books, Entry, Totals};

    fn sink_that_read(read: i64) -> Books {
        let partition = TopicPartition { topic: Topic::Aggregates, partition: 2 };
        let totals = Totals { read, written: read, ..Totals::default() };
        Books { entries: vec![Entry { partition, totals, pending: 0, position: read, in_flight: 0 }] }
    }

    #[test]
    fn a_result_that_vanished_between_processor_and_sink_is_missed() {
        let outputs = BTreeMap::from([("iot.aggregates".to_owned(), 7)]);
        let written = Written::from([(2, outputs)]);
        assert!(stage(&written, &sink_that_read(7)).total.balanced);
        let short = stage(&written, &sink_that_read(6));
        assert_eq!((short.total.balanced, short.total.difference), (false, 1));
        assert!(stage(&Written::new(), &sink_that_read(6)).total.balanced, "another process knows of it");
        let twice = stage(&written, &sink_that_read(8));
        assert_eq!((twice.total.balanced, twice.total.difference), (false, -1));
    }
}
