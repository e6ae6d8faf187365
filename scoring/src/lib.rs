//! Models that score readings: which versions are loaded, each partition's model state, and the columnar batches
//! that go through the WebAssembly host. Does not live here: wasmtime (`scoring_host`), what is done with a score
//! (`processor`), which models are in force (`schemas::pipeline`).
//!
//! ```text
//! trait ComponentSource: Send + Sync { fetch(&self, digest_hex: &str) -> Option<Cow<'static, [u8]>> }  // bytes by SHA-256 hex
//! shipped::Shipped: ComponentSource;  shipped::ewma() -> Component { name, digest, bytes };  shipped::find(name)
//!
//! Loader::new(Arc<dyn ComponentSource>, LoaderConfig { cache_dir: Option<PathBuf>, limits }) -> Result<Loader, LoadError>   // one per process; Clone, Send, Sync
//! Loader::load(&self, &[schemas::pipeline::Model]) -> Result<ModelSet, LoadError>     // compiles what is new, else cheap
//! ModelSet: Clone;  ModelSet::none();  is_empty();  models() -> &[ModelInfo { name, version, threshold, sample_every, inputs, .. }]
//!
//! Lane::new(&ModelSet) -> Lane                        // one per partition, owned by one thread, Send
//! lane.is_idle() -> bool                              // no models: skip the queue
//! lane.fits(values: usize) -> bool                    // else flush first
//! lane.push(Reading { slot: u32, event_time, offset, values: &[Input { metric: u16, value: Option<f64> }] },
//!           name_of: impl Fn(u16) -> &str) -> Result<Row, Full>       // calibrated values; the name is asked for once per metric id
//! lane.pending() -> usize
//! lane.flush() -> Result<&Flushed, Braked>            // Err: nothing has changed, the rows are still pending
//! flushed.verdicts(row: Row, value: usize) -> &[Verdict]     // by model index, for the value-th value pushed
//! enum Verdict { NotScored, Score { score: f64, warm_up: bool, over_threshold: bool, sampled: bool }, Failed(Failure) }
//! flushed.failures() -> &[FailedRow { row, value, model, failure, detail }]   // detail is deterministic, for the dead letter
//! lane.evict(slot);  lane.configure(&ModelSet);  lane.models() -> &ModelSet
//! lane.save(&mut Vec<u8>);  Lane::load(&ModelSet, &[u8]) -> Result<Lane, LoadStateError>    // nothing may be pending
//! lane.counters() -> &[Counters]                      // by model: rows, scored, skipped, failed by reason, calls, rebuilds, fuel, memory
//! ```
//!
//! A model with `inputs: columns` has one row a reading; its verdict stands at the first of its columns that the
//! reading carries.
