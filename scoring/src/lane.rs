//! One partition's scoring: rows wait in columns, a flush scores them, the state of every series lies in slabs.

use crate::breaker::Breaker;
use crate::counters::Counters;
use crate::evidence::{FailedBatch, Failing};
use crate::gathered;
use crate::handover::Translated;
use crate::loader::{Loaded, ModelSet, Role};
use crate::queue::{NewRow, Queue, ROWS_MAX, Series};
use crate::runner::{FailedCall, Runner};
use crate::slab::Slab;
use crate::verdict::{FailedRow, Flushed, Verdict};
use schemas::pipeline::Inputs;
use scoring_host::{LogLevel, LogLine, Session};

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

/// A row that is no reading's: of a closed window.
#[derive(Clone, Copy, Debug)]
pub struct ClosedRow<'a> {
    /// Device, dense; reused after [`Lane::evict`].
    pub slot: u32,
    /// Which of the metrics the model names.
    pub stream: u16,
    /// Start of the window, microseconds.
    pub event_time: i64,
    /// Offset in the log of the record that closed it.
    pub offset: i64,
    /// In the order of the model's features; what is not finite counts as missing.
    pub values: &'a [f64],
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
    /// For messages and evidence only.
    partition: Option<u32>,
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
    pub(crate) breaker: Breaker,
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
        Self { set: set.clone(), models, routes: Vec::new(), starts: vec![0], partition: None }
    }

    /// Says which partition it scores, for what is kept of failures.
    #[must_use]
    pub fn of_partition(self, partition: u32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// The models in force.
    #[must_use]
    pub fn models(&self) -> &ModelSet {
        &self.set
    }

    /// No model in force looks at readings: there is no need to push any.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.set.loaded().iter().all(|loaded| loaded.info.inputs.is_of_windows())
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
        self.push_routed(reading, &[], name_of)
    }

    /// The same for some of the models only: those of which `without`, by model index, does not say otherwise.
    ///
    /// # Errors
    /// [`Full`], and nothing has changed.
    pub fn push_routed<'n>(
        &mut self,
        reading: &Reading<'_>,
        without: &[bool],
        name_of: impl Fn(u16) -> &'n str,
    ) -> Result<Row, Full> {
        if !self.fits(reading.values.len()) {
            return Err(Full);
        }
        for input in reading.values {
            let known = self.routes.get(input.metric as usize).is_some_and(Option::is_some);
            if !known {
                self.find_routes(input.metric, name_of(input.metric));
            }
        }
        Ok(self.take(reading, without))
    }

    /// Adds a row of a closed window for a model of windows, and for the version on trial beside it; its verdicts stand
    /// at its only value.
    ///
    /// # Errors
    /// [`Full`], and nothing has changed.
    pub fn push_closed(&mut self, model: usize, closed: &ClosedRow<'_>) -> Result<Row, Full> {
        if !self.fits(1) {
            return Err(Full);
        }
        let cell = *self.starts.last().unwrap_or(&0);
        let loaded = self.set.loaded();
        let beside = matches!(loaded[model].info.role, Role::Champion(_)).then_some(model + 1);
        for model in std::iter::once(model).chain(beside) {
            self.models[model].take_closed(&loaded[model], closed, cell);
        }
        let row = Row(u32::try_from(self.pending()).unwrap_or(u32::MAX));
        self.starts.push(cell + 1);
        Ok(row)
    }

    /// Finds out, once for each metric, which models take it.
    fn find_routes(&mut self, metric: u16, name: &str) {
        let takes = |(model, loaded): (usize, &Loaded)| {
            if loaded.info.inputs.is_of_windows() {
                return None;
            }
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
    fn take(&mut self, reading: &Reading<'_>, without: &[bool]) -> Row {
        let first_cell = *self.starts.last().unwrap_or(&0);
        let loaded = self.set.loaded();
        let is_without = |model: usize| without.get(model).is_some_and(|without| *without);
        for (cell, input) in (first_cell..).zip(reading.values) {
            let value = input.value.filter(|value| value.is_finite()).unwrap_or(f64::NAN);
            let routes = self.routes[input.metric as usize].iter().flatten();
            for route in routes.filter(|route| !is_without(route.model)) {
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
        flushed.notable.resize(cells, false);
        for (index, (model, loaded)) in self.models.iter_mut().zip(self.set.loaded()).enumerate() {
            model.testify(loaded, self.partition);
            if let Some(onlooker) = &loaded.onlooker {
                gathered::show(&**onlooker, loaded, &model.queue);
            }
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
    /// name, threshold or sampling; a new one takes over what it can of the one beside it ([`Lane::translate`]), or
    /// starts anew. Flush first.
    pub fn configure(&mut self, set: &ModelSet, translated: Translated) {
        debug_assert_eq!(self.pending(), 0, "a change of models is a barrier");
        let mut lane = Self { partition: self.partition, ..Self::new(set) };
        for (model, loaded) in lane.models.iter_mut().zip(set.loaded()) {
            for (slab, stream) in model.slabs.iter_mut().zip(&loaded.streams) {
                if let Some(known) = self.state_for(loaded, stream) {
                    *slab = known.clone();
                }
            }
        }
        for (name, version, breaker) in self.breakers() {
            lane.adopt_breaker(name, version, breaker);
        }
        lane.hand_over(&|version| self.knows(version), translated);
        *self = lane;
    }

    /// Whether a version is in force.
    pub(crate) fn knows(&self, version: &[u8; 32]) -> bool {
        self.set.loaded().iter().any(|loaded| loaded.version == *version)
    }

    /// A model's state, by stream.
    pub(crate) fn slabs(&self, model: usize) -> &[Slab] {
        &self.models[model].slabs
    }

    /// See [`Lane::slabs`].
    pub(crate) fn slabs_mut(&mut self, model: usize) -> &mut [Slab] {
        &mut self.models[model].slabs
    }

    /// The state with which a model goes on in a stream: that of the same version, under the same name, for the same
    /// devices, or for all of them. Models that see every device get the same one: their state is one when it is saved.
    pub(crate) fn state_for(&self, next: &Loaded, stream: &str) -> Option<&Slab> {
        let (mut found, mut rank) = (None, 0);
        for (loaded, model) in self.set.loaded().iter().zip(&self.models) {
            let at = loaded.streams.iter().position(|name| name == stream);
            let Some(at) = at.filter(|_| loaded.version == next.version) else { continue };
            let this = match (&loaded.info, &next.info) {
                (old, new) if new.route.is_open() => 1 + u8::from(old.route.is_open()),
                (old, new) if old.name == new.name => 3,
                (old, new) if old.route == new.route => 2,
                (old, _) => u8::from(old.route.is_open()),
            };
            if this > rank {
                (found, rank) = (Some(&model.slabs[at]), this);
            }
        }
        found
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
            let owner = loaded.owner();
            let key = move |name| StreamKey { version: &loaded.version, name, owner };
            loaded.streams.iter().map(move |name| key(name.as_str())).zip(&model.slabs)
        })
    }

    /// All breakers, by name and version.
    pub(crate) fn breakers(&self) -> impl Iterator<Item = (&str, &[u8; 32], Breaker)> {
        let models = self.set.loaded().iter().zip(&self.models);
        models.map(|(loaded, model)| (loaded.info.name.as_str(), &loaded.version, model.breaker))
    }

    /// Gives a breaker to the model of that name and version.
    pub(crate) fn adopt_breaker(&mut self, name: &str, version: &[u8; 32], breaker: Breaker) {
        for (loaded, model) in self.set.loaded().iter().zip(&mut self.models) {
            if loaded.info.name == name && loaded.version == *version {
                model.breaker = breaker;
            }
        }
    }

    /// Gives saved state to every model of that version that scores that stream of the same devices.
    pub(crate) fn adopt(&mut self, key: &StreamKey<'_>, slab: &Slab) {
        for (loaded, model) in self.set.loaded().iter().zip(&mut self.models) {
            let stream = loaded.streams.iter().position(|name| name == key.name);
            let same = loaded.version == *key.version
                && loaded.owner() == key.owner
                && loaded.info.stride == slab.stride();
            if let (Some(stream), true) = (stream, same) {
                model.slabs[stream] = slab.clone();
            }
        }
    }
}

/// Whose state a slab is: interchangeable among models of equal version that see the same devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamKey<'a> {
    pub(crate) version: &'a [u8; 32],
    pub(crate) name: &'a str,
    /// The model's name, when it does not see every device.
    pub(crate) owner: Option<&'a str>,
}

impl LaneModel {
    fn new(loaded: &Loaded) -> Self {
        let session = Session::new(loaded.plugin.clone());
        let (name, version) = (loaded.info.name.clone(), loaded.info.version.clone());
        Self {
            runner: Runner::new(session, loaded),
            slabs: loaded.streams.iter().map(|_| Slab::new(loaded.info.stride)).collect(),
            queue: Queue::new(loaded.streams.len(), loaded.required.len()),
            counters: Counters { model: name, version, ..Counters::default() },
            columns: Vec::new(),
            columns_cell: 0,
            breaker: Breaker::default(),
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

    /// Takes a row of a closed window, if it has what the model needs.
    fn take_closed(&mut self, loaded: &Loaded, closed: &ClosedRow<'_>, cell: u32) {
        let mut columns = std::mem::take(&mut self.columns);
        columns.extend(closed.values.iter().map(|value| if value.is_finite() { *value } else { f64::NAN }));
        let lacking =
            columns.iter().zip(&loaded.required).any(|(value, required)| *required && value.is_nan());
        if !lacking && !columns.iter().all(|value| value.is_nan()) {
            // One record may close the windows of all devices: its offset alone would put all or none in the sample.
            let key = closed.offset ^ mix(u64::from(closed.slot)).cast_signed();
            let sampled = is_sampled(key, closed.stream, self.sample_below);
            let series = Series { stream: closed.stream, slot: closed.slot };
            let row = NewRow { series, event_time: closed.event_time, offset: closed.offset, cell, sampled };
            self.queue.push(&row, &columns);
        }
        columns.clear();
        self.columns = columns;
    }

    fn add(&mut self, reading: &Reading<'_>, stream: u16, cell: u32, values: &[f64]) {
        let sampled = is_sampled(reading.offset, stream, self.sample_below);
        let series = Series { stream, slot: reading.slot };
        self.queue.push(
            &NewRow { series, event_time: reading.event_time, offset: reading.offset, cell, sampled },
            values,
        );
    }

    fn score(&mut self) -> Result<(), String> {
        self.queue.gather(&self.slabs, &mut self.runner.state);
        self.runner.breaker = self.breaker;
        self.runner.run(&self.queue, &mut self.counters)
    }

    /// Hands what it failed on to whoever wants to keep it.
    fn testify(&mut self, loaded: &Loaded, partition: Option<u32>) {
        let Some(witness) = &loaded.witness else { return };
        for failed in &mut self.runner.failures {
            let Some((state, recorded)) = failed.evidence.take() else { continue };
            let row = failed.row;
            let failing = Failing {
                offset: self.queue.offset[row],
                event_time: self.queue.event_time[row],
                values: self.queue.columns.iter().map(|column| column[row]).collect(),
                state: &state,
                recorded,
            };
            let names = (loaded.info.name.as_str(), loaded.info.version.as_str());
            let fuel = loaded.fuel_per_row;
            witness.saw(FailedBatch::of_one_row(names, &loaded.identity, fuel, partition, failing));
        }
    }

    fn commit(&mut self, index: usize, flushed: &mut Flushed) {
        self.queue.scatter(&self.runner.state, &mut self.slabs);
        self.breaker = self.runner.breaker;
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
                Verdict::LeftOut => self.counters.left_out += 1,
            }
            flushed.verdicts[*cell as usize * flushed.models + index] = *verdict;
            flushed.notable[*cell as usize] |= verdict.is_notable();
        }
        for (row, expected) in self.runner.expected.drain(..) {
            flushed.expected.push((index, self.queue.cell[row], expected));
        }
        for FailedCall { row, failure, detail, .. } in self.runner.failures.drain(..) {
            let (row, value) = flushed.locate(self.queue.cell[row]);
            flushed.failures.push(FailedRow { row, value, model: index, failure, detail });
        }
        self.queue.clear();
    }

    /// What the guest logged goes to the process's log; of a row that fails alone and in each batch around it, once.
    fn relay_log(&mut self, loaded: &Loaded) {
        let mut lines: Vec<(LogLine, u32)> = Vec::new();
        for line in self.runner.session.take_lines() {
            match lines.iter_mut().find(|(known, _)| *known == line) {
                Some((_, times)) => *times += 1,
                None => lines.push((line, 1)),
            }
        }
        for (line, times) in lines {
            let (model, version, message) =
                (loaded.info.name.as_str(), loaded.info.version.as_str(), line.message.as_str());
            match line.level {
                LogLevel::Error => tracing::error!(model, version, times, "{message}"),
                LogLevel::Warn => tracing::warn!(model, version, times, "{message}"),
                _ => tracing::info!(model, version, times, "{message}"),
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
pub(crate) fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
