//! How fast the CQL adapter writes windows, against a bare loop over the driver that writes the same rows in the same
//! run: `cargo run --release -p store --example cql_speed -- host:port [rows] [metrics]`.
//!
//! The loop is as good as a loop gets: the same statements, grouped by the same partitions; it checks, coalesces, retries
//! and limits nothing. Both take turns, each in a keyspace of its own; the median of the rounds counts.

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use schemas::record::Aggregate;
use scylla::SerializeRow;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::Consistency;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use std::time::Instant;
use store::conformance::aggregate;
use store::cql::{CqlConfig, CqlStore};
use store::port::{Store, Write};

/// Rows of one call, as the sink's batch.
const BATCH_ROWS: usize = 1_000;
const ROUNDS: usize = 5;
/// Requests on the way, as the adapter's default.
const CONCURRENCY: usize = 128;
const TTL: i32 = 90 * 86_400;
const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1_440 * MINUTE;

const NAMES: [&str; 3] = ["adapter", "bare loop", "bare loop, `windows` alone"];

const COLUMNS: &str = "window_end, revision, kind, newest, count, nulls, sum, min, max, first, last, mean, m2, device, \
     scores, contributed_at, generation";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let node = arguments.next().context("usage: cql_speed HOST:PORT [ROWS] [METRICS]")?;
    let rows: usize = arguments.next().map_or(Ok(50_000), |text| text.parse())?;
    let metrics: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (ours, bare) = ("speed_adapter", "speed_bare");
    let store = CqlStore::open(CqlConfig::new(vec![node.clone()], ours))?;
    drop(CqlStore::open(CqlConfig::new(vec![node.clone()], bare))?);
    let bare_loop = runtime.block_on(Bare::new(&node, bare))?;
    let mut figures = [Vec::new(), Vec::new(), Vec::new()];
    // Round 0 warms everything and does not count.
    for round in 0..=ROUNDS {
        let batches = batches(rows, metrics, round);
        let adapter =
            measure(rows, || batches.iter().try_for_each(|batch| store.write(batch)).map_err(Into::into))?;
        let whole = measure(rows, || runtime.block_on(bare_loop.write_all(&batches, true)))?;
        let windows = measure(rows, || runtime.block_on(bare_loop.write_all(&batches, false)))?;
        if round > 0 {
            for (list, figure) in figures.iter_mut().zip([adapter, whole, windows]) {
                list.push(figure);
            }
        }
    }
    let mut medians = Vec::new();
    for (name, rounds) in NAMES.iter().zip(&mut figures) {
        medians.push(shown(name, rounds));
    }
    println!("adapter / bare loop: {:.2}", medians[0] / medians[1]);
    println!("{:?}", store.counts());
    runtime.block_on(bare_loop.check(&[ours, bare], rows))
}

#[derive(Clone, Copy)]
struct Figure {
    rows_a_second: f64,
    /// Microseconds of this process's CPU a row.
    cpu: f64,
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn measure(rows: usize, run: impl FnOnce() -> Result<()>) -> Result<Figure> {
    let (begun, used) = (Instant::now(), cpu_seconds()?);
    run()?;
    let (seconds, used) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - used);
    Ok(Figure { rows_a_second: rows as f64 / seconds, cpu: used * 1e6 / rows as f64 })
}

/// User and system time of this process, in ticks of 10 ms.
fn cpu_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("this needs Linux")?;
    let fields = stat.rsplit_once(')').context("/proc/self/stat")?.1;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / 100.0)
}

/// The median round, with the least and the greatest.
fn shown(name: &str, rounds: &mut [Figure]) -> f64 {
    rounds.sort_by(|one, other| one.rows_a_second.total_cmp(&other.rows_a_second));
    let (least, median, most) = (rounds[0], rounds[rounds.len() / 2], rounds[rounds.len() - 1]);
    println!(
        "{name}: {:.0} rows/s ({:.0} to {:.0}), {:.1} µs of client CPU a row",
        median.rows_a_second, least.rows_a_second, most.rows_a_second, median.cpu
    );
    median.rows_a_second
}

/// A fleet whose devices close their windows minute by minute.
fn batches(rows: usize, metrics: usize, round: usize) -> Vec<Vec<Write>> {
    let at = |number: usize| i64::try_from(number).unwrap_or(0);
    let devices = (rows / 20 / metrics).max(1);
    let writes: Vec<Write> = (0..rows)
        .map(|row| {
            let (device, metric) = (row / metrics % devices, row % metrics);
            let minute = at(row / metrics / devices + round * 1_000);
            let clock = 1_700_000_000_000_000 + at(round * rows + row);
            let mut row = aggregate(
                &format!("sensor-{device}"),
                1_600_000_000_000_000 / MINUTE * MINUTE + minute * MINUTE,
                1,
                clock,
            );
            row.metric = format!("metric-{metric}");
            row.scores.clear();
            Write::Aggregate(row)
        })
        .collect();
    writes.chunks(BATCH_ROWS).map(<[Write]>::to_vec).collect()
}

/// The loop over the driver.
struct Bare {
    session: Session,
    window: PreparedStatement,
    latest: PreparedStatement,
    live_start: PreparedStatement,
    seen_at: PreparedStatement,
    bucket: PreparedStatement,
}

impl Bare {
    async fn new(node: &str, keyspace: &str) -> Result<Self> {
        let profile = ExecutionProfile::builder().consistency(Consistency::LocalQuorum).build();
        let session = SessionBuilder::new()
            .known_node(node)
            .default_execution_profile_handle(profile.into_handle())
            .build()
            .await?;
        let insert = |table: &str, key: &str, using: &str| {
            let columns = format!("{key}, {COLUMNS}");
            let places = vec!["?"; columns.split(',').count()].join(", ");
            format!("INSERT INTO {keyspace}.{table} ({columns}) VALUES ({places}) USING TIMESTAMP ? {using}")
        };
        let window = insert("windows", "device_id, metric, window, bucket, window_start", "AND TTL ?");
        let latest = insert("latest", "device_id, metric, window, window_start", "");
        let series = "device_id = ? AND metric = ? AND window = ?";
        let live_start =
            format!("UPDATE {keyspace}.latest USING TIMESTAMP ? SET live_start = ? WHERE {series}");
        let seen_at =
            format!("UPDATE {keyspace}.devices USING TIMESTAMP ? SET seen_at = ? WHERE device_id = ?");
        let bucket = format!(
            "INSERT INTO {keyspace}.buckets (device_id, list, metric, window, bucket) VALUES (?, ?, ?, ?, ?) USING TTL ?"
        );
        Ok(Self {
            window: session.prepare(window).await?,
            latest: session.prepare(latest).await?,
            live_start: session.prepare(live_start).await?,
            seen_at: session.prepare(seen_at).await?,
            bucket: session.prepare(bucket).await?,
            session,
        })
    }

    /// Writes all rows; `whole`: and what hangs on their devices.
    async fn write_all(&self, batches: &[Vec<Write>], whole: bool) -> Result<()> {
        for batch in batches {
            let rows: Vec<&Aggregate> = batch
                .iter()
                .filter_map(|write| if let Write::Aggregate(row) = write { Some(row) } else { None })
                .collect();
            // The rows of a device lie beside each other.
            let devices = rows.chunk_by(|one, other| one.device_id == other.device_id);
            let windows = stream::iter(rows.iter().map(|row| Request::Window(row)));
            let devices = stream::iter(devices.filter(|_| whole).map(Request::Device));
            let requests = windows.chain(devices).map(|request| self.send(request));
            requests.buffer_unordered(CONCURRENCY).try_collect::<Vec<()>>().await?;
        }
        Ok(())
    }

    async fn send(&self, request: Request<'_>) -> Result<()> {
        match request {
            Request::Window(row) => {
                self.session.execute_unpaged(&self.window, Window::of(row)).await?;
            }
            Request::Device(rows) => {
                let mut batch = Batch::new(BatchType::Unlogged);
                let mut values: Vec<Box<dyn scylla::serialize::row::SerializeRow + Send + Sync>> = Vec::new();
                for row in rows {
                    let key = (&row.device_id, &row.metric, &row.window);
                    batch.append_statement(self.bucket.clone());
                    values.push(Box::new((key.0, "windows", key.1, key.2, row.start.div_euclid(DAY), TTL)));
                    batch.append_statement(self.latest.clone());
                    values.push(Box::new(Latest::of(row)));
                    batch.append_statement(self.live_start.clone());
                    values.push(Box::new((row.start, row.start, key.0, key.1, key.2)));
                }
                if let Some(row) = rows.last() {
                    batch.append_statement(self.seen_at.clone());
                    values.push(Box::new((row.contributed_at, row.contributed_at, &row.device_id)));
                }
                self.session.batch(&batch, values).await?;
            }
        }
        Ok(())
    }

    /// Both have written as many rows; then they go.
    async fn check(&self, keyspaces: &[&str], rows: usize) -> Result<()> {
        for keyspace in keyspaces {
            let text = format!("SELECT COUNT(*) FROM {keyspace}.windows");
            let found = self.session.query_unpaged(text, ()).await?.into_rows_result()?;
            let (found,): (i64,) = found.first_row()?;
            let expected = i64::try_from(rows * (ROUNDS + 1))?;
            ensure!(found == expected, "{keyspace} has {found} windows, not {expected}");
            self.session.query_unpaged(format!("DROP KEYSPACE {keyspace}"), ()).await?;
        }
        Ok(())
    }
}

enum Request<'a> {
    Window(&'a Aggregate),
    Device(&'a [&'a Aggregate]),
}

/// Values of a row of either table; `$key`: what comes before the columns, `$using`: after.
macro_rules! values {
    ($name:ident { $($key:ident: $key_type:ty = $key_value:expr),* } { $($using:ident: $using_type:ty = $using_value:expr),* }) => {
        #[derive(SerializeRow)]
        #[scylla(flavor = "enforce_order", skip_name_checks)]
        struct $name<'a> {
            device_id: &'a str, metric: &'a str, window: &'a str, $($key: $key_type,)*
            window_end: i64, revision: i32, kind: &'a str, newest: bool, count: i64, nulls: i64,
            sum: Option<f64>, min: Option<f64>, max: Option<f64>, first: Option<f64>, last: Option<f64>,
            mean: Option<f64>, m2: Option<f64>, device: String, scores: &'a str, contributed_at: i64,
            generation: i64, clock: i64, $($using: $using_type,)*
        }

        impl<'a> $name<'a> {
            fn of(row: &'a Aggregate) -> Self {
                // About as long as the text that the adapter makes of it.
                let device = row.device.as_ref().map(|device| format!(
                    r#"{{"site":{:?},"model":null,"unit":{:?},"tags":{{}}}}"#, device.site, device.unit));
                Self {
                    device_id: &row.device_id, metric: &row.metric, window: &row.window, $($key: ($key_value)(row),)*
                    window_end: row.end, revision: row.revision, kind: row.kind.as_str(), newest: row.newest,
                    count: row.count, nulls: row.nulls, sum: row.sum, min: row.min, max: row.max,
                    first: row.first, last: row.last, mean: row.mean, m2: row.m2,
                    device: device.unwrap_or_default(), scores: "", contributed_at: row.contributed_at,
                    generation: row.generation, clock: row.write_clock, $($using: $using_value,)*
                }
            }
        }
    };
}

values!(Window { bucket: i64 = |row: &Aggregate| row.start.div_euclid(DAY), start: i64 = |row: &Aggregate| row.start } { ttl: i32 = TTL });
values!(Latest { start: i64 = |row: &Aggregate| row.start } {});
