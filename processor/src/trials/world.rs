//! What trials run on: a journal, a seeded history, workers driven by hand, and the straight-line fold.

use crate::commit::{Committing, InlineLane};
use crate::config::ProcessorConfig;
use crate::ops::BooksLine;
use crate::outputs::{Chain, Outputs};
use crate::snapshot::InlineSnapshots;
use crate::state::{PartitionState, canonical};
use crate::step::{Models, NoModels, Tools};
use crate::view::View;
use crate::worker::{Pace, Setup, Worker, WorkerError};
use journal::memory::faults::{self, Fault};
use journal::memory::{MemoryConfig, MemoryJournal};
use journal::port::{Headers, Journal, NewRecord, RecordRef, TopicPartition};
use schemas::codec::Codec;
use schemas::partition::partition_of;
use schemas::pipeline::Pipeline;
use schemas::record::{
    Aggregate, Alert, Audit, Control, DeadLetter, Device, DeviceLatest, End, Late, Raw, Score, Shadow, Totals,
};
use schemas::roles::Roles;
use schemas::topic::Topic;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Outputs by topic and partition: (key, value) in order.
pub(super) type Written = BTreeMap<(Topic, u32), Vec<(Option<Vec<u8>>, Vec<u8>)>>;

/// Topics whose bytes must not depend on anything but the log.
pub(super) const OUTPUTS: [Topic; 7] = [
    Topic::Aggregates,
    Topic::Alerts,
    Topic::Late,
    Topic::DeadLetters,
    Topic::Scores,
    Topic::Devices,
    Topic::Shadow,
];

/// Turns after which a worker that has not come to rest never will.
pub(super) const TURNS_MAX: usize = 2_000;

pub(super) struct World {
    pub(super) journal: MemoryJournal,
    pub(super) codec: Codec,
    pub(super) models: Arc<dyn Models>,
    pub(super) clock: Arc<Mutex<Duration>>,
    pub(super) view: View,
}

impl World {
    pub(super) fn new(partitions: u32) -> Self {
        let journal =
            MemoryJournal::new(MemoryConfig { partitions, ..MemoryConfig::default() }).expect("a journal");
        Self::on(journal)
    }

    fn on(journal: MemoryJournal) -> Self {
        Self {
            codec: journal::ids::codec(Arc::new(journal.clone())).expect("ids"),
            journal,
            models: Arc::new(NoModels),
            clock: Arc::default(),
            view: View::default(),
        }
    }

    /// The journal after a loss of power, and nothing else.
    pub(super) fn reopened(&self) -> Self {
        self.journal.inject(None);
        Self { models: Arc::clone(&self.models), ..Self::on(self.journal.reopen()) }
    }

    pub(super) fn append(&self, partition: u32, key: Option<&[u8]>, value: Vec<u8>) {
        self.append_with(partition, key, value, Vec::new());
    }

    pub(super) fn append_with(
        &self,
        partition: u32,
        key: Option<&[u8]>,
        value: Vec<u8>,
        headers: Vec<(String, Vec<u8>)>,
    ) {
        let to = TopicPartition { topic: Topic::Raw, partition };
        let record = NewRecord { to, key: key.map(<[u8]>::to_vec), value, headers };
        let (done, answer) = std::sync::mpsc::channel();
        let told = Box::new(move |offsets| {
            let _ = done.send(offsets);
        });
        self.journal.appender().append(vec![record], told).expect("room");
        answer.try_recv().expect("an answer at once").expect("durable");
    }

    /// Puts a pipeline in force everywhere.
    pub(super) fn configure(&self, generation: i64, pipeline: &Pipeline) {
        self.configure_roles(generation, pipeline, None);
    }

    /// The same with roles of models over it.
    pub(super) fn configure_roles(&self, generation: i64, pipeline: &Pipeline, roles: Option<&Roles>) {
        let control = Raw::Control(Control {
            generation,
            pipeline: Some(canonical(pipeline)),
            models: roles.map(|roles| serde_json::to_string(roles).expect("plain data")),
            skip_from: None,
            skip_to: None,
        });
        for partition in 0..self.journal.partitions() {
            self.append(partition, None, self.codec.to_bytes(&control));
        }
    }

    pub(super) fn home(&self, device: &str) -> u32 {
        partition_of(device.as_bytes(), self.journal.partitions())
    }

    pub(super) fn json(&self, device: &str, text: &str) {
        self.append(self.home(device), Some(device.as_bytes()), text.as_bytes().to_vec());
    }

    pub(super) fn record(&self, device: &str, record: &Raw) {
        self.append(self.home(device), Some(device.as_bytes()), self.codec.to_bytes(record));
    }

    pub(super) fn tick(&self) {
        for partition in 0..self.journal.partitions() {
            self.append(partition, None, self.codec.to_bytes(&Raw::Tick));
        }
    }

    pub(super) fn end(&self) {
        for partition in 0..self.journal.partitions() {
            self.append(partition, None, self.codec.to_bytes(&Raw::End(End { device_id: None })));
        }
    }

    /// A worker driven by hand.
    pub(super) fn worker(&self, name: &str, config: &ProcessorConfig, until_end: bool) -> Worker {
        self.worker_of_build(name, config, until_end, "trial")
    }

    pub(super) fn worker_of_build(
        &self,
        name: &str,
        config: &ProcessorConfig,
        until_end: bool,
        build: &str,
    ) -> Worker {
        let journal: Arc<dyn Journal> = Arc::new(self.journal.clone());
        let clock = Arc::clone(&self.clock);
        let rest = Arc::clone(&self.clock);
        Worker::new(Setup {
            name: name.to_owned(),
            build: build.to_owned(),
            config: Arc::new(config.clone()),
            tools: Tools::new(self.codec.clone(), Arc::clone(&self.models)),
            committer: Box::new(InlineLane::new(Committing::new(Arc::clone(&journal), name.to_owned()))),
            snapshots: Box::new(InlineSnapshots::new(&*journal, self.codec.clone())),
            journal,
            view: self.view.clone(),
            pace: Pace {
                now: Box::new(move || *clock.lock().expect("clock")),
                rest: Box::new(move |span| *rest.lock().expect("clock") += span),
            },
            until_end,
        })
    }

    /// Time for the workers' decisions; receipt times stay.
    pub(super) fn pass(&self, span: Duration) {
        *self.clock.lock().expect("clock") += span;
    }

    /// Turns the worker until it has reached the end, and lets it leave.
    pub(super) fn run(&self, worker: &mut Worker) -> Result<(), WorkerError> {
        for _ in 0..TURNS_MAX {
            if worker.turn()? {
                return worker.finish();
            }
            self.pass(Duration::from_millis(30));
        }
        panic!("the worker has not come to rest: {:#?} {:#?}", self.view.partitions(), self.view.incidents());
    }

    /// The same for the last use of a worker.
    pub(super) fn run_to_end(&self, mut worker: Worker) -> Result<(), WorkerError> {
        self.run(&mut worker)
    }

    /// The same bytes and balanced books, however many records a poll brings.
    pub(super) fn batches_everywhere(make: impl Fn() -> Self) {
        let mut first = None;
        for records in [1, 5, 2_000] {
            let world = make();
            let config = ProcessorConfig { poll_records_max: records, ..brisk() };
            world.run_to_end(world.worker("one", &config, true)).expect("it runs");
            world.check().unwrap_or_else(|why| panic!("{records} records a poll: {why}"));
            world.check_books().expect("balanced");
            assert_eq!(first.get_or_insert(world.written()), &world.written(), "{records} records a poll");
        }
    }

    /// Lets a run crash after every `step`-th of its calls, one after the other, and another worker end what it began:
    /// the committed bytes are those of the straight-line fold, without an incident. `look` sees each end.
    pub(super) fn crash_everywhere(
        make: impl Fn() -> Self,
        poll_records_max: usize,
        step: u64,
        mut look: impl FnMut(&Self, u64),
    ) {
        let config = ProcessorConfig { poll_records_max, ..brisk() };
        let mut call = 0;
        loop {
            let world = make();
            let at = world.journal.calls() + call;
            let mut worker = world.worker("one", &config, true);
            world.journal.inject(Some(faults::at(at, Fault::CrashAfter)));
            let ran = world.run(&mut worker);
            drop(worker);
            if ran.is_ok() && world.journal.calls() <= at {
                break;
            }
            let world = world.reopened();
            world.run_to_end(world.worker("one", &config, true)).expect("it runs");
            world.check().unwrap_or_else(|why| panic!("crash at call {call}: {why}"));
            assert_eq!(world.view.incidents(), [], "crash at call {call}");
            look(&world, call);
            call += step;
        }
        assert!(call > 20);
    }

    /// What is committed.
    pub(super) fn written(&self) -> Written {
        let mut written = Written::new();
        for topic in OUTPUTS {
            for record in self.journal.topic(topic) {
                let at = (topic, record.partition.partition);
                written.entry(at).or_default().push((record.key, record.value));
            }
        }
        written
    }

    /// The straight-line fold: what must be committed, with the totals and the digest of each partition.
    pub(super) fn oracle(&self) -> (Written, BTreeMap<u32, (Totals, Chain)>) {
        let mut written = Written::new();
        let mut ends = BTreeMap::new();
        for partition in 0..self.journal.partitions() {
            let mut tools = Tools::new(self.codec.clone(), Arc::clone(&self.models));
            let mut state = PartitionState::new(partition, self.journal.partitions(), 0);
            let mut out = Outputs::new(self.codec.clone());
            for stored in self.journal.records(TopicPartition { topic: Topic::Raw, partition }) {
                let headers: Vec<(&str, &[u8])> =
                    stored.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
                let record = RecordRef {
                    offset: stored.offset,
                    received_at: stored.received_at,
                    key: stored.key.as_deref(),
                    value: &stored.value,
                    headers: Headers::listed(&headers),
                };
                state.step(&record, &mut tools, &mut out).expect("the world is well");
            }
            state.settle(&mut tools, &mut out).expect("the world is well");
            let mut records = Vec::new();
            state.seal(&mut out, Some(&mut records));
            for record in records {
                let at = (record.to.topic, record.to.partition);
                written.entry(at).or_default().push((record.key, record.value));
            }
            ends.insert(partition, (state.totals(), state.mark().digest));
        }
        (written, ends)
    }

    /// The last audit record of each partition.
    pub(super) fn audits(&self) -> BTreeMap<u32, Audit> {
        let records = self.journal.topic(Topic::Audit);
        let audit = |value: &[u8]| self.codec.decode::<Audit>(value).expect("an audit record");
        records.iter().map(|record| (record.partition.partition, audit(&record.value))).collect()
    }

    /// Committed window rows, in order.
    pub(super) fn aggregates(&self) -> Vec<Aggregate> {
        let records = self.journal.topic(Topic::Aggregates);
        records.iter().map(|record| self.codec.decode(&record.value).expect("a row")).collect()
    }

    /// Every reading has one outcome, every offset was one record, every committed output is counted, and the digest
    /// is the chain over all of them in the order of their write clocks.
    pub(super) fn check_books(&self) -> Result<(), String> {
        self.check_books_without(None)
    }

    /// The same as if one committed record, by topic, partition and place, were not there.
    pub(super) fn check_books_without(&self, missing: Option<(Topic, u32, usize)>) -> Result<(), String> {
        for (partition, audit) in self.audits() {
            let line = BooksLine::of(partition, &audit.totals, 0, (0, audit.to, audit.to), 0);
            if !line.balanced {
                return Err(format!("{line:?}"));
            }
            let mut outputs = Vec::new();
            for topic in OUTPUTS {
                let mut records = self.journal.records(TopicPartition { topic, partition });
                if let Some((of, at, place)) = missing
                    && (of, at) == (topic, partition)
                {
                    records.remove(place);
                }
                let counted = audit.totals.outputs.get(topic.name()).copied().unwrap_or(0);
                if i64::try_from(records.len()) != Ok(counted) {
                    return Err(format!("{topic}/{partition}: {counted} counted, {} there", records.len()));
                }
                outputs.extend(
                    records.into_iter().map(|record| (self.write_clock(topic, &record.value), record)),
                );
            }
            outputs.sort_by_key(|(clock, _)| *clock);
            let mut chain = [0_u8; 16];
            for (_, record) in outputs {
                let key = record.key.unwrap_or_default();
                let mut hash = Sha256::new();
                hash.update(chain);
                hash.update(record.partition.topic.name());
                hash.update(record.partition.partition.to_be_bytes());
                hash.update(u32::try_from(key.len()).expect("short").to_be_bytes());
                hash.update(&key);
                hash.update(&record.value);
                chain.copy_from_slice(&hash.finalize()[..16]);
            }
            if audit.digest != chain {
                return Err(format!(
                    "{partition}: the committed digest is not the chain over what is committed"
                ));
            }
        }
        Ok(())
    }

    fn write_clock(&self, topic: Topic, value: &[u8]) -> i64 {
        let decoded = match topic {
            Topic::Aggregates => self.codec.decode::<Aggregate>(value).map(|record| record.write_clock),
            Topic::Alerts => self.codec.decode::<Alert>(value).map(|record| record.write_clock),
            Topic::Late => self.codec.decode::<Late>(value).map(|record| record.write_clock),
            Topic::DeadLetters => self.codec.decode::<DeadLetter>(value).map(|record| record.write_clock),
            Topic::Scores => self.codec.decode::<Score>(value).map(|record| record.write_clock),
            Topic::Shadow => self.codec.decode::<Shadow>(value).map(|record| record.write_clock),
            _ => self.codec.decode::<DeviceLatest>(value).map(|record| record.write_clock),
        };
        decoded.expect("an output of the processor")
    }

    /// Committed outputs, totals and digests are those of the straight-line fold, to the byte.
    pub(super) fn check(&self) -> Result<(), String> {
        let (expected, ends) = self.oracle();
        let written = self.written();
        for at in expected.keys().chain(written.keys()) {
            let none = Vec::new();
            let (want, have) = (expected.get(at).unwrap_or(&none), written.get(at).unwrap_or(&none));
            if want != have {
                let first =
                    want.iter().zip(have).position(|(a, b)| a != b).unwrap_or(want.len().min(have.len()));
                let show = |list: &[(Option<Vec<u8>>, Vec<u8>)]| match list.get(first) {
                    Some((_, value)) if at.0 == Topic::Aggregates => {
                        format!("{:?}", self.codec.decode::<Aggregate>(value))
                    }
                    Some((key, value)) => format!("{key:?} {}", value.escape_ascii()),
                    None => "nothing".to_owned(),
                };
                return Err(format!(
                    "{at:?}: {} expected, {} committed, first difference at {first}: {} expected, {} committed",
                    want.len(),
                    have.len(),
                    show(want),
                    show(have)
                ));
            }
        }
        let audits = self.audits();
        for (partition, (totals, digest)) in ends {
            let Some(audit) = audits.get(&partition) else { return Err(format!("{partition}: no audit")) };
            if audit.totals != totals || audit.digest != digest {
                return Err(format!("{partition}: books {:?}, expected {totals:?}", audit.totals));
            }
        }
        Ok(())
    }
}

/// A pipeline with several windows at once.
pub(super) fn pipeline() -> Pipeline {
    let raw = serde_json::json!({
        "window": [
            {"name": "10s", "size": "10s"},
            {"name": "hop", "kind": "hopping", "size": "20s", "advance": "5s", "lateness": "10s"},
            {"name": "trip", "kind": "session", "gap": "8s", "metrics": ["temp"]},
        ],
        "filter": [{"metric": "temp", "at-most": 1000.0}],
        "time": {"disorder": "2s", "lateness": "20s", "settle": "1s", "stalled-after": "45s"},
    });
    resolved(raw)
}

pub(super) fn resolved(raw: serde_json::Value) -> Pipeline {
    let raw: crate::config::RawPipelineConfig = serde_json::from_value(raw).expect("a pipeline");
    let mut problems = chassis::config::Problems::default();
    let shipped = |name: &str| scoring::shipped::find(name).map(|found| found.digest.clone());
    let pipeline = raw.resolve(&shipped, &mut problems);
    assert_eq!(problems.list(), [], "the pipeline is right");
    pipeline
}

/// Two partitions with a history that ends.
pub(super) fn prepared(seed: u64, readings: u64) -> World {
    let world = World::new(2);
    world.configure(0, &pipeline());
    history(&world, seed, readings);
    world.end();
    world
}

/// A fast configuration: cuts at every opportunity.
pub(super) fn brisk() -> ProcessorConfig {
    ProcessorConfig {
        commit_interval: Duration::from_millis(50),
        commit_gap_min: Duration::from_millis(20),
        poll_wait_max: Duration::from_millis(1),
        poll_records_max: 64,
        refold_budget: Duration::ZERO,
        snapshot_share_percent: 100,
        ..ProcessorConfig::default()
    }
}

/// `SplitMix64`.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// A history with a bit of everything; time passes with it.
pub(super) fn history(world: &World, seed: u64, readings: u64) {
    let mut dice = Dice(seed);
    let mut seqs: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..readings {
        world.journal.advance(Duration::from_millis(dice.roll(400)));
        let now = world.journal.now();
        let device = format!("d{}", dice.roll(12));
        let lag = match dice.roll(20) {
            0 => 30_000_000 + dice.roll(60_000_000),
            1..=4 => dice.roll(3_000_000),
            _ => 0,
        };
        let ts = now - i64::try_from(lag).expect("small");
        let seq = seqs.entry(device.clone()).or_default();
        if dice.roll(15) > 0 {
            *seq += 1;
        }
        let temp = f64::from(u32::try_from(dice.roll(4_000)).expect("small")) / 16.0;
        match dice.roll(60) {
            0 => poison(world, &mut dice, &device),
            1 => world.record(&device, &Raw::Device(device_record(&device, round))),
            2 => world.tick(),
            3 => world.record(&device, &Raw::End(End { device_id: Some(device.clone()) })),
            4 => world.json(&device, &format!(r#"{{"device_id":"{device}","temp":null,"ts":{ts}}}"#)),
            5 => world.json(&device, &format!(r#"{{"device_id":"{device}","temp":5000,"ts":{ts}}}"#)),
            6 => world.journal.advance(Duration::from_secs(dice.roll(60))),
            7 => {
                let ahead = now + 3_600_000_000;
                world.json(&device, &format!(r#"{{"device_id":"{device}","temp":1,"ts":{ahead}}}"#));
            }
            8..=12 => world.json(&device, &format!(r#"{{"device_id":"{device}","temp":{temp},"ts":{ts}}}"#)),
            _ => world.json(
                &device,
                &format!(
                    r#"{{"device_id":"{device}","temp":{temp},"hum":{},"ts":{ts},"seq":{seq}}}"#,
                    dice.roll(100)
                ),
            ),
        }
    }
}

fn device_record(device: &str, round: u64) -> Device {
    let channel =
        schemas::record::Channel { unit: Some("K".to_owned()), scale: Some(1.5), offset: Some(2.0) };
    Device {
        device_id: device.to_owned(),
        deleted: round.is_multiple_of(3),
        site: Some(format!("hall {round}")),
        channels: BTreeMap::from([("temp".to_owned(), channel)]),
        disorder: round.is_multiple_of(2).then_some(4_000_000),
        ..Device::default()
    }
}

/// A record that nobody can use.
pub(super) fn poison(world: &World, dice: &mut Dice, device: &str) {
    let home = world.home(device);
    let other = (home + 1) % world.journal.partitions();
    let fine = format!(r#"{{"device_id":"{device}","temp":1}}"#).into_bytes();
    let key = Some(device.as_bytes());
    match dice.roll(8) {
        0 => world.append(home, key, b"{\"device_id\":".to_vec()),
        1 => world.append(home, key, vec![0, 0, 0, 0, 99, 1, 2, 3]),
        2 => world.append(home, key, world.codec.to_bytes(&Raw::Tick)[..5].to_vec()),
        3 => world.append(home, Some(b"someone-else"), fine),
        4 if other != home => world.append(other, key, fine),
        5 => world.append(home, None, fine),
        6 => world.append(home, key, vec![0xff; 40]),
        _ => world.append_with(home, key, Vec::new(), vec![("redriven".to_owned(), b"2".to_vec())]),
    }
}
