//! One partition's scoring: rows wait in columns, a flush scores them, the state of every series lies in slabs.

use crate::counters::Counters;
use crate::loader::{Loaded, ModelSet};
use crate::queue::{NewRow, Queue, ROWS_MAX, Series};
use crate::runner::Runner;
use crate::slab::Slab;
use crate::verdict::{FailedRow, Flushed, Verdict};
use schemas::pipeline::Inputs;
use scoring_host::{LogLevel, Session};

/// A reading to be scored.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// Device, dense; reused after [`Lane::evict`].
    pub slot: u32,
    /// Event time, microseconds.
    pub event_time: i64,
    /// Offset in the log: decides the sample.
    pub offset: i64,
    /// Its measurements, each metric at most once.
    pub values: &'a [Input],
}

/// One measurement of a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// The caller's number for the metric's name; constant while the lane lives.
    pub metric: u16,
    /// Value after calibration; null and what is not finite count as missing.
    pub value: Option<f64>,
}

/// A reading pushed since the last flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row(pub(crate) u32);

/// The reading does not fit any more: flush, then push it again. An empty lane takes every reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("as many rows are pending as one flush takes")]
pub struct Full;

/// A model was stopped by the brake again and again. There is no verdict and nothing has changed: stop the partition
/// and let somebody decide. It must never become a score or a failed row, because another run may see otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("model `{model}` (version {version}) was stopped without a result: {reason}")]
pub struct Braked {
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// In words.
    pub reason: String,
}

/// A partition's models, their state and the rows that wait. Owned by one thread at a time.
pub struct Lane {
    set: ModelSet,
    models: Vec<LaneModel>,
    /// Metric -> where its values go; none: the name was not asked for yet.
    routes: Vec<Option<Vec<Route>>>,
    /// Pending reading -> index of its first value; one more at the end.
    starts: Vec<u32>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pending = self.pending();
        f.debug_struct("Lane").field("models", &self.set).field("pending", &pending).finish_non_exhaustive()
    }
}

pub(crate) struct LaneModel {
    runner: Runner,
    pub(crate) slabs: Vec<Slab>,
    queue: Queue,
    counters: Counters,
    /// Columns of the reading being pushed; empty: it has none of them so far.
    columns: Vec<f64>,
    /// The first value that went into `columns`.
    columns_cell: u32,
    /// Hashes below it are in the sample.
    sample_below: u64,
}

/// A model takes this metric as its `input`-th.
#[derive(Clone, Copy)]
struct Route {
    model: usize,
    input: u16,
}

impl Lane {
    /// Every series starts anew.
    #[must_use]
    pub fn new(set: &ModelSet) -> Self {
        let models = set.loaded().iter().map(LaneModel::new).collect();
        Self { set: set.clone(), models, routes: Vec::new(), starts: vec![0] }
    }

    /// The models in force.
    #[must_use]
    pub fn models(&self) -> &ModelSet {
        &self.set
    }

    /// No model is in force: there is no need to push anything.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.models.is_empty()
    }

    /// Readings pushed since the last flush.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.starts.len() - 1
    }

    /// Whether a reading of so many values can be pushed without a flush.
    #[must_use]
    pub fn fits(&self, values: usize) -> bool {
        let room = |model: &LaneModel| model.queue.len() + values.min(model.slabs.len()) <= ROWS_MAX;
        self.pending() < ROWS_MAX && self.models.iter().all(room)
    }

    /// Adds a reading. `name_of` is asked once for each metric.
    ///
    /// # Errors
    /// [`Full`], and nothing has changed.
    pub fn push<'n>(&mut self, reading: &Reading<'_>, name_of: impl Fn(u16) -> &'n str) -> Result<Row, Full> {
        if !self.fits(reading.values.len()) {
            return Err(Full);
        }
        for input in reading.values {
            let known = self.routes.get(input.metric as usize).is_some_and(Option::is_some);
            if !known {
                self.find_routes(input.metric, name_of(input.metric));
            }
        }
        Ok(self.take(reading))
    }

    /// Finds out, once for each metric, which models take it.
    fn find_routes(&mut self, metric: u16, name: &str) {
        let takes = |(model, loaded): (usize, &Loaded)| {
            let input = loaded.info.inputs.names().iter().position(|input| input == name)?;
            Some(Route { model, input: u16::try_from(input).unwrap_or(u16::MAX) })
        };
        let routes = self.set.loaded().iter().enumerate().filter_map(takes).collect();
        let metric = metric as usize;
        if self.routes.len() <= metric {
            self.routes.resize(metric + 1, None);
        }
        self.routes[metric] = Some(routes);
    }

    /// Not generic, so that it is compiled here, where what it calls can be inlined.
    fn take(&mut self, reading: &Reading<'_>) -> Row {
        let first_cell = *self.starts.last().unwrap_or(&0);
        let loaded = self.set.loaded();
        for (cell, input) in (first_cell..).zip(reading.values) {
            let value = input.value.filter(|value| value.is_finite()).unwrap_or(f64::NAN);
            for route in self.routes[input.metric as usize].iter().flatten() {
                self.models[route.model].take(&loaded[route.model], reading, *route, cell, value);
            }
        }
        for (model, loaded) in self.models.iter_mut().zip(loaded) {
            model.end_reading(loaded, reading);
        }
        let row = Row(u32::try_from(self.pending()).unwrap_or(u32::MAX));
        self.starts.push(first_cell + u32::try_from(reading.values.len()).unwrap_or(u32::MAX));
        row
    }

    /// Scores everything that is pending, in one batch a model where possible.
    ///
    /// # Errors
    /// [`Braked`]: `flushed` is empty, and the lane is as it was before the call.
    pub fn flush(&mut self, flushed: &mut Flushed) -> Result<(), Braked> {
        flushed.clear();
        for (model, loaded) in self.models.iter_mut().zip(self.set.loaded()) {
            let scored = model.score();
            model.relay_log(loaded);
            scored.map_err(|reason| Braked {
                model: loaded.info.name.clone(),
                version: loaded.info.version.clone(),
                reason,
            })?;
        }
        flushed.models = self.models.len();
        flushed.starts.extend_from_slice(&self.starts);
        let cells = *self.starts.last().unwrap_or(&0) as usize;
        flushed.verdicts.resize(cells * self.models.len(), Verdict::NotScored);
        for (index, model) in self.models.iter_mut().enumerate() {
            model.commit(index, flushed);
        }
        self.starts.truncate(1);
        Ok(())
    }

    /// Forgets a device's series; its slot may be reused. Flush first.
    pub fn evict(&mut self, slot: u32) {
        debug_assert_eq!(self.pending(), 0, "an eviction is a barrier");
        for slab in self.models.iter_mut().flat_map(|model| &mut model.slabs) {
            slab.clear(slot);
        }
    }

    /// Puts other models in force. A version that stays keeps the state of the series it still scores, whatever its
    /// name, threshold or sampling; a new one starts anew. Flush first.
    pub fn configure(&mut self, set: &ModelSet) {
        debug_assert_eq!(self.pending(), 0, "a change of models is a barrier");
        let mut lane = Self::new(set);
        for (stream, slab) in self.streams() {
            lane.adopt(&stream, slab);
        }
        *self = lane;
    }

    /// What was done since the models were put in force, by model.
    #[must_use]
    pub fn counters(&self) -> Vec<Counters> {
        let complete =
            |model: &LaneModel| Counters { host: model.runner.session.counts(), ..model.counters.clone() };
        self.models.iter().map(complete).collect()
    }

    /// All state, by version and stream.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (StreamKey<'_>, &Slab)> {
        self.set.loaded().iter().zip(&self.models).flat_map(|(loaded, model)| {
            let key = |name| StreamKey { version: &loaded.version, name };
            loaded.streams.iter().map(move |name| key(name.as_str())).zip(&model.slabs)
        })
    }

    /// Gives state to every model of that version that scores that stream. Translating another version's state
    /// (`upgrade-state`) belongs here.
    pub(crate) fn adopt(&mut self, key: &StreamKey<'_>, slab: &Slab) {
        for (loaded, model) in self.set.loaded().iter().zip(&mut self.models) {
            let stream = loaded.streams.iter().position(|name| name == key.name);
            let same = loaded.version == *key.version && loaded.info.stride == slab.stride();
            if let (Some(stream), true) = (stream, same) {
                model.slabs[stream] = slab.clone();
            }
        }
    }
}

/// Whose state a slab is: interchangeable among models of equal version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamKey<'a> {
    pub(crate) version: &'a [u8; 32],
    pub(crate) name: &'a str,
}

impl LaneModel {
    fn new(loaded: &Loaded) -> Self {
        let session = Session::new(loaded.plugin.clone());
        let (name, version) = (loaded.info.name.clone(), loaded.info.version.clone());
        Self {
            runner: Runner::new(session, loaded.fuel_per_row, loaded.info.threshold),
            slabs: loaded.streams.iter().map(|_| Slab::new(loaded.info.stride)).collect(),
            queue: Queue::new(loaded.streams.len(), loaded.required.len()),
            counters: Counters { model: name, version, ..Counters::default() },
            columns: Vec::new(),
            columns_cell: 0,
            sample_below: u64::MAX.checked_div(u64::from(loaded.info.sample_every)).unwrap_or(0),
        }
    }

    /// Takes one value of a reading: a row of its own, or a column of the reading's row.
    fn take(&mut self, loaded: &Loaded, reading: &Reading<'_>, route: Route, cell: u32, value: f64) {
        if let Inputs::Columns(names) = &loaded.info.inputs {
            if self.columns.is_empty() {
                self.columns.resize(names.len(), f64::NAN);
                self.columns_cell = cell;
            }
            self.columns[route.input as usize] = value;
        } else if !(value.is_nan() && loaded.required[0]) {
            self.add(reading, route.input, cell, &[value]);
        }
    }

    /// A model of columns gets its row when the reading has a value for any, and one for each that is required.
    fn end_reading(&mut self, loaded: &Loaded, reading: &Reading<'_>) {
        if self.columns.is_empty() {
            return;
        }
        let columns = std::mem::take(&mut self.columns);
        let lacking =
            columns.iter().zip(&loaded.required).any(|(value, required)| *required && value.is_nan());
        if !lacking && !columns.iter().all(|value| value.is_nan()) {
            self.add(reading, 0, self.columns_cell, &columns);
        }
        self.columns = columns;
        self.columns.clear();
    }

    fn add(&mut self, reading: &Reading<'_>, stream: u16, cell: u32, values: &[f64]) {
        let sampled = is_sampled(reading.offset, stream, self.sample_below);
        let series = Series { stream, slot: reading.slot };
        self.queue.push(&NewRow { series, event_time: reading.event_time, cell, sampled }, values);
    }

    fn score(&mut self) -> Result<(), String> {
        self.queue.gather(&self.slabs, &mut self.runner.state);
        self.runner.run(&self.queue, &mut self.counters)
    }

    fn commit(&mut self, index: usize, flushed: &mut Flushed) {
        self.queue.scatter(&self.runner.state, &mut self.slabs);
        self.counters.rows += self.queue.len() as u64;
        for (verdict, cell) in self.runner.verdicts.iter().zip(&self.queue.cell) {
            match verdict {
                Verdict::NotScored => self.counters.skipped += 1,
                Verdict::Score { warm_up, over_threshold, .. } => {
                    self.counters.scored += 1;
                    self.counters.warm_up += u64::from(*warm_up);
                    self.counters.over_threshold += u64::from(*over_threshold);
                }
                Verdict::Failed(failure) => self.counters.fail(*failure),
            }
            flushed.verdicts[*cell as usize * flushed.models + index] = *verdict;
        }
        for (row, failure, detail) in self.runner.failures.drain(..) {
            let (row, value) = flushed.locate(self.queue.cell[row]);
            flushed.failures.push(FailedRow { row, value, model: index, failure, detail });
        }
        self.queue.clear();
    }

    /// What the guest logged goes to the process's log.
    fn relay_log(&mut self, loaded: &Loaded) {
        for line in self.runner.session.take_lines() {
            let (model, message) = (loaded.info.name.as_str(), line.message.as_str());
            match line.level {
                LogLevel::Error => tracing::error!(model, "{message}"),
                LogLevel::Warn => tracing::warn!(model, "{message}"),
                _ => tracing::info!(model, "{message}"),
            }
        }
    }
}

/// The sample is a function of the log: of the offset and of which input it is. A hash, because devices that report
/// in turn would make every n-th offset the same device.
fn is_sampled(offset: i64, input: u16, sample_below: u64) -> bool {
    sample_below == u64::MAX || mix(offset.cast_unsigned() ^ u64::from(input) << 48) < sample_below
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
