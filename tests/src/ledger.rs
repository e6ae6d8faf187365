//! The committed topics of a home against a straight fold over its `iot.raw`: the same records, in the same order, byte
//! for byte. The fold knows no batches, commits, snapshots or crashes; windows themselves are held against a slow model
//! that shares no code (`processor/windowing/tests/oracle`).

use crate::cluster::Cluster;
use anyhow::{Context, Result, anyhow, bail, ensure};
use journal::kafka::{KafkaConfig, KafkaJournal};
use journal::port::{Journal, NewRecord, RecordRef, TopicPartition};
use processor::components::Components;
use processor::outputs::Outputs;
use processor::state::PartitionState;
use processor::step::Tools;
use schemas::codec::Codec;
use schemas::record::{DeadLetter, Stage};
use schemas::registry::{Registry, RegistryConfig};
use schemas::topic::Topic;
use scoring::{Loader, LoaderConfig};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const READ_MAX: usize = 5_000;
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// What a partition's owner publishes, audits and snapshots apart: those name commits.
const OUTPUTS: [Topic; 7] = [
    Topic::Aggregates,
    Topic::Alerts,
    Topic::Late,
    Topic::DeadLetters,
    Topic::Scores,
    Topic::Devices,
    Topic::Shadow,
];

/// Key and value.
type Entry = (Option<Vec<u8>>, Vec<u8>);

/// Where the topics of a home are.
#[derive(Clone, Debug)]
pub struct Place {
    /// `host:port,host:port`.
    pub brokers: String,
    /// Before every topic and group.
    pub prefix: String,
    /// Address of the schema registry.
    pub registry: String,
}

impl Place {
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let setting = |key: &str| cluster.setting(key).with_context(|| format!("the cluster has no {key}"));
        Ok(Self {
            brokers: setting("journal.url")?.trim_start_matches("kafka://").to_owned(),
            prefix: setting("journal.topic-prefix")?.to_owned(),
            registry: setting("registry.url")?.to_owned(),
        })
    }

    /// For somebody who waits for an answer at most so long.
    pub(crate) fn kafka(&self, answer_timeout: Duration) -> KafkaConfig {
        let prefix = self.prefix.clone();
        KafkaConfig { prefix, answer_timeout, statistics_every: None, ..KafkaConfig::new(&self.brokers) }
    }
}

/// Topics that can be read.
pub(crate) struct Opened {
    pub(crate) journal: Arc<KafkaJournal>,
    pub(crate) codec: Codec,
}

pub(crate) fn open(place: &Place) -> Result<Opened> {
    open_patient(place, ANSWER_MAX)
}

/// Opened by somebody who waits for an answer at most so long.
pub(crate) fn open_patient(place: &Place, answer_timeout: Duration) -> Result<Opened> {
    let registry = Registry::new(RegistryConfig::new(vec![place.registry.clone()]))?;
    let journal = KafkaJournal::open(place.kafka(answer_timeout), Arc::new(registry), None)?;
    let codec = journal::ids::codec(Arc::clone(&journal) as Arc<dyn Journal>)?;
    Ok(Opened { journal, codec })
}

/// Compares every partition; returns how many records there were.
///
/// # Errors
/// The first difference; or when a server or a record refuses.
pub fn compare(cluster: &Cluster) -> Result<usize> {
    compare_at(&Place::of(cluster)?)
}

/// As [`compare`], of a home that no test has made.
///
/// # Errors
/// As [`compare`].
pub fn compare_at(place: &Place) -> Result<usize> {
    let opened = open(place)?;
    let mut compared = 0;
    for partition in 0..opened.journal.partitions() {
        let mut folded = fold(&opened, partition)?;
        for topic in OUTPUTS {
            let of = TopicPartition { topic, partition };
            let expected = folded.remove(&topic).unwrap_or_default();
            let found = committed(&opened, of)?;
            if let Some(at) =
                (0..found.len().max(expected.len())).find(|at| found.get(*at) != expected.get(*at))
            {
                bail!(
                    "{topic} {partition}: {} records committed, {} folded; the first difference is at {at}: {:?} \
                     instead of {:?}",
                    found.len(),
                    expected.len(),
                    found.get(at),
                    expected.get(at)
                );
            }
            compared += found.len();
        }
        ensure!(folded.is_empty(), "{:?} were folded and are not compared", folded.keys());
    }
    opened.journal.close();
    Ok(compared)
}

fn fold(opened: &Opened, partition: u32) -> Result<BTreeMap<Topic, Vec<Entry>>> {
    let raw = TopicPartition { topic: Topic::Raw, partition };
    let mut reader = opened.journal.reader()?;
    let (mut next, end) = reader.bounds(raw)?;
    ensure!(next == 0, "retention has run over {raw:?}");
    let mut state = PartitionState::new(partition, opened.journal.partitions(), 0);
    let journal = Arc::clone(&opened.journal) as Arc<dyn Journal>;
    let components = Components::new(journal, opened.codec.clone());
    let models = Loader::new(Arc::new(components), LoaderConfig::default())?;
    let mut tools = Tools::new(opened.codec.clone(), Arc::new(models));
    let mut outputs = Outputs::new(opened.codec.clone());
    let mut halted = None;
    while next < end {
        let after = reader.read(raw, next, READ_MAX, &mut |record| {
            if halted.is_none() {
                halted = state.step(&record, &mut tools, &mut outputs).err();
            }
        })?;
        ensure!(after > next && halted.is_none(), "{raw:?} at {next}: {halted:?}");
        next = after;
    }
    state.settle(&mut tools, &mut outputs).map_err(|halt| anyhow!("{halt}"))?;
    let mut sealed: Vec<NewRecord> = Vec::new();
    state.seal(&mut outputs, Some(&mut sealed));
    let mut folded: BTreeMap<Topic, Vec<Entry>> = BTreeMap::new();
    for record in sealed {
        ensure!(record.to.partition == partition, "{:?} of a record of partition {partition}", record.to);
        folded.entry(record.to.topic).or_default().push((record.key, record.value));
    }
    Ok(folded)
}

/// What a read_committed reader sees of the processor's.
fn committed(opened: &Opened, of: TopicPartition) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    each(opened, of, &mut |record| {
        // Ingest and the sink write letters too, without a transaction.
        let foreign = of.topic == Topic::DeadLetters
            && opened
                .codec
                .decode::<DeadLetter>(record.value)
                .is_ok_and(|letter| matches!(letter.stage, Stage::Ingest | Stage::Sink));
        if !foreign {
            found.push((record.key.map(<[u8]>::to_vec), record.value.to_vec()));
        }
    })?;
    Ok(found)
}

/// Shows every committed record of a partition.
pub(crate) fn each(opened: &Opened, of: TopicPartition, visit: &mut dyn FnMut(RecordRef<'_>)) -> Result<()> {
    let mut reader = opened.journal.reader()?;
    let (mut next, end) = reader.bounds(of)?;
    while next < end {
        let after = reader.read(of, next, READ_MAX, visit)?;
        ensure!(after > next, "{of:?} ends at {end} and brings nothing from {next} on");
        next = after;
    }
    Ok(())
}

/// Writes one result a second time, as a bug would.
///
/// # Errors
/// When there is no result yet, or Kafka refuses.
pub fn double_one(cluster: &Cluster) -> Result<()> {
    let opened = open(&Place::of(cluster)?)?;
    for partition in 0..opened.journal.partitions() {
        let to = TopicPartition { topic: Topic::Aggregates, partition };
        let Some((key, value)) = committed(&opened, to)?.pop() else { continue };
        let (tell, told) = std::sync::mpsc::channel();
        let done = move |appended| {
            // Nobody listens once the test has failed.
            let _ = tell.send(appended);
        };
        let record = NewRecord { to, key, value, headers: Vec::new() };
        opened.journal.appender().append(vec![record], Box::new(done))?;
        told.recv_timeout(ANSWER_MAX)??;
        opened.journal.close();
        return Ok(());
    }
    bail!("nothing was committed")
}
