//! The closed books of the whole pipeline, in one form for the API, the command line, the demo and the page.
//!
//! Every term is measured by the stage it belongs to; in flight comes from the journal's own offsets. The
//! difference is what is left over: anything but 0 means that a record was lost or counted twice.

use ingest::IngestBooks;
use serde::Serialize;
use std::collections::BTreeMap;

/// A line: one stage, or one partition of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// `iot.raw/2`; absent for a stage's sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<String>,
    /// Nothing is left over.
    pub(crate) balanced: bool,
    /// Records or readings received.
    pub(crate) received: i64,
    /// What became of them.
    pub(crate) outcomes: BTreeMap<&'static str, i64>,
    /// Received and without an outcome yet, or not read yet.
    pub(crate) in_flight: i64,
    /// Received minus outcomes minus what waits inside the stage.
    pub(crate) difference: i64,
    /// Counted outside the sum.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) besides: BTreeMap<&'static str, i64>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stage {
    /// Its name.
    pub(crate) stage: &'static str,
    /// Unit of its figures.
    pub(crate) unit: &'static str,
    /// The sum.
    #[serde(flatten)]
    pub(crate) total: Line,
    /// Its parts.
    pub(crate) partitions: Vec<Line>,
}

/// All stages that run in this process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Books {
    /// Every line balances.
    pub(crate) balanced: bool,
    /// In flight anywhere.
    pub(crate) in_flight: i64,
    /// The stages, in the order a reading passes them.
    pub(crate) stages: Vec<Stage>,
}

impl Books {
    /// Of stages.
    pub(crate) fn of(stages: Vec<Stage>) -> Self {
        Self {
            balanced: stages.iter().all(|stage| stage.total.balanced),
            in_flight: stages.iter().map(|stage| stage.total.in_flight).sum(),
            stages,
        }
    }
}

impl Line {
    /// A line whose difference is computed from its terms; `waiting` is what is inside the stage.
    pub(crate) fn new(
        partition: Option<String>,
        received: i64,
        outcomes: &[(&'static str, i64)],
        waiting: i64,
        in_flight: i64,
    ) -> Self {
        let outcomes: BTreeMap<_, _> = outcomes.iter().copied().collect();
        let difference = received - outcomes.values().sum::<i64>() - waiting;
        let besides = BTreeMap::new();
        Self { partition, balanced: difference == 0, received, outcomes, in_flight, difference, besides }
    }

    fn add(&mut self, part: &Self) {
        self.balanced &= part.balanced;
        self.received += part.received;
        self.in_flight += part.in_flight;
        self.difference += part.difference;
        for (name, count) in &part.outcomes {
            *self.outcomes.entry(name).or_default() += count;
        }
        for (name, count) in &part.besides {
            *self.besides.entry(name).or_default() += count;
        }
    }
}

impl Stage {
    /// A stage as the sum of its partitions; it balances only if each of them does.
    pub(crate) fn sum(stage: &'static str, unit: &'static str, partitions: Vec<Line>) -> Self {
        let mut total = Line { balanced: true, ..Line::default() };
        for part in &partitions {
            total.add(part);
        }
        Self { stage, unit, total, partitions }
    }

    /// The door's.
    pub(crate) fn ingest(books: IngestBooks) -> Self {
        let [received, accepted, rejected, returned, in_flight] =
            [books.received, books.accepted, books.rejected, books.returned, books.in_flight]
                .map(u64::cast_signed);
        let outcomes = [("accepted", accepted), ("rejected", rejected), ("returned", returned)];
        let total = Line::new(None, received, &outcomes, in_flight, in_flight);
        Self { stage: "ingest", unit: "readings since start", total, partitions: Vec::new() }
    }

    /// The sink's.
    pub(crate) fn sink(books: &sink::books::Books) -> Self {
        let lines = books.entries.iter().map(|entry| {
            let name = format!("{}/{}", entry.partition.topic, entry.partition.partition);
            let outcomes = [("written", entry.totals.written), ("dead-lettered", entry.totals.dead_lettered)];
            // The position is behind what waits for the store, and nobody finds that there yet.
            let in_flight = entry.pending + entry.in_flight;
            let mut line = Line::new(Some(name), entry.totals.read, &outcomes, entry.pending, in_flight);
            if entry.totals.lost != 0 {
                line.balanced = false;
                line.besides.insert("lost-to-retention", entry.totals.lost);
            }
            line
        });
        Self::sum("sink", "records", lines.collect())
    }
}

impl std::fmt::Display for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for Stage { stage, unit, total, .. } in &self.stages {
            let outcomes: Vec<String> =
                total.outcomes.iter().map(|(name, count)| format!("{count} {name}")).collect();
            write!(f, "{stage:<10} {} {unit} = {}", total.received, outcomes.join(" + "))?;
            if total.in_flight != 0 {
                write!(f, "; {} in flight", total.in_flight)?;
            }
            if total.difference != 0 {
                write!(f, "; OFF BY {}", total.difference)?;
            }
            writeln!(f)?;
        }
        f.write_str(if self.balanced { "the books balance" } else { "THE BOOKS DO NOT BALANCE" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::port::TopicPartition;

    #[test]
    fn what_waits_inside_a_stage_is_no_difference_and_what_retention_took_is_one() {
        let partition = TopicPartition { topic: schemas::topic::Topic::Alerts, partition: 1 };
        let line = |lost| {
            let totals = sink::books::Totals { read: 10, written: 6, dead_lettered: 1, lost };
            sink::books::Entry { partition, totals, pending: 3, position: 10, in_flight: 4 }
        };
        let stage = |lost| Stage::sink(&sink::books::Books { entries: vec![line(lost), line(0)] });
        let whole = stage(0).total;
        assert_eq!(
            (whole.balanced, whole.difference, whole.received, whole.in_flight),
            (true, 0, 20, 14),
            "what waits for the store is in flight"
        );
        let short = stage(5);
        assert!(!short.total.balanced && !short.partitions[0].balanced && short.partitions[1].balanced);
        assert_eq!(short.total.besides["lost-to-retention"], 5);
    }

    #[test]
    fn one_record_missing_in_one_partition_is_seen_in_the_whole() {
        let good = Line::new(Some("iot.raw/0".to_owned()), 10, &[("aggregated", 9), ("late", 1)], 0, 0);
        let short = Line::new(Some("iot.raw/1".to_owned()), 10, &[("aggregated", 9)], 0, 0);
        let over = Line::new(Some("iot.raw/2".to_owned()), 10, &[("aggregated", 11)], 0, 0);
        assert!(Books::of(vec![Stage::sum("processor", "readings", vec![good.clone()])]).balanced);
        let books = Books::of(vec![Stage::sum("processor", "readings", vec![good, short, over])]);
        assert!(!books.balanced, "two faults that cancel out in the sum are faults all the same");
    }
}
